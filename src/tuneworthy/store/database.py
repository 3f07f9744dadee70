"""SQLite files of the store: opened, checked against their schema, and explained when something is wrong with them.

A file is trusted only if it has the tables of the tool and nothing else: a trigger could drop each row that
is written, and every answer would be paid for again.
"""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from secrets import token_hex

from tuneworthy.errors import UserError
from tuneworthy.store.shapes import DamagedRecord

WAIT_S = 60.0
# Faults of the disk, the rights or another process; any other error means that the content is wrong.
_OUTSIDE = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_PROTOCOL,
})  # fmt: skip
# Errors of reading a damaged file; the second if SQLite's message quotes bytes that are no text.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
_OBJECTS = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what can go wrong with a SQLite file into an error that the user can act on."""
    try:
        yield
    except (OSError, *UNREADABLE) as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if isinstance(error, OSError) or code in _OUTSIDE:
            raise UserError(
                f"{path} cannot be read or written: {error}.",
                hint="Check that the disk has free space and that the folder is writable, then run the command again.",
            ) from error
        raise DamagedRecord(f"{path} is not a valid database of cached answers: {error}.") from error


def open_database(path: Path, schema: str, *, any_thread: bool = False) -> sqlite3.Connection:
    """Open the file at `path` in WAL mode, made with its tables if it is not there; an empty file is damaged.

    Where the folder cannot be written, the file is opened for reading; without one, an empty database is.

    Args:
        path: Its folder is made if need be.
        schema: `CREATE TABLE IF NOT EXISTS` statements: all objects that the file may have.
        any_thread: Whether other threads may use the connection, one at a time.

    Raises:
        UserError: It cannot be opened, is damaged, or has other objects.
    """
    with explained(path):
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        writable = os.access(folder, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
        if writable:
            if not path.exists():
                _create(path, schema)
            address = str(path)
        else:
            address = address_for_reading(path)
        database = sqlite3.connect(
            address, isolation_level=None, timeout=WAIT_S, uri=not writable, check_same_thread=not any_thread
        )
        try:
            if writable:
                _set_wal(database)
                database.execute("PRAGMA synchronous=NORMAL")
            elif address == ":memory:":
                database.executescript(schema)
            if wrong := foreign_objects(database, schema):
                raise DamagedRecord(f"{path} differs from the database that this version creates: {wrong[0]}.")
        except BaseException:
            database.close()
            raise
        return database


def _create(path: Path, schema: str) -> None:
    """Make a file with all its tables, whole at once: one without a table has lost it, and its rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        with closing(sqlite3.connect(new)) as database:
            database.executescript(schema)
        try:
            os.link(new, path)
        except OSError:  # another process was first, or there are no hard links
            if not path.exists():
                new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def address_for_reading(path: Path) -> str:
    """Return the address under which SQLite reads a file without writing journal files.

    Answers in a write-ahead log that another process left are read where SQLite can share its index.
    """
    if not path.exists():
        return ":memory:"
    log = path.with_name(f"{path.name}-wal")
    option = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    return f"{path.absolute().as_uri()}?{option}"


def foreign_objects(database: sqlite3.Connection, schema: str) -> list[str]:
    """Return the tables, triggers, views and indexes that differ from `schema`, or that it lacks: `table responses`."""
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(schema)
        expected = _objects(model)
    return sorted(f"{kind} {name}" for kind, name in dict(_objects(database).items() ^ expected.items()))


def _objects(database: sqlite3.Connection) -> dict[tuple[str, str], str]:
    return {
        (kind, name): re.sub(r"\s+", " ", re.sub(r"--.*", "", sql or ""))
        for kind, name, sql in database.execute(_OBJECTS)
    }


def _set_wal(database: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait for another process here, so this does."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
