"""Checks in two steps: columns of numbers for each batch of rows, then findings from all columns.

The first step takes nearly all the time, and needs no other row. The second one needs all rows, but little memory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneworthy.arrays import Ints
from tuneworthy.dataset.base import BATCH, CheckContext, RowFindings
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.types import Examples

Arrays = Mapping[str, NDArray[Any]]
Mapper = Callable[[Examples], Arrays]


class RowColumns:
    """Columns of batches, in memory.

    Args:
        parts: The columns of each batch, by name.
        rows: All rows.
        context: Of the check.
        batch: Rows of each batch but the last.
    """

    def __init__(self, parts: Sequence[Arrays], rows: Examples, context: CheckContext, batch: int = BATCH) -> None:
        self.parts, self.rows, self.context, self.batch = parts, rows, context, batch
        self._whole: dict[str, NDArray[Any]] = {}

    def whole(self, name: str) -> NDArray[Any]:
        """Return a column of all rows."""
        if name not in self._whole:
            self.put(name, np.concatenate([part[name] for part in self.parts]))
        return self._whole[name]

    def put(self, name: str, column: NDArray[Any]) -> None:
        """Add a column that `whole` returns."""
        self._whole[name] = column

    def release(self) -> None:
        """Free the memory of columns that can be read again."""

    def each(self, function: Callable[..., Arrays], arguments: Sequence[Sequence[Any]]) -> Iterable[Arrays]:
        """Yield what a function of a module makes of these columns and each of `arguments`; their first one differs."""
        return (function(self, *some) for some in arguments)


class MappedCheck:
    """A check of all rows in two steps."""

    def mapper(self, rows: Examples, context: CheckContext) -> Mapper:
        """Return a function of batches; it may know all rows."""
        raise NotImplementedError

    def join(self, columns: RowColumns, rows: Examples, context: CheckContext) -> RowFindings:
        """Return the findings on `rows`, whose columns are those of their batches in order."""
        raise NotImplementedError

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        read = self.mapper(rows, context)
        return self.join(RowColumns([read(some) for some in batches_of(rows)], rows, context), rows, context)


def batches_of(rows: Examples) -> Iterable[Examples]:
    """Yield rows in batches; at least one, which may be empty."""
    firsts = range(0, max(1, len(rows)), BATCH)
    if isinstance(rows, StoredRows):
        return (rows.keep(rows.places[first : first + BATCH], rows.changed) for first in firsts)
    return (rows[first : first + BATCH] for first in firsts)


def first_equal(keys: NDArray[Any]) -> Ints:
    """Return for each row the number of the first row with the same key, or -1 if it is the first.

    Args:
        keys: (n_rows,) or (n_rows, n) numbers.

    >>> first_equal(np.array([7, 3, 7])).tolist()
    [-1, -1, 0]
    """
    table = keys.reshape(len(keys), keys.shape[1] if keys.ndim > 1 else 1)
    order = np.lexsort(table.T)  # stable: of equal rows the first comes first
    new = np.ones(len(table), bool)
    new[1:] = np.any(table[order[1:]] != table[order[:-1]], axis=1)
    first = np.empty(len(table), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(table)), 0))]
    first[first == np.arange(len(table))] = -1
    return first
