"""A wager on differences: grows where the mean is above 0, and is fair or worse where it is not, at all times.

Source: Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024; Ville 1939.
"""

import numpy as np

# Shares of the capital that are staked each time; an equal part of it begins at each.
BETS = np.linspace(0.1, 0.9, 9)


def wager(differences: np.ndarray) -> float:
    """Return the capital of a bettor who began with 1 and bet on each difference being above 0, in the order given.

    If the mean is 0 or less, whatever came before, the chance that the capital ever reaches 1 / alpha is at most
    alpha: one may look at any time and stop.

    Args:
        differences: `(n,)`, each in [-1, 1].

    >>> round(wager(np.ones(6)), 1), wager(-np.ones(6)) < 1, wager(np.empty(0))
    (13.2, True, 1.0)
    """
    if not len(differences):
        return 1.0
    return float(np.exp(np.log1p(np.multiply.outer(BETS, differences)).sum(axis=1)).mean())
