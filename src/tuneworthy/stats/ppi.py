"""Correct a judge's paired difference by the verdicts of people on a random part of the cases.

Scores of a judge measure the judge: if it likes the style of B better, no number of cases makes that go away. People
are right on average and rate few cases. Prediction-powered inference joins both: the judge's mean on all
cases, plus its mean error on the cases that people rated, with a separate error per variant.

Invariant: the result is unbiased whatever the judge does (it may be biased differently for A and B), because people's
verdicts enter with weight 1; a useless judge makes the interval as wide as that of the people, never wrong.

Source: Angelopoulos et al. 2023 (Science 382:669) and 2023b (arXiv 2311.01453, "PPI++", the weight of the judge);
the same estimator as double sampling for regression, Cochran 1977, section 12.6.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tuneworthy.arrays import Bounds, Floats

from .arguments import checked
from .paired import NonInferiority, PairedResult
from .ratios import cluster_sums, shared_sources

# Fewest cases with verdicts of people that anything is computed from; a decision wants more (see `grade.validate`).
FEWEST = 8


@dataclass(frozen=True)
class Corrected:
    """The paired difference as people would score it.

    Attributes:
        n: cases that the judge scored; n_human: cases on which people judged both variants.
        n_groups: independent clusters among the latter (cases, where there are no groups).
        a, b: corrected scores. delta: `b - a`. error: its standard error. df: degrees of freedom.
        weight: how far the judge is trusted, 0..1 (PPI++'s lambda); 0 is people only.
    """

    n: int
    n_human: int
    n_groups: int
    a: float
    b: float
    delta: float
    error: float
    df: int
    weight: float

    def interval(self, alpha: float = 0.05) -> Bounds:
        """Return the two-sided interval of the difference at `1 - alpha`."""
        half = float(-scipy.special.stdtrit(self.df, alpha / 2)) * self.error
        return max(-1.0, self.delta - half), min(1.0, self.delta + half)

    def paired(self, alpha: float | None = None) -> PairedResult:
        """Return it as the comparison that the ladder decides by."""
        p_value, p_worse = (float(scipy.special.stdtr(self.df, sign * self.delta / self.error)) for sign in (-1, 1))
        return PairedResult(
            self.n, self.n_groups, self.a, self.b, self.delta, self.interval(), p_value, p_worse, alpha, "ppi"
        )

    def non_inferior(self, margin: float, alpha: float = 0.05) -> NonInferiority:
        """Test whether B is worse than A by less than `margin`, one-sided at `alpha`."""
        return NonInferiority(self.n, self.delta, self.interval(2 * alpha)[0], margin, alpha)


@checked
def correct_judge(
    judge_a: ArrayLike,
    judge_b: ArrayLike,
    human_a: ArrayLike,
    human_b: ArrayLike,
    groups: ArrayLike | None = None,
) -> Corrected:
    """Correct the paired difference of a judge's scores.

    The cases with verdicts of people must be a random sample of all: otherwise the correction is biased.

    Args:
        judge_a: Scores of A by the judge, `(n_cases,)`, 0..1.
        judge_b: Scores of B by the judge, `(n_cases,)`.
        human_a: Scores of A by people, `(n_cases,)`, 0..1, NaN where a case has no verdict of theirs. A case counts if
            both variants have one.
        human_b: Scores of B by people, `(n_cases,)`.
        groups: Sources of the cases, `(n_cases,)`.

    Returns:
        `delta` (B less A, as people would score it), `interval(alpha)`, `paired()` and others.

    Source: Angelopoulos et al. 2023 (Science 382:669; PPI++, arXiv 2311.01453).

    Raises:
        ValueError: The arrays do not fit, have values outside 0..1, or fewer than 8 cases have both verdicts.

    >>> judge = [1, 1, 0, 1] * 50
    >>> human = [1, 0, 0, 1] * 10 + [float("nan")] * 160
    >>> stats.correct_judge([0] * 200, judge, [0] * 40 + [float("nan")] * 160, human).delta
    0.5
    """
    judge, human = (
        np.clip(np.column_stack(pair).astype(np.float64), 0, 1) for pair in ((judge_a, judge_b), (human_a, human_b))
    )
    seen: np.ndarray = np.isfinite(human.sum(axis=1))
    n, n_human = len(seen), int(seen.sum())
    if n_human < FEWEST:
        raise ValueError(f"expected at least {FEWEST} cases with verdicts of people on both variants, got {n_human}")
    labels = shared_sources(groups, n)
    d, h = judge[:, 1] - judge[:, 0], (human[:, 1] - human[:, 0])[seen]
    weight = _weight(d[seen], h)
    gain = weight * (1 - n_human / n)
    scores = human[seen].mean(axis=0) - gain * judge[seen].mean(axis=0)
    if n_human < n:
        scores = scores + gain * judge[~seen].mean(axis=0)
    error, n_groups = _error(d, h, seen, gain, labels)
    a, b = (float(score) for score in scores)
    return Corrected(
        n=n,
        n_human=n_human,
        n_groups=n_groups,
        a=min(1.0, max(0.0, a)),
        b=min(1.0, max(0.0, b)),
        delta=b - a,
        error=error,
        df=max(1, n_groups - 2),
        weight=weight,
    )


def _weight(d: Floats, h: Floats) -> float:
    """Return the weight of the judge that makes the interval shortest, within 0..1.

    One case that only B gets right and one that only A does, on which judge and people disagree, are counted as seen:
    a judge that was right on all of a few cases is not yet known to be right always.
    """
    d, h = np.append(d, [0.0, 0.0]), np.append(h, [1.0, -1.0])
    centred = d - d.mean()
    spread = float(centred @ centred)
    return min(1.0, max(0.0, float(centred @ h) / spread)) if spread > 1e-12 else 0.0


def _error(d: Floats, h: Floats, seen: np.ndarray, gain: float, groups: np.ndarray | None) -> tuple[float, int]:
    """Return the standard error, and how many clusters have verdicts of people.

    The influence per case on the estimate is summed by cluster, so that cases of one source count together
    whether people saw them or not. Two observations are added, as in `difference`: unseen outcomes may exist.

    Args:
        d: `(n_cases,)` differences of the judge. h: `(n_human,)` of people. seen: `(n_cases,)` where people judged.
    """
    residual = h - gain * d[seen]
    influence = np.empty_like(d)
    influence[seen] = (residual - residual.mean()) / len(h)
    n_rest = len(d) - len(h)
    if n_rest:
        influence[~seen] = gain * (d[~seen] - d[~seen].mean()) / n_rest
    sums = cluster_sums(influence[:, None], groups)[:, 0]
    n_groups = len(h) if groups is None else len(np.unique(groups[seen]))
    variance = float((sums**2).sum()) * n_groups / max(1, n_groups - 2)
    return sqrt(variance + 2 * max(1.0, (n_groups / len(h)) ** 2) / (n_groups + 2) ** 2), n_groups
