"""Racing on dev: candidates see growing shares of dev, and those clearly behind are dropped on the way.

Rounds at a third, two thirds and all of dev; after a round the better half stays (successive halving).
Dev scores only choose; they decide nothing (the winner is tested once, on test).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tuneworthy.stats.intervals import score_interval
from tuneworthy.types import Case, Variant

ROUNDS = (1 / 3, 2 / 3, 1.0)

Measure = Callable[[Variant, Sequence[Case]], Awaitable[tuple[np.ndarray, np.ndarray, float]]]
"""``(variant, cases) -> (num, den, cost_usd)``, arrays `(n_cases,)` with NaN where unscored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How far a candidate came.

    Attributes:
        n: Dev cases that it has seen; fewer than all if it was dropped.
        cost_usd: What its answers cost.
    """

    variant: Variant
    n: int
    score: float
    ci: tuple[float, float]
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """All candidates, the winner first.

    Attributes:
        entries: Everyone, best first; those dropped early after those that finished.
        calls, calls_full: Cases answered, and how many the full grid would have taken.
    """

    entries: Sequence[Entry]
    calls: int
    calls_full: int

    @property
    def winner(self) -> Variant:
        """The candidate with the best score among those that saw all of dev."""
        return self.entries[0].variant


async def race(candidates: Sequence[Variant], dev: Sequence[Case], measure: Measure) -> Race:
    """Find the best of `candidates` on `dev`.

    Args:
        candidates: In the order of preference: ties go to the earlier one.
        dev: In random order (rounds take the head).
        measure: Answers and grades; called with growing heads of `dev`, answers that exist are not asked again.
    """
    alive = list(candidates)
    entries: dict[str, Entry] = {}
    seen: dict[str, int] = {}
    for share in ROUNDS:
        n = math.ceil(len(dev) * share)
        head = dev[:n]
        for variant in alive:
            num, den, cost = await measure(variant, head)
            entries[variant.id] = _entry(variant, num, den, cost, n)
            seen[variant.id] = n
        alive.sort(key=lambda variant: -entries[variant.id].score)
        if share < 1:
            alive = alive[: max(1, math.ceil(len(alive) / 2))]
        if len(alive) == 1 and share < 1 and n >= len(dev) / 2:
            break
    order = {variant.id: place for place, variant in enumerate(candidates)}
    ranked = sorted(entries.values(), key=lambda entry: (-entry.n, -entry.score, order[entry.variant.id]))
    return Race(entries=ranked, calls=sum(seen.values()), calls_full=len(candidates) * len(dev))


def _entry(variant: Variant, num: np.ndarray, den: np.ndarray, cost: float, n: int) -> Entry:
    scored = ~np.isnan(num)
    if not scored.any():
        return Entry(variant=variant, n=n, score=0.0, ci=(0.0, 1.0), cost_usd=cost)
    interval = score_interval(num[scored], den[scored])
    return Entry(variant=variant, n=n, score=interval.value, ci=(interval.lo, interval.hi), cost_usd=cost)
