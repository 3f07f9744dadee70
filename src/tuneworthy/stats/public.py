"""The public functions of `tuneworthy.stats`, with array arguments; all scores are between 0 and 1.

Examples use `from tuneworthy import stats`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from tuneworthy.arrays import Bounds, Floats

from . import intervals, paired
from .acceptance import lot_plan_size, most_allowed
from .arguments import checked
from .auroc import roc_area
from .betting import confidence_sequence, log_capital
from .confusion import cohen_kappa
from .intervals import Interval, quantile_interval
from .paired import NonInferiority, PairedResult
from .power import detectable_gain, paired_power, sample_size
from .ppi import correct_judge

__all__ = [
    "anytime_test",
    "cohen_kappa",
    "correct_judge",
    "detectable_gain",
    "non_inferiority",
    "paired_power",
    "paired_test",
    "quantile_interval",
    "roc_area",
    "rows_to_review",
    "sample_size",
    "score_interval",
]


@checked
def score_interval(scores: ArrayLike, groups: ArrayLike | None = None, *, alpha: float = 0.05) -> Interval:
    """Return the mean of `scores` with its two-sided interval.

    Right/wrong scores get Wilson's interval. With groups, or with other scores, it is Clopper-Pearson's for the
    effective sample size that the cluster-robust variance implies.

    Args:
        scores: `(n,)`, each between 0 and 1.
        groups: Sources of the scores, `(n,)`; scores of one source vary together.
        alpha: 1 less the coverage.

    Returns:
        `value`, `lo`, `hi`, `n`, `n_groups`, `alpha` and `method`.

    Raises:
        ValueError: The scores are empty, not finite or outside 0..1, or `groups` has another shape.

    Source: Wilson 1927; Korn and Graubard 1998 (Survey Methodology 24:193).

    >>> result = stats.score_interval([1] * 40 + [0] * 10)
    >>> result.value, round(result.lo, 3), round(result.hi, 3)
    (0.8, 0.67, 0.888)
    """
    return intervals.score_interval(scores, np.ones(np.shape(scores)), groups, alpha=alpha)


@checked
def paired_test(
    a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None, *, alpha: float = 0.05, seed: int = 0
) -> PairedResult:
    """Test whether B scores higher than A on the same items.

    Right/wrong scores without groups: McNemar's mid-p test and Tango's interval. Else a permutation test that swaps A
    and B by group, and a cluster-robust interval.

    Args:
        a: Scores of A, `(n,)`, each between 0 and 1.
        b: Scores of B on the same items, `(n,)`.
        groups: Sources of the items, `(n,)`.
        alpha: Level of either one-sided test.
        seed: Of the random permutations, which are drawn if more than 14 groups differ.

    Returns:
        `delta` (B less A), `ci` (its 95% interval), `p_value` (one-sided, of "B is not better"), `p_worse`, `better`,
        `worse` and others.

    Raises:
        ValueError: The scores are empty, not finite, outside 0..1 or of different lengths.

    Source: Fagerland, Lydersen, Laake 2013 (BMC Med. Res. Methodol. 13:91); Tango 1998 (Stat. Med. 17:891).

    >>> result = stats.paired_test([1, 0, 0, 0] * 9, [1, 1, 0, 0] * 9)
    >>> result.delta, result.better, round(result.p_value, 4)
    (0.25, True, 0.001)
    """
    return paired.compare(a, np.ones(np.shape(a)), b, np.ones(np.shape(b)), groups, alpha=alpha, seed=seed)


@checked
def non_inferiority(
    a: ArrayLike, b: ArrayLike, margin: float, groups: ArrayLike | None = None, *, alpha: float = 0.05
) -> NonInferiority:
    """Test whether B scores lower than A by less than `margin` on the same items.

    Args:
        a: Scores of A, `(n,)`, each between 0 and 1.
        b: Scores of B on the same items, `(n,)`.
        margin: Largest loss that does not matter, in (0, 1).
        groups: Sources of the items, `(n,)`.
        alpha: Level of the one-sided test.

    Returns:
        `holds`, `delta` (B less A) and `lower` (its one-sided lower bound).

    Raises:
        ValueError: The scores do not fit, as in `paired_test`, or `margin` is not in (0, 1).

    Source: Liu, Hsueh, Hsieh, Chen 2002 (Stat. Med. 21:231).

    >>> stats.non_inferiority([1] * 190 + [0] * 10, [1] * 188 + [0] * 12, 0.05).holds
    True
    """
    return paired.non_inferior(a, np.ones(np.shape(a)), b, np.ones(np.shape(b)), groups, margin=margin, alpha=alpha)


@dataclass(frozen=True, slots=True)
class AnytimeResult:
    """The state of an anytime-valid test.

    Attributes:
        capital: Evidence (e-value) after each observation, `(n,)`.
        p_value: Valid at every look: 1 over the largest capital so far.
        rejected_at: Number of observations at which the capital first reached 1 / alpha; None if it did not.
        interval: Confidence sequence of the mean after all observations, at 1 - alpha.
    """

    capital: Floats = field(repr=False)
    p_value: float
    rejected_at: int | None
    interval: Bounds


@checked
def anytime_test(differences: ArrayLike, *, alpha: float = 0.05) -> AnytimeResult:
    """Test whether the mean of `differences` is above 0, with a look after each.

    A betting test: stop whenever you like, and the false-positive rate stays at most `alpha`.

    Args:
        differences: `(n,)` in the order of arrival, each between -1 and 1, such as score B less score A.
        alpha: Level.

    Raises:
        ValueError: They are empty, not finite or outside -1..1, or `alpha` is not in (0, 1).

    Source: Waudby-Smith and Ramdas 2024 (JRSS B 86:1); Ville 1939.

    >>> result = stats.anytime_test([1, 0, 1, 1, 0, 1, 1, 1, 1, 1])
    >>> result.rejected_at, round(result.p_value, 4)
    (9, 0.0201)
    """
    values = np.clip(np.asarray(differences, dtype=np.float64), -1, 1)
    capital = np.exp(log_capital(values, 0.0))
    reached = np.flatnonzero(capital >= 1 / alpha)
    lo, hi = confidence_sequence(values, np.ones_like(values), np.array([values.size]), alpha)
    return AnytimeResult(
        capital=capital,
        p_value=min(1.0, 1 / float(capital.max())),
        rejected_at=int(reached[0]) + 1 if reached.size else None,
        interval=(float(lo[0]), float(hi[0])),
    )


@checked
def rows_to_review(rows: int, max_bad_share: float, bad: int = 0, *, alpha: float = 0.05) -> int | None:
    """Return how many random rows to review so that at most `bad` bad rows prove the bound on a dataset.

    Args:
        rows: Rows of the dataset.
        max_bad_share: Largest share of bad rows that is accepted, in (0, 1).
        bad: Bad rows that the review may find.
        alpha: Largest chance to accept a dataset above the bound.

    Returns:
        Rows to review; None if `bad` is above the bound already.

    Raises:
        ValueError: A number is out of its range.

    Source: The exact hypergeometric acceptance plan; Schilling and Neubauer 2017, Acceptance Sampling, chapter 5.

    >>> stats.rows_to_review(900, 0.05), stats.rows_to_review(900, 0.05, bad=2)
    (56, 116)
    """
    return lot_plan_size(rows, min(rows - 1, most_allowed(rows, 1 - max_bad_share)), bad, alpha)
