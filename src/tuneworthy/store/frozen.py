"""Folders that are written whole or not at all, named by their content and never changed: of rows, and of models.

    <id>/<record>   kind and parents of the folder, `files` (hash and size per file), `times`
         ...        the files themselves

The id is the hash of the record without its times. A folder is filled under another name, brought to disk and renamed;
the record is the last file written. A folder without a record is not ours: a command that was killed never leaves half
a folder that a later one takes for whole.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson

from tuneworthy.store.folder import write_atomic
from tuneworthy.store.lines import sync
from tuneworthy.types import JsonMapping, content_hash

# Writes the files into an empty folder; may return further keys per file for the record.
Fill = Callable[[Path], Mapping[str, JsonMapping] | None]


def freeze_folder(
    parent: Path,
    record: str,
    fill: Fill,
    about: JsonMapping,
    *,
    times: JsonMapping,
    read_only: bool = False,
) -> Path:
    """Make a folder below `parent`, or return the one that is there if it is the same and was not changed since.

    Args:
        parent: Made if it is not there; the caller has the lock of the project.
        record: Name of the file that describes the folder.
        fill: Writes the files.
        about: All that describes the folder but its files, JSON-able.
        times: Further entries of the record that do not enter the id.
        read_only: Make the files read-only.
    """
    with scratch(parent, ".part") as part:
        more = fill(part) or {}
        paths = {str(path.relative_to(part)): path for path in sorted(part.rglob("*")) if path.is_file()}
        for path in paths.values():
            sync(path)
        files = {
            name: {"sha256": sha256_of_file(path), "n_bytes": path.stat().st_size, **more.get(name, {})}
            for name, path in paths.items()
        }
        document = {**about, "files": files, "times": times}
        content = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        folder = parent / identity(orjson.loads(content))
        if changed(folder, record) is None:
            return folder
        write_atomic(part / record, content)
        if read_only:
            for path in part.iterdir():
                path.chmod(0o444)
        shutil.rmtree(folder, ignore_errors=True)  # half written, or changed since
        part.rename(folder)
        sync(parent)
    return folder


@contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """Give an empty folder below `parent` that is gone afterwards, unless it was renamed.

    Args:
        parent: Made if it is not there; the caller has the lock of the project.
        name: The same name for the same work, so that leftovers of a killed process are removed.
    """
    folder = parent / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def identity(record: JsonMapping) -> str:
    """Return the id of the folder that `record` describes."""
    return content_hash({key: value for key, value in record.items() if key != "times"})


def changed(folder: Path, record: str) -> Path | None:
    """Return the first file of a frozen folder that is not as it was made, or was put there since; None if all are.

    Hidden files (of a file manager, say) are ignored, and no library loads them.
    """
    path = folder / record
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return path
    if not isinstance(document, dict) or identity(document) != folder.name:
        return path
    files: dict[Path, str] = {folder / name: entry["sha256"] for name, entry in document["files"].items()}
    for file, digest in files.items():
        if not file.is_file() or sha256_of_file(file) != digest:
            return file
    new = (file for file in sorted(folder.rglob("*")) if file.is_file() and file not in files and file != path)
    return next((file for file in new if not any(part[0] == "." for part in file.relative_to(folder).parts)), None)


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
