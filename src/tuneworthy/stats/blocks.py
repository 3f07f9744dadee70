"""Confidence sequence of a mean from block means, such as those of days: valid after every finished block.

Observations of one block are correlated, so each block counts once, and the standard deviation of the block means
includes the variation between blocks. For n block means with mean m and standard deviation s (divisor n), the
one-sided ends at level alpha are m - s r and m + s r, in the unit of the means, with

    r(n)^2 = (q - 1) (n + c) / (n + c - q c),    q = ((n + c) / (4 alpha^2 c))^(1/n),

and infinite where the denominator is not positive. This is Robbins' normal mixture, N(0, 1 / c) on the mean in
standard deviations, with the unknown standard deviation integrated out. For independent normal block means the chance
that either end is ever wrong is at most 2 alpha, at any number of looks; for other means it is asymptotic.

Source: Robbins 1970 (doi 10.1214/aoms/1177696786); Lai 1976 (doi 10.1214/aos/1176343406); Wang and Ramdas 2023
(arXiv 2310.03722), theorem on the t-mixture; for many blocks, Waudby-Smith et al. 2021 (arXiv 2103.06476).
"""

import numpy as np

from tuneworthy.arrays import FloatPair, Floats

# Standard errors by which earlier looks shorten the median run; from `scripts.simulations.days`.
EARLIER = 0.3
# Candidates for the mixture parameter c.
_MIXTURES = np.geomspace(0.01, 100, 200)


def relative_width(n: Floats | int, alpha: float, horizon: int) -> Floats:
    """Return the distance r from the mean to either end, in standard deviations of the block means.

    Args:
        n: Blocks so far.
        alpha: The chance that one end is ever wrong.
        horizon: Blocks after which the sequence is as narrow as possible; chosen before the first block.
    """

    def width(blocks: Floats | int, mixture: Floats) -> Floats:
        q = ((blocks + mixture) / (4 * alpha**2 * mixture)) ** (1 / np.asarray(blocks, dtype=np.float64))
        rest = blocks + mixture - q * mixture
        square = (q - 1) * (blocks + mixture) / np.where(rest > 0, rest, np.nan)
        return np.nan_to_num(np.sqrt(square), nan=np.inf)

    return width(n, _MIXTURES[width(horizon, _MIXTURES).argmin()])


def running_mean(values: Floats, weights: Floats) -> FloatPair:
    """Return the weighted mean after each value and its standard error, each `(..., n)`, in the unit of the values.

    The error is that of a ratio of sums, sqrt(sum w^2 (x - mean)^2) / sum w: weights may vary with the values.

    Args:
        values: `(..., n)`; the last axis is time.
        weights: `(..., n)`, positive.
    """
    total, squares = np.cumsum(weights, axis=-1), weights**2
    mean = np.cumsum(weights * values, axis=-1) / total
    spread = np.cumsum(squares * values**2, axis=-1) - 2 * mean * np.cumsum(squares * values, axis=-1)
    return mean, np.sqrt(np.maximum(spread + mean**2 * np.cumsum(squares, axis=-1), 0.0)) / total


def block_sequence(
    means: Floats, weights: Floats, alpha: float, horizon: int, *, first: int = 2, least_errors: Floats | float = 0.0
) -> FloatPair:
    """Return the lower and the upper end after each block, each `(..., n)`, each at level alpha.

    Args:
        means: `(..., n)` block means; the last axis is time.
        weights: `(..., n)` weights of the blocks; s is then sqrt(n) times the error of `running_mean`.
        alpha: See `relative_width`.
        horizon: See `relative_width`.
        first: Blocks before the first finite end, at least 2.
        least_errors: `(..., n)` smallest standard error of the mean after each block, so that few blocks that are
            alike do not look certain.
    """
    n = np.arange(1.0, means.shape[-1] + 1)
    mean, errors = running_mean(means, weights)
    deviation = np.maximum(errors * np.sqrt(n), least_errors * np.sqrt(n - 1))
    relative = np.where(n < first, np.inf, relative_width(n, alpha, horizon))
    width = np.multiply(deviation, relative, where=np.isfinite(relative), out=np.full(mean.shape, np.inf))
    return mean - width, mean + width


def blocks_until(effect: float, deviation: float, alpha: float, horizon: int, most: int = 365) -> int | None:
    """Return after how many blocks half of the runs show a mean that is `effect` away; None above `most`.

    Args:
        effect: Distance of the true mean from the bound that is tested, in the unit of the means.
        deviation: Standard deviation of the block means.
        alpha: See `relative_width`.
        horizon: See `relative_width`.
        most: Largest number of blocks.
    """
    n = np.arange(2.0, most + 1)
    width = (relative_width(n, alpha, horizon) - EARLIER / np.sqrt(n)) * np.sqrt((n - 1) / n)
    enough = deviation * width <= effect
    return int(n[enough][0]) if enough.any() else None
