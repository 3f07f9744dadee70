"""Racing on dev: candidates see growing heads of dev, and those behind leave on the way.

A race may take a third of the calls of the full grid. Candidates are compared on the cases that all of those still in
have scored. Three things make one leave. Unscored answers: more than elsewhere bar a variant (2 %, and two at least),
as the unscored cases may be the hard cases. The bound: a wager on the paired differences that is fair if the
leader is no better has grown past `1 / ALPHA`; of two candidates the better one so leaves with a chance of at most
`ALPHA`, however often one looks. And the budget: the later a round, the fewer go on (half, two at least). Who is
has won, and no further call is made.

Of those left, the cheapest one that is within one paired standard error of the best wins, the error being that of all
of dev: dev is too small to tell these apart, and the cheaper one is at least that. Dev scores only choose; they decide
nothing (the winner is tested once, on test).

Source: Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024 (the wager; Ville's
inequality bounds it at all times); Karnin, Koren, Somekh, ICML 2013 (sequential halving); Breiman et al. 1984, section
3.4.3 (the one-standard-error rule).
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tuneworthy.stats.betting import wager
from tuneworthy.stats.intervals import score_interval
from tuneworthy.types import MOST_UNSCORED, Bounds, Cases, Variant, frozen

# Most of the full grid's calls that a race takes.
SHARE = 1 / 3
# Candidates that the budget leaves in, where there are so many.
FEWEST = 2
# Chance, at most, that of two candidates the better one leaves by the bound.
ALPHA = 0.1
# Times that the bound is looked at in a round.
LOOKS = 2

Exit = Literal["", "unscored", "bound", "budget"]


@frozen
class DevScores:
    """A candidate's answers on the head of dev.

    Attributes:
        num: `(n_cases,)` contributions, NaN where unscored.
        den: Likewise, their possible values.
        cost_usd: Cost of the answers.
        weight: What orders candidates by cost: dollars, then tokens an answer.
    """

    num: np.ndarray
    den: np.ndarray
    cost_usd: float
    weight: tuple[float, float]


Measure = Callable[[Variant, Cases], Awaitable[DevScores]]


@frozen
class Entry:
    """How far a candidate came.

    Attributes:
        n: Dev cases that it has seen; fewer than the winner if it left.
        score: Of the cases that it was scored on.
        ci: Its interval, which takes their groups into account.
        dropped: Why it left: `unscored` (too many answers could not be scored), `bound` (shown to be behind), `budget`
            (behind when fewer could go on), "" if it did not.
    """

    variant: Variant
    n: int
    score: float
    ci: Bounds
    measured: DevScores
    dropped: Exit = ""

    @property
    def scored(self) -> bool:
        return self.unscored < self.n

    @property
    def unscored(self) -> int:
        return int(np.isnan(self.measured.num).sum())


@frozen
class Race:
    """All candidates.

    Attributes:
        entries: Everyone, best first; those that left behind those that did not.
        winner: The one to compare on test.
        calls: Cases answered.
    """

    entries: Sequence[Entry]
    winner: Variant
    calls: int


def schedule(n_candidates: int, n_dev: int, most: int | None = None) -> list[tuple[int, int]]:
    """Return the rounds of a race: how many candidates are in, and how many dev cases they have seen at its end.

    Each round takes an equal part of the budget. A single candidate sees all of dev: there is nothing to choose.

    Args:
        n_candidates: Who races.
        n_dev: Cases of dev; the budget is a share of this number.
        most: Cases of these that may be seen; all if None.

    >>> schedule(6, 120), schedule(1, 120)
    ([(6, 13), (3, 40), (2, 80)], [(1, 120)])
    >>> schedule(6, 120, 60)
    [(6, 13), (3, 40), (2, 60)]
    """
    most = n_dev if most is None else most
    if n_candidates <= 1:
        return [(n_candidates, most)]
    alive = [n_candidates]
    while alive[-1] > FEWEST:
        alive.append(max(FEWEST, math.ceil(alive[-1] / 2)))
    part = n_candidates * n_dev * SHARE / len(alive)
    rounds, head = [], 0.0
    for n in alive:
        head = min(float(most), head + part / n)
        rounds.append((n, max(1, int(head + 1e-9))))
    return rounds


async def race(
    candidates: Sequence[Variant], dev: Cases, measure: Measure, *, n_dev: int | None = None, together: bool = False
) -> Race:
    """Find the best of `candidates` on `dev`.

    Args:
        candidates: In the order of preference: ties go to the earlier one.
        dev: In random order (rounds take the head).
        measure: Answers and grades; called with growing heads of `dev`, answers that exist are not asked again.
        n_dev: Cases of all of dev, where `dev` is the part from which no candidate was made.
        together: Whether all candidates are asked at once, so that each head takes one round of answers.
    """
    running = _Running(candidates)
    start, n_dev = 0, len(dev) if n_dev is None else n_dev
    for alive, end in schedule(len(candidates), n_dev, len(dev)):
        running.cut_to(alive)
        heads = {start + math.ceil((end - start) * look / LOOKS) for look in range(1, LOOKS + 1)} - {start}
        for n in sorted(heads):
            for some in [running.alive[:]] if together else [[variant] for variant in running.alive]:
                for variant, measured in zip(some, await _all_of(measure, some, dev[:n]), strict=True):
                    running.entries[variant.id] = entry_of(variant, measured, dev[:n])
            running.drop_unscored(n)
            running.drop_behind()
            if len(running.alive) == 1 < len(candidates):
                return running.result(n_dev)
        start = end
    return running.result(n_dev)


async def _all_of(measure: Measure, variants: Sequence[Variant], cases: Cases) -> list[DevScores]:
    tasks = [asyncio.ensure_future(measure(variant, cases)) for variant in variants]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


class _Running:
    def __init__(self, candidates: Sequence[Variant]) -> None:
        self.alive = list(candidates)
        self.entries: dict[str, Entry] = {}
        self._order = {variant.id: place for place, variant in enumerate(candidates)}

    def ranked(self) -> list[Entry]:
        entries = [self.entries[variant.id] for variant in self.alive]
        both = ~np.isnan(np.stack([entry.measured.num for entry in entries])).any(axis=0)
        return sorted(entries, key=lambda entry: (-_score(entry, both), self._order[entry.variant.id]))

    def drop_unscored(self, n: int) -> None:
        """Drop candidates with too many unscored answers to `n` cases; where all have, the fewest decide."""
        entries = [self.entries[variant.id] for variant in self.alive]
        most = max(1, MOST_UNSCORED * n, min(entry.unscored for entry in entries))
        for entry in entries:
            if entry.unscored > most:
                self._leave(entry, "unscored")

    def drop_behind(self) -> None:
        leader, *others = self.ranked()
        for entry in others:
            if wager(differences(leader.measured, entry.measured)) >= 1 / ALPHA:
                self._leave(entry, "bound")

    def cut_to(self, n: int) -> None:
        if self.entries:
            for entry in self.ranked()[n:]:
                self._leave(entry, "budget")

    def _leave(self, entry: Entry, why: Exit) -> None:
        self.alive.remove(entry.variant)
        self.entries[entry.variant.id] = replace(entry, dropped=why)

    def result(self, n_dev: int) -> Race:
        finished = self.ranked()
        rest = [entry for entry in self.entries.values() if entry.variant not in self.alive]
        entries = [
            *finished,
            *sorted(rest, key=lambda entry: (-entry.n, -entry.score, self._order[entry.variant.id])),
        ]
        return Race(
            entries=entries,
            winner=cheapest_of_the_best(finished, n_dev).variant,
            calls=sum(entry.n for entry in entries),
        )


def _score(entry: Entry, cases: np.ndarray) -> float:
    """Return the score on `cases`, `(n_cases,)` of bool; on the entry's own cases if `cases` is empty."""
    total = float(entry.measured.den[cases].sum())
    return float(entry.measured.num[cases].sum()) / total if total else entry.score


def differences(leader: DevScores, other: DevScores) -> np.ndarray:
    """Return the paired differences of cases that both have scored, each in [-1, 1]; an empty answer counts as right.

    For micro-averaged scores this is the difference of the cases' own scores, which is bounded, as the wager needs.
    """
    both = ~(np.isnan(leader.num) | np.isnan(other.num))
    ours, theirs = (
        np.divide(one.num[both], one.den[both], out=np.ones(both.sum()), where=one.den[both] > 0)
        for one in (leader, other)
    )
    return np.asarray(ours - theirs)


def cheapest_of_the_best(finished: Sequence[Entry], n_dev: int) -> Entry:
    """Return the cheapest of those within one paired standard error of the first."""
    leader, *others = finished
    close = [leader, *(one for one in others if within_one_error(leader.measured, one.measured, n_dev))]
    return min(close, key=lambda entry: (entry.measured.weight, finished.index(entry)))


def within_one_error(best: DevScores, other: DevScores, n_dev: int, errors: float = 1.0) -> bool:
    """Whether the paired difference of two candidates is at most the standard error that all of dev would give it.

    Linearised for ratios. With `errors`: at most so many standard errors.
    """
    both = ~(np.isnan(best.num) | np.isnan(other.num))
    if both.sum() < 2:
        return False
    sides = []
    for one in (best, other):
        num, den = one.num[both], one.den[both]
        score = num.sum() / den.sum()
        sides.append((score, (num - score * den) / den.mean()))
    (score, parts), (other_score, other_parts) = sides
    return bool(score - other_score <= errors * np.std(parts - other_parts, ddof=1) / np.sqrt(max(n_dev, both.sum())))


def entry_of(variant: Variant, measured: DevScores, cases: Cases) -> Entry:
    n, scored = len(cases), ~np.isnan(measured.num)
    if not scored.any():
        return Entry(variant=variant, n=n, score=0.0, ci=(0.0, 1.0), measured=measured)
    sources = np.array([case.source for case in cases])[scored]
    interval = score_interval(measured.num[scored], measured.den[scored], sources)
    return Entry(variant=variant, n=n, score=interval.value, ci=(interval.lo, interval.hi), measured=measured)
