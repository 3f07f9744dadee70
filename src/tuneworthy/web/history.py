"""The view `history`: every run, its best variant, and the paired difference to the run before.

Invariant: only scores of all test cases together are shown, never an answer or the score of a case.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np

from tuneworthy.config import Project, load
from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.judging import ScoredAnswers
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.commands.compare import FEWEST
from tuneworthy.ladder.measurement import compare_scored
from tuneworthy.ladder.provenance import PROMPT, data_changes, setting_changes
from tuneworthy.ladder.record import RungRecord, RunKind, RunRecord, read_record, record_from
from tuneworthy.ladder.session import Session
from tuneworthy.report.names import differences, names_of
from tuneworthy.report.table import Column, Table, text_column
from tuneworthy.report.text import amount, integer, percent, percent_range, plain, points, points_range
from tuneworthy.stats.paired import PairedResult
from tuneworthy.store import Folder
from tuneworthy.store.history import kept_records
from tuneworthy.types import JsonObject, frozen
from tuneworthy.web.state import UiState
from tuneworthy.web.verdict_view import input_stamp

KINDS: tuple[RunKind, ...] = ("run", "quick")
NOTE = (
    "The difference is paired: the stored answers of both best variants to the test cases of both runs, scored by the "
    "project's grader now. It is a description and uses up no alpha. A quick run has scores on dev only."
)


@frozen
class PastRun:
    """A run in the history.

    Attributes:
        time: Its end.
        record: The run.
        difference: To the run before, if both have enough stored answers.
        changed: From the run before, in words.
    """

    time: datetime
    record: RunRecord
    difference: PairedResult | None = None
    changed: str = ""

    @property
    def best(self) -> RungRecord | None:
        """The row of the best variant; of a quick run, the row of the candidate that leads on dev."""
        if not self.record.quick:
            return best_of(self.record)
        rows = [row for row in self.record.rungs if row.candidates]
        return max(rows, key=lambda row: row.candidates[0].score, default=None)

    @property
    def shown(self) -> Any:
        """What has its score and interval."""
        return self.best.candidates[0] if self.record.quick and self.best else self.best

    @property
    def name(self) -> str | None:
        if self.best is None:
            return None
        name = names_of(self.record).get(str(self.best.name), self.best.name)
        return f"{name} (agreement with {self.record.agreement})" if self.record.agreement else name


COLUMNS = (
    text_column("time", "end", lambda run: f"{run.time.astimezone():%Y-%m-%d %H:%M}"),
    Column("n", "cases", value=lambda run: f"{run.record.n_dev} dev" if run.record.quick else run.record.n_test),
    text_column("rungs", "rungs", lambda run: ", ".join(row.rung for row in run.record.rungs), most=0),
    text_column("best", "best variant", attrgetter("name"), most=0),
    Column("score", "score", percent, value=lambda run: run.shown and run.shown.score),
    Column("ci95", "95% interval", percent_range, value=lambda run: run.shown and run.shown.ci95),
    Column("cost", "$", amount, value=attrgetter("record.cost_usd")),
    Column("delta", "vs run before", points, value=lambda run: run.difference and run.difference.delta),
    Column(
        "delta_ci", "difference, 95% interval", points_range, value=lambda run: run.difference and run.difference.ci
    ),
    Column("both", "cases of both", integer, value=lambda run: run.difference and run.difference.n),
    text_column("changed", "changed since the run before", attrgetter("changed"), most=0),
)


def history(state: UiState, query: Mapping[str, str]) -> JsonObject:
    """Return all runs, the newest first, and the run that is not finished."""
    folder = Folder(state.root)
    runs = _compared(state, past_runs(folder))
    open_runs = [one for name in KINDS if (one := read_record(folder, name, unfinished=True))]
    full = [run for run in reversed(runs) if not run.record.quick and run.shown]
    full = [run for run in full if run.record.agreement == full[-1].record.agreement]  # agreement is no score
    return {
        "table": Table.of("Runs", COLUMNS, runs, NOTE).filled().cells(),
        "unfinished": [plain(f"Incomplete run: {one.partial.rstrip('.')}.") for one in open_runs],
        "chart": [
            {"time": f"{run.time.astimezone():%Y-%m-%d %H:%M}", "score": run.shown.score, "ci95": run.shown.ci95}
            for run in full
        ],
        "measure": full[-1].record.measure if full else "",
        "target": full[-1].record.target if full else None,
    }


def _compared(state: UiState, runs: list[PastRun]) -> list[PastRun]:
    """Return the runs with the changes since the one before of the same kind; differences are computed once."""
    with state.lock:
        known: dict[Any, PairedResult | None] = state.cache.setdefault("history", {})
    project = load(state.root)
    stamp = str(input_stamp(project))  # a label or a grader that changes, changes all scores
    found = {id(run): run for run in runs}
    for quick in (False, True):
        for run, before in pairwise(one for one in runs if one.record.quick is quick):
            key = before.time, run.time, stamp
            if key not in known and not quick:
                known[key] = _difference(project, before.record, run.record)
            found[id(run)] = PastRun(
                time=run.time,
                record=run.record,
                difference=known.get(key),
                changed=plain("; ".join(changes_between(before.record, run.record))) or "nothing",
            )
    return [found[id(run)] for run in runs]


def best_of(record: RunRecord) -> RungRecord | None:
    return next((row for row in record.rungs if record.best and row.variant == record.best.variant), None)


def changes_between(before: RunRecord, after: RunRecord) -> list[str]:
    """Return the changes from one run to a later one, in words."""
    then, now = before.provenance, after.provenance
    old, today = (one.variant_of(row) if (row := one.rung("baseline")) else None for one in (before, after))
    a, b = (one.variant_of(row) if (row := best_of(one)) else None for one in (before, after))
    is_edited = old and today and any(getattr(old, name) != getattr(today, name) for name in PROMPT)
    return [
        *data_changes(then, now),
        *["the prompt has changed"] * bool(is_edited),
        *(f"the model {name} has been added" for name in now.models if name not in then.models),
        *(f"the model {name} has been removed" for name in then.models if name not in now.models),
        *setting_changes(then, now.settings),
        *[f"tuneworthy was {then.tuneworthy} and is now {now.tuneworthy}"] * (then.tuneworthy != now.tuneworthy),
        *(["the best variant was {} and is now {}".format(*differences(a, b))] if a and b and a.id != b.id else []),
    ]


def _difference(project: Project, before: RunRecord, after: RunRecord) -> PairedResult | None:
    """Return the difference of the best variants on the test cases whose answers of both are stored."""
    with open_answers(project) as opened:
        try:
            a, b = [asyncio.run(_scored(opened.session, one)) for one in (before, after)]
        except TuneworthyError:  # a judge's verdict that is not stored, or a grader that cannot be opened
            return None
        if np.isfinite(a.num + b.num).sum() < FEWEST:
            return None
        return compare_scored(opened.session, opened.session.split.test, a, b)[0]


async def _scored(session: Session, record: RunRecord) -> ScoredAnswers:
    cases, row = session.split.test, best_of(record)
    variant = record.variant_of(row) if row else None
    traces = session.stored(variant, cases, repeats=row.repeats) if row and variant else []
    num, den, _ = await session.score(traces, cases)
    if session.judging:
        await session.judging.learn(cases, traces)
    return ScoredAnswers(traces=traces, num=num, den=den)


def past_runs(folder: Folder) -> list[PastRun]:
    """Return all whole runs, the newest first; of runs before there was a history, only the last one is known.

    Raises:
        UserError: A record cannot be read.
    """
    found = []
    for time, name in kept_records(folder):
        found.append(PastRun(time=time, record=record_from(folder.read(name, dict), name)))
    for name in () if found else KINDS:
        if earlier := read_record(folder, name):
            end = (folder.path / f"{name}.json").stat().st_mtime
            found.append(PastRun(time=datetime.fromtimestamp(end, UTC), record=earlier))
    return found
