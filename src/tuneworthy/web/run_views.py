"""Views of runs: `verdict`, `live` (the run and the training in progress) and `history` (paired differences of runs).

Invariant of `verdict`: other values are never stored; the answer is that of `what_if`, the function that `decide` uses.
Invariant of `live`: no lock is taken, and no other process is disturbed. Invariant of `history`: only scores of all
test cases together are shown, never an answer or the score of a case.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tuneworthy.config import Project, load
from tuneworthy.config.grants import require_grants
from tuneworthy.engine.budget import Budget
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.graders.judging import ScoredAnswers
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.commands.compare import FEWEST
from tuneworthy.ladder.measurement import compare_scored
from tuneworthy.ladder.record import RungRecord, RunKind, RunRecord, read_record, record_from
from tuneworthy.ladder.session import PROMPT, Session, data_changes, required_run, setting_changes
from tuneworthy.ladder.task_data import read_data
from tuneworthy.money.economics import money_sentence
from tuneworthy.providers.prices import price_for
from tuneworthy.report import first_screen, tables
from tuneworthy.report.names import differences, for_people, names_of, option_name
from tuneworthy.report.text import (
    Column,
    Table,
    amount,
    dollars,
    integer,
    name_column,
    percent,
    percent_range,
    plain,
    points,
    points_range,
    text_column,
)
from tuneworthy.retrieval.library import documents_path
from tuneworthy.stats.paired import PairedResult
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.store.history import kept_records
from tuneworthy.text import readable_minutes
from tuneworthy.train.phases import TrainingState, read_training
from tuneworthy.types import JsonObject, frozen
from tuneworthy.verdict.answer import StoredVerdict, Verdict, answer_of, domain_sentence, serving_sentence
from tuneworthy.verdict.base import GateResult
from tuneworthy.verdict.options import Option
from tuneworthy.verdict.run import Changes, what_if
from tuneworthy.web.state import UiState

# Columns of the options: their scores, and their costs.
SCORED = ("option", "score", "ci95", "delta_vs_today", "delta_ci", "target", "on_distinct_cases", "needs")
PRICED = ("option", "usd_per_month", "usd_per_1k", "one_off_usd", "p50", "p95", "memory_mib", "share_sent")
PRICES = {"input": "input_usd_per_mtok", "output": "output_usd_per_mtok"}
# A number with a decimal point, outside words.
_DECIMAL = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e-?\d+)?(?![\w.])")
TRAINING = (
    name_column("reason", "reason"),
    Column("status", "status", kind="status"),
    text_column("evidence", "evidence", lambda row: plain(row.evidence), most=0),
)
# Files of the store that a verdict depends on.
STORED = ("split.json", "comparisons.json", "run.json")
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
# One thread for all verdicts: the store of a session belongs to the thread that opened it.
_THREAD = ThreadPoolExecutor(1, "verdict")


def verdict(state: UiState, query: Mapping[str, str]) -> JsonObject:
    """Return the verdict with the values of the query, and the values of the project file.

    Args:
        state: The project.
        query: `target`, `traffic`, and `input:MODEL` and `output:MODEL` for US dollars a million tokens.

    Raises:
        UserError: A value is no number, or not allowed; or there is no run.
    """
    return _THREAD.submit(_read, state, changes_of(query)).result()


def changes_of(query: Mapping[str, str]) -> Changes:
    paths = {"target": ("task", "target"), "traffic": ("economics", "requests_per_month")}
    changes: dict[tuple[str, ...], float | None] = {}
    for name, text in query.items():
        kind, _, model = name.partition(":")
        path = ("models", model, PRICES[kind]) if model and kind in PRICES else paths.get(name)
        if path is None:
            raise UserError(f"{name!r} is no value that can be changed here.")
        try:
            changes[path] = float(text)
        except ValueError:
            raise UserError(f"{text!r} is not a number.") from None
    return changes


def _read(state: UiState, changes: Changes) -> JsonObject:
    project = load(state.root)
    if unknown := [path[1] for path in changes if path[0] == "models" and path[1] not in project.models]:
        raise UserError(f"The project has no model {unknown[0]!r}.")
    record = required_run(project)
    return content_of(project, record, asyncio.run(what_if(_session(state, project), changes)), changes)


def _recommended(label: str, option: Option | None) -> JsonObject:
    if option is None:
        return {"label": label, "option": "", "score": "", "interval": ""}
    interval = percent_range(option.ci95)
    return {"label": label, "option": option_name(option), "score": percent(option.score), "interval": interval}


def content_of(project: Project, record: RunRecord, found: Verdict, changes: Changes) -> JsonObject:
    """Return what the page shows of a verdict, in words for people, and the verdict as `decide --json` has it."""
    prices = {name: price_for(project.models[name]) for name in project.untuned if name not in project.forms}
    shown, target = for_people(found, names_of(record)), changes.get(("task", "target"), project.task.target)
    step = first_screen.next_step(record, StoredVerdict(verdict=shown, changed=[]))
    names, options = {one.option: one for one in shown.options}, tables.options_table(shown, target)
    why = [plain(reason) for reason in shown.reasons]
    return {
        "verdict": found.to_dict(),
        "outcome": found.outcome,
        "answer": answer_of(found),
        "sentence": first_screen.in_short(why[0]),
        "reasons": why,
        "details": [plain(one) for one in (serving_sentence(shown), domain_sentence(shown)) if one],
        "money": plain(money_sentence(shown.economics)),
        "recommendations": [
            _recommended("Recommendation", names.get(shown.recommendation or "")),
            _recommended("Best within today's bill", names.get(shown.best_within_bill or "")),
        ],
        "after": list(shown.after_gates),
        "options": [
            replace(options.only(*SCORED).filled(), title="Options").cells(),
            replace(options.only(*PRICED).filled(), title="Cost and latency of each option", note="").cells(),
        ],
        "gates": [
            {"stage": stage.replace("_", " "), "table": tables.gates_table(rows).cells(), "evidence": evidence_of(rows)}
            for stage, rows in ((stage, list(rows)) for stage, rows in groupby(shown.gates, lambda gate: gate.stage))
        ],
        "training": Table.of("Reasons to train", TRAINING, shown.training.reasons).cells(),
        "method": plain(shown.training.why),
        "next": {"command": step.command, "why": step.why},
        "valid_until": shown.valid_until,
        "would_change": [plain(one) for one in shown.would_change],
        "stale": [plain(one) for one in shown.stale],
        "values": {
            "target": project.task.target,
            "traffic": project.economics.requests_per_month,
            "models": [
                {"model": name, "input": rates and rates.input, "output": rates and rates.output}
                for name, price in prices.items()
                for rates in [price and price.rates]
            ],
        },
        "lines": toml_lines(changes),
        "repeat": ("task", "target") in changes and changes["task", "target"] != project.task.target,
    }


def evidence_of(gates: list[GateResult]) -> list[list[list[str]]]:
    """Return the numbers by gate, as pairs of a name and a text."""
    return [
        [[name.replace("_", " "), _text(value)] for name, value in gate.evidence.items() if value not in (None, {}, [])]
        for gate in gates
    ]


def _text(value: object) -> str:
    content = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return value if isinstance(value, str) else _DECIMAL.sub(_short, content.decode())


def _short(found: re.Match[str]) -> str:
    value = float(found[0])
    return f"{round(value, 4):.15g}" if abs(value) >= 0.001 else f"{value:.2g}"


def toml_lines(changes: Changes) -> str:
    """Return the lines of the project file that set these values.

    >>> print(toml_lines({("task", "target"): 0.9, ("models", "gpt.4", "input_usd_per_mtok"): 2.0}))
    [task]
    target = 0.9
    <BLANKLINE>
    [models."gpt.4"]
    input_usd_per_mtok = 2
    """
    parts = []
    for table, paths in groupby(sorted(changes, key=lambda path: path[:-1]), key=lambda path: path[:-1]):
        name = ".".join(one if _BARE.issuperset(one) else orjson.dumps(one).decode() for one in table)
        parts.append("\n".join([f"[{name}]", *(f"{path[-1]} = {changes[path]:.15g}" for path in paths)]))
    return "\n\n".join(parts)


def _session(state: UiState, project: Project) -> Session:
    """Return the session of the project; it stays open until a file that it was read from changes."""
    stamp = input_stamp(project)
    before, session = state.cache.get("verdict", (None, None))
    if session is None or before != stamp:
        require_grants(project)
        if session:
            session.runner.store.close()
        folder = Folder(project.root)
        session = Session(project, read_data(project), ResponseStore(folder.responses), None, Budget(None))
        session.runner.calls = False
        state.cache["verdict"] = stamp, session
    found: Session = session
    return found


def input_stamp(project: Project) -> Any:
    """Return times and sizes of the files that a session is read from."""
    root, documents = project.root, documents_path(project)
    paths = {*filter(Path.is_file, root.iterdir()), *(root / ".tuneworthy" / name for name in STORED)}
    paths |= {project.path(one.path) for one in (project.cases, project.examples) if one}
    paths |= {documents, *documents.rglob("*")} if documents else set()
    return sorted(filter(None, map(_file, paths)))


def _file(path: Path) -> tuple[str, int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return str(path), found.st_mtime_ns, found.st_size
    return None


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
