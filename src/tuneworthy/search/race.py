"""Racing on dev: candidates see growing shares of dev, and those behind are dropped on the way.

Rounds at a third, two thirds and all of dev. After a round the better half stays (successive halving), two at least:
a candidate that is dropped though it is no worse costs little, because one as good stays. Of those that finish, the
cheapest one that is within one paired standard error of the best wins: dev is too small to tell these apart, and the
cheaper one is at least that. Dev scores only choose; they decide nothing (the winner is tested once, on test).

Source: Breiman, Friedman, Olshen, Stone 1984, section 3.4.3 (the one-standard-error rule); Jamieson, Talwalkar 2016
(successive halving).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tuneworthy.stats.intervals import score_interval
from tuneworthy.types import Case, Variant

ROUNDS = (1 / 3, 2 / 3, 1.0)
FEWEST = 2
"""Candidates that finish, where there are so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A candidate's answers on the head of dev.

    Attributes:
        num, den: `(n_cases,)` contributions, NaN where unscored.
        cost_usd: What the answers cost.
        weight: What orders candidates by cost: dollars, then tokens an answer.
    """

    num: np.ndarray
    den: np.ndarray
    cost_usd: float
    weight: tuple[float, float]


Measure = Callable[[Variant, Sequence[Case]], Awaitable[Measured]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How far a candidate came.

    Attributes:
        n: Dev cases that it has seen; fewer than all if it was dropped.
    """

    variant: Variant
    n: int
    score: float
    ci: tuple[float, float]
    measured: Measured

    @property
    def scored(self) -> bool:
        """Whether any case could be scored; if not, `score` and `ci` say nothing."""
        return not bool(np.isnan(self.measured.num).all())


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """All candidates.

    Attributes:
        entries: Everyone, best first; those dropped early after those that finished.
        winner: The one to put to test.
        calls, calls_full: Cases answered, and how many the full grid would have taken.
    """

    entries: Sequence[Entry]
    winner: Variant
    calls: int
    calls_full: int


async def race(candidates: Sequence[Variant], dev: Sequence[Case], measure: Measure) -> Race:
    """Find the best of `candidates` on `dev`.

    Args:
        candidates: In the order of preference: ties go to the earlier one.
        dev: In random order (rounds take the head).
        measure: Answers and grades; called with growing heads of `dev`, answers that exist are not asked again.
    """
    alive = list(candidates)
    entries: dict[str, Entry] = {}
    for share in ROUNDS:
        n = math.ceil(len(dev) * share)
        for variant in alive:
            entries[variant.id] = _entry(variant, await measure(variant, dev[:n]), n)
        alive = _still_in([entries[variant.id] for variant in alive])
    order = {variant.id: place for place, variant in enumerate(candidates)}
    ranked = sorted(entries.values(), key=lambda entry: (-entry.n, -entry.score, order[entry.variant.id]))
    finished = [entry for entry in ranked if entry.n == ranked[0].n]
    return Race(
        entries=ranked,
        winner=_cheapest_of_the_best(finished).variant,
        calls=sum(entry.n for entry in ranked),
        calls_full=len(candidates) * len(dev),
    )


def _still_in(seen: Sequence[Entry]) -> list[Variant]:
    """Return the better half, best first."""
    ranked = sorted(seen, key=lambda entry: -entry.score)
    return [entry.variant for entry in ranked[: max(FEWEST, math.ceil(len(ranked) / 2))]]


def _cheapest_of_the_best(finished: Sequence[Entry]) -> Entry:
    """Return the cheapest of those within one paired standard error of the first."""
    leader = finished[0]
    close = [entry for entry in finished if entry is leader or _within_one_error(leader.measured, entry.measured)]
    return min(close, key=lambda entry: (entry.measured.weight, finished.index(entry)))


def _within_one_error(best: Measured, other: Measured) -> bool:
    """Whether the paired difference of two candidates is at most its standard error (linearised for ratios)."""
    both = ~(np.isnan(best.num) | np.isnan(other.num))
    if both.sum() < 2:
        return False
    parts = []
    for one in (best, other):
        num, den = one.num[both], one.den[both]
        score = num.sum() / den.sum()
        parts.append((score, (num - score * den) / den.mean()))
    delta = float(parts[0][0] - parts[1][0])
    error = float(np.std(parts[0][1] - parts[1][1], ddof=1) / np.sqrt(both.sum()))
    return delta <= error


def _entry(variant: Variant, measured: Measured, n: int) -> Entry:
    scored = ~np.isnan(measured.num)
    if not scored.any():
        return Entry(variant=variant, n=n, score=0.0, ci=(0.0, 1.0), measured=measured)
    interval = score_interval(measured.num[scored], measured.den[scored])
    return Entry(variant=variant, n=n, score=interval.value, ci=(interval.lo, interval.hi), measured=measured)
