"""A build in stages: checks run over batches of rows as tasks that read and write files.

The folder of a check is named by all that its findings depend on, and each task leaves a marker. So a build that was
killed resumes, with any number of workers and any engine.

    <folder>/starts-<hash>.lines.npy    where each row of the file begins
             <check>-<hash>/stage.json          the check, the file of rows, the context
                            cases.jsonl         cases that no row may overlap with
                            rows.places.npy     places of the rows in their file
                            changed.jsonl       rows that earlier checks changed, at the places in rows.changed.npy
                            <k>.done            marker of a batch
                            <k>.jsonl           its findings, or
                            <k>.<column>.npy    its columns (see `columns.MappedCheck`)
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from xxhash import xxh3_128

from tuneworthy import __version__
from tuneworthy.cases.writer import json_lines
from tuneworthy.dataset.base import BATCH, CheckContext, DataCheck, RowFinding, RowFindings, data_checks
from tuneworthy.dataset.columns import MappedCheck, Mapper, RowColumns, batch_numbers, mapped, save
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
        folder: Gets the files that tasks exchange, of one project. All machines share it and the project folder.
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
        steps = check.examine if isinstance(check.examine, MappedCheck) else None
        if check.calls or check.name not in data_checks() or (check.whole and not steps):
            return None
        batch = min(self.batch, max(1, -(-len(rows) // PARTS)))  # whatever the workers: other workers resume
        with writing_to(self.folder):
            folder = self._prepared(check, rows, context, batch)
        numbers = batch_numbers(len(rows), batch)
        run = partial(run_tasks, engine=self.engine, folder=folder, workers=self.workers, pool=self.pool, say=self.say)
        run(
            [
                PooledTask(f"{__name__}:run_batch", {"folder": str(folder), "number": k}, folder / f"{k}.done")
                for k in numbers
            ]
        )
        if steps:
            return iter([steps.join(RowColumns(folder, batch, rows, context, run), rows, context)]), len(rows)
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
            starts = self.folder / f"starts-{rows.path.parent.name}.lines.npy"
            if not starts.exists():
                save(self.folder / f"starts-{rows.path.parent.name}", {"lines": rows.starts})
            save(folder / "rows", {"places": rows.places, "changed": np.array(changed, np.int64)})
            write_atomic(folder / "changed.jsonl", lines)
            write_atomic(folder / "cases.jsonl", cases)
            write_atomic(folder / "stage.json", orjson.dumps({**about, "starts": str(starts.resolve())}))
        return folder

    def clear(self) -> None:
        """Remove the files of all checks: the version that they were made for exists."""
        removed = self.folder.with_name(f"{self.folder.name}.removed")  # at once: killed, half of them would be trusted
        with writing_to(self.folder), suppress(FileNotFoundError):
            shutil.rmtree(removed, ignore_errors=True)
            self.folder.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)


def _case_row(case: Case) -> JsonObject:
    row = {one.name: getattr(case, one.name) for one in fields(case)}
    return {name: value for name, value in row.items() if value is not UNLABELLED}


class _ChangedRows(dict[int, Any]):
    """Rows that earlier checks changed, by place, read on access."""

    def __init__(self, folder: Path) -> None:
        super().__init__((place, n) for n, place in enumerate(mapped(folder / "rows.changed.npy").tolist()))
        self._rows = StoredRows(folder / "changed.jsonl")

    def __getitem__(self, place: int) -> Example:
        return self._rows.at(super().__getitem__(place))


@lru_cache(maxsize=1)
def _opened(folder: Path) -> tuple[DataCheck, StoredRows, CheckContext, Mapper | None, int]:
    """Return the check, the rows, the context, the mapper of a mapped check, and the size of a batch."""
    about = parsed((folder / "stage.json").read_bytes(), dict[str, Any], folder)
    check = data_checks()[about["check"]].configured(**about["settings"])
    rows = StoredRows(Path(about["rows"]), starts=mapped(Path(about["starts"])))
    context = CheckContext(
        cases=[*read_lines(folder / "cases.jsonl", Case)],
        labels=tuple(about["labels"]),
        rated=about["rated"],
        seed=about["seed"],
    )
    rows = rows.keep(mapped(folder / "rows.places.npy"), _ChangedRows(folder))
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
    save(path / str(number), read(some))


def run_function(folder: str, module: str, name: str, arguments: Sequence[Any]) -> None:
    """Call a function with the columns of a stage: a task."""
    path = Path(folder)
    _, rows, context, _, batch = _opened(path)
    found = getattr(import_module(module), name)(RowColumns(path, batch, rows, context), *arguments)
    save(path / f"{name}-{arguments[0]}", found)
