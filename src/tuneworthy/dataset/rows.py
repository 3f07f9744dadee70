"""Rows on disk, read on access: a sequence of examples whose memory does not grow with their texts."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, overload

import numpy as np
import orjson
from numpy.typing import NDArray

from tuneworthy.dataset.importing.folder import StoredRow, example_of
from tuneworthy.store.shapes import parsed
from tuneworthy.types import Example


class StoredRows(Sequence[Example]):
    """The rows of a JSONL file, those at `places`, some of them changed.

    Args:
        path: A file of rows as `data import` writes it. It must not change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._bytes: bytes | mmap.mmap = (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
            )
        self._starts = _line_starts(self._bytes)
        self.places: NDArray[np.int64] = np.arange(len(self._starts) - 1)
        self._whole = bytearray(len(self.places))
        self._changed: Mapping[int, dict[str, Any]] = {}
        self._view: Callable[[Example], Example] | None = None

    def keep(self, places: NDArray[np.int64], changed: Mapping[int, dict[str, Any]]) -> StoredRows:
        """Return the rows at `places` of the file, with those of `changed` (by place) instead of what it holds."""
        rows = copy(self)
        rows.places, rows._changed = places, changed
        return rows

    def viewed(self, view: Callable[[Example], Example]) -> StoredRows:
        """Return the same rows, each as `view` returns it."""
        rows = copy(self)
        rows._view = view
        return rows

    def line(self, place: int) -> bytes:
        """Return the row at `place` of the file, as it is now: JSON and a line break."""
        if place in self._changed:
            return orjson.dumps(self._changed[place], option=orjson.OPT_APPEND_NEWLINE)
        return bytes(self._bytes[self._starts[place] : self._starts[place + 1]]).rstrip(b"\n") + b"\n"

    def raw(self, place: int) -> dict[str, Any]:
        """Return the row at `place` of the file, as it is now; its shape is looked at when it is first read."""
        if self._whole[place]:
            row: dict[str, Any] = orjson.loads(self.line(place))
        else:
            row = dict(parsed(self.line(place), StoredRow, f"{self.path}:{place + 1}"))
            self._whole[place] = True
        return row

    def at(self, place: int) -> Example:
        """Return the row at `place` of the file, as it is now, whether it is one of these or not."""
        return example_of(self.raw(place))

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Example]:
        view = self._view
        for place in self.places.tolist():
            row = example_of(self.raw(place))
            yield view(row) if view else row

    @overload
    def __getitem__(self, number: int) -> Example: ...
    @overload
    def __getitem__(self, number: slice) -> list[Example]: ...
    def __getitem__(self, number: int | slice) -> Example | list[Example]:
        if isinstance(number, slice):
            return [self._example(place) for place in self.places[number]]
        return self._example(self.places[number])

    def _example(self, place: np.int64) -> Example:
        row = example_of(self.raw(int(place)))
        return self._view(row) if self._view else row


def row_of(example: Example) -> dict[str, Any]:
    """Return `example` as a row of the file: what `importer.example_of` reads."""
    row: dict[str, Any] = {"id": example.id, "source": example.source, "messages": list(example.messages)}
    rest = {"group": example.group, "tags": list(example.tags), "meta": dict(example.meta)}
    return row | {name: value for name, value in rest.items() if value}


def _line_starts(content: bytes | mmap.mmap) -> NDArray[np.int64]:
    starts, step = [np.zeros(1, np.int64)], 1 << 24
    for first in range(0, len(content), step):
        part = np.frombuffer(content[first : first + step], np.uint8)
        starts.append(np.flatnonzero(part == ord("\n")) + first + 1)
    ends = np.concatenate(starts)
    return ends if ends[-1] == len(content) else np.append(ends, len(content))
