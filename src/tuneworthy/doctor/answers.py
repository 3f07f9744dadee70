"""Damage of the store; its SQLite files, row by row, and a new file from all rows of an old one that can be read.

Invariant: a repair never changes the old file. It is moved aside whole, after the new one is on disk; a row that is
left out still counts with its cost.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tuneworthy.retrieval.searches import SCHEMA as SEARCHES
from tuneworthy.store import Folder
from tuneworthy.store.database import UNREADABLE, address_for_reading, explained, foreign_objects
from tuneworthy.store.responses import SCHEMA, decoded
from tuneworthy.store.shapes import DamagedRecord, shaped
from tuneworthy.types import Dollars, JsonObject, frozen

QUARANTINE = "quarantine"
# Column of a bad value to the consequence.
ROW_COSTS = {
    "key": "The answer can no longer be found. Its cost still counts.",
    "body": "One answer must be requested and paid for again. Its earlier cost still counts.",
    "cost_usd": (
        "The cost is unknown, so the budget cannot be enforced. A repair assumes the file's highest cost. One answer "
        "must be requested again."
    ),
    "ceiling_usd": "The cost is unknown, so the budget cannot be enforced. A repair assumes the file's highest cost.",
    "created": "The signature of one answer is void, so it must be requested again. Its earlier cost still counts.",
}
COLUMNS = {
    "responses": ("key", "body", "cost_usd", "created"),
    "further_answers": ("key", "cost_usd", "created"),
    "open_calls": ("key", "ceiling_usd", "created"),
}


@frozen
class Damage:
    """Something that is wrong with a file.

    Attributes:
        file: The file.
        row: Row or line; "" if the whole file is meant.
        what: The fault, as a sentence.
        cost: The consequence, as a sentence.
        repair: Repairs it; None if nothing can. Damages of one file may share one.
    """

    file: Path
    row: str = ""
    what: str
    cost: str
    repair: Callable[[], None] | None = None

    def to_dict(self) -> JsonObject:
        return {
            "file": str(self.file),
            "row": self.row,
            "what": self.what,
            "cost": self.cost,
            "can_be_repaired": self.repair is not None,
        }


def quarantine(folder: Folder, *paths: Path) -> None:
    """Move files or folders of the store aside, whole and under their names; never over what lies there already.

    A pipe, a device or a socket has no content and is removed.
    """
    place, number = folder.path / QUARANTINE, 1
    while place.exists() and any((place / path.name).exists() for path in paths):
        number += 1
        place = folder.path / f"{QUARANTINE}-{number}"
    place.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if path.is_file() or path.is_dir():
            path.rename(place / path.name)
        else:
            path.unlink()


@dataclass(slots=True)
class AnswerRow:
    """A row of one of the tables, as it could be read.

    Attributes:
        number: Its rowid.
        values: By column.
        faults: Column to its fault.
    """

    number: int
    values: JsonObject
    faults: dict[str, str]


def answer_damages(folder: Folder) -> Iterator[Damage]:
    path = folder.responses
    if not os.path.lexists(path):
        return
    repair = partial(rebuild, folder)
    for what in _file_faults(path, SCHEMA):
        yield Damage(
            file=path,
            what=what,
            cost=(
                "Until the file is rebuilt, answers may be lost and paid for again. A rebuild keeps every readable row."
            ),
            repair=repair,
        )
    with suppress(*UNREADABLE, OSError), closing(_open(path)) as database:
        for table in COLUMNS:
            for row in rows_of(database, table, path):
                for column, what in row.faults.items():
                    yield Damage(
                        file=path, row=f"{table} {row.number}", what=what, cost=ROW_COSTS[column], repair=repair
                    )


def search_damages(folder: Folder) -> Iterator[Damage]:
    """Find whether the stored results of searches are damaged; they can be made again."""
    path = folder.path / "retrieval" / "searches.sqlite"
    if not os.path.lexists(path):
        return
    for what in _file_faults(path, SEARCHES):
        yield Damage(
            file=path,
            what=what,
            cost="Searches of the documents must be repeated.",
            repair=partial(quarantine, folder, *_files(path)),
        )


def rows_of(database: sqlite3.Connection, table: str, path: Path) -> Iterator[AnswerRow]:
    """Yield every row of `table` that can be read: from the first on, and where that stops, from the last back."""
    names, last = COLUMNS[table], -(2**63)
    query = f"SELECT rowid, {', '.join(names)} FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid"
    for order in ("", " DESC"):
        with suppress(*UNREADABLE):
            for number, *values in database.execute(query + order, (last,)):
                last = number
                yield _judged(table, number, dict(zip(names, values, strict=True)), path)
            return


def _judged(table: str, number: int, values: JsonObject, path: Path) -> AnswerRow:
    where = f"{path}, {table} row {number}"
    shapes = {"key": bytes, "cost_usd": Dollars, "ceiling_usd": Dollars, "created": float}
    faults = {}
    for column, value in values.items():
        try:
            if column == "body":
                decoded(value, where)
            elif column == "key" and not isinstance(value, bytes):
                faults[column] = "The key of the row is invalid."
            else:
                shaped(value, shapes[column], where)
        except DamagedRecord as error:
            faults[column] = error.message
    return AnswerRow(number, values, faults)


def rebuild(folder: Folder) -> None:
    """Write every row that can be used to a new file, and move the old one aside.

    An answer whose cost cannot be read costs as much as the dearest of the file: a budget is never passed by a guess.

    Raises:
        UserError: The new file cannot be written; the old one stays where it is.
    """
    path, new = folder.responses, folder.responses.with_suffix(".rebuilt")
    new.unlink(missing_ok=True)
    # What cannot be read of the old file is left out by `rows_of`; what cannot be written ends the repair.
    with explained(new), closing(sqlite3.connect(new)) as target, target:
        target.executescript(SCHEMA)
        if path.is_file():
            with closing(_open(path)) as source:
                dearest = max((_amount(row) for table in COLUMNS for row in rows_of(source, table, path)), default=0.0)
                for table in COLUMNS:
                    for row in rows_of(source, table, path):
                        _copy(target, table, row, dearest, path.stat().st_mtime)
    quarantine(folder, *_files(path))
    new.rename(path)


def _copy(target: sqlite3.Connection, table: str, row: AnswerRow, dearest: float, date: float) -> None:
    values = row.values
    created = date if "created" in row.faults else values["created"]
    amount = dearest if row.faults.keys() & {"cost_usd", "ceiling_usd"} else _amount(row)
    key = values["key"] if isinstance(values["key"], bytes) else b""
    if table == "responses" and not row.faults:
        target.execute("INSERT OR IGNORE INTO responses VALUES (?, ?, ?, ?)", tuple(values.values()))
    elif table == "further_answers":
        target.execute("INSERT INTO further_answers VALUES (?, ?, ?)", (key, amount, created))
    elif amount:
        target.execute("INSERT INTO open_calls (key, ceiling_usd, created) VALUES (?, ?, ?)", (key, amount, created))


def _amount(row: AnswerRow) -> float:
    column = "cost_usd" if "cost_usd" in row.values else "ceiling_usd"
    return 0.0 if column in row.faults else float(row.values[column])


def _file_faults(path: Path, schema: str) -> Iterator[str]:
    try:
        with closing(_open(path)) as database:
            for wrong in foreign_objects(database, schema):
                yield f"Its schema differs from the one that this version of tuneworthy creates: {wrong}."
            for (line,) in database.execute("PRAGMA integrity_check(20)"):
                if line != "ok":
                    yield f"SQLite reports: {line}."
    except (*UNREADABLE, OSError) as error:
        yield f"SQLite cannot read the file: {error}."


def _files(path: Path) -> list[Path]:
    return [file for ending in ("", "-wal", "-shm") if os.path.lexists(file := path.with_name(path.name + ending))]


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise OSError("it is not a regular file")
    database = sqlite3.connect(address_for_reading(path), uri=True, isolation_level=None)
    database.text_factory = lambda content: content.decode("utf-8", "replace")
    return database
