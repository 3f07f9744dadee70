"""The walk up the ladder: explore on dev, test the winner once, adopt or not; rung by rung, resumable.

Everything that is asked is stored first, so that a walk that was cut short, or is walked again, gives the same
record and asks nothing twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tuneworthy import __version__
from tuneworthy.errors import UserError
from tuneworthy.evaluate.latency import Latency, measure_latency
from tuneworthy.evaluate.runner import usage
from tuneworthy.grade.breakdown import breakdown
from tuneworthy.ladder.adopt import Decision, Evidence, decide_adoption
from tuneworthy.ladder.base import RUNGS, Contender, Proposal, Rung, View
from tuneworthy.ladder.record import ClimbRecord, RungRecord
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.variants import describe
from tuneworthy.search.race import Race, race
from tuneworthy.stats.intervals import score_bound, score_interval
from tuneworthy.stats.looks import LookPlan
from tuneworthy.stats.paired import PairedResult, compare, non_inferior, worst_case
from tuneworthy.types import Case, RungStatus, Score, Trace, Variant, content_hash

QUICK_DEV = 40
SAMPLED_REPEATS = 3
REFERENCE_RUNGS = ("floor", "baseline")
DETERMINISTIC = frozenset({"scripted", "python", "http"})
"""Providers whose answers are taken to repeat: what varies in a pipeline of the user's own is not ours to know."""

Say = Callable[[RungRecord], None]


class Climb:
    """One walk.

    Args:
        session: The opened project.
        quick: Use at most 40 dev cases and never look at test.
        say: Told of each rung when it is done.
    """

    def __init__(self, session: Session, *, quick: bool = False, say: Say = lambda _: None) -> None:
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

    async def _measure(self, variant: Variant, cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray, float]:
        traces = await self.session.ask(variant, cases)
        num, den, _ = await self.session.score(traces, cases)
        return num, den, sum(trace.cost_usd for trace in traces)

    async def _reasons(self, winner: Variant) -> dict[str, int]:
        """Count on dev why the winner's answers are wrong (never on test)."""
        if not self.session.split.explore:
            return {}
        traces = await self.session.ask(winner, self.dev)
        _, _, scores = await self.session.score(traces, self.dev)
        return dict(breakdown(scores).reasons)

    def _quick_record(self, name: str, winner: Variant, found: Race | None, explored: dict[str, Any]) -> RungRecord:
        """Build on the winner if it is ahead on dev; decide nothing."""
        score = found.entries[0].score if found else 0.0
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
        trial = await self._try(name, winner)
        record = await self._measured(trial, explored)
        if trial.unscored == len(trial.num):
            return replace(record, status=RungStatus.FAILED, reason=_first_error(trial.traces), reason_code="unscored")
        if name == "floor":
            self.floor = trial
            return replace(record, status=RungStatus.REFERENCE, reason="no language model", reason_code="reference")
        if best is None or alpha is None or self.highest is None:
            self.contender = self.highest = trial
            self.best = winner
            return replace(record, status=RungStatus.REFERENCE, reason="as it is today", reason_code="reference")
        gain, decision = self._decide(best, trial, alpha)
        if decision.status is RungStatus.ADOPTED:
            self.contender, self.best = trial, winner
            if trial.score > self.highest.score:
                self.highest = trial
        return _with_decision(record, best.variant, gain, decision)

    async def _try(self, name: str, variant: Variant) -> Contender:
        """Answer all test cases, and measure the latency apart."""
        session, test = self.session, self.session.split.test
        repeats = self._repeats(variant)
        traces = await session.ask(variant, test, repeats=repeats)
        num, den, _ = await session.score(traces, test)
        latency = await measure_latency(session.runner, variant, session.models[variant.model], self.dev or test)
        cost = usage(traces)["usd_per_1k"]
        return Contender(
            rung=name,
            variant=variant,
            traces=traces,
            num=num,
            den=den,
            unscored=int(np.isnan(num).sum()),
            usd_per_1k=cost,
            latency=latency,
        )

    def _repeats(self, variant: Variant) -> int:
        """At least 3 answers to each test case where answers vary."""
        project = self.session.project
        config = project.models.get(variant.model)
        fixed = config is None or config.provider in DETERMINISTIC
        varies = not fixed and float(variant.decoding.get("temperature", 1.0)) > 0
        return max(SAMPLED_REPEATS, project.ladder.repeats) if varies else project.ladder.repeats

    def _decide(self, best: Contender, trial: Contender, alpha: float) -> tuple[PairedResult, Decision]:
        """Compare the trial with the best so far, and with the highest ever adopted."""
        assert self.highest is not None
        project = self.session.project
        gain = self._paired(best, trial, alpha)
        a, b, groups = self._common(self.highest, trial)
        evidence = Evidence(
            gain=gain,
            no_creep=non_inferior(*a, *b, groups, margin=project.task.margin, alpha=alpha),
            unscored_share=max(best.unscored, trial.unscored) / len(trial.num),
            sign_flips=_flips(best, trial),
            cost_ratio=trial.usd_per_1k / best.usd_per_1k if best.usd_per_1k and trial.usd_per_1k is not None else None,
            time_ratio=trial.latency.ratio_to(best.latency) if trial.latency and best.latency else None,
            violated=self._violated(trial),
        )
        return gain, decide_adoption(evidence, project.task.margin)

    def _paired(self, a: Contender, b: Contender, alpha: float) -> PairedResult:
        left, right, groups = self._common(a, b)
        return compare(*left, *right, groups, alpha=alpha, seed=self.session.project.split.seed)

    def _common(
        self, a: Contender, b: Contender
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], Any]:
        """Return the contributions of the cases that both have scored, and their groups."""
        both = ~(np.isnan(a.num) | np.isnan(b.num))
        groups = self.session.groups(self.session.split.test)
        return (a.num[both], a.den[both]), (b.num[both], b.den[both]), None if groups is None else groups[both]

    def _violated(self, trial: Contender) -> str:
        """Name the constraint that the measured trial breaks, or ""."""
        limits = self.session.project.constraints
        p95 = trial.latency.quantile_ms(0.95) if trial.latency else None
        if limits.p95_ms and p95 is not None and p95 > limits.p95_ms:
            return f"p95 is {p95:.0f} ms, the limit is {limits.p95_ms:g} ms"
        if limits.usd_per_1k and trial.usd_per_1k is not None and trial.usd_per_1k > limits.usd_per_1k:
            return f"a thousand answers cost ${trial.usd_per_1k:.4f}, the limit is ${limits.usd_per_1k:g}"
        return ""

    async def _measured(self, trial: Contender, explored: dict[str, Any]) -> RungRecord:
        """Fill in what was measured on test."""
        session, test = self.session, self.session.split.test
        scored = ~np.isnan(trial.num)
        groups = session.groups(test)
        interval = bounds = None
        if scored.any():
            kept = (trial.num[scored], trial.den[scored], None if groups is None else groups[scored])
            interval = score_interval(*kept)
            bounds = (score_bound(*kept, side="lower"), score_bound(*kept, side="upper"))
        repeats = len(trial.traces) // len(test)
        shares: dict[str, float] = {}
        fields: dict[str, dict[str, float | None]] = {}
        for kind, grader in session.graders.items():
            num, den, scores = await session.score(trial.traces, test, grader=grader)
            shares[kind] = float(np.nansum(num) / max(np.nansum(den), 1e-12))
            fields = fields or _fields(scores)
        means = usage(trial.traces)
        latency = trial.latency or Latency({})
        cost = sum(trace.cost_usd for trace in trial.traces) + sum(c["cost_usd"] for c in explored["candidates"])
        return RungRecord(
            rung=trial.rung,
            status=RungStatus.REFERENCE,
            variant=trial.variant.id,
            name=trial.variant.name,
            n=len(trial.num),
            unscored=trial.unscored,
            score=trial.score,
            ci95=(interval.lo, interval.hi) if interval else None,
            bounds95=bounds,
            cost_usd=cost,
            usd_per_1k=trial.usd_per_1k,
            latency_p50_ms=latency.quantile_ms(0.5),
            latency_p95_ms=latency.quantile_ms(0.95),
            latency_n=len(latency.seconds),
            input_tokens=means["input_tokens"],
            output_tokens=means["output_tokens"],
            repeats=repeats,
            graders=shares,
            fields=fields,
            **explored,
        )

    def _against_floor(self, floor: Contender, best: Contender) -> RungRecord:
        """Compare the floor with the best language-model variant: the last look."""
        alpha = self._take_look("floor", best.variant, floor.variant)
        gain, decision = self._decide(best, floor, alpha)
        status = RungStatus.REFERENCE
        words = {
            "better": "no language model, and better than every one tried",
            "cheaper": "no language model, and no worse than the best one tried",
            "no_gain": "no language model; the best one tried is at least as good",
        }.get(decision.reason_code, "no language model; neither better nor worse is shown")
        record = _with_decision(self.records["floor"], best.variant, gain, decision)
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
            "cost_usd": entry.cost_usd,
        }
        for entry in found.entries
    ]
    return {"candidates_tried": tried, "candidates": rows, "calls": found.calls, "calls_full": found.calls_full}


def _with_decision(record: RungRecord, against: Variant, gain: PairedResult, decision: Decision) -> RungRecord:
    return replace(
        record,
        status=decision.status,
        reason=decision.reason,
        reason_code=decision.reason_code,
        compared_to=against.id,
        delta=gain.delta,
        delta_ci=gain.ci,
        p_value=gain.p_value,
        alpha=gain.alpha,
    )


def _fields(scores: Sequence[Score]) -> dict[str, dict[str, float | None]]:
    """Return precision, recall and F1 by field of a JSON task."""
    counts = breakdown(scores).fields
    return {name: {"precision": c.precision, "recall": c.recall, "f1": c.f1} for name, c in counts.items()}


def _flips(a: Contender, b: Contender) -> bool:
    """Whether the unscored cases could turn the sign of b - a."""
    if not a.unscored and not b.unscored:
        return False
    kept_a, kept_b = ~np.isnan(a.num), ~np.isnan(b.num)
    return worst_case(
        a.num[kept_a], a.den[kept_a], b.num[kept_b], b.den[kept_b], a_unscored=a.unscored, b_unscored=b.unscored
    )


def _first_error(traces: Sequence[Trace]) -> str:
    error = next((trace.error for trace in traces if trace.error), None)
    return f"nothing could be scored: {error.message}" if error else "nothing could be scored"


def check_rungs(names: Sequence[str]) -> None:
    """Refuse names that are not rungs.

    Raises:
        UserError: One is unknown.
    """
    unknown = [name for name in names if name not in RUNGS.names()]
    if unknown:
        raise UserError(f"expected a rung ({', '.join(RUNGS)}), got {unknown[0]!r}")
