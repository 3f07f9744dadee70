"""An import: rows to build training data from, in a folder that is whole or does not exist.

    .tuneworthy/imports/<id>/rows.jsonl      the examples, one a line
                             rejects.jsonl   every rejected row: source, reason and the row itself
                             import.json     sources, counts, hashes (`records.ImportRecord`)

Files, a teacher's answers and bare questions all become imports. The folder is filled under another name, synced to
disk and renamed. A killed import starts again: a million rows take less than a minute.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import asdict, replace
from pathlib import Path

import orjson

from tuneworthy.dataset.records import ImportRecord, RejectReason, RowLine, file_of, row_of
from tuneworthy.dataset.rows import REJECTS, ROWS, RowFolder
from tuneworthy.errors import UserError
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.lines import sync
from tuneworthy.store.shapes import Pointer
from tuneworthy.types import Example, JsonMapping, NamedTexts, content_hash, positional


@positional
class Import(RowFolder):
    """A finished import: its folder and the content of its `import.json`."""

    record: ImportRecord


def latest_import(store: Folder) -> Import | None:
    document = store.read("imports/latest", Pointer)
    return None if document is None else finished_import(store, document.id)


def finished_import(store: Folder, identity: str) -> Import | None:
    record = store.read(f"imports/{identity}/import", ImportRecord)
    return None if record is None else Import(store.path / "imports" / identity, record)


def file_digest(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file and its size in bytes.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}.", hint=f"Name its files: {path}/*" if path.is_dir() else ""
        ) from None


class ImportWriter:
    """Fills the folder of an import, under another name until `finish`.

    Use it in a ``with`` statement.

    Args:
        store: The project's folder; the caller has the lock.
        made_by: `files`, `questions` or `distill`.
    """

    def __init__(self, store: Folder, made_by: str) -> None:
        store.create()
        self.store, self.made_by = store, made_by
        self._imports = store.path / "imports"
        self._part = self._imports / f".{made_by}.part"
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)
        self._files = {name: (self._part / name).open("wb", buffering=2**20) for name in (ROWS, REJECTS)}
        self._rows, self._rejects = Counter[str](), Counter[str]()
        self._reasons: dict[str, RejectReason] = {}
        self._n_repaired = 0

    def __enter__(self) -> ImportWriter:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, row: Example) -> None:
        self._write(ROWS, row_of(row))
        self._rows[file_of(row)] += 1
        self._n_repaired += row.meta.get("repaired") == "correction"

    def carry(self, base: Import, names: Set[str]) -> list[str]:
        for row in base.examples():
            if file_of(row) in names:
                self.add(row)
        for line in base.rejects():
            if file_of(line) in names:
                self.reject(line, base.record.reasons[line.reason].words)
        return [note for note in base.record.notes if note.partition(": ")[0] in names]

    def reject(self, line: RowLine, description: str) -> None:
        self._write(REJECTS, line.to_dict())
        self._rejects[file_of(line)] += 1
        self._reasons.setdefault(line.reason, RejectReason(description, line.source)).n += 1

    def finish(self, about: ImportRecord, *, identity: str | None = None, seconds: float = 0.0) -> Import:
        """Write `import.json` and rename the folder; return the existing import if it is the same.

        Args:
            about: Gets counts and hashes.
            identity: Id of the import; a hash of its content if None.
            seconds: Duration.
        """
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        n_rows, n_rejects = self._rows.total(), self._rejects.total()
        record = replace(
            about,
            sources=[
                replace(one, n_kept=self._rows[one.name], n_rejected=self._rejects[one.name]) for one in about.sources
            ],
            n_read=n_rows + n_rejects,
            n_kept=n_rows,
            n_rejected=n_rejects,
            n_repaired=self._n_repaired,
            reasons=dict(sorted(self._reasons.items(), key=lambda pair: (-pair[1].n, pair[0]))),
            sha256={name: file_digest(self._part / name)[0] for name in self._files},
        )
        identity = identity or content_hash(asdict(record))
        if (finished := finished_import(self.store, identity)) is None:
            record = replace(record, id=identity, seconds=round(seconds, 3))
            write_atomic(self._part / "import.json", orjson.dumps(record, option=orjson.OPT_INDENT_2))
            folder = self._imports / identity
            shutil.rmtree(folder, ignore_errors=True)
            self._part.rename(folder)
            sync(self._imports)
            finished = Import(folder, record)
        for part in self._imports.glob(".*.part"):  # of killed imports: the caller has the lock
            shutil.rmtree(part)
        return finished

    def _write(self, name: str, row: JsonMapping) -> None:
        self._files[name].write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def write_import(
    store: Folder,
    about: ImportRecord,
    rows: Iterable[Example],
    rejects: Iterable[RowLine],
    *,
    descriptions: NamedTexts,
    seconds: float = 0.0,
) -> Import:
    """Write rows and rejects as an import that is named by its content (see `ImportWriter`).

    Args:
        store: The project's folder.
        about: Gets counts and hashes.
        rows: The examples.
        rejects: The rejected rows.
        descriptions: Reason to description.
        seconds: Duration; no part of the id.
    """
    with ImportWriter(store, about.made_by) as writer:
        for row in rows:
            writer.add(row)
        for line in rejects:
            writer.reject(line, descriptions[line.reason])
        return writer.finish(about, seconds=seconds)
