"""The walk up the ladder: explore on dev, test the winner once, adopt or not; rung by rung, resumable.

Everything that is asked is stored first, so that a walk that was cut short, or is walked again, gives the same
record and asks nothing twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tuneworthy import __version__
from tuneworthy.config import Project
from tuneworthy.errors import UserError
from tuneworthy.evaluate.runner import Progress, usage
from tuneworthy.grade.breakdown import breakdown
from tuneworthy.ladder.base import RUNGS, Contender, Proposal, Rung, View
from tuneworthy.ladder.record import ClimbRecord, RungRecord
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.ladder.trial import answer_test, decide, first_error, measured, with_decision
from tuneworthy.ladder.variants import describe
from tuneworthy.search.race import Measured, Race, race
from tuneworthy.stats.looks import LookPlan
from tuneworthy.types import Case, RungStatus, Variant, content_hash

QUICK_DEV = 40
OUTPUT_WEIGHT = 4
"""An output token costs and takes about as much as so many input tokens."""
REFERENCE_RUNGS = ("floor", "baseline")

Say = Callable[[RungRecord], None]


def _nothing(_: object) -> None:
    """Say nothing."""


async def climb(
    project: Project,
    rungs: Sequence[str] = (),
    *,
    quick: bool = False,
    max_usd: float | None = None,
    progress: Progress | None = None,
    say: Say = _nothing,
    waiting: Callable[[str], None] = _nothing,
) -> ClimbRecord:
    """Walk the ladder of `project` and leave the record in its folder.

    Args:
        project: From `config.load`.
        rungs: Those to walk (those walked before are walked again, from the store); all if empty.
        quick: Use at most 40 dev cases and never look at test.
        max_usd: Most that this walk may spend.
        progress: Told what is asked.
        say: Told of each rung when it is done.
        waiting: Told if another process works on the project.

    Raises:
        UserError: The data or a model cannot be used, or a rung is unknown.
        BudgetSpent: The next call could exceed the budget. OutsideFault: A provider is down. Both can go on later.
    """
    check_rungs(rungs)
    async with open_session(project, progress=progress, max_usd=max_usd, waiting=waiting) as session:
        last = session.folder.read("climb")
        walked = {record["rung"] for record in last["rungs"]} if last and rungs else set()
        wanted = set(rungs) | walked or set(project.ladder.rungs)
        record = await Climb(session, quick=quick, say=say).walk(sorted(wanted))
        session.folder.write("quick" if quick else "climb", record.to_dict())
        return record


class Climb:
    """One walk.

    Args:
        session: The opened project.
        quick: Use at most 40 dev cases and never look at test.
        say: Told of each rung when it is done.
    """

    def __init__(self, session: Session, *, quick: bool = False, say: Say = _nothing) -> None:
        self.session = session
        self.quick = quick
        self.say = say
        self.looks = LookPlan.from_dict(session.folder.read("looks") or LookPlan().to_dict())
        self.records: dict[str, RungRecord] = {}
        self.variants: dict[str, Variant] = {}
        self.best: Variant | None = None
        self.contender: Contender | None = None
        self.highest: Contender | None = None
        self.floor: Contender | None = None
        self.dev = self._shuffled(session.split.dev)
        self._dev_scores: dict[str, float] = {}

    async def walk(self, rungs: Sequence[str]) -> ClimbRecord:
        """Walk `rungs` in the order of the ladder; `baseline` is always walked."""
        order = [name for name in self.session.project.ladder.rungs if name in rungs or name == "baseline"]
        if "baseline" not in order:
            order.insert(1 if "floor" in order else 0, "baseline")
        if not self.quick:
            self._plan_looks()
        for name in order:
            record = await self._rung(name)
            self.records[name] = record
            if name != "floor" or self.quick:
                self.say(record)
        if self.floor and self.contender:
            self.records["floor"] = self._against_floor(self.floor, self.contender)
            self.say(self.records["floor"])
        return self._record(order)

    def _shuffled(self, dev: Sequence[Case]) -> list[Case]:
        cases = sorted(dev, key=lambda case: case.id)
        random.Random(self.session.project.split.seed).shuffle(cases)
        return cases[:QUICK_DEV] if self.quick else cases

    def _plan_looks(self) -> None:
        """Plan a look for each rung that can put something to test, and one for the best against the floor."""
        session = self.session
        able = {
            "floor": len(session.pool) > 0,
            "model": len(session.project.models) > 1,
            "few_shot": len(session.pool) > 0 or session.task.structured.kind != "free",
        }
        names = [name for name in session.project.ladder.rungs if name != "baseline" and able.get(name, True)]
        self.looks = self.looks.plan(names)
        session.folder.write("looks", self.looks.to_dict())

    def _take_look(self, rung: str, a: Variant, b: Variant) -> float:
        """Take the look at `b` against `a` (the same pair again is the same look) and return its alpha."""
        look = f"{rung}:{b.id}~{a.id}"
        self.looks = self.looks.take(look, rung)
        self.session.folder.write("looks", self.looks.to_dict())
        return self.looks.alpha_for(look)

    async def _rung(self, name: str) -> RungRecord:
        """Walk one rung."""
        session = self.session
        rung: Rung = RUNGS.get(name)()
        view = View(
            project=session.project,
            task=session.task,
            pool=session.pool,
            models=session.models,
            best=self.best,
            seed=session.project.split.seed,
            n_dev=len(self.dev),
        )
        proposal = rung.propose(view)
        notes = [*view.notes, *proposal.not_eligible]
        if not proposal.candidates:
            code = "constraint" if proposal.skip_code == "constraint" else proposal.skip_code or "nothing_to_try"
            status = RungStatus.NOT_ELIGIBLE if code == "constraint" else RungStatus.SKIPPED
            reason = proposal.skipped or "nothing to try"
            return RungRecord(rung=name, status=status, reason=reason, reason_code=code, notes=notes)
        found = await self._explore(proposal)
        winner = found.winner if found else proposal.candidates[0]
        self.variants[winner.id] = winner
        explored = _explored(found, len(proposal.candidates))
        explored |= {"reasons": await self._reasons(winner), "notes": notes}
        if self.quick:
            return self._quick_record(name, winner, found, explored)
        return await self._test(name, winner, explored)

    async def _explore(self, proposal: Proposal) -> Race | None:
        """Race the candidates on dev; None where dev is too small (the first candidate is preregistered)."""
        if not self.session.split.explore:
            return None
        return await race(proposal.candidates, self.dev, self._measure)

    async def _measure(self, variant: Variant, cases: Sequence[Case]) -> Measured:
        traces = await self.session.ask(variant, cases)
        num, den, _ = await self.session.score(traces, cases)
        means = usage(traces)
        tokens = (means["input_tokens"] or 0) + OUTPUT_WEIGHT * (means["output_tokens"] or 0)
        return Measured(
            num=num,
            den=den,
            cost_usd=sum(trace.cost_usd for trace in traces),
            weight=(means["usd_per_1k"] or 0.0, tokens),
        )

    async def _reasons(self, winner: Variant) -> dict[str, int]:
        """Count on dev why the winner's answers are wrong (never on test)."""
        if not self.session.split.explore:
            return {}
        traces = await self.session.ask(winner, self.dev)
        _, _, scores = await self.session.score(traces, self.dev)
        return dict(breakdown(scores).reasons)

    def _quick_record(self, name: str, winner: Variant, found: Race | None, explored: dict[str, Any]) -> RungRecord:
        """Build on the winner if it is ahead on dev; decide nothing."""
        score = next(entry.score for entry in found.entries if entry.variant is winner) if found else 0.0
        ahead = self.best is None or score > self._dev_scores.get(self.best.id, 0.0)
        self._dev_scores[winner.id] = score
        if name != "floor" and ahead:
            self.best = winner
        return RungRecord(
            rung=name,
            status=RungStatus.REFERENCE if name in REFERENCE_RUNGS else RungStatus.INCONCLUSIVE,
            reason=f"dev only: {score:.3f} on {len(self.dev)} cases; test was not looked at",
            reason_code="quick",
            variant=winner.id,
            name=winner.name,
            **explored,
        )

    async def _test(self, name: str, winner: Variant, explored: dict[str, Any]) -> RungRecord:
        """Put the winner to test and decide."""
        best = self.contender
        alpha = self._take_look(name, best.variant, winner) if best and name not in REFERENCE_RUNGS else None
        trial = await answer_test(self.session, name, winner, self.dev)
        record = await measured(self.session, trial, explored)
        if trial.unscored == len(trial.num):
            return replace(record, status=RungStatus.FAILED, reason=first_error(trial.traces), reason_code="unscored")
        if name == "floor":
            self.floor = trial
            return replace(record, status=RungStatus.REFERENCE, reason="no language model", reason_code="reference")
        if best is None or alpha is None or self.highest is None:
            self.contender = self.highest = trial
            self.best = winner
            return replace(record, status=RungStatus.REFERENCE, reason="as it is today", reason_code="reference")
        gain, decision = decide(self.session, best, self.highest, trial, alpha)
        if decision.status is RungStatus.ADOPTED:
            self.contender, self.best = trial, winner
            if trial.score > self.highest.score:
                self.highest = trial
        return with_decision(record, best.variant, gain, decision)

    def _against_floor(self, floor: Contender, best: Contender) -> RungRecord:
        """Compare the floor with the best language-model variant: the last look."""
        alpha = self._take_look("floor", best.variant, floor.variant)
        gain, decision = decide(self.session, best, self.highest or best, floor, alpha)
        status = RungStatus.REFERENCE
        words = {
            "better": "no language model, and better than every one tried",
            "cheaper": "no language model, and no worse than the best one tried",
            "no_gain": "no language model; the best one tried is at least as good",
        }.get(decision.reason_code, "no language model; neither better nor worse is shown")
        record = with_decision(self.records["floor"], best.variant, gain, decision)
        return replace(record, status=status, reason=f"{words}: {decision.reason}")

    def _record(self, order: Sequence[str]) -> ClimbRecord:
        session, project = self.session, self.session.project
        records = [self.records[name] for name in order]
        best: dict[str, Any] | None = None
        if self.contender:
            best = {"rung": self.contender.rung, "variant": self.contender.variant.id}
        floor = self.records.get("floor")
        wins = floor is not None and floor.reason_code in {"better", "cheaper"}
        if wins and floor:
            best = {"rung": "floor", "variant": floor.variant}
        beats = ""
        if floor and floor.reason_code == "better" and self.contender and floor.score is not None:
            beats = (
                f"A classifier beats every prompt here: {floor.name} scores {floor.score:.3f}, the best "
                f"language-model variant ({self.contender.variant.name}) {self.contender.score:.3f}."
            )
        return ClimbRecord(
            task=project.task.name,
            kind=session.task.kind,
            primary=project.graders[0].type,
            target=project.task.target,
            margin=project.task.margin,
            quick=self.quick,
            n_dev=len(self.dev),
            n_test=len(session.split.test),
            explored=session.split.explore,
            alpha_per_look=None if self.quick else min(self.looks.slots.values(), default=None),
            test_looks=len(self.looks.spent),
            cost_usd=sum(record.cost_usd for record in records),
            rungs=records,
            best=best,
            floor_wins=beats,
            split={"origin": session.split.origin, "reasons": list(session.split.reasons), **session.split.counts},
            leaks=session.data.leaks,
            variants={identity: describe(variant) for identity, variant in self.variants.items()},
            provenance=provenance(session),
            notes=session.data.notes,
        )


def provenance(session: Session) -> dict[str, Any]:
    """Return versions, seed and hashes: what someone needs to get the same numbers."""
    return {
        "tuneworthy": __version__,
        "seed": session.project.split.seed,
        "project": content_hash(session.project.model_dump(mode="json")),
        "split": content_hash([[case.id for case in session.split.dev], [case.id for case in session.split.test]]),
        "graders": {name: content_hash(dict(grader.identity)) for name, grader in session.graders.items()},
        "examples": session.pool.hash,
    }


def _explored(found: Race | None, tried: int) -> dict[str, Any]:
    """Return the fields of a record that come from dev."""
    if found is None:
        return {"candidates_tried": 1, "candidates": []}
    rows = [
        {
            "variant": entry.variant.id,
            "name": entry.variant.name,
            "n": entry.n,
            "score": entry.score,
            "ci95": entry.ci,
            "cost_usd": entry.measured.cost_usd,
        }
        for entry in found.entries
    ]
    return {"candidates_tried": tried, "candidates": rows, "calls": found.calls, "calls_full": found.calls_full}


def check_rungs(names: Sequence[str]) -> None:
    """Refuse names that are not rungs.

    Raises:
        UserError: One is unknown.
    """
    unknown = [name for name in names if name not in RUNGS.names()]
    if unknown:
        raise UserError(f"expected a rung ({', '.join(RUNGS)}), got {unknown[0]!r}")
