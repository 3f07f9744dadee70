"""The one-sided bound of a score by which the verdict judges a target."""

import numpy as np

from tuneworthy.stats.intervals import effective_n, lower_bound, upper_bound


def score_bound(num, den, groups=None, *, side, alpha=0.05):
    """Return the bound of ``sum(num) / sum(den)`` at ``1 - alpha``: exact, of the effective number of cases."""
    size = effective_n(num, den, groups, alpha=alpha)
    k = min(size, size * float(np.sum(num) / np.sum(den)))
    return lower_bound(k, size, alpha) if side == "lower" else upper_bound(k, size, alpha)
