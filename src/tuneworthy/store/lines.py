"""Files of JSON lines that are only ever appended to: human verdicts, which are worth more than computed results.

Invariant: a line whose append returned is on disk, whole, whatever happens to the process after that. A line that was
cut off is no line: readers skip it, the next writer removes it. Writers take turns.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import orjson

from tuneworthy.errors import UserError
from tuneworthy.store.shapes import parsed
from tuneworthy.types import JsonObject

T = TypeVar("T")


def append_line(path: Path, row: JsonObject) -> None:
    """Append one line to `path` and bring it to disk."""
    with exclusive(path) as file:
        write_line(file, row)


def read_lines(path: Path, shape: type[T]) -> Iterator[T]:
    """Yield the lines of a file that is not written any more, each as `shape` (see `shapes.parsed`)."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield parsed(line, shape, f"{path}:{number}")


@contextmanager
def exclusive(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open `path` for `write_line`; other writers wait until it is closed, readers do not. `mode` is of a new file."""
    refuse_link(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "ab+", opener=partial(os.open, mode=mode)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if new:
            sync(path.parent)
        try:
            yield file
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a process that was forked meanwhile has the file open for ever


def now() -> str:
    """Return the time in UTC as lines have it, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def refuse_link(path: Path) -> None:
    """Refuse to read or append to a link, which could point anywhere, or to a pipe, which may never end.

    Raises:
        UserError: `path` is there and no regular file.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(
            f"{path} must be a regular file, not a link or a pipe.", hint="Remove the link, then run the command again."
        )


def write_line(file: BinaryIO, row: JsonObject) -> None:
    """Write one line at the end of a file that `exclusive` opened, and bring it to disk."""
    end_line(file)
    file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    file.flush()
    os.fsync(file.fileno())


def end_line(file: BinaryIO) -> None:
    """Remove a line that was cut off at the end of a file that `exclusive` opened."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    last = file.read().rsplit(b"\n", 1)[-1]
    try:
        orjson.loads(last)
        file.write(b"\n")
    except orjson.JSONDecodeError:
        file.truncate(end - len(last))


def sync(path: Path) -> None:
    """Bring a file, or the names of a folder's files, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
