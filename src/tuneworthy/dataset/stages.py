"""A build in stages: checks run over batches of rows as tasks that read and write files.

The folder of a check is named by all that its findings depend on, and each task leaves a marker. So a build that was
killed resumes, with any number of workers and any engine.

    <folder>/starts-<hash>.npy          where each row of the file begins
             <check>-<hash>/stage.json          the check, the file of rows, the context
                            cases.jsonl         cases that no row may overlap with
                            places.npy          places of the rows in their file
                            changed.jsonl       rows that earlier checks changed, at the places in changed.npy
                            <k>.done            marker of a batch
                            <k>.jsonl           its findings, or
                            <k>.<column>.npy    its columns (see `columns.MappedCheck`)
"""

import mmap
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import lru_cache, partial
from importlib import import_module
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from xxhash import xxh3_128

from tuneworthy import __version__
from tuneworthy.cases.writer import json_lines
from tuneworthy.dataset.base import BATCH, CheckContext, DataCheck, RowFinding, RowFindings, data_checks
from tuneworthy.dataset.columns import Arrays, MappedCheck, Mapper, RowColumns
from tuneworthy.dataset.records import row_of
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.executors import Engine, PooledTask, TaskPool, run_tasks, writing_to
from tuneworthy.store.folder import write_atomic
from tuneworthy.store.lines import read_lines
from tuneworthy.store.shapes import parsed
from tuneworthy.types import UNLABELLED, Case, Example, JsonObject, Say, positional

# Batches of few rows, so that all workers have some.
PARTS = 8


@positional
class StagedBatches:
    """Where and how the batches of checks run.

    Attributes:
        folder: Gets the files that tasks exchange; all machines share it.
        engine: What runs the tasks.
        workers: Tasks at a time; see `run_tasks`.
        batch: Rows of a task at most; `PARTS` tasks or more share few rows.
        say: Gets a sentence when tasks start.
        pool: Processes that run the tasks of all checks; see `pooled`.
    """

    folder: Path
    engine: Engine
    workers: int | None = None
    batch: int = BATCH
    say: Say = lambda _: None
    pool: TaskPool | None = None

    @contextmanager
    def pooled(self) -> Iterator["StagedBatches"]:
        """Yield the same batches with processes that stay from check to check."""
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with TaskPool(self.engine, self.folder.resolve() / "tasks.log", self.workers) as pool:
            yield replace(self, pool=pool)

    def findings(
        self, check: DataCheck, rows: StoredRows, context: CheckContext
    ) -> tuple[Iterator[RowFindings], int] | None:
        """Return the findings on each batch and the rows of a batch; None for a check that runs in one process.

        A check of all rows has one batch.
        """
        mapped = check.examine if isinstance(check.examine, MappedCheck) else None
        if check.calls or check.name not in data_checks() or (check.whole and not mapped):
            return None
        batch = min(self.batch, max(1, -(-len(rows) // PARTS)))  # whatever the workers: other workers resume
        with writing_to(self.folder):
            folder = self._prepared(check, rows, context, batch)
        numbers = _batches(rows, batch)
        run = partial(run_tasks, engine=self.engine, folder=folder, workers=self.workers, pool=self.pool, say=self.say)
        run(
            [
                PooledTask(f"{__name__}:run_batch", {"folder": str(folder), "number": k}, folder / f"{k}.done")
                for k in numbers
            ]
        )
        if mapped:
            return iter([mapped.join(_StoredColumns(folder, batch, rows, context, run), rows, context)]), len(rows)
        return (read_lines(folder / f"{k}.jsonl", RowFinding) for k in numbers), batch

    def _prepared(self, check: DataCheck, rows: StoredRows, context: CheckContext, batch: int) -> Path:
        """Write what the tasks of a check read, and return its folder."""
        cases = b"".join(json_lines(map(_case_row, context.cases)))
        changed = sorted(rows.changed)
        lines = [*json_lines(row_of(rows.changed[place]) for place in changed)]
        about = {"check": check.name, "version": [__version__, check.version], "settings": check.settings,
                 "rows": str(rows.path), "labels": list(context.labels), "rated": context.rated, "seed": context.seed,
                 "batch": batch}  # fmt: skip
        stage = orjson.dumps(about)
        key = xxh3_128(stage)
        for part in (cases, rows.places.tobytes(), *lines):
            key.update(part)
        folder = (self.folder / f"{check.name}-{key.hexdigest()}").resolve()
        if not (folder / "stage.json").exists():
            starts = self.folder / f"starts-{rows.path.parent.name}.npy"
            if not starts.exists():
                _save(starts, rows.starts)
            _save(folder / "places.npy", rows.places)
            _save(folder / "changed.npy", np.array(changed, np.int64))
            write_atomic(folder / "changed.jsonl", lines)
            write_atomic(folder / "cases.jsonl", cases)
            write_atomic(folder / "stage.json", orjson.dumps({**about, "starts": str(starts.resolve())}))
        return folder

    def clear(self) -> None:
        """Remove the files of all checks: the version that they were made for exists."""
        for path in self.folder.glob("*-*/stage.json"):
            shutil.rmtree(path.parent)
        for path in (*self.folder.glob("starts-*.npy"), self.folder / "tasks.log"):
            path.unlink(missing_ok=True)


def _batches(rows: StoredRows, batch: int) -> range:
    return range(max(1, -(-len(rows) // batch)))


def _case_row(case: Case) -> JsonObject:
    row = {one.name: getattr(case, one.name) for one in fields(case)}
    return {name: value for name, value in row.items() if value is not UNLABELLED}


class _ChangedRows(Mapping[int, Example]):
    """Rows that earlier checks changed, by place."""

    def __init__(self, folder: Path) -> None:
        self._numbers = {place: n for n, place in enumerate(np.load(folder / "changed.npy").tolist())}
        self._rows = StoredRows(folder / "changed.jsonl")

    def __getitem__(self, place: int) -> Example:
        return self._rows.at(self._numbers[place])

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, place: object) -> bool:
        return place in self._numbers


@lru_cache(maxsize=1)
def _opened(folder: Path) -> tuple[DataCheck, StoredRows, CheckContext, Mapper | None, int]:
    """Return the check, the rows, the context, the mapper of a mapped check, and the size of a batch."""
    about = parsed((folder / "stage.json").read_bytes(), dict[str, Any], folder)
    check = data_checks()[about["check"]].configured(**about["settings"])
    rows = StoredRows(Path(about["rows"]), starts=_mapped(about["starts"]))
    context = CheckContext(
        cases=[*read_lines(folder / "cases.jsonl", Case)],
        labels=tuple(about["labels"]),
        rated=about["rated"],
        seed=about["seed"],
    )
    rows = rows.keep(_mapped(folder / "places.npy"), _ChangedRows(folder))
    examine = check.examine
    mapper = examine.mapper(rows, context) if isinstance(examine, MappedCheck) else None
    return check, rows, context, mapper, about["batch"]


def run_batch(folder: str, number: int) -> None:
    """Examine a batch of rows: a task."""
    path = Path(folder)
    check, rows, context, read, batch = _opened(path)
    some = rows.keep(rows.places[number * batch : (number + 1) * batch], rows.changed)
    if read is None:
        write_atomic(path / f"{number}.jsonl", json_lines(check.run(some, context)))
        return
    for name, column in read(some).items():
        _save(path / f"{number}.{name}.npy", column)


def run_function(folder: str, function: str, arguments: Sequence[Any]) -> None:
    """Call a function with the columns of a stage: a task."""
    module, _, name = function.partition(":")
    _, rows, context, _, batch = _opened(Path(folder))
    found = getattr(import_module(module), name)(_StoredColumns(Path(folder), batch, rows, context), *arguments)
    for column, values in found.items():
        _save(Path(folder) / f"{name}-{arguments[0]}.{column}.npy", values)


class _StoredArrays(Mapping[str, NDArray[Any]]):
    """Arrays in files, read on access."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem

    def __getitem__(self, name: str) -> NDArray[Any]:
        return _mapped(f"{self._stem}.{name}.npy")

    def __iter__(self) -> Iterator[str]:
        return (path.name.split(".")[-2] for path in self._stem.parent.glob(f"{self._stem.name}.*.npy"))

    def __len__(self) -> int:
        return len([*self])


class _StoredColumns(RowColumns):
    """Columns of batches, in files."""

    def __init__(
        self,
        folder: Path,
        batch: int,
        rows: StoredRows,
        context: CheckContext,
        run: Callable[[Sequence[PooledTask]], Any] = lambda _: None,
    ) -> None:
        super().__init__([_StoredArrays(folder / str(k)) for k in _batches(rows, batch)], rows, context, batch)
        self._folder, self._run = folder, run

    def whole(self, name: str) -> NDArray[Any]:
        path = self._folder / f"all.{name}.npy"
        if name not in self._whole:
            if not path.exists():
                parts = [part[name] for part in self.parts]
                shape = (sum(map(len, parts)), *parts[0].shape[1:])
                with writing_to(self._folder):
                    write_atomic(path, chain([_header(parts[0].dtype, shape)], (part.tobytes() for part in parts)))
            self._whole[name] = _mapped(path)
        return self._whole[name]

    def put(self, name: str, column: NDArray[Any]) -> None:
        with writing_to(self._folder):
            _save(self._folder / f"all.{name}.npy", column)

    def release(self) -> None:
        for column in self._whole.values():
            base: Any = column.base
            base._mmap.madvise(mmap.MADV_DONTNEED)

    def each(self, function: Callable[..., Arrays], arguments: Sequence[Sequence[Any]]) -> Iterable[Arrays]:
        name = function.__name__
        some = {"folder": str(self._folder), "function": f"{function.__module__}:{name}"}
        self._run(
            [
                PooledTask(
                    f"{__name__}:run_function", some | {"arguments": list(own)}, self._folder / f"{name}-{own[0]}.done"
                )
                for own in arguments
            ]
        )
        return [_StoredArrays(self._folder / f"{name}-{own[0]}") for own in arguments]


def _mapped(path: Path | str) -> NDArray[Any]:
    """Return an array of a file, read on access."""
    loaded: NDArray[Any] = np.load(path, mmap_mode="r")
    return loaded.view(np.ndarray)  # the items of a memory map itself take four times as long


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def _save(path: Path, column: NDArray[Any]) -> None:
    write_atomic(path, [_header(column.dtype, column.shape), np.ascontiguousarray(column).tobytes()])
