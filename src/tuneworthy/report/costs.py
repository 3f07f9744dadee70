"""What options cost a month at any traffic, for the chart: those without training, and training over its range."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tuneworthy.config.ladder import Economics
from tuneworthy.money.bills import Bill
from tuneworthy.money.economics import Money, money
from tuneworthy.money.serving import RunningCost
from tuneworthy.report.table import Kind
from tuneworthy.verdict.base import TUNED
from tuneworthy.verdict.options import Option

Monthly = Callable[[float], float]
ENDS: Final = ("best", "estimate", "worst")
# An answer that is dearer is of a damaged record.
MOST_USD = 1e6


@dataclass(frozen=True, slots=True)
class MonthlyCosts:
    """Cost a month by traffic.

    Attributes:
        untrained: Name, colour and cost of options without training.
        trained: Cost of training, one-off costs spread over the horizon: the low end, the estimate, the high end.
        break_even: Requests a month from which training pays, at both ends of the ranges, or at the low one only.
    """

    untrained: Sequence[tuple[str, Kind, Monthly]]
    trained: tuple[Monthly, Monthly, Monthly]
    break_even: Sequence[float]


def monthly_costs(
    today: Option | None,
    best: Option | None,
    settings: Economics,
    bills: Mapping[str, Bill],
    band: Sequence[float | None] | None = None,
) -> MonthlyCosts | None:
    """Return the costs of today's option and of the best without training; None if neither costs anything.

    Args:
        today: Of the options.
        best: The one without training that should run.
        settings: The section `[economics]`.
        bills: By rung.
        band: The break-even of the verdict; None without one, so that training pays by the bill only.
    """
    drawn = [option for option in ([today] if today is best else [today, best]) if option is not None]
    costs = [(option, option.running) for option in drawn if option.running is not None]
    priced = [(option, cost) for option, cost in costs if 0 < (cost.monthly_usd(1.0) or 0.0) < MOST_USD]
    if not priced or best is None:
        return None
    reference = bills.get(best.rung) or Bill(name=best.option, usd_per_1k=None)
    low, middle, high = (money(reference, settings, None, end, bills.get(TUNED)) for end in ENDS)
    volumes = [point.break_even_volume() for point in (low, high)] if band is None else band
    return MonthlyCosts(
        [
            (option.option, "today" if option.kind == "today" else "best", partial(_month, cost))
            for option, cost in priced
        ],
        (partial(_trained, low), partial(_trained, middle), partial(_trained, high)),
        [volume for volume in volumes if volume is not None],
    )


def _month(cost: RunningCost, requests: float) -> float:
    return cost.monthly_usd(requests) or 0.0


def _trained(point: Money, requests: float) -> float:
    return _month(point.tuned, requests) + point.one_off_usd / point.horizon_months
