"""`data build`: the registered checks, one after the other, over rows on disk; what they find is counted and kept.

    .tuneworthy/builds/<id>/<nn>-<check>.jsonl    all that the check found, a line each, then how long it took

The framework, not the check, applies the policy, leaves rows out, counts, times and stores the rejects. The id is a
hash of all that the result depends on, so the file of a check that was done is right as it stands: a build that was
killed goes on behind it. A check that looks at rows one by one gets them in batches, one that needs the whole set gets
a sequence that reads rows when they are looked at.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from tuneworthy.cases.contamination_index import ContaminationIndex
from tuneworthy.config.data import Data
from tuneworthy.dataset.base import WHOLE_SET, Action, Check, Context, Finding, all_checks
from tuneworthy.dataset.checks.contamination import Contamination
from tuneworthy.dataset.rows import Rows, row_of
from tuneworthy.errors import UserError
from tuneworthy.store import Folder, write_atomic
from tuneworthy.types import Example, content_hash

BATCH: Final = 20_000
"""Rows that a check gets at a time if it does not need all of them."""
CODE: Final = ("cases", "curate", "grade", "retrieval")
"""Folders of ours whose code decides about rows."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding after the policy, about places in the file of rows.

    Attributes:
        place: Of the row, or `WHOLE_SET`. other: Place of the row that it repeats.
        changed: The row as `repair` left it, if the action is `mask`.
        reason, detail, score, action: As in `Finding`.
    """

    place: int
    reason: str
    action: Action
    detail: str = ""
    other: int | None = None
    score: float | None = None
    changed: dict[str, Any] | None = None


@dataclass(frozen=True)
class Stage:
    """What one check did.

    Attributes:
        check: The check. n_in: Rows that it looked at. found: What it found. seconds: How long it took.
    """

    check: Check
    n_in: int
    found: Sequence[Found]
    seconds: float

    @cached_property
    def dropped(self) -> dict[int, Found]:
        """The rows that leave, by place: each with the first finding that says so."""
        gone: dict[int, Found] = {}
        for one in self.found:
            if one.action == "drop":
                gone.setdefault(one.place, one)
        return gone

    @cached_property
    def changed(self) -> dict[int, dict[str, Any]]:
        """The rows that stay otherwise than they were, by place."""
        return {one.place: one.changed for one in self.found if one.changed is not None}

    @property
    def stayed(self) -> Iterator[Found]:
        """What was found of rows that stay, and of the set."""
        return (one for one in self.found if one.place == WHOLE_SET or one.place not in self.dropped)

    def rows(self, action: Action) -> int:
        """Return how many rows left (`drop`), were changed (`mask`), or stay with something told (`report`)."""
        if action == "drop":
            return len(self.dropped)
        return len({one.place for one in self.stayed if one.action == action and one.place != WHOLE_SET})

    def document(self) -> dict[str, Any]:
        """Return what the recipe says of it: no times."""
        counts: dict[str, Counter[str]] = {}
        for one in [*self.dropped.values(), *self.stayed]:
            if one.place != WHOLE_SET:
                counts.setdefault(one.reason, Counter())[one.action] += 1
        return {
            "check": self.check.code,
            "settings": settings_of(self.check),
            "n_in": self.n_in,
            "n_out": self.n_in - self.rows("drop"),
            **{f"n_{action}": self.rows(action) for action in ("drop", "mask", "report")},
            "reasons": {
                reason: {"words": self.check.reasons[reason], **counts[reason]} for reason in sorted(counts)
            },
            "whole_set": [
                {"reason": one.reason, "words": self.check.reasons[one.reason], "detail": one.detail,
                 "score": one.score}
                for one in self.found if one.place == WHOLE_SET
            ],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether what a check must not leave behind is gone.

    Attributes:
        check: Its name. passed: Whether nothing of it stays. detail: Why not.
    """

    check: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """Rows after all checks.

    Attributes:
        rows: Those that stay, as they are now. before: All of them, as they were. stages: What the checks did.
        gates: Of the checks that have one. overlaps: Places of rows that give a case away, whatever they left for.
    """

    rows: Rows
    before: Rows
    stages: Sequence[Stage]
    gates: Sequence[Gate]
    overlaps: frozenset[int] = frozenset()

    @property
    def failed(self) -> list[Gate]:
        """The gates that did not pass."""
        return [gate for gate in self.gates if not gate.passed]

    def contents(self) -> dict[str, Iterable[bytes]]:
        """Return the lines of the files of a version (see `freeze.FILES`)."""
        return {
            "rows.jsonl": (self.rows.line(place) for place in self.rows.places.tolist()),
            "rejects.jsonl": map(_line, self._rejects()),
            "findings.jsonl": map(_line, self._findings()),
        }

    def _rejects(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that left, each as it was when it left."""
        changed: dict[int, dict[str, Any]] = {}
        for stage in self.stages:
            now = self.before.keep(self.before.places, changed)
            for place, one in sorted(stage.dropped.items()):
                row = now.raw(place)
                yield {**self._told(stage, one), "row": {"messages": row["messages"], "meta": row.get("meta", {})}}
            changed |= stage.changed

    def _findings(self) -> Iterator[dict[str, Any]]:
        """Yield what was found of rows that stayed to the end, and of the set."""
        kept = set(self.rows.places.tolist())
        for stage in self.stages:
            for one in stage.stayed:
                if one.place == WHOLE_SET or one.place in kept:
                    yield {**self._told(stage, one), "action": one.action}

    def _told(self, stage: Stage, one: Found) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if one.place != WHOLE_SET:
            row = self.rows.raw(one.place)
            told |= {"id": row["id"], "source": row.get("source", "")}
            if one.place in self.overlaps:
                told["contamination"] = True
        told |= {"check": stage.check.code, "reason": one.reason, "detail": one.detail}
        if one.score is not None:
            told["score"] = round(one.score, 6)
        if one.other is not None:
            other = self.rows.raw(one.other)
            told["other"] = {"id": other["id"], "source": other.get("source", "")}
        return told


def _line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


# --- which checks, with which settings ----------------------------------------------------------------------------


def chosen_checks(data: Data) -> list[Check]:
    """Return the checks that run, in their order, with the settings of `[data]`.

    Raises:
        UserError: A name in `off` or `policy` is none of a check (or of a reason).
    """
    known = all_checks()
    names = {*known, *(reason for each in known.values() for reason in _class(each).reasons)}
    for key, given, allowed in (("off", data.off, set(known)), ("policy", list(data.policy), names)):
        if unknown := sorted(set(given) - allowed):
            raise UserError(f"data.{key}: expected names of checks ({', '.join(known)}), got {unknown[0]!r}")
    settings = _settings(data)
    return [factory(**settings.get(name, {})) for name, factory in known.items() if name not in data.off]


def _class(factory: Any) -> type[Check]:
    found: type[Check] = factory
    return found


def _settings(data: Data) -> dict[str, dict[str, Any]]:
    return {
        "near": {"threshold": data.near_threshold},
        "semantic": {
            "method": data.semantic,
            "threshold": data.semantic_threshold,
            "epsilon": data.semdedup_epsilon,
        },
        "contamination": {
            "n": data.contamination_n,
            "threshold": data.contamination_coverage,
        },
        "paraphrases": {
            "false_alarms": data.false_alarms,
            "n": data.contamination_n,
            "threshold": data.contamination_coverage,
        },
        "personal_data": {"engine": data.pii_engine},
        "concentration": {"cap": data.topic_cap},
        "length": {"spreads": data.length_spreads},
        "teacher_mix": {"allowed": data.teacher_mix},
    }


def settings_of(check: Any) -> dict[str, Any]:
    """Return the arguments of a check, those that it shows, so that a recipe can rebuild it."""
    named = fields(check) if is_dataclass(check) else ()
    return {one.name: getattr(check, one.name) for one in named if one.repr}


def gate_of(check: Any) -> frozenset[str]:
    """Return the reasons of a check of which nothing may stay in a version; empty if it has no gate."""
    return frozenset(getattr(check, "gate", ()))


def code_hash() -> str:
    """Return a hash of the code that decides about rows."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for path in sorted(path for folder in CODE for path in (root / folder).rglob("*")):
        if path.suffix in {".py", ".json"}:
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# --- running them -------------------------------------------------------------------------------------------------


def run_checks(
    store: Folder,
    path: Path,
    checks: Sequence[Check],
    context: Context,
    *,
    policy: Mapping[str, Action],
    depends: Any,
    say: Callable[[str], None] = lambda _: None,
) -> Built:
    """Run `checks` over the rows of a file; go on if a run was stopped.

    Args:
        store: The project's folder.
        path: Rows, as `data import` writes them.
        checks: In their order.
        context: What they may look at.
        policy: What becomes of what is found, by reason or by check; else what the finding asks for.
        depends: All that the result depends on beside code, checks and policy, JSON-able: hashes of rows, cases, ...
        say: Gets a sentence now and then.

    Raises:
        UserError: A policy masks what the check cannot mask, or a check tells what it has no words for.
    """
    parts = [[one.code, settings_of(one)] for one in checks]
    identity = content_hash([code_hash(), parts, dict(policy), depends])
    folder = store.path / "builds" / identity
    for old in folder.parent.iterdir() if folder.parent.is_dir() else ():
        if old != folder:
            shutil.rmtree(old)
    before = rows = Rows(path)
    stages: list[Stage] = []
    changed: dict[int, dict[str, Any]] = {}
    for number, check in enumerate(checks):
        file = folder / f"{number:02}-{check.code}.jsonl"
        stage = _stored(file, check, len(rows))
        if stage is None:
            say(f"{check.code}: {len(rows)} rows")
            started = time.perf_counter()
            found = [_judged(check, finding, rows, policy) for finding in _findings(check, rows, context)]
            stage = Stage(check, len(rows), found, time.perf_counter() - started)
            _store(file, stage)
        stages.append(stage)
        changed |= stage.changed
        gone = np.fromiter(stage.dropped, np.int64, len(stage.dropped))
        rows = rows.keep(np.setdiff1d(rows.places, gone, assume_unique=True), dict(changed))
    overlaps = _overlaps(stages, before.keep(np.setdiff1d(before.places, rows.places), changed), context)
    return Built(rows, before, stages, _gates(stages, rows), overlaps)


def forget(store: Folder) -> None:
    """Remove what a build kept to go on with; its result is frozen."""
    shutil.rmtree(store.path / "builds", ignore_errors=True)


def _findings(check: Check, rows: Rows, context: Context) -> Iterator[Finding]:
    """Yield what `check` finds, about positions in `rows`; what it says of the set in several batches once."""
    if check.whole:
        yield from check.find(rows, context)
        return
    told: set[tuple[str, str]] = set()
    for first in range(0, len(rows), BATCH):
        for one in check.find(rows[first : first + BATCH], context):
            if one.row == WHOLE_SET:
                if (one.reason, one.detail) not in told:
                    yield one
                told.add((one.reason, one.detail))
            else:
                other = None if one.other is None else one.other + first
                yield replace(one, row=one.row + first, other=other)


def _judged(check: Check, finding: Finding, rows: Rows, policy: Mapping[str, Action]) -> Found:
    """Return a finding after the policy, about places in the file."""
    code, reason = check.code, finding.reason
    if reason not in check.reasons:
        raise UserError(f"the check {code}: expected one of its reasons {sorted(check.reasons)}, got {reason!r}")
    if finding.row == WHOLE_SET:
        return Found(WHOLE_SET, reason, "report", finding.detail, score=finding.score)
    action = policy.get(reason, policy.get(code, finding.action))
    place = int(rows.places[finding.row])
    other = None if finding.other is None else int(rows.places[finding.other])
    found = Found(place, reason, action, finding.detail, other, finding.score)
    if action != "mask":
        return found
    repair: Callable[[Example], Example] | None = getattr(check, "repair", None)
    if repair is None:
        hint = f"set data.policy.{reason} to drop or report"
        raise UserError(f"the check {code}: expected a policy that it can carry out, got 'mask'", hint=hint)
    return replace(found, changed=row_of(repair(rows[finding.row])))


def _store(path: Path, stage: Stage) -> None:
    """Write a stage, whole or not at all; the last line says that it is whole."""
    lines = [_line({key: value for key, value in asdict(one).items() if value is not None}) for one in stage.found]
    write_atomic(path, [*lines, _line({"n_in": stage.n_in, "seconds": stage.seconds})])


def _stored(path: Path, check: Check, n_in: int) -> Stage | None:
    """Return the stage of an earlier run, or None."""
    try:
        *lines, last = path.read_bytes().splitlines()
        told = orjson.loads(last)
        found = [Found(**orjson.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError):
        return None
    return Stage(check, n_in, found, told["seconds"]) if told.get("n_in") == n_in else None


def _overlaps(stages: Sequence[Stage], gone: Rows, context: Context) -> frozenset[int]:
    """Return the places of rows that were found to give a case away, or that left before that was looked at and do.

    Args:
        stages: What the checks did. gone: The rows that left. context: What the checks looked at.
    """
    told = {one.place for stage in stages for one in stage.found
            if one.reason.startswith("overlap_") and one.place != WHOLE_SET}  # fmt: skip
    ran = [settings_of(stage.check) for stage in stages if stage.check.code == Contamination.code]
    asked = Contamination(**(ran[0] if ran else {}))
    index = ContaminationIndex(context.cases, n=asked.n, threshold=asked.threshold)
    for first in range(0, len(gone), BATCH):
        told.update(int(gone.places[first + hit.row]) for hit in index.find(gone[first : first + BATCH]))
    return frozenset(told)


def _gates(stages: Sequence[Stage], rows: Rows) -> list[Gate]:
    """Return the gates: nothing of what a check may not leave stays; a check with a gate that did not run fails."""
    kept = {WHOLE_SET, *rows.places.tolist()}
    gates = []
    for stage in stages:
        if barred := gate_of(stage.check):
            left = Counter(one.reason for one in stage.stayed
                           if one.reason in barred and one.action == "report" and one.place in kept)  # fmt: skip
            told = ", ".join(f"{n} {reason}" for reason, n in sorted(left.items()))
            gates.append(Gate(stage.check.code, not left, f"still there: {told}" if left else ""))
    ran = {stage.check.code for stage in stages}
    gates += [Gate(name, False, "the check is off") for name, each in all_checks().items()
              if gate_of(each) and name not in ran]  # fmt: skip
    return gates
