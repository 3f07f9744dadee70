"""A bound on how often a cheap answer differs from today's, among the traffic that the cheap method keeps.

Learn then test: thresholds of the confidence, their order and the stakes come from dev; calibration units, which
trained and chose nothing, test them in that order, each at the full level, up to the first that is not rejected. The
chance that a threshold is certified although more than `most` of what it keeps differs is at most `1 - confidence`,
whatever the classifier and the confidences are. A unit is a distinct prompt; its weight is its share of the traffic.

Source: Angelopoulos et al. 2021, "Learn then Test" (arXiv 2110.01052), fixed-sequence testing; unequal weights by the
capital of a bettor (Waudby-Smith, Ramdas, JRSS B 2024), as in `stats.betting`.
"""

from dataclasses import dataclass
from typing import Any

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
# The largest stake: no single unit takes all of the capital.
MOST_STAKED = 0.9


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
        kept, stake = calibration.kept(step), best_stake(dev.kept(step), most)
        if len(kept.sure) < FEWEST_KEPT or p_value(kept, most, stake) > alpha:
            break
        found = step, kept, stake
    if found is None:
        return None
    step, kept, stake = found
    share = float(kept.weights.sum() / calibration.weights.sum())
    return Certified(float(step), share, kept.difference, _upper(kept, most, stake, alpha), len(kept.sure))


def p_value(kept: CalibrationUnits, most: float, stake: float) -> float:
    """Return the p-value of "more than `most` of this traffic differs".

    A prompt with a large share of the traffic is not a sample of anything: its answers are known, and it goes on. The
    test is about the others; it is exact where they weigh the same.
    """
    weights = kept.weights
    known = weights > weights.sum() / FEWEST_KEPT
    differs, weights = kept.differs[~known], weights[~known]
    if len(weights) < FEWEST_KEPT:
        return 1.0
    left = most * kept.weights.sum() - kept.weights[known] @ kept.differs[known]
    rate = left / weights.sum()
    if rate <= 0 or rate >= 1:
        return float(rate <= 0)
    if (weights == weights[0]).all():
        return float(scipy.special.bdtr(np.ceil(differs).sum(), len(weights), rate))
    growth = np.log1p(min(stake, MOST_STAKED / (1 - rate)) * (rate - differs) * weights / weights.max())
    return float(np.exp(min(0.0, -growth.sum())))


def best_stake(kept: CalibrationUnits, most: float) -> float:
    """Return the stake of the fastest growth if calibration units are like these."""
    size = kept.weights / kept.weights.max()
    rate = (kept.weights @ kept.differs + kept.weights.mean() / 2) / (kept.weights.sum() + kept.weights.mean())
    stakes = np.linspace(0.02, MOST_STAKED / (1 - most), 40)
    gain = np.log1p(np.outer(stakes * most, size)) * (1 - rate) + np.log1p(np.outer(-stakes * (1 - most), size)) * rate
    return float(stakes[gain.sum(axis=1).argmax()])


def _power(kept: CalibrationUnits, dev: CalibrationUnits, n: int, most: float, alpha: float) -> float:
    """Return the chance that a threshold passes if `n` calibration units are like those of dev."""
    effective = kept.weights.sum() ** 2 / (kept.weights**2).sum() / len(kept.sure)
    size = int(effective * len(kept.sure) / len(dev.sure) * n)
    if len(kept.sure) / len(dev.sure) * n < FEWEST_KEPT:
        return 0.0
    rate = (kept.difference * len(kept.sure) + 0.5) / (len(kept.sure) + 1)
    allowed = scipy.stats.binom.ppf(alpha, size, most) - 1
    return float(scipy.stats.binom.cdf(allowed, size, rate)) if allowed >= 0 else 0.0


def _upper(kept: CalibrationUnits, most: float, stake: float, alpha: float) -> float:
    """Return the smallest share that the kept units reject, to a thousandth: at most `most`."""
    shares: Any = np.arange(1, round(most * 1000) + 1) / 1000
    return float(next(share for share in [*shares, most] if p_value(kept, share, stake) <= alpha or share >= most))
