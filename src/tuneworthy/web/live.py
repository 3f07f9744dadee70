"""The view `live`: the run and the training in progress, as far as their processes have written; read only.

Invariant: no lock is taken, and no other process is disturbed.
"""

import time
from collections.abc import Mapping
from contextlib import closing

from tuneworthy.config import Project, load
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.record import RunRecord, read_record
from tuneworthy.report import tables
from tuneworthy.report.names import for_people, names_of
from tuneworthy.report.text import dollars, integer, plain
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.text import readable_minutes
from tuneworthy.train.phases import TrainingState, read_training
from tuneworthy.types import JsonObject
from tuneworthy.web.state import UiState
from tuneworthy.web.verdict_view import input_stamp

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
