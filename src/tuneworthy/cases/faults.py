"""All that is wrong with a file, told at once, and all that was left out or changed, counted.

A converter looks at one row and raises `RowFault` (the row is wrong) or `Dropped` (the row is rightly
left out); the reader knows path and line, goes on, and raises one `DataFaults` at the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.errors import DataError

MAX_SHOWN = 20


class RowFault(Exception):
    """A row cannot be used: what was expected, what stands there, what to do."""

    def __init__(self, expected: str, got: str, hint: str = "") -> None:
        super().__init__(expected, got, hint)
        self.expected, self.got, self.hint = expected, got, hint


class Dropped(Exception):
    """A row is rightly left out (a failed request in a log, an archived item); `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DataFaults(DataError):
    """Everything that is wrong with one file, one line a fault.

    Attributes:
        faults: The first `MAX_SHOWN` faults, in file order.
        n_faults: How many there are in all.
    """

    def __init__(self, faults: list[DataError], n_faults: int) -> None:
        first = faults[0]
        super().__init__(first.path, first.line, first.expected, first.got)
        lines = [str(fault) for fault in faults]
        if n_faults > len(faults):
            lines.append(f"{first.path}: and {n_faults - len(faults)} more faults")
        self.message = "\n".join(lines)
        self.args = (self.message,)
        self.faults, self.n_faults = faults, n_faults


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row that was left out: its 1-based line, and why."""

    line: int
    reason: str


class Journal:
    """Collects the faults, the dropped rows and the notes of one file while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped: list[DroppedRow] = []
        self.n_faults = 0
        self._faults: list[DataError] = []
        self._notes: Counter[str] = Counter()

    def fault(self, line: int | None, expected: str, got: str, hint: str = "") -> None:
        """Remember a fault; those beyond `MAX_SHOWN` are only counted."""
        self.n_faults += 1
        if len(self._faults) < MAX_SHOWN:
            self._faults.append(DataError(self.path, line, expected, got, hint=hint))

    def drop(self, line: int, reason: str) -> None:
        """Remember a row that was left out."""
        self.dropped.append(DroppedRow(line, reason))

    def note(self, text: str, n: int = 1) -> None:
        """Count `n` rows to which `text` applies."""
        self._notes[text] += n

    def notes(self) -> tuple[str, ...]:
        """One line for each thing that was changed or left out, with its count."""
        reasons = Counter(row.reason for row in self.dropped)
        changed = [f"{text} ({_rows(n)})" if n else text for text, n in self._notes.items()]
        return (*changed, *(f"left out: {reason} ({_rows(n)})" for reason, n in reasons.items()))

    def raise_faults(self) -> None:
        """Raise `DataFaults` if there is any fault."""
        if self._faults:
            self._faults.sort(key=lambda fault: fault.line or 0)
            raise DataFaults(self._faults, self.n_faults)


def show(value: Any, limit: int = 60) -> str:
    """Return `value` as JSON, shortened to `limit` characters, on one line."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def kind_of(value: Any) -> str:
    """Name the JSON type of `value` for a message: `the list [1, 2]`, `null`."""
    if value is None:
        return "null"
    names = {str: "text", bool: "boolean", int: "number", float: "number", list: "list", dict: "object"}
    return f"the {names.get(type(value), type(value).__name__)} {show(value)}"


def _rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n} rows"
