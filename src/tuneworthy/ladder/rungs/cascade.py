"""Rung `cascade`: a cheap variant answers where it is sure, a large one elsewhere.

Invariants: parts and threshold are chosen on dev, from answers that are stored; no rung builds on a cascade.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from tuneworthy.arrays import Bools, Floats
from tuneworthy.engine.runner import usage
from tuneworthy.ladder import messages
from tuneworthy.ladder.cascade import CASCADE, confidence_of, is_sent, large_of
from tuneworthy.ladder.comparison_plan import cascade_barred
from tuneworthy.ladder.rung import Proposal, Rung, SearchResult, View, rung
from tuneworthy.ladder.rung_details import CascadeDetail
from tuneworthy.ladder.session import Session
from tuneworthy.types import MOST_UNSCORED, Cascade, Cases, Variant


@dataclass(frozen=True, slots=True)
class CascadePart:
    """Stored dev answers of a variant as arrays, `(n_cases,)`, NaN where missing.

    Attributes:
        variant: It.
        right: Scores.
        usd: Cost of an answer.
        sure: Probability of the answer; 0 if unknown.
    """

    variant: Variant
    right: Floats
    usd: Floats
    sure: Floats

    @property
    def whole(self) -> bool:
        """Whether (nearly) all cases have a scored answer."""
        return bool(np.isnan(self.right).mean() <= MOST_UNSCORED)

    @property
    def score(self) -> float:
        return float(np.nanmean(self.right))


@dataclass(frozen=True, slots=True)
class CascadePair:
    """A cascade on dev.

    Attributes:
        first: Who answers where it is sure.
        large: Who answers elsewhere.
        threshold: The lowest that keeps the score of `large`; infinite without one.
    """

    first: CascadePart
    large: CascadePart
    threshold: float

    @property
    def sent(self) -> Bools:
        return self.first.sure < self.threshold

    @property
    def score(self) -> float:
        return float(np.nanmean(np.where(self.sent, self.large.right, self.first.right)))

    @property
    def usd(self) -> float:
        return float(np.nanmean(self.first.usd + np.where(self.sent, self.large.usd, 0.0)))

    @property
    def variant(self) -> Variant:
        first, large = self.first.variant, self.large.variant
        name = f"{CASCADE}/{first.name.partition('/')[2] or first.name}+{large.model}"
        return replace(
            large,
            name=name,
            cascade=Cascade(first=first, threshold=self.threshold),
            notes=(first.name, large.name),
        )


@rung(CASCADE)
class CascadeRung(Rung):
    """One cascade: the large model as the ladder has it, before it the cheapest variant that tells how sure it is."""

    async def propose(self, view: View) -> Proposal:
        why, code = cascade_barred(view.project, view.task)
        if not why and not view.searched:
            why, code = messages.say("unsearched"), "unsearched"
        return Proposal(skipped=why, skip_code=code)

    async def search(self, view: View) -> SearchResult:
        large, sure = await _parts(view)
        if not large:
            return _skipped("no language model with a price was measured on dev and test", "no_dearer_model")
        if not sure:
            return _skipped(
                "no variant answered all dev cases with probabilities, so there is no confidence to route by",
                "no_confidence",
            )
        strongest = max(large, key=lambda part: part.score)
        best = next((part for part in large if part.variant.id == view.incumbent.id), strongest)
        pairs = [found for part in (best, strongest) if (found := _pairs(sure, part))]
        name = strongest.variant.name
        if not pairs and all(part.variant.model == strongest.variant.model for part in sure):
            return _skipped(f"the only variants with probabilities use the model of {name}", "same_model")
        if not pairs:
            return _skipped(f"no variant with probabilities costs less than {name}", "no_dearer_model")
        cheapest = [min(found, key=lambda pair: pair.usd) for found in pairs]
        cheapest = [pair for pair in cheapest if isfinite(pair.threshold)]
        if not cheapest:
            return _skipped(f"no threshold keeps the score of {name} on the {len(view.dev)} dev cases", "no_threshold")
        first, last = cheapest[0], cheapest[-1]
        chosen = last if last.score > first.score + view.project.task.margin else first
        return SearchResult(candidates=[chosen.variant])

    async def after_test(self, view: View, winner: Variant) -> CascadeDetail:
        session = view.session
        assert winner.cascade is not None
        cascade, test = winner.cascade, session.split.test
        own = await session.ask(cascade.first, test)
        means = usage(own)
        return CascadeDetail(
            first=cascade.first.name,
            large=large_of(winner).id,
            threshold=cascade.threshold,
            sent=sum(is_sent(cascade, trace) for trace in own) / len(test),
            first_tokens=means.tokens,
        )


async def _parts(view: View) -> tuple[list[CascadePart], list[CascadePart]]:
    """Return the variants with a price, and those with probabilities, that answered (nearly) all dev cases."""
    session, dev = view.session, view.dev
    paid = [variant for variant in view.measured if session.models[variant.model].price is not None]
    able = [variant for variant in view.tried if any(map(confidence_of, session.stored(variant, dev[:1])))]
    large, parts = [
        [part for variant in some if (part := await part_of(session, variant, dev)).whole] for some in (paid, able)
    ]
    return large, [part for part in parts if (part.sure > 0).mean() >= 1 - MOST_UNSCORED]


def _skipped(reason: str, code: str) -> SearchResult:
    return SearchResult(skipped=reason, skip_code=code)


async def part_of(session: Session, variant: Variant, dev: Cases) -> CascadePart:
    place = {case.id: number for number, case in enumerate(dev)}
    traces = session.stored(variant, dev)
    at = [place[trace.case_id] for trace in traces]
    right, usd = np.full((2, len(dev)), np.nan)
    sure = np.zeros(len(dev))
    if traces:
        num, den, _ = await session.score(traces, [dev[number] for number in at])
        right[at] = num / den
        usd[at] = [trace.cost_usd for trace in traces]
        sure[at] = [confidence_of(trace) for trace in traces]
    return CascadePart(variant, right, usd, sure)


def _pairs(sure: Sequence[CascadePart], large: CascadePart) -> list[CascadePair]:
    return [
        CascadePair(part, large, choose_threshold(part.sure, part.right, large.right))
        for part in sure
        if part.variant.model != large.variant.model and np.nanmean(part.usd) < np.nanmean(large.usd)
    ]


def choose_threshold(sure: Floats, own: Floats, large: Floats) -> float:
    """Return the lowest threshold that keeps the score of the large model; infinite without one.

    Args:
        sure: Probability of the first part's answer, `(n_cases,)`, like the next two.
        own: Score of that answer.
        large: Score of the large model's answer; NaN without one.

    >>> choose_threshold(np.array([0.9, 0.8, 0.3]), np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0]))
    0.55
    """
    scored = ~(np.isnan(own) | np.isnan(large))
    sure, own, large = sure[scored], own[scored], large[scored]
    steps = np.unique(sure)
    for threshold in (0.0, *((steps[1:] + steps[:-1]) / 2).round(6).tolist()):
        if np.where(sure >= threshold, own, large).sum() >= large.sum():
            return float(threshold)
    return float("inf")
