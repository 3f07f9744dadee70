"""An import: rows to build training data from, in a folder that is whole or not there.

    .tuneworthy/imports/<id>/rows.jsonl      the examples, a line each
                             rejects.jsonl   every row that was left out: where, why, and the row itself
                             import.json     where they come from, counts, hashes

Files, a teacher's answers and bare questions all become imports. The folder is filled under another name, brought to
disk, and renamed. An import that was killed starts again: a million rows take less than a minute.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NotRequired

import orjson

from tuneworthy.errors import UserError
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.lines import read_lines, sync_folder
from tuneworthy.store.shapes import OpenRecord, Pointer
from tuneworthy.types import Example, content_hash

# Raise it whenever the same files give another import.
VERSION: Final = 4
ROWS, REJECTS = "rows.jsonl", "rejects.jsonl"


class StoredRow(OpenRecord):
    """What a line of `rows.jsonl` must hold."""

    id: str
    messages: list[dict[str, Any]]
    source: NotRequired[str]
    group: NotRequired[str | None]
    tags: NotRequired[list[str]]
    meta: NotRequired[dict[str, Any]]


class ImportDocument(OpenRecord):
    """What every `import.json` holds."""

    sources: list[dict[str, Any]]
    n_read: int
    n_kept: int
    reasons: dict[str, dict[str, Any]]
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True)
class Import:
    """A finished import.

    Attributes:
        folder: Where it is.
        document: The content of its `import.json`.
    """

    folder: Path
    document: dict[str, Any]

    @property
    def id(self) -> str:
        """The hash that names it."""
        return self.folder.name

    def examples(self) -> Iterator[Example]:
        """Yield the examples, one at a time."""
        return map(example_of, read_lines(self.folder / ROWS, StoredRow))

    def rejects(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that were left out: `source`, `reason`, `detail`, and `row` or `text`."""
        return self._lines(REJECTS)

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        return read_lines(self.folder / name, dict[str, Any])


def example_of(row: Mapping[str, Any]) -> Example:
    """Return the example that a line of `rows.jsonl` holds."""
    return Example(
        id=row["id"],
        messages=tuple(row["messages"]),
        source=row.get("source", ""),
        group=row.get("group"),
        tags=tuple(row.get("tags", ())),
        meta=row.get("meta", {}),
    )


def latest_import(store: Folder) -> Import | None:
    """Return the last import, or None."""
    document = store.read("imports/latest", Pointer)
    return None if document is None else finished_import(store, document["id"])


def finished_import(store: Folder, identity: str) -> Import | None:
    """Return the import called `identity`, or None."""
    document = store.read(f"imports/{identity}/import", ImportDocument)
    return None if document is None else Import(store.path / "imports" / identity, dict(document))


def file_digest(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file and its size in bytes.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None


class ImportWriter:
    """Fills the folder of an import, under another name until `finish`.

    Use it in a ``with`` statement.

    Args:
        store: The project's folder; the caller holds the lock.
        made_by: What makes it, e.g. `distill`.
    """

    def __init__(self, store: Folder, made_by: str) -> None:
        store.create()
        self.store, self.made_by = store, made_by
        self._imports = store.path / "imports"
        self._part = self._imports / f".{made_by}.part"
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)
        self._files: dict[str, BinaryIO] = {
            name: (self._part / name).open("wb", buffering=2**20) for name in (ROWS, REJECTS)
        }
        self._rows, self._rejects = Counter[str](), Counter[str]()
        self._reasons: dict[str, dict[str, Any]] = {}
        self._n_repaired = 0

    def __enter__(self) -> ImportWriter:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, row: Mapping[str, Any], *, repaired: bool = False) -> None:
        """Write a row with `id`, `source` (file:line) and `messages`, as `example_of` reads it."""
        self._write(ROWS, row)
        self._rows[_file_of(row)] += 1
        self._n_repaired += repaired

    def carry(self, base: Import, names: Set[str]) -> None:
        """Take over the rows and rejects of an earlier import that come from the files called `names`."""
        for row in read_lines(base.folder / ROWS, StoredRow):
            if _file_of(row) in names:
                self.add(row, repaired=row.get("meta", {}).get("repaired") == "correction")
        for line in base.rejects():
            if _file_of(line) in names:
                self.reject(line, base.document["reasons"][line["reason"]]["words"])

    def reject(self, line: Mapping[str, Any], description: str) -> None:
        """Write a row that is left out: `source`, `reason`, `detail` and the row; with a description of the reason."""
        self._write(REJECTS, line)
        self._rejects[_file_of(line)] += 1
        reason = self._reasons.setdefault(line["reason"], {"n": 0, "first": line["source"], "words": description})
        reason["n"] += 1

    def finish(self, about: Mapping[str, Any], *, identity: str | None = None, seconds: float = 0.0) -> Import:
        """Write `import.json` and give the folder its name; return the import that is there if it is the same.

        Args:
            about: What `import.json` says beside counts and hashes; each of its `sources` gets its counts.
            identity: Name of the import; a hash of its content if None.
            seconds: How long it took.
        """
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        n_rows, n_rejects = self._rows.total(), self._rejects.total()
        document = {
            **about,
            "sources": [
                {**one, "n_kept": self._rows[one["name"]], "n_rejected": self._rejects[one["name"]]}
                for one in about["sources"]
            ],
            "n_read": n_rows + n_rejects,
            "n_kept": n_rows,
            "n_rejected": n_rejects,
            "n_repaired": self._n_repaired,
            "reasons": dict(sorted(self._reasons.items(), key=lambda pair: (-pair[1]["n"], pair[0]))),
            "sha256": {name: file_digest(self._part / name)[0] for name in self._files},
            "version": VERSION,
        }
        identity = identity or content_hash([self.made_by, document])
        if (finished := finished_import(self.store, identity)) is not None:
            self._drop_parts()
            return finished
        document |= {"id": identity, "seconds": round(seconds, 3)}
        write_atomic(self._part / "import.json", orjson.dumps(document, option=orjson.OPT_INDENT_2))
        folder = self._imports / identity
        shutil.rmtree(folder, ignore_errors=True)
        self._part.rename(folder)
        self._drop_parts()
        sync_folder(self._imports)
        return Import(folder, orjson.loads((folder / "import.json").read_bytes()))

    def _drop_parts(self) -> None:
        """Remove what imports left that were killed; the caller holds the lock, so no other is being written."""
        for part in self._imports.glob(".*.part"):
            shutil.rmtree(part)

    def _write(self, name: str, row: Mapping[str, Any]) -> None:
        self._files[name].write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def write_import(
    store: Folder,
    made_by: str,
    rows: Iterable[Mapping[str, Any]],
    rejects: Iterable[Mapping[str, Any]],
    about: Mapping[str, Any],
    *,
    descriptions: Mapping[str, str],
    seconds: float = 0.0,
) -> Import:
    """Write rows and rejects as an import that is named by its content (see `ImportWriter`).

    Args:
        store: The project's folder.
        made_by: What makes it.
        rows: See `ImportWriter.add`.
        rejects: See `ImportWriter.reject`.
        about: See `ImportWriter.finish`.
        descriptions: Of the reasons.
        seconds: How long it took; no part of the name.
    """
    with ImportWriter(store, made_by) as writer:
        for row in rows:
            writer.add(row)
        for line in rejects:
            writer.reject(line, descriptions[line["reason"]])
        return writer.finish(about, seconds=seconds)


def _file_of(row: Mapping[str, Any]) -> str:
    return str(row["source"]).rpartition(":")[0]
