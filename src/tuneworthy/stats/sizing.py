"""How many cases a question needs, and what those at hand can show; a sentence and the numbers behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any

from .power import detectable, mcnemar_power, n_for_difference, n_for_non_inferiority

POWER = 0.8
# Share of cases that a change makes wrong, where it was not observed.
LOSS = 0.05
# No one labels more cases than this; larger numbers are reported as "more".
MOST_CASES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """An answer about size.

    Attributes:
        sentence: The answer in words.
        numbers: Inputs of the estimate, JSON-able.
    """

    sentence: str
    numbers: Mapping[str, Any]


@cache
def shows(n: int, alpha: float, *, loss: float | None = None, design_effect: float = 1.0) -> Sizing:
    """Say how small a difference n cases can show at the alpha of one test comparison.

    Args:
        n: Test cases, at least 1.
        alpha: One-sided error of the comparison.
        loss: Share of cases that only the older variant gets right, as observed; 5 % if it is not known.
        design_effect: ``1 + (mean group size - 1) * ICC`` where cases share sources.

    >>> shows(50, 0.025).numbers["detectable"]
    0.208
    """
    rate = LOSS if loss is None else loss
    found = detectable(n, alpha, loss=rate, power=POWER, design_effect=design_effect)
    numbers = {
        "n": n,
        "alpha": alpha,
        "loss": rate,
        "power": POWER,
        "design_effect": design_effect,
        "detectable": round(found, 3) if isfinite(found) else None,
    }
    if not isfinite(found):
        return Sizing(
            sentence=f"With {n} cases, no difference can be significant at alpha {alpha:.3g}.", numbers=numbers
        )
    sentence = (
        f"With {n} cases at alpha {alpha:.3g}, the smallest detectable difference is {100 * found:.1f} points. "
        f"This assumes {POWER:.0%} power and that {rate:.1%} of the cases get worse."
    )
    return Sizing(sentence=sentence, numbers=numbers)


def cases_for_margin(margin: float, alpha: float, *, loss: float | None = None, gain: float | None = None) -> Sizing:
    """Say how many cases the margin needs: to show a gain of that size, and to show "no worse by it".

    Args:
        margin: The smallest difference that matters, in (0, 1).
        alpha: One-sided error of the comparison; non-inferiority is tested at 5 %.
        loss: Observed share of cases that only the older variant gets right; 5% where it is not known.
        gain: Observed share that only the newer one gets right; 5% and the margin where it is not known.

    >>> cases_for_margin(0.05, 0.05, loss=0.025, gain=0.025).numbers["n_non_inferior"]
    124
    """
    observed = loss is not None and gain is not None and loss + gain > 0
    discordance = (loss or 0.0) + (gain or 0.0) if observed else 2 * LOSS
    worse = (max(discordance, margin) - margin) / 2 if observed else min(LOSS, (1 - margin) / 2)
    better, n_gain = min(1 - worse, worse + margin), None
    if mcnemar_power(MOST_CASES, worse, better, alpha) >= POWER:
        n_gain = n_for_difference(worse, better, alpha, POWER)
    n_same = n_for_non_inferiority(margin, discordance, power=POWER)
    sentence = (
        "Detecting a gain of {margin:.1f} points takes {n_gain} cases if {worse:.1%} of them get worse. Showing "
        "non-inferiority within {margin:.1f} points takes {n_same:,} cases if the two variants disagree on "
        "{discordance:.1%} of them ({how}). Both figures assume {power:.0%} power and one-sided tests, at alpha "
        "{alpha:.3g} for the gain and 0.05 for non-inferiority."
    ).format(
        margin=100 * margin,
        n_gain=f"{n_gain:,}" if n_gain is not None else f"more than {MOST_CASES:,}",
        worse=worse,
        n_same=n_same,
        discordance=discordance,
        how="as observed" if observed else "an assumption, because nothing has been observed yet",
        alpha=alpha,
        power=POWER,
    )
    numbers = {
        "margin": margin,
        "alpha": alpha,
        "power": POWER,
        "discordance": discordance,
        "observed": observed,
        "n_gain": n_gain,
        "n_non_inferior": n_same,
    }
    return Sizing(sentence=sentence, numbers=numbers)
