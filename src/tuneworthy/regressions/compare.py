"""Whether a tuned model got worse at a regression set: non-inferiority, paired on its cases. Pure.

"No difference was found" never means "no harm": a set passes only if the loss is shown to be below its margin, and a
set that is too small says how many cases it would need.
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from tuneworthy.arrays import FloatPair, Floats
from tuneworthy.stats.paired import compare, non_inferior
from tuneworthy.stats.power import LOSS, n_for_non_inferiority
from tuneworthy.types import MOST_UNSCORED, frozen

# One-sided error of "no worse by the margin"; all sets must pass, so no correction for their number is due.
ALPHA = 0.05
FEWEST = 8
Status = Literal["pass", "fail", "unknown"]


@frozen
class RegressionResult:
    """The result of a regression set.

    Attributes:
        name: Of the set.
        hash: Of its content.
        status: `pass` (no worse by the margin), `fail` (worse), `unknown` (too small, or too many were unscored).
        n: Cases.
        unscored: Cases that one of the two models has no score for.
        margin: The largest acceptable loss.
        base: Score of the base.
        tuned: Score of the tuned model.
        delta: Their difference.
        lower: One-sided 95% bound of the difference.
        needs: Cases that would show that nothing was lost; None if that is not the question.
        detail: One sentence.
    """

    name: str
    hash: str
    status: Status
    n: int
    unscored: int
    margin: float
    base: float | None = None
    tuned: float | None = None
    delta: float | None = None
    lower: float | None = None
    needs: int | None = None
    detail: str = ""


def regression_result(name: str, identity: str, base: FloatPair, tuned: FloatPair, margin: float) -> RegressionResult:
    """Compare the tuned model with the base on the cases of a regression set.

    Args:
        name: Of the set.
        identity: Its hash.
        base: num and den of the base, each ``(n_cases,)``, NaN where unscored.
        tuned: The same of the tuned model.
        margin: The largest acceptable loss, in (0, 1).
    """
    both = ~(np.isnan(base[0]) | np.isnan(tuned[0]))
    n, unscored = len(both), int((~both).sum())
    result = RegressionResult(name=name, hash=identity, status="unknown", n=n, unscored=unscored, margin=margin)
    if both.sum() < FEWEST or unscored > MOST_UNSCORED * n:
        detail = (
            f"too few cases have a score from both models (cases without: {unscored} of {n}), so the set is "
            "inconclusive"
        )
        return replace(result, detail=detail)
    sides = base[0][both], base[1][both], tuned[0][both], tuned[1][both]
    bound = non_inferior(*sides, margin=margin, alpha=ALPHA)
    paired = compare(*sides, alpha=ALPHA)
    needs = None if bound.holds or paired.worse else _needed(sides, margin)
    status: Status = "pass" if bound.holds else "fail" if paired.worse else "unknown"
    words = {"pass": "no loss beyond the margin", "fail": "worse", "unknown": "inconclusive"}[status]
    detail = (
        f"{paired.b:.1%} on {paired.n} cases, against {paired.a:.1%} for the base model: {words} "
        f"(loss at most {100 * max(0.0, -bound.lower):.1f} points with 95% confidence, margin {100 * margin:g} points)"
    )
    if status == "unknown":
        detail += (
            ", and the score fell, so only many more cases could rule out a loss"
            if needs is None or needs <= paired.n
            else f", and about {needs:,} cases would be needed to show that there is no loss"
        )
    return replace(
        result,
        status=status,
        base=paired.a,
        tuned=paired.b,
        delta=paired.delta,
        lower=bound.lower,
        needs=needs,
        detail=detail,
    )


def _needed(sides: tuple[Floats, ...], margin: float) -> int:
    """Return the cases that show "no worse by the margin" if the two are as good and differ as often as seen here."""
    base, tuned = sides[0] / sides[1], sides[2] / sides[3]
    return n_for_non_inferiority(margin, float((tuned != base).mean()) or 2 * LOSS, ALPHA)
