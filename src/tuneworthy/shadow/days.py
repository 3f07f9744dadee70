"""Finished days as blocks, and the forecast of the days to a decision.

Sessions of one day are correlated: the same release, the same news, the same customers. So a day counts once, with its
sessions' mean difference (`stats.blocks`). Days count as independent of each other. Where the user calls a
log one period, each session is a block.
"""

import numpy as np

from tuneworthy.arrays import FloatPair, Floats, Ints
from tuneworthy.shadow import messages
from tuneworthy.stats.blocks import block_sequence, blocks_until, running_mean
from tuneworthy.types import OpenBounds, positional

# Finished blocks before any result: weekdays differ.
MIN_DAYS = 7
# Blocks for which the sequence is narrowest: days, and sessions if each is a block.
HORIZON = 14
SESSIONS_HORIZON = 100
# Disagreements that are added to the variance, so that a few sessions without any are not certain.
ADDED = 6
# Largest standard deviation between days at which a first step of `MIN_DAYS` is enough; assumed if it is not measured.
USUAL_BETWEEN = 0.04
# Share of answers that differ in quality, and labelled sessions a day, before any is known.
CHANGED = 0.15
USUAL_TRAFFIC = (30, 100, 300)
# Losses beyond the margin whose days are forecast.
LOSSES = (0.05, 0.1)


@positional
class Blocks:
    """Differences of finished blocks, in the order of time.

    Attributes:
        places: `(k,)`, cumulative sessions at the ends of the blocks.
        means: `(..., k)`, mean difference per block.
        weights: `(..., k)`, sum of the sessions' weights per block.
        errors: `(..., k)`, standard error of the mean after each block if all sessions were independent.
        n: Sessions with a difference in these blocks.
    """

    places: Ints
    means: Floats
    weights: Floats
    errors: Floats
    n: int

    @classmethod
    def of(cls, values: Floats, weights: Floats, days: Ints, reach: float) -> "Blocks":
        """Return the blocks of sessions.

        Args:
            values: `(..., n)`, differences of the sessions, each in [-reach, reach].
            weights: `(..., n)`, each in [0, 1].
            days: `(n,)`, each session's finished day by number, rising; -1 outside.
            reach: See `values`.
        """
        inside = np.flatnonzero(days >= 0)
        ends = np.cumsum(np.unique(days[inside], return_counts=True)[1]) - 1
        values, weights = values[..., inside], weights[..., inside]
        total, products, squares = (
            np.cumsum(terms, axis=-1)[..., ends] for terms in (weights, weights * values, weights**2)
        )
        added = ADDED * (reach + 1) ** 2 / 4 * squares / (ends + 1)
        errors = np.sqrt(running_mean(values, weights)[1][..., ends] ** 2 + added / total**2)
        sums = np.diff(total, prepend=0.0)
        return cls(inside[ends] + 1, np.diff(products, prepend=0.0) / sums, sums, errors, len(inside))

    def ends(self, alpha: float) -> FloatPair:
        """Return the lower and the upper end of the sequence after each block, each `(..., k)`, each at level alpha."""
        return block_sequence(
            self.means,
            self.weights,
            alpha,
            HORIZON if self.n > len(self.places) else SESSIONS_HORIZON,
            first=MIN_DAYS,
            least_errors=self.errors,
        )

    @property
    def spread(self) -> OpenBounds:
        """Variance of a day's mean that its number of sessions explains, and the rest; None below `MIN_DAYS`."""
        n, (_, errors) = len(self.places), running_mean(self.means, self.weights)
        within = n * float(self.errors[-1]) ** 2
        return within, max(0.0, n**2 / (n - 1) * float(errors[-1]) ** 2 - within) if n >= MIN_DAYS else None


def decision_days(deviation: float, margin: float, pass_alpha: float, stop_alpha: float) -> list[int | None]:
    """Return the days until half of the equal candidates pass, and of those worse by each of `LOSSES` are stopped.

    Args:
        deviation: Standard deviation of the mean differences of days.
        margin: Of the project; the losses are beyond it.
        pass_alpha: Error of the pass rule.
        stop_alpha: Error of the stop rule.
    """
    rules = [(margin, pass_alpha), *((loss, stop_alpha) for loss in LOSSES)]
    return [
        (days := blocks_until(effect, deviation, alpha, HORIZON)) and max(MIN_DAYS, days) for effect, alpha in rules
    ]


def forecast(margin: float, pass_alpha: float, stop_alpha: float, blocks: Blocks) -> str:
    """Return the days to a decision, as a sentence.

    Args:
        margin: See `decision_days`.
        pass_alpha: See `decision_days`.
        stop_alpha: See `decision_days`.
        blocks: Finished days, at least one.
    """
    within, measured = blocks.spread
    between = USUAL_BETWEEN if measured is None else measured**0.5
    days = decision_days((between**2 + within) ** 0.5, margin, pass_alpha, stop_alpha)
    first_step = MIN_DAYS if between <= USUAL_BETWEEN else days[-1]
    to_pass, *to_stop = map(_words, days)
    first = f"First step: {_words(first_step)}." if (first_step or 366) > len(blocks.places) else ""
    return messages.say(
        "forecast",
        sessions=blocks.n / len(blocks.places),
        between=100 * between,
        known="assumed" if measured is None else "measured",
        to_pass=to_pass,
        losses=" and ".join(f"{100 * loss:.0f}" for loss in LOSSES),
        to_stop=" and ".join(dict.fromkeys(to_stop)),
        first=first,
    ).rstrip()


def forecast_before(margin: float, alpha: float, label_share: float) -> str:
    """Return the days to a pass before any traffic, as a sentence; `CHANGED` of the answers differ in quality.

    Args:
        margin: Of the project.
        alpha: Error of the pass rule.
        label_share: Share of the sessions that people label.
    """
    rows = [
        f"{_words(decision_days((USUAL_BETWEEN**2 + CHANGED / n) ** 0.5, margin, alpha, alpha)[0])} "
        f"({n / label_share:,.0f})"
        for n in USUAL_TRAFFIC
    ]
    return messages.say("forecast_before", share=label_share, rows=", ".join(rows))


def _words(days: int | None) -> str:
    return f"about {days} days" if days else "more than a year"
