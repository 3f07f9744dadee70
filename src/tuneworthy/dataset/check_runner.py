"""Runs data checks, one after the other, over rows on disk; what they find is counted and stored.

The framework, not the check, applies the policy, drops rows, counts, times and stores the rejects. A check that
examines rows one by one gets them in batches; one that needs the whole set gets a sequence that reads rows on access.

    <cache>/<nn>-<check>.jsonl    all that the check found, a line each, then how long it took

With a cache, a run that was killed resumes after the last check that finished. The caller names the folder by all
that the result depends on.
"""

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from tuneworthy import processes
from tuneworthy.arrays import Bools, Ints
from tuneworthy.cases.writer import json_lines
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import (
    BATCH,
    WHOLE_SET,
    CheckContext,
    DataCheck,
    RowFinding,
    RowFindings,
    are_many,
    data_checks,
)
from tuneworthy.dataset.columns import batches_of
from tuneworthy.dataset.effect import EffectMeter
from tuneworthy.dataset.records import (
    Action,
    CheckRecord,
    CodeCounts,
    DataGate,
    Effect,
    RowLine,
    RowPlace,
    SetFinding,
)
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.dataset.stages import StagedBatches
from tuneworthy.errors import UserError
from tuneworthy.store import write_atomic
from tuneworthy.store.shapes import DamagedRecord, parsed
from tuneworthy.types import Example, Say, grouped, positional

# Details of a finding that a question lists.
_SHOWN = 8
# Seconds between two sentences on how far a check is, and rows after which the time is looked at.
EVERY_S = 10.0
SPACING = 1024
# Check and row to the row as the check may see it.
View = Callable[[str, Example], Example]
# What the user decided about findings, by code or by check.
Policy = Mapping[str, Action]


@dataclass(frozen=True)
class Stage:
    """What one check did.

    Attributes:
        check: The configured check.
        n_in: Rows that it examined.
        decisions: Its findings after the policy; their rows are places in the file.
        seconds: How long it took.
        effect: What it does to accuracy that its rows leave; None if it asks for none to leave.
    """

    check: DataCheck
    n_in: int
    decisions: Sequence[RowFinding]
    seconds: float
    effect: Effect | None = None

    @cached_property
    def dropped(self) -> dict[int, RowFinding]:
        """The rows that leave, by place: each with the first finding that drops it."""
        return {one.row: one for one in reversed(self.decisions) if one.action == "drop"}

    @property
    def repeats(self) -> dict[int, int | None]:
        return {place: one.other for place, one in self.dropped.items()}

    @cached_property
    def changed(self) -> dict[int, Example]:
        return {one.row: one.changed for one in self.decisions if one.changed is not None}

    @property
    def on_retained(self) -> Iterator[RowFinding]:
        return (one for one in self.decisions if one.row == WHOLE_SET or one.row not in self.dropped)

    def record(self) -> CheckRecord:
        places: dict[Action, set[int]] = {"drop": set(), "mask": set(), "report": set()}
        reasons: dict[str, CodeCounts] = {}
        codes = self.check.codes
        for one in (*self.dropped.values(), *self.on_retained):
            if one.row != WHOLE_SET:
                places[one.action].add(one.row)
                counts = reasons.setdefault(one.code, CodeCounts(codes[one.code]))
                setattr(counts, one.action, getattr(counts, one.action) + 1)
        return CheckRecord(
            check=self.check.name,
            version=self.check.version,
            settings=self.check.settings,
            n_in=self.n_in,
            n_out=self.n_in - len(self.dropped),
            n_drop=len(places["drop"]),
            n_mask=len(places["mask"]),
            n_report=len(places["report"]),
            reasons=dict(sorted(reasons.items())),
            whole_set=[
                SetFinding(one.code, codes[one.code], one.message, one.score)
                for one in self.decisions
                if one.row == WHOLE_SET
            ],
            effect=self.effect,
        )


@dataclass(frozen=True)
class CheckedRows:
    """Rows after all checks.

    Attributes:
        rows: Those that stay, as they are now.
        before: All of them, as they were.
        stages: What the checks did.
        overlaps: Places of rows that overlap with a case, whatever they were dropped for.
        policy: What the user decided about findings, by code or by check.
    """

    rows: StoredRows
    before: StoredRows
    stages: Sequence[Stage]
    policy: Policy
    overlaps: frozenset[int] = frozenset()

    def rejects(self) -> Iterator[RowLine]:
        changed: dict[int, Example] = {}
        for stage in self.stages:
            now = self.before.keep(self.before.places, changed)
            for place, one in sorted(stage.dropped.items()):
                row = now.at(place)
                yield self._line(stage, one, row={"messages": list(row.messages), "meta": dict(row.meta)})
            changed |= stage.changed

    @cached_property
    def _retained(self) -> Bools:
        """Whether each place of the file has a row that stays; the last one is that of `WHOLE_SET`."""
        retained = np.zeros(len(self.rows.starts), bool)
        retained[self.rows.places] = retained[WHOLE_SET] = True
        return retained

    @property
    def dropped(self) -> Ints:
        """The places of the rows that leave."""
        return self.before.places[~self._retained[self.before.places]]

    def findings(self) -> Iterator[RowLine]:
        for stage in self.stages:
            for one in stage.on_retained:
                if self._retained[one.row]:
                    yield self._line(stage, one, action=one.action)

    def _line(self, stage: Stage, one: RowFinding, row: Any = None, action: Action | None = None) -> RowLine:
        place = RowPlace("", "") if one.row == WHOLE_SET else self._place(one.row)
        return RowLine(
            id=place.id,
            source=place.source,
            contamination=one.row in self.overlaps,
            check=stage.check.name,
            reason=one.code,
            detail=one.message,
            score=None if one.score is None else round(one.score, 6),
            other=None if one.other is None else self._place(one.other),
            row=row,
            action=action,
        )

    def _place(self, place: int) -> RowPlace:
        row = self.rows.at(place)
        return RowPlace(row.id, row.source)

    @cached_property
    def gates(self) -> list[DataGate]:
        gates = []
        for stage in self.stages:
            if barred := stage.check.gate:
                stays = (one for one in stage.on_retained if one.action == "report" and self._retained[one.row])
                remaining = Counter(one.code for one in stays if one.code in barred)
                listed = ", ".join(f"{code} (n = {n})" for code, n in sorted(remaining.items()))
                gates.append(
                    DataGate(
                        stage.check.name, not remaining, f"still present: {listed}" if listed else stage.check.blind
                    )
                )
        ran = {stage.check.name for stage in self.stages}
        off = [name for name, check in data_checks().items() if check.gate and name not in ran]
        return [*gates, *self.questions, *(DataGate(name, False, "the check is off") for name in off)]

    @property
    def questions(self) -> Iterator[DataGate]:
        """Yield a failed gate for each finding in so many rows that only the user can tell a fault from the task."""
        for stage in self.stages:
            check, decided = stage.check, self.policy.keys()
            by_code = grouped((one.code, one) for one in stage.decisions if one.code in check.asks
                              and f"{one.code}:{one.subject}" not in decided)  # fmt: skip
            for code, some in by_code.items():
                found = {one.row: one.message for one in some if one.action != "report" or one.row == WHOLE_SET}
                if decided & {code, check.name} or not are_many(len(found), stage.n_in, check.asks[code]):
                    continue
                yield DataGate(check.name, False, _question(stage, code, some, found))


def _question(stage: Stage, code: str, some: Sequence[RowFinding], found: Mapping[int, str]) -> str:
    listed = "; ".join(detail for detail, _ in Counter(found.values()).most_common(_SHOWN) if detail)
    n, action = len(found), next((one.action for one in some if one.action != "report"), "drop")
    rows = f"{n / stage.n_in:.1%} of the rows (n = {n}): {stage.check.codes[code]}"
    whole = " ".join(one.message for one in some if one.row == WHOLE_SET)
    return messages.say(
        "asks",
        found=whole or f"{rows}{f' ({listed})' if listed else ''}.",
        question="Are these rows right?" if whole else "Is that the task?",
        code=code,
        action="mask, which repairs them" if action == "mask" else action,
        one=messages.say("one", key=f"{code}:{some[0].subject}") if some[0].subject else "",
    )


def run_checks(
    path: Path,
    checks: Sequence[DataCheck],
    context: CheckContext,
    *,
    policy: Policy,
    view: View | None = None,
    meter: EffectMeter | None = None,
    cache: Path | None = None,
    some: StoredRows | None = None,
    staged: StagedBatches | None = None,
    say: Say = lambda _: None,
) -> CheckedRows:
    """Run `checks` over the rows of a file.

    Args:
        path: Rows, as an import has them.
        checks: Configured, in their order.
        context: What they may look at.
        policy: What becomes of what is found, by code and subject, code or check; else what the finding asks for.
        view: What the checks see of a row; all of it if None. Repairs get the whole row.
        meter: Measures what it costs that rows leave. Rows whose check is shown to cost accuracy are reported, unless
            the policy says of them that they leave.
        cache: Folder of what an interrupted run found; named by all that the result depends on.
        some: Rows of the file instead of all.
        staged: Runs batches as tasks; all in this process if None, or with a view. The findings are the same.
        say: Gets a sentence now and then.

    Raises:
        UserError: The policy masks what the check cannot mask, or a check yields a code that it does not describe.
    """
    gc.freeze()  # collections would visit all imported modules again and again
    before = rows = StoredRows(path) if some is None else some
    stages = []
    changed = dict(rows.changed)
    for number, check in enumerate(checks):
        file = cache / f"{number:02}-{check.name}.jsonl" if cache else None
        stage = _stored(file, check, len(rows)) if file else None
        if stage is None:
            say(f"Running the check {check.name} on {len(rows)} rows")
            started = time.perf_counter()
            decisions = [
                _decide(check, one, rows, policy)
                for one in _findings(
                    check, rows.viewed(_counted(check.name, len(rows), say, view)), context, None if view else staged
                )
            ]
            stage = Stage(check, len(rows), decisions, time.perf_counter() - started)
            if meter is not None and stage.dropped:
                stage = _measured(stage, rows, meter, policy, say)
            if file:
                # the last line says that the file is whole
                write_atomic(file, json_lines([*stage.decisions, StageEnd(stage.n_in, stage.seconds, stage.effect)]))
        processes.release_memory()
        stages.append(stage)
        changed |= stage.changed
        rows = rows.keep(
            rows.places[~np.isin(rows.places, np.fromiter(stage.dropped, np.int64, len(stage.dropped)))],
            dict(changed),
        )
    return CheckedRows(rows, before, stages, policy=policy)


def _counted(check: str, n_rows: int, say: Say, view: View | None) -> Callable[[Example], Example]:
    """Return a view of rows that says now and then how many of `n_rows` the check has read."""
    n_read, last = 0, time.monotonic()

    def read(row: Example) -> Example:
        nonlocal n_read, last
        n_read += 1
        if n_read % SPACING == 0 and (now := time.monotonic()) - last >= EVERY_S:
            last = now
            say(f"{check}: {n_read:,} rows read so far (rows in the set: {n_rows:,})")
        return view(check, row) if view else row

    return read


def _findings(check: DataCheck, rows: StoredRows, context: CheckContext, staged: StagedBatches | None) -> RowFindings:
    """Yield what `check` finds, about positions in `rows`; a finding on the set that several batches repeat, once."""
    parts = [rows] if check.whole else batches_of(rows)
    in_this_process = (check.run(some, context) for some in parts), BATCH
    found, step = (staged and staged.findings(check, rows, context)) or in_this_process
    on_set = set()
    for number, some in enumerate(found):
        first = number * step
        for one in some:
            if one.row != WHOLE_SET:
                yield replace(one, row=one.row + first, other=None if one.other is None else one.other + first)
            elif check.whole or (one.code, one.message) not in on_set:
                on_set.add((one.code, one.message))
                yield one


def _decide(check: DataCheck, finding: RowFinding, rows: StoredRows, policy: Policy) -> RowFinding:
    code = finding.code
    if code not in check.codes:
        raise UserError(
            f"The check {check.name} reports the code {code!r}, which it does not declare. It declares only: "
            f"{', '.join(check.codes)}."
        )
    if finding.row == WHOLE_SET:
        return replace(finding, action="report")
    action = policy.get(f"{code}:{finding.subject}", policy.get(code, policy.get(check.name, finding.action)))
    changed = finding.changed if action == "mask" else None
    if action == "mask" and changed is None:
        if check.repair is None:
            raise UserError(
                f"The check {check.name} does not support the policy 'mask'.",
                hint=f"Set data.policy.{code} to drop or report.",
            )
        changed = check.repair(rows[finding.row])
    return replace(
        finding,
        row=int(rows.places[finding.row]),
        code=sys.intern(code),  # rows have the same few codes and messages
        message=sys.intern(finding.message),
        action=action,
        other=None if finding.other is None else int(rows.places[finding.other]),
        changed=changed,
    )


def _measured(stage: Stage, rows: StoredRows, meter: EffectMeter, policy: Policy, say: Say) -> Stage:
    """Return `stage` with its effect; where that is a loss, rows that no gate bars are reported instead."""
    check, started = stage.check, time.perf_counter()
    effect = meter.measure(
        rows,
        stage.repeats,
        certain=check.certain,
        begin=partial(say, f"{check.name}: measuring how dropping {len(stage.dropped)} rows changes accuracy"),
    )
    decisions = stage.decisions
    if effect.loss:
        decisions = [
            replace(one, action="report")
            if one.action == "drop"
            and one.code not in check.gate
            and not {f"{one.code}:{one.subject}", one.code, check.name} & policy.keys()
            else one
            for one in decisions
        ]
    return Stage(check, stage.n_in, decisions, stage.seconds + time.perf_counter() - started, effect)


@positional
class StageEnd:
    """The last line of a stored stage."""

    n_in: int
    seconds: float
    effect: Effect | None


def _stored(path: Path, check: DataCheck, n_in: int) -> Stage | None:
    try:
        *lines, last = path.read_bytes().splitlines()
        end = parsed(last, StageEnd, path)
        decisions = [parsed(line, RowFinding, path) for line in lines]
    except (OSError, ValueError, TypeError, DamagedRecord):
        return None
    return Stage(check, n_in, decisions, end.seconds, end.effect) if end.n_in == n_in else None
