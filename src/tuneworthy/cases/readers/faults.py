"""Journal of a file: its faults, reported at once, and its dropped and converted rows, counted.

A converter looks at one row and raises `RowFault` (the row is wrong) or `Dropped` (the row is rightly
left out); the reader knows path and line, continues, and raises one `DataFaults` at the end. Where a file is
streamed, its journal is `Rejects`: a faulty row is set aside with its reason and its content, and nothing is raised.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.messages import DropReason, Fault
from tuneworthy.errors import DataError, DataFaults
from tuneworthy.text import count
from tuneworthy.types import TextTuple, positional

MAX_SHOWN = 20
NO_FACTS: Mapping[str, list[Any]] = MappingProxyType({})


class RowFault(Exception):
    """A row cannot be used.

    Args:
        expected: A correct row's content, or the whole fault.
        value: The value in its place.
        got: Describes `value`, unless its JSON does.
        hint: The next step.
        code: For machines.
    """

    def __init__(
        self, expected: str | Fault, value: Any = None, *, got: str = "", hint: str = "", code: str = "bad_value"
    ) -> None:
        self.fault = Fault(expected, hint, code) if isinstance(expected, str) else expected
        self.got = got or kind_of(value)
        super().__init__(self.fault.expected, self.got)


class Dropped(Exception):
    """A row is rightly left out (a failed request, an archived item)."""

    def __init__(self, reason: str | DropReason, code: str = "left_out") -> None:
        self.reason = DropReason(reason, code) if isinstance(reason, str) else reason
        super().__init__(self.reason.text)


def data_error(path: object, fault: Fault, got: str, line: int | None = None) -> DataError:
    return DataError(path, line, fault.expected, got, hint=fault.hint)


@positional
class Reject:
    """A row that was left out; of a stream, in full: nothing is lost silently.

    Attributes:
        line: 1-based line, or number of the row or element.
        reason: For machines, e.g. `unknown_role`.
        words: For people, the same for all rows with this reason: the expected content, or the reason.
        got: The content, shortened; "" if `words` suffice.
        raw: The row itself: parsed, or the bytes of its line; None if it cannot be had.
    """

    line: int
    reason: str
    words: str
    got: str = ""
    raw: Any = None


class Journal:
    """Collects the faults, the dropped rows and the notes of one file while it is read.

    Attributes:
        facts: Values about rows that may be in other files, by key (`Format.facts`).
        alone: Whether no other file is read with this one.
        lenient: Whether a row without a question, or an example without an answer, is left out, which is noted; else
            it is a fault.
    """

    facts: Mapping[str, list[Any]] = NO_FACTS
    alone = True
    # Bytes of an unpacked file, all of whose rows stay in memory.
    MAX_UNPACKED = 2**30

    def __init__(self, path: Path, *, lenient: bool = False) -> None:
        self.path, self.lenient = path, lenient
        self.dropped: list[Reject] = []
        self.n_faults = 0
        self._faults: list[DataError] = []
        self._notes: Counter[str] = Counter()

    def fault(self, line: int | None, fault: Fault, got: str, raw: Any = None) -> None:
        """Remember a fault; those beyond `MAX_SHOWN` are only counted. `raw` is for a journal that keeps rows."""
        if self.lenient and line is not None and fault in messages.BLANK:
            self.drop(line, messages.BLANK[fault], raw)
            return
        self.n_faults += 1
        if len(self._faults) < MAX_SHOWN:
            self._faults.append(data_error(self.path, fault, got, line))

    def drop(self, line: int, reason: DropReason, raw: Any = None) -> None:
        self.dropped.append(Reject(line, reason.code, reason.text))

    def note(self, text: str, n: int = 1) -> None:
        self._notes[text] += n

    def notes(self) -> TextTuple:
        """One line for each thing that was changed or left out, with its count."""
        reasons = Counter(row.words for row in self.dropped)
        return (
            *(f"{note} ({count(n, 'row')})" if n else note for note, n in self._notes.items()),
            *(f"dropped: {reason} ({count(n, 'row')})" for reason, n in reasons.items()),
        )

    def raise_faults(self) -> None:
        if self._faults:
            raise DataFaults(sorted(self._faults, key=lambda fault: fault.line or 0), self.n_faults)


class Rejects(Journal):
    """The journal of a stream: rows that are left out wait here until they are taken, in the order of their lines.

    Args:
        path: Of the file.
    """

    MAX_NOTES = 200
    MAX_UNPACKED = 2**60

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._waiting: list[tuple[int, int, Reject]] = []
        self._n = 0

    def fault(self, line: int | None, fault: Fault, got: str, raw: Any = None) -> None:
        """Set a faulty row aside.

        Raises:
            DataError: No row is meant but the file.
        """
        if line is None:
            raise data_error(self.path, fault, got)
        self.n_faults += 1
        self._set_aside(Reject(line, fault.code, fault.expected, got, raw))

    def drop(self, line: int, reason: DropReason, raw: Any = None) -> None:
        self._set_aside(Reject(line, reason.code, reason.text, "", raw))

    def _set_aside(self, reject: Reject) -> None:
        self._n += 1
        heapq.heappush(self._waiting, (reject.line, self._n, reject))

    def note(self, text: str, n: int = 1) -> None:
        room = text in self._notes or len(self._notes) < self.MAX_NOTES
        super().note(text if room else "other notes", n)

    def first(self) -> Reject | None:
        return self._waiting[0][2] if self._waiting else None

    def take(self, line: int) -> Iterator[Reject]:
        """Yield and forget the rows that wait, up to and with `line`."""
        while self._waiting and self._waiting[0][0] <= line:
            yield heapq.heappop(self._waiting)[2]


def show(value: Any, limit: int = 60) -> str:
    """Return `value` as JSON, shortened to `limit` characters, on one line."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {str: "string", bool: "boolean", int: "number", float: "number", list: "list", dict: "object"}
    return f"the {names.get(type(value), type(value).__name__)} {show(value)}"
