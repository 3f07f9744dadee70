"""Checks in two steps: columns of numbers for each batch of rows, then findings from all columns.

The first step takes nearly all the time, and needs no other row. The second one needs all rows, but little memory.
"""

import mmap
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneworthy.arrays import Ints
from tuneworthy.dataset.base import BATCH, CheckContext, RowFindings
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.executors import PooledTask, writing_to
from tuneworthy.store.folder import write_atomic
from tuneworthy.types import Examples

Arrays = Mapping[str, NDArray[Any]]
Mapper = Callable[[Examples], Arrays]


class StoredArrays(dict[str, NDArray[Any]]):
    """Arrays in files, read on access."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem

    def __missing__(self, name: str) -> NDArray[Any]:
        return mapped(Path(f"{self._stem}.{name}.npy"))


class RowColumns:
    """Columns of batches, in files.

    Args:
        folder: Has the files.
        batch: Rows of each batch but the last.
        rows: All rows.
        context: Of the check.
        run: Runs tasks; functions run in this process if None.
    """

    def __init__(
        self,
        folder: Path,
        batch: int,
        rows: Examples,
        context: CheckContext,
        run: Callable[[Sequence[PooledTask]], Any] | None = None,
    ) -> None:
        self.folder, self.batch, self.rows, self.context, self._run = folder, batch, rows, context, run
        self.parts = [StoredArrays(folder / str(k)) for k in batch_numbers(len(rows), batch)]
        self._whole: dict[str, NDArray[Any]] = {}

    def whole(self, name: str) -> NDArray[Any]:
        """Return a column of all rows."""
        path = self.folder / f"all.{name}.npy"
        if name not in self._whole:
            if not path.exists():
                first = self.parts[0][name]
                shape = (sum(len(part[name]) for part in self.parts), *first.shape[1:])
                copied = (part[name].tobytes() for part in self.parts)  # no two parts are in memory
                with writing_to(self.folder):
                    write_atomic(path, chain([_header(first.dtype, shape)], copied))
            self._whole[name] = mapped(path)
        return self._whole[name]

    def put(self, name: str, column: NDArray[Any]) -> None:
        """Add a column that `whole` returns."""
        with writing_to(self.folder):
            save(self.folder / "all", {name: column})

    def release(self) -> None:
        """Free the memory of columns that can be read again."""
        for column in self._whole.values():
            base: Any = column.base
            base._mmap.madvise(mmap.MADV_DONTNEED)

    def each(
        self, function: Callable[..., Arrays], arguments: Sequence[Sequence[Any]], *, here: bool = False
    ) -> Iterable[Arrays]:
        """Yield what a function of a module makes of these columns and each of `arguments`; their first one differs.

        Args:
            function: Returns arrays.
            arguments: JSON.
            here: Whether it runs in this process.
        """
        if here or self._run is None:
            return (function(self, *own) for own in arguments)
        name, some = function.__name__, {"folder": str(self.folder), "module": function.__module__}
        task = "tuneworthy.dataset.stages:run_function"
        self._run(
            [
                PooledTask(task, some | {"name": name, "arguments": list(own)}, self.folder / f"{name}-{own[0]}.done")
                for own in arguments
            ]
        )
        return [StoredArrays(self.folder / f"{name}-{own[0]}") for own in arguments]


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
        with TemporaryDirectory() as folder:
            for number, some in enumerate(batches_of(rows)):
                save(Path(folder) / str(number), read(some))
            yield from self.join(RowColumns(Path(folder), BATCH, rows, context), rows, context)


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
    new = np.zeros(len(table), bool)
    new[:1] = True
    for column in table.T:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    first = np.empty(len(table), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(table)), 0))]
    first[first == np.arange(len(table))] = -1
    return first


def batch_numbers(n_rows: int, batch: int) -> range:
    return range(max(1, -(-n_rows // batch)))


def mapped(path: Path) -> NDArray[Any]:
    """Return an array of a file, read on access."""
    loaded: NDArray[Any] = np.load(path, mmap_mode="r")
    return loaded.view(np.ndarray)  # the items of a memory map itself take four times as long


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def save(stem: Path, arrays: Arrays) -> None:
    """Write arrays to files that `StoredArrays` reads."""
    for name, column in arrays.items():
        content = [_header(column.dtype, column.shape), np.ascontiguousarray(column).tobytes()]
        write_atomic(Path(f"{stem}.{name}.npy"), content)
