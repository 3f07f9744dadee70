"""Write an import that was not read from files: what a teacher answered, or bare questions.

It lies beside the others and looks like them (see `importer`); its id is a hash of its content and of how it was made.
The folder is filled under another name, brought to disk, and renamed: it is whole or not there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.dataset.importing.importer import Import
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.lines import sync_folder
from tuneworthy.types import content_hash

VERSION: Final = 1


def write_import(
    store: Folder,
    made_by: str,
    rows: Iterable[Mapping[str, Any]],
    rejects: Iterable[Mapping[str, Any]],
    about: Mapping[str, Any],
    *,
    words: Mapping[str, str],
    seconds: float = 0.0,
) -> Import:
    """Write rows and rejects, or return the import that is there if it is the same.

    Args:
        store: The project's folder.
        made_by: What made it.
        rows: With `id`, `source` (file:line) and `messages`, as `importer.example_of` reads them.
        rejects: With `source`, `reason` and `detail`.
        about: What `import.json` says beside counts and hashes; `sources` gets its counts from the rows.
        words: Reason to words for people.
        seconds: How long it took; no part of the id.
    """
    store.create()
    imports = store.path / "imports"
    part = imports / f".{made_by}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    counts, kept, left = Counter[str](), Counter[str](), Counter[str]()
    first: dict[str, str] = {}
    hashes = {
        "rows.jsonl": _write(part / "rows.jsonl", _counted(rows, kept)),
        "rejects.jsonl": _write(part / "rejects.jsonl", _with_reasons(rejects, left, counts, first)),
    }
    document = {
        **about,
        "sources": [{**one, "n_kept": kept[one["name"]], "n_rejected": left[one["name"]]} for one in about["sources"]],
        "n_read": kept.total() + left.total(),
        "n_kept": kept.total(),
        "n_rejected": left.total(),
        "n_repaired": 0,
        "reasons": {
            reason: {"n": n, "first": first[reason], "words": words.get(reason, reason)}
            for reason, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        },
        "sha256": hashes,
        "version": VERSION,
    }
    identity = content_hash([VERSION, made_by, document])
    document |= {"id": identity, "seconds": round(seconds, 3)}
    folder = imports / identity
    if (folder / "import.json").exists():
        shutil.rmtree(part)
        return Import(folder, orjson.loads((folder / "import.json").read_bytes()))
    content = orjson.dumps(document, option=orjson.OPT_INDENT_2)
    write_atomic(part / "import.json", content)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    sync_folder(imports)
    return Import(folder, orjson.loads(content))


def _counted(rows: Iterable[Mapping[str, Any]], kept: Counter[str]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        kept[_file(row)] += 1
        yield row


def _with_reasons(
    rejects: Iterable[Mapping[str, Any]], left: Counter[str], counts: Counter[str], first: dict[str, str]
) -> Iterator[Mapping[str, Any]]:
    for row in rejects:
        left[_file(row)] += 1
        counts[row["reason"]] += 1
        first.setdefault(row["reason"], row["source"])
        yield row


def _file(row: Mapping[str, Any]) -> str:
    """Return the file of a row."""
    return str(row["source"]).rpartition(":")[0]


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows to disk, a line each, and return their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb", buffering=2**20) as file:
        for row in rows:
            line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            file.write(line)
            digest.update(line)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
