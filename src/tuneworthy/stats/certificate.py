"""A bound on how often a cheap answer differs from today's, among the traffic that the cheap method keeps.

Learn then test: thresholds of the confidence and their order come from dev; calibration units, which trained and chose
nothing, test them in that order, each at the full level, up to the first that is not rejected. The chance that a
threshold is certified although more than `most` of what it keeps differs is at most `alpha`, whatever the classifier
and the confidences are. A unit is a distinct prompt; its weight is its share of the traffic.

The test is exact where all prompts weigh the same. Elsewhere it is that of Korn and Graubard, with the number of equal
units that would be as precise, and approximate; simulations bound its error.

Source: Angelopoulos et al. 2021, "Learn then Test" (arXiv 2110.01052), fixed-sequence testing; Korn, Graubard 1998,
"Confidence intervals for proportions with small expected number of positive counts estimated from survey data".
"""

from dataclasses import dataclass

import numpy as np
import scipy

from tuneworthy.arrays import Floats

# Share of what is kept that may differ, and the confidence that no more does.
MOST_DIFFERENT = 0.05
CONFIDENCE = 0.9
# Fewest units kept, and share of the confidence left by the first certificate: each later one takes half of the rest.
FEWEST_KEPT = 59
FIRST_SHARE = 0.8
# Thresholds that are tried, at most.
MOST_THRESHOLDS = 60


@dataclass(frozen=True, slots=True)
class CalibrationUnits:
    """Distinct prompts, each answered once by the cheap method; arrays `(n,)`.

    Attributes:
        sure: Its confidence.
        differs: Share of the prompt's calls whose answer of today differs.
        weights: Traffic of the prompt, more than 0.
    """

    sure: Floats
    differs: Floats
    weights: Floats

    def kept(self, threshold: float) -> "CalibrationUnits":
        chosen = self.sure >= threshold
        return CalibrationUnits(self.sure[chosen], self.differs[chosen], self.weights[chosen])

    @property
    def difference(self) -> float:
        """Share of the traffic whose answer differs; NaN without units."""
        return float(self.weights @ self.differs / self.weights.sum()) if len(self.sure) else float("nan")


@dataclass(frozen=True, slots=True)
class Certified:
    """What the calibration units show.

    Attributes:
        threshold: The lowest confidence that is kept.
        share: Of the traffic that is kept.
        difference: Share that differs among it.
        upper: Upper bound of that share, at most `most`.
        n: Distinct prompts among it.
    """

    threshold: float
    share: float
    difference: float
    upper: float
    n: int


def certify(
    calibration: CalibrationUnits,
    dev: CalibrationUnits,
    *,
    most: float = MOST_DIFFERENT,
    alpha: float = (1 - CONFIDENCE) * FIRST_SHARE,
) -> Certified | None:
    """Return the lowest threshold that keeps the bound; None if none does, or fewer than `FEWEST_KEPT` units are kept.

    Args:
        calibration: Units that trained nothing and chose nothing.
        dev: Other units, which choose thresholds, order and stakes.
        most: Share that may differ.
        alpha: Error of this certificate.

    >>> sure, right = np.linspace(0, 1, 400), np.zeros(400, bool)
    >>> units = CalibrationUnits(sure, right, np.ones(400))
    >>> certify(units, units).share
    1.0
    """
    if not len(dev.sure) or len(calibration.sure) < FEWEST_KEPT:
        return None
    steps = np.unique(np.quantile(dev.sure, np.linspace(0, 1, MOST_THRESHOLDS), method="lower"))[::-1]
    likely = [_power(dev.kept(step), dev, len(calibration.sure), most, alpha) for step in steps]
    found = None
    for step in steps[int(np.argmax(likely)) :]:
        kept = calibration.kept(step)
        if p_value(kept, most) > alpha:
            break
        found = step, kept
    if found is None:
        return None
    step, kept = found
    shares = np.arange(1, round(most * 1000)) / 1000
    upper = next((float(share) for share in shares if p_value(kept, share) <= alpha), most)
    share = float(kept.weights.sum() / calibration.weights.sum())
    return Certified(float(step), share, kept.difference, upper, len(kept.sure))


def p_value(kept: CalibrationUnits, most: float) -> float:
    """Return the p-value of "more than `most` of this traffic differs"; 1 for fewer than `FEWEST_KEPT` units.

    A prompt with a large share of the traffic is no sample: it goes on, and its answers are known. The test is about
    the others.
    """
    known = kept.weights > kept.weights.sum() / FEWEST_KEPT
    differs, weights = kept.differs[~known], kept.weights[~known]
    if len(weights) < FEWEST_KEPT:
        return 1.0
    rate = (most * kept.weights.sum() - kept.weights[known] @ kept.differs[known]) / weights.sum()
    if rate <= 0 or rate >= 1:
        return float(rate <= 0)
    shares = weights / weights.sum()
    seen = float(shares @ differs)
    spread = float(shares**2 @ (differs - seen) ** 2)
    n = min(1 / float(shares @ shares), seen * (1 - seen) / spread if spread else np.inf)
    return float(scipy.special.betainc(max(n * (1 - seen), 1e-9), n * seen + 1, 1 - rate))


def _power(kept: CalibrationUnits, dev: CalibrationUnits, n: int, most: float, alpha: float) -> float:
    """Return the chance that a threshold passes if `n` calibration units are like those of dev."""
    effective = kept.weights.sum() ** 2 / (kept.weights**2).sum() / len(kept.sure)
    size = int(effective * len(kept.sure) / len(dev.sure) * n)
    if len(kept.sure) / len(dev.sure) * n < FEWEST_KEPT:
        return 0.0
    rate = (kept.difference * len(kept.sure) + 0.5) / (len(kept.sure) + 1)
    allowed = scipy.stats.binom.ppf(alpha, size, most) - 1
    return float(scipy.stats.binom.cdf(allowed, size, rate)) if allowed >= 0 else 0.0
