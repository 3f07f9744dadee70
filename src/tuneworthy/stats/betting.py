"""Wagers on the mean of bounded observations: valid at every look, so that one may stop at any time.

A bettor begins with 1 and stakes a share of the capital on each observation. If the mean is not where the bets say,
the capital is a supermartingale: the chance that it ever reaches 1 / alpha is at most alpha (Ville). A confidence
sequence contains the means against which no capital ever reached that. Every bet of `BETS` stakes an equal part of the
capital, so the capital does not depend on the order of the observations, only the times at which it was reached do.

Source: Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024 (hedged capital;
diversified bets); Ville 1939; bets that begin at each observation: Shin, Ramdas, Rinaldo, "E-detectors", NEJSDS 2023.
"""

import numpy as np

from tuneworthy.arrays import FloatPair, Floats, Ints

# Shares of the capital that are staked each time; an equal part begins with each.
BETS = np.linspace(0.1, 0.9, 9)
# How often the ends of a confidence sequence are halved: to 0.01 points.
HALVINGS = 14


def wager(differences: Floats) -> float:
    """Return the capital of a bettor who began with 1 and bet on each difference being above 0, in the order given.

    If the mean is 0 or less, whatever came before, the chance that the capital ever reaches 1 / alpha is at most
    alpha: one may look at any time and stop.

    Args:
        differences: `(n,)`, each in [-1, 1].

    >>> round(wager(np.ones(6)), 1), wager(-np.ones(6)) < 1, wager(np.empty(0))
    (16.7, True, 1.0)
    """
    return float(np.exp(log_capital(differences, 0.0)[-1])) if len(differences) else 1.0


def log_capital(values: Floats, null: float, weights: Floats | float = 1.0) -> Floats:
    """Return the logarithm of the capital after each observation, of bets that the weighted mean is above `null`.

    Args:
        values: `(..., n)`, each in [-1, 1]; the last axis is time.
        null: The mean that is bet against.
        weights: `(..., n)`, each in [0, 1]; the mean is `E[weight * value] / E[weight]`.

    Returns:
        As `values`.
    """
    return _joined(np.cumsum(_growth(values, null, weights), axis=-1))


def log_capital_of_any_start(values: Floats, null: float, weights: Floats | float = 1.0) -> Floats:
    """Return `log_capital` of bets on a mean above `null` that begin, in part, at every observation.

    Bets that all began with the first observation find a late rise late. Here the part 1 / (j (j + 1)) of the capital
    begins at observation j; the parts add up to 1, so Ville's bound still applies.
    """
    growth = _growth(values, null, weights)
    return _joined(np.cumsum(growth, axis=-1) + np.logaddexp.accumulate(_parts(growth), axis=-1))


def start_of_rise(values: Floats, null: float, weights: Floats | float = 1.0) -> int:
    """Return the place of the observation, of `(n,)`, whose part of `log_capital_of_any_start` is the largest now."""
    growth = _growth(values, null, weights)
    return int((growth.sum(axis=-1, keepdims=True) + _parts(growth)).max(axis=0).argmax())


def _parts(growth: Floats) -> Floats:
    """Return the logarithm of the part of the capital that begins at each observation, over what came before it."""
    numbers = np.arange(1.0, growth.shape[-1] + 1)
    return np.asarray(growth - np.cumsum(growth, axis=-1) - np.log(numbers * (numbers + 1)))


def _growth(values: Floats, null: float, weights: Floats | float, *, above: bool = True) -> Floats:
    """Return the log capital factor per bet and observation, `(n_bets, ..., n)`."""
    side = 1.0 if above else -1.0
    stakes = weights * side * (values - null) / (1 + side * null)
    return np.asarray(np.log1p(np.multiply.outer(BETS, stakes)))


def _joined(growth: Floats) -> Floats:
    return np.asarray(np.logaddexp.reduce(growth, axis=0) - np.log(len(BETS)))


def confidence_sequence(values: Floats, weights: Floats, places: Ints, alpha: float) -> FloatPair:
    """Return the ends of the two-sided confidence sequence of a weighted mean in [-1, 1], after `places` observations.

    Args:
        values: `(n,)`, as in `log_capital`.
        weights: `(n,)`.
        places: `(k,)`, rising, each from 1 to n.
        alpha: The chance that the sequence ever misses the mean, at most.

    Returns:
        Lower and upper ends, each `(k,)`; they only ever come closer. They are rounded outward.
    """

    def end(n: int, *, above: bool) -> float:
        sure, open_end = (-1.0, 1.0) if above else (1.0, -1.0)
        for _ in range(HALVINGS):
            mean = (sure + open_end) / 2
            growth = _growth(values[:n], mean, weights[:n], above=above).sum(axis=-1)
            sure, open_end = (mean, open_end) if _joined(growth) >= np.log(2 / alpha) else (sure, mean)
        return sure

    lower, upper = ([end(int(n), above=above) for n in places] for above in (True, False))
    return np.maximum.accumulate(lower), np.minimum.accumulate(upper)
