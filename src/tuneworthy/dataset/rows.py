"""Rows on disk, read on access: a sequence of examples whose memory does not grow with their texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from itertools import chain
from pathlib import Path

import numpy as np
import orjson

from tuneworthy.arrays import Ints
from tuneworthy.dataset.records import RowLine, row_of
from tuneworthy.store.lines import read_lines
from tuneworthy.store.own_file import OwnFile, StoredSequence
from tuneworthy.store.shapes import parsed
from tuneworthy.types import Example, Examples, JsonObject, positional

# Places of a scan that are numbers of Python at a time.
_PLACES = 1 << 10
ROWS = "rows.jsonl"
REJECTS = "rejects.jsonl"


@positional
class RowFolder:
    """A folder of rows, named by its id."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    def examples(self) -> Iterator[Example]:
        return read_lines(self.folder / ROWS, Example)

    def rejects(self) -> Iterator[RowLine]:
        return read_lines(self.folder / REJECTS, RowLine)


class StoredRows(StoredSequence[Example]):
    """The rows of a JSONL file, those at `places`, some of them changed.

    Args:
        path: A file of rows as an import has it. It must not change.
        starts: Where each row begins, and the end, if another process has read and checked the rows.
    """

    def __init__(self, path: Path, starts: Ints | None = None) -> None:
        self.path = path
        self._file = OwnFile(path)
        with path.open("rb") as file:
            self.starts = np.append(0, np.cumsum(np.fromiter(map(len, file), np.int64))) if starts is None else starts
        self.places: Ints = np.arange(len(self.starts) - 1)
        self._checked = bytearray([starts is not None]) * len(self.places)
        self.changed: Mapping[int, Example] = {}
        self._view: Callable[[Example], Example] | None = None

    def keep(self, places: Ints, changed: Mapping[int, Example]) -> StoredRows:
        """Return the rows at `places` of the file, with those of `changed` (by place) instead of the stored rows."""
        rows = copy(self)
        rows.places, rows.changed = places, changed
        return rows

    def viewed(self, view: Callable[[Example], Example]) -> StoredRows:
        rows = copy(self)
        rows._view = view
        return rows

    def line(self, place: int) -> bytes:
        """Return the row at `place` of the file, as it is now: JSON and a line break."""
        return (
            orjson.dumps(row_of(self.changed[place]), option=orjson.OPT_APPEND_NEWLINE)
            if place in self.changed
            else self._line(place).rstrip(b"\n") + b"\n"
        )

    def _line(self, place: int) -> bytes:
        return self._file.read(*self.starts[place : place + 2].tolist())

    def at(self, place: int) -> Example:
        """Return the row at `place` of the file, as it is now, whether it is one of these or not."""
        if place in self.changed:
            return self.changed[place]
        line = self._line(place)
        if self._checked[place]:
            return _example(orjson.loads(line))
        row = parsed(line, Example, f"{self.path}:{place + 1}")
        self._checked[place] = True  # checks read a row some thirty times
        return row

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Example]:
        firsts = range(0, len(self.places), _PLACES)
        return map(self._seen, chain.from_iterable(self.places[n : n + _PLACES].tolist() for n in firsts))

    def item(self, number: int) -> Example:
        return self._seen(int(self.places[number]))

    def _seen(self, place: int) -> Example:
        row = self.at(place)
        return self._view(row) if self._view else row


def rows_with(rows: Examples, key: str) -> Iterator[tuple[int, Example]]:
    """Yield number and row of the rows that may have `key` in `meta`; the lines of the others are not parsed."""
    name = f'"{key}":'.encode()
    return (
        (n, rows[n])
        for n in (
            (n for n, place in enumerate(map(int, rows.places)) if name in rows.line(place))
            if isinstance(rows, StoredRows)
            else range(len(rows))
        )
    )


def _example(row: JsonObject) -> Example:
    return Example(
        id=row["id"],
        source=row.get("source", ""),
        messages=tuple(row["messages"]),
        group=row.get("group"),
        tags=tuple(row.get("tags", ())),
        meta=row.get("meta", {}),
    )
