"""What options cost a month at any traffic, for the chart: those without training, and training over its range."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tuneworthy.config.ladder import Economics
from tuneworthy.report.chart import Kind
from tuneworthy.verdict.base import Option
from tuneworthy.verdict.economics import SPREAD, Money, spread

Monthly = Callable[[float], float]
# A thousand answers that are dearer are a damaged record.
MOST_USD = 1e6


@dataclass(frozen=True, slots=True)
class MonthlyCosts:
    """Cost a month by traffic.

    Attributes:
        untrained: Name, colour and cost of options without training.
        trained: Cost of training, one-off costs spread over the horizon: the low end, the estimate, the high end.
        break_even: Requests a month from which training pays by the bill alone, at both ends, or at the low one only.
    """

    untrained: Sequence[tuple[str, Kind, Monthly]]
    trained: tuple[Monthly, Monthly, Monthly]
    break_even: Sequence[float]


def monthly_costs(today: Option | None, best: Option | None, settings: Economics) -> MonthlyCosts | None:
    """Return the costs of today's option and of the best without training; None if no call costs anything."""
    options = [today] if today is best else [today, best]
    priced = [option for option in options if option and 0 < (option.usd_per_1k or 0.0) < MOST_USD]
    if not priced:
        return None
    usd = best.usd_per_1k if best else None
    low, middle, high = (
        Money(settings=spread(settings, factor), usd_per_1k=usd, gain=None) for factor in (SPREAD[0], 1.0, SPREAD[1])
    )
    volumes = [volume for money in (low, high) if (volume := money.break_even_volume()) is not None]
    return MonthlyCosts(
        [
            (option.option, "today" if option.kind == "today" else "best", partial(_bill, option.usd_per_1k or 0.0))
            for option in priced
        ],
        (partial(_trained, low), partial(_trained, middle), partial(_trained, high)),
        volumes,
    )


def _bill(usd_per_1k: float, requests: float) -> float:
    return usd_per_1k / 1000 * requests


def _trained(money: Money, requests: float) -> float:
    return money.monthly_usd(requests) + money.one_off_usd / money.settings.horizon_months
