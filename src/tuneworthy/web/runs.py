"""The views `live`, the run and the training in progress, and `history`, every run and its paired difference.

Invariant of `live`: no lock is taken, and no other process is disturbed. Invariant of `history`: only scores of all
test cases together are shown, never an answer or the score of a case.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np

from tuneworthy.config import Project, load
from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.judging import ScoredAnswers
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.commands.compare import FEWEST
from tuneworthy.ladder.measurement import compare_scored
from tuneworthy.ladder.provenance import PROMPT, data_changes, setting_changes
from tuneworthy.ladder.record import RungRecord, RunKind, RunRecord, read_record, record_from
from tuneworthy.ladder.session import Session
from tuneworthy.report import tables
from tuneworthy.report.names import differences, for_people, names_of
from tuneworthy.report.table import Column, Table, text_column
from tuneworthy.report.text import amount, dollars, integer, percent, percent_range, plain, points, points_range
from tuneworthy.stats.paired import PairedResult
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.store.history import kept_records
from tuneworthy.text import readable_minutes
from tuneworthy.train.phases import TrainingState, read_training
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
    for end, name in kept_records(folder):
        found.append(PastRun(time=end, record=record_from(folder.read(name, dict), name)))
    for name in () if found else KINDS:
        if earlier := read_record(folder, name):
            written = (folder.path / f"{name}.json").stat().st_mtime
            found.append(PastRun(time=datetime.fromtimestamp(written, UTC), record=earlier))
    return found


RUNG_COLUMNS = ("rung", "status", "variant", "score", "ci95", "today", "spent")


def live(state: UiState, query: Mapping[str, str]) -> JsonObject:
    """Return the process that works on the project, its run, and its training; parts that do not exist are None."""
    project, folder = load(state.root), Folder(state.root)
    holder, training = folder.holder(), read_training(folder)
    records = [one for name in ("run", "quick") if (one := read_record(folder, name, unfinished=True)) and one.at]
    record = max(records, key=lambda one: one.at[1] if one.at else 0.0, default=None)
    return {
        "running": holder is not None,
        "process": plain(holder[2]) if holder else "",
        "run": _run(state, project, record, holder) if record else None,
        "training": _training(state, training) if training else None,
    }


def _run(state: UiState, project: Project, record: RunRecord, holder: tuple[str, float, str] | None) -> JsonObject:
    rung, since, pid = record.at or ("", 0.0, "")
    is_running, folder = holder is not None and holder[0] == pid, Folder(project.root)
    done = {row.rung for row in record.rungs}
    planned = list(dict.fromkeys([*project.ladder.rungs, *done]))
    usd, n_new = 0.0, 0
    if folder.responses.exists():
        with closing(ResponseStore(folder.responses)) as store:
            usd, n_new = store.spending(holder).usd, store.stored_since(since)
    seconds = _seconds_left(state, project, done, since, n_new) if is_running else None
    shown = for_people(record, names_of(record))
    facts = [
        ("Rung", f"{rung} ({len(done - {rung}) + 1} of {len(planned)})"),
        ("Finished rungs", ", ".join(row.rung for row in record.rungs) or "none yet"),
        ("New answers in this rung", integer(n_new)) if is_running else None,
        ("Cost of the project so far", dollars(usd)),
        ("Time left", f"{_about(seconds)}; stored answers take no time") if seconds else None,
    ]
    return {
        "kind": "Quick run" if record.quick else "Run",
        "running": is_running,
        "state": plain(record.partial[:1].upper() + record.partial[1:]),
        "facts": [one for one in facts if one],
        "done": len(done - {rung}),
        "planned": len(planned),
        "rungs": tables.ladder_table(shown).only(*RUNG_COLUMNS).filled().cells(),
        "candidates": tables.candidates_table(record).cells(),
    }


def _seconds_left(state: UiState, project: Project, done: set[str], since: float, n_new: int) -> float | None:
    """Return the time for the calls that the estimate still has, at the pace of this rung."""
    stamp = input_stamp(project)
    if state.cache.get("live", ("",))[0] != stamp:
        state.cache["live"] = stamp, Facts(project, contact=False).estimate
    estimate = state.cache["live"][1]
    if estimate is None:
        return None
    rest = [work for name, work in estimate.rungs.items() if name not in done]
    calls, seconds = sum(work.calls for work in rest), sum(work.seconds for work in rest)
    if n_new:
        seconds = max(0.0, calls - n_new) * (time.time() - since) / n_new
    return seconds or None


def _training(state: UiState, training: TrainingState) -> JsonObject:
    first = state.cache.get("live training", (None, 0, 0.0))
    if first[0] != training.phase or training.done < first[1]:
        first = state.cache["live training"] = training.phase, training.done, time.time()
    rate = (training.done - first[1]) / (time.time() - first[2] or 1.0)
    minutes = (training.total - training.done) / rate / 60 if rate and training.status == "running" else 0.0
    facts = [
        ("Phase", training.phase or "between phases"),
        ("Progress", f"{training.done} of {training.total}{training.detail}") if training.total else None,
        ("Time left in this phase", _about(60 * minutes)) if minutes else None,
        ("Started", f"{training.started.astimezone():%Y-%m-%d %H:%M}"),
        ("Last sign of life", f"{training.updated.astimezone():%Y-%m-%d %H:%M}"),
        *((f"Finished: {name}", readable_minutes(seconds / 60)) for name, seconds in training.finished.items()),
    ]
    return {
        "status": training.status,
        "running": training.status == "running",
        "facts": [[name, plain(text)] for name, text in filter(None, facts)],
        "done": training.done,
        "planned": training.total,
        "next": "" if training.status in {"running", "finished"} else "tuneworthy train",
    }


def _about(seconds: float) -> str:
    return "less than a minute" if seconds < 60 else f"at most about {readable_minutes(seconds / 60)}"
