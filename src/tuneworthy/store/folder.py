"""The folder `.tuneworthy/` of a project: its paths, atomic writes, and the lock.

Invariant: a file is either whole or not there. Every write goes to a temporary name and is renamed.
"""

import fcntl
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, TypeVar

import orjson

from tuneworthy.errors import UserError
from tuneworthy.redaction import redact_json
from tuneworthy.signals import handled_by
from tuneworthy.store.shapes import DamagedRecord, parsed
from tuneworthy.text import since

NAME = ".tuneworthy"
# Kinds of files that are opened by no one: reading or writing them could wait for ever.
SPECIAL = frozenset({stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK})
# Pause between two attempts to take the lock, seconds.
POLL_S = 0.1
T = TypeVar("T")


def write_atomic(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write `content` (or its parts, one after the other) to `path`: a reader sees the old file or the new one.

    The permissions of a file that is there stay; a new file gets the umask's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    temporary = path.with_name(f".{path.name}.{token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class Folder:
    """The tool's folder inside the project folder `root`.

    Args:
        root: The project folder.
        damaged: Whether pipes, devices and sockets may be there, as in a store that is to be repaired.

    Raises:
        UserError: It is a link, contains links that lead out, or belongs to another user.
        DamagedRecord: It contains a pipe, a device or a socket, which may never end.
    """

    def __init__(self, root: Path, *, damaged: bool = False) -> None:
        self.root = root
        self.path = root / NAME
        _refuse_foreign(self.path, damaged)

    @property
    def responses(self) -> Path:
        return self.path / "responses.sqlite"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def create(self) -> None:
        """Make the folder, with a `.gitignore` that keeps it out of version control."""
        self.path.mkdir(parents=True, exist_ok=True)
        ignore = self.path / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    def read(self, name: str, shape: type[T]) -> T | None:
        """Return the JSON document `name` (e.g. ``"split"``, ``"runs/last"``), or None if it does not exist.

        Args:
            name: Its path below the folder, without `.json`.
            shape: Expected type (see `shapes.parsed`).

        Raises:
            UserError: The file is there and cannot be read, is not JSON, or has another shape.
        """
        path = self.path / f"{name}.json"
        if not path.is_file():  # reading a pipe or a device could wait for ever
            if os.path.lexists(path):
                raise DamagedRecord(f"{path} is not a regular file.")
            return None
        return parsed(path.read_bytes(), shape, path)

    def write(self, name: str, document: Any) -> Path:
        """Write the JSON document `name` atomically and return its path."""
        self.create()
        path = self.path / f"{name}.json"
        write_atomic(path, redact_json(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)))
        return path

    def holder(self) -> tuple[str, float, str] | None:
        """Return the process that has the lock, its start in seconds since the epoch, and a sentence; None without one.

        The process is "" if it is not known: one that was killed leaves its text until another one writes its own.
        """
        if not (self.path / "lock").is_file():  # opening a pipe could wait for ever
            return None
        with (self.path / "lock").open() as file:
            if _locked(file, fcntl.LOCK_SH):
                return None
            (pid, _, command), start = file.read(200).strip().partition(" "), os.fstat(file.fileno()).st_mtime
            if not pid.isdecimal() or (Path("/proc/self").exists() and not Path("/proc", pid).exists()):
                return "", start, "Another process is using this project."
            return pid, start, f"Process {pid} ({command}) has used this project {since(start)}."

    @property
    def writable(self) -> bool:
        """Whether this process may write here; a folder that is not there is made in `root`."""
        return os.access(self.path if self.path.exists() else self.root, os.W_OK)

    @contextmanager
    def lock(self, waiting: Callable[[str], None], stopped: Callable[[], int] = int) -> Iterator[None]:
        """Hold the project's lock: two commands that spend or write run one after the other.

        Args:
            waiting: Called once with a sentence if another process has the lock.
            stopped: Whether a signal has come that this process could not act on yet: it then ends a wait.
        """
        self.create()
        with (self.path / "lock").open("a+") as file:
            is_told = False
            with handled_by(signal.default_int_handler):
                while not _locked(file):  # a wait inside the system could outlast a signal
                    if not is_told and (holder := self.holder()):
                        waiting(f"{holder[2]} Waiting for it to finish.")
                        is_told = True
                    if stopped():
                        raise KeyboardInterrupt
                    time.sleep(POLL_S)
            file.seek(0)
            file.truncate()
            words = takewhile(lambda word: word[:1] != "-", sys.argv[1:3])  # options may be long
            file.write(" ".join([str(os.getpid()), Path(sys.argv[0].removesuffix("/__main__.py")).name, *words]))
            file.flush()
            try:
                yield
            finally:
                file.seek(0)
                file.truncate()


def _locked(file: IO[str], how: int = fcntl.LOCK_EX) -> bool:
    """Take the lock of an open file, and return whether it was free."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_foreign(folder: Path, damaged: bool) -> None:
    """Refuse a folder that was made to read or write elsewhere, or that another user can fill."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise UserError(
            f"{folder} is a link, but it must be a folder.", hint="Remove the link, then run the command again."
        )
    if status.st_uid != os.geteuid():
        raise UserError(
            f"{folder} belongs to another user (UID {status.st_uid}).",
            hint="Run the command as that user, or change the owner of the folder if you trust its content.",
        )
    _refuse_entries(folder, damaged)


@cache
def _refuse_entries(folder: Path, damaged: bool) -> None:
    """Refuse links in `folder` that lead outside, and special files; searched once a process if it is clean."""
    inside = folder.resolve()
    for path, kind in entries(folder):
        if kind == stat.S_IFLNK and not path.resolve().is_relative_to(inside):
            raise UserError(
                f"{path} is a link to a place outside the folder.", hint="Remove the link, then run the command again."
            )
        if kind in SPECIAL and not damaged:
            raise DamagedRecord(f"{path} is a pipe, a device or a socket, not a regular file.")


def entries(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the paths below `folder`, each with its kind (`stat.S_IFMT`); links are not followed."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place) / name
            with suppress(FileNotFoundError):  # another process may have removed it
                yield path, stat.S_IFMT(path.lstat().st_mode)
