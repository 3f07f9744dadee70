"""Break-even of fine-tuning: running cost of an option against data, training, serving and upkeep.

Pure arithmetic over the record of a run, the price table, `hardware.json` and the section `[economics]`. One option is
the reference: training is compared with its bill and its score. Invariants: an answer for a range of traffic applies to
all traffic within it (machines come one by one, so more traffic may pay less); a higher API price never raises the
break-even volume; every number used is named with its source.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from math import ceil
from typing import Literal, get_args

from scipy.optimize import brentq

from tuneworthy.config.ladder import Economics, RangeName
from tuneworthy.errors import join_sentences
from tuneworthy.money.serving import Bill, RunningCost, Training
from tuneworthy.money.sources import EconomicsResult, EconomicsStatus, Fact, TrainingWay, UsdPer1k, facts_of
from tuneworthy.text import rounded
from tuneworthy.types import Bounds, NamedFloats, frozen

SET_TRAFFIC = "Set `economics.requests_per_month`."
# The costs of training and upkeep that are a range where the project file does not give them.
SPREADING = ("hours_data", "hours_engineering", "hours_retrain", "train_hours", "upkeep_usd_per_month")
# A saving below this share of the bill is no reason to train, as no option displaces another for less.
FEWEST_SAVED = 0.2
# Assumed upper limit of the traffic if `requests_per_month` is not set.
MOST_REQUESTS = 10_000_000
# The largest traffic at which a break-even is looked for, as a power of ten.
MOST_POWER = 13
# Traffic at which a gain is tested besides the capacities of machines, as the cheapest way to serve changes between.
GRID = tuple(10.0 ** (n / 8) for n in range(8 * MOST_POWER + 1))
Gain = Bounds
# Of the ranges: the estimate, the end at which training pays least, the end at which it pays most.
End = Literal["estimate", "worst", "best"]
ENDS: tuple[End, ...] = ("estimate", "worst", "best")


@frozen
class Money:
    """The arithmetic of training against one option; all in US dollars.

    Attributes:
        before: Running cost of the option.
        tuned: Running cost of the fine-tuned model.
        one_off_usd: Data, work and training.
        worth: Value of the gain per answer.
        required: Of an answer, what must be saved and does not count.
        horizon_months: Months within which it must pay back.
    """

    before: RunningCost
    tuned: RunningCost
    one_off_usd: float
    worth: float
    required: float
    horizon_months: float

    @property
    def saved_usd(self) -> float:
        """Saving and value of a tuned answer, less the required saving."""
        return ((self.before.usd_per_1k or 0.0) - (self.tuned.usd_per_1k or 0.0)) / 1000 + self.worth - self.required

    def net_usd(self, requests: float) -> float:
        """Return the gain of a month with so many requests, one-off costs apart."""
        return self.saved_usd * requests + self.before.server_usd(requests) - self.tuned.server_usd(requests)

    def payback_months(self, requests: float) -> float | None:
        """Return the months until the one-off costs are saved; None if they never are."""
        net = self.net_usd(requests)
        return self.one_off_usd / net if net > 0 else None

    def pays(self, requests: float) -> bool:
        """Return whether the one-off costs are saved within the horizon."""
        months = self.payback_months(requests)
        return months is not None and months <= self.horizon_months * (1 + 1e-9)

    def volumes(self, low: float, high: float) -> list[float]:
        """Return the requests a month at which a gain is tested in a range: it may be highest or lowest within."""
        full = (way.capacity for one in (self.before, self.tuned) for way in one.ways if way.capacity)
        return sorted({low, high, *(requests for requests in chain(full, GRID) if low < requests < high)})

    def break_even_volume(self) -> float | None:
        """Return the fewest requests a month at which the one-off costs are saved within the horizon; None if never."""
        month, volumes = self.one_off_usd / self.horizon_months, self.volumes(0.0, GRID[-1])
        first = next((n for n, requests in enumerate(volumes) if self.net_usd(requests) >= month), None)
        return (
            float(brentq(lambda requests: self.net_usd(requests) - month, *volumes[first - 1 : first + 1]))
            if first
            else None
            if first is None
            else 0.0
        )


def one_off(settings: Economics) -> NamedFloats:
    """Return the parts of the one-off costs, US dollars: rows with their labels, training, checks and deployment."""
    return {
        "rows": settings.hours_data * settings.usd_per_hour,
        "training": settings.train_hours * settings.gpu_usd_per_hour,
        "checking": settings.hours_engineering * settings.usd_per_hour,
    }


def training_ways(running: RunningCost, requests: float | None) -> list[TrainingWay]:
    """Return each training in its cheapest way, with its upkeep; the dollars are None where the traffic is."""
    of = {name: [way for way in running.ways if way.training == name] for name in get_args(Training)}
    return [
        TrainingWay(
            training=name,
            serving=cost.title_at(requests),
            usd_per_month=None if requests is None else cost.monthly_usd(requests),
        )
        for name, cost in {name: replace(running, ways=ways) for name, ways in of.items() if ways}.items()
    ]


def money(
    bill: Bill,
    settings: Economics,
    gain: Gain | None = None,
    end: End = "estimate",
    tuned: Bill | None = None,
    *,
    required: float = 0.0,
) -> Money:
    """Return the arithmetic of training against one option, at an end of the ranges.

    Args:
        bill: Of that option.
        settings: The section `[economics]`.
        gain: Lower and upper bound of the gain over that option; the lower bound is claimed.
        end: Of the ranges.
        tuned: The tuned model that was compared on test; before, it is taken to read and write as much as the option.
        required: US dollars of a thousand answers that must be saved and do not count.
    """
    at = 1 if end == "best" else 0

    def factor(name: RangeName) -> float:
        return 1.0 if end == "estimate" else settings.spread(name)[at]

    if end != "estimate":
        costs = settings.spread("costs")[1 - at]
        assumed: dict[str, float] = {name: costs * getattr(settings, name) for name in assumed_costs(settings)}
        assumed["serve_load"] = settings.serve_load * factor("capacity")
        settings = settings.model_copy(update=assumed)
    before = bill.running(settings)
    return Money(
        before=replace(before, usd_per_1k=None if before.usd_per_1k is None else before.usd_per_1k * factor("price")),
        tuned=tuned.running(settings) if tuned else bill.trained(settings),
        one_off_usd=sum(one_off(settings).values()) / factor("success"),
        worth=(gain or (0.0, 0.0))[at] * (settings.usd_per_wrong_answer or 0.0) * factor("wrong_answer"),
        required=required / 1000,
        horizon_months=settings.horizon_months,
    )


def traffic_ends(settings: Economics) -> Gain | None:
    """Return the least and the most traffic; None if it is not known."""
    if settings.requests_per_month is None:
        return None
    low, high = settings.spread("traffic")
    return low * settings.requests_per_month, high * settings.requests_per_month


def economics(
    reference: Bill | None,
    settings: Economics,
    gain: Gain | None = None,
    tuned: Bill | None = None,
    *,
    most: float | None = None,
    required: float | None = None,
) -> EconomicsResult:
    """Say whether training pays against one option, from which volume and in which month.

    It pays if it does at the worst end of every range, and never if it does not at the best one.

    Args:
        reference: The option that would be replaced; None, or without a name, if there is no such option.
        settings: The section `[economics]`.
        gain: What training gains over it, as for `money`; None before a pilot.
        tuned: The tuned model that was compared on test, if there is one.
        most: The most that training can gain, where a wrong answer has a value and the gain decides.
        required: US dollars of a thousand answers that training must save, where the option meets the target: cost is
            then the question, and the value of a better answer does not count.
    """
    bill, traffic = reference or Bill(name="", usd_per_1k=None), settings.requests_per_month
    span = _claimed(gain, most, required)
    point, worst, best = (money(bill, settings, span, end, tuned, required=required or 0.0) for end in ENDS)
    usd = point.before.usd_per_1k
    saves = best.saved_usd > 0 or point.net_usd(0.0) > 0 or (bool(usd) if most is None else usd is not None)
    status: EconomicsStatus = "unknown"
    if required is not None:
        status = _STATUS[saves_enough(bill, settings, required)]
    elif saves:
        status = _status(worst, best, settings, priced=most is None or usd is not None)
    months = point.payback_months(traffic) if traffic else None
    month = None if months is None else ceil(months - 1e-9)
    facts = facts_of(reference, settings, gain)
    if status == "never" and month is not None:
        facts["payback_month"] = Fact(month, "later than the horizon, at the project's traffic", "computed")
    band = (best.break_even_volume(), worst.break_even_volume())
    return EconomicsResult(
        status=status,
        reference=bill.name or None,
        why=_no_bill(point.before, required)
        if not usd and (required is not None or not saves)
        else _why(point, best, band, settings, required),
        required_usd_per_1k=required,
        break_even_requests_per_month=point.break_even_volume(),
        break_even_band=band,
        running=point.tuned,
        break_even_month=month if status == "pays" else None,
        usd_per_1k=UsdPer1k(reference=usd, tuned_served=point.tuned.usd_per_1k_at(traffic)),
        ways=training_ways(point.tuned, traffic),
        one_off=one_off(settings),
        one_off_usd=point.one_off_usd,
        monthly_usd=point.tuned.monthly_usd(traffic or 0.0),
        assumptions=facts,
    )


def _claimed(gain: Gain | None, most: float | None, required: float | None) -> Gain | None:
    if required is not None:
        return None
    return gain if most is None else (gain[0] if gain else 0.0, most)


_STATUS: Mapping[bool | None, EconomicsStatus] = {True: "pays", False: "never", None: "unknown"}


def _status(worst: Money, best: Money, settings: Economics, *, priced: bool) -> EconomicsStatus:
    ends = traffic_ends(settings)
    if ends and all(map(worst.pays, worst.volumes(*ends))):
        return "pays"
    return "never" if ends and priced and not any(map(best.pays, best.volumes(*ends))) else "unknown"


def assumed_costs(settings: Economics) -> list[str]:
    """Return the costs of training and upkeep that the project file does not give."""
    return [name for name in SPREADING if name not in settings.model_fields_set]


def open_ranges(settings: Economics) -> list[RangeName]:
    """Return the ranges that a person may narrow; own costs narrow the capacity of a server, too."""
    names: tuple[RangeName, ...] = ("traffic", "price", "success")
    found = [name for name in names if _is_open(settings, name)]
    costs = assumed_costs(settings) and _is_open(settings, "costs")
    return (
        [*found, "costs"]
        if costs or (settings.serve_capacity_per_month is None and _is_open(settings, "capacity"))
        else found
    )


def _is_open(settings: Economics, name: RangeName) -> bool:
    low, high = settings.spread(name)
    return low < high


def has_smaller(usd_per_1k: float | None, smaller_usd: float | None) -> bool:
    """Return whether a model was called that is so much cheaper than an option that it may replace it.

    >>> has_smaller(1.0, 0.1), has_smaller(1.0, 0.9)
    (True, False)
    """
    return usd_per_1k is not None and smaller_usd is not None and smaller_usd <= (1 - FEWEST_SAVED) * usd_per_1k


def monthly_saving(bill: Bill, settings: Economics, required: float = 0.0) -> Gain | None:
    """Return the monthly saving of a tuned model, one-off costs spread over the horizon: the low and the high end.

    None where the traffic is not known.

    Args:
        bill: Of the option that would be replaced.
        settings: The section `[economics]`.
        required: As for `money`.
    """
    ends = traffic_ends(settings)
    if ends is None:
        return None
    sums = [money(bill, settings, end=end, required=required) for end in ENDS[1:]]
    months = [
        one.net_usd(requests) - one.one_off_usd / one.horizon_months for one in sums for requests in one.volumes(*ends)
    ]
    return min(months), max(months)


def least_volume(bill: Bill, settings: Economics, required: float = 0.0) -> float | None:
    """Return the requests a month below which no tuned model can pay, at the best end of the range; None if never."""
    return money(bill, settings, end="best", required=required).break_even_volume()


def required_usd(bill: Bill, today_usd: float | None, settings: Economics) -> float:
    """Return the required saving per thousand answers: a part of their bill, or of today's.

    Without traffic today's bill is unknown, and an unknown bill refutes nothing.
    """
    return FEWEST_SAVED * max(
        bill.usd_with(settings) or 0.0, (0.0 if settings.requests_per_month is None else today_usd or 0.0)
    )


def paid_bill(usd_per_1k: float | None, required: float) -> str:
    """Name the bill that the required saving refers to: of an option, or today's where that is dearer."""
    return "today's bill" if required > FEWEST_SAVED * (usd_per_1k or 0.0) else "the bill"


def saves_enough(bill: Bill, settings: Economics, required: float) -> bool | None:
    """Return whether a tuned model makes the required saving and saves more than its cost; None if unknown.

    Args:
        bill: Of the option that would be replaced.
        settings: The section `[economics]`.
        required: As for `money`.
    """
    usd = bill.usd_with(settings)
    if not usd:
        return None if usd is None else False
    saving = monthly_saving(bill, settings, required)
    if saving is None:
        volume = least_volume(bill, settings, required)
        return False if volume is None or volume > MOST_REQUESTS * settings.spread("traffic")[1] else None
    return False if saving[1] < 0 else True if saving[0] >= 0 else None


def cost_is_a_reason(
    bill: Bill, today_usd: float | None, settings: Economics, smaller_usd: float | None
) -> bool | None:
    """Say whether a smaller model, tuned, would save more than it costs against an option; None if it is not known.

    Args:
        bill: Of the option.
        today_usd: A thousand answers of today's option; None if not known.
        settings: The section `[economics]`.
        smaller_usd: Least cost of a thousand answers among the models that were called.

    >>> cost_is_a_reason(Bill(name="small", usd_per_1k=0.0), 0.0, Economics(), 0.0)
    False
    """
    usd = bill.usd_with(settings)
    saves = saves_enough(bill, settings, required_usd(bill, today_usd, settings))
    return saves if (has_smaller(usd, smaller_usd) and today_usd is not None) or saves is False else None


def can_pay(bill: Bill, gain: Gain, settings: Economics) -> bool | None:
    """Say whether training may pay at the best end of the range, the value of a better answer included.

    Money decides only where that value is given. None where the traffic is not known, or a price that matters.

    Args:
        bill: Of the option that would be replaced.
        gain: The least and the most that training can gain over it.
        settings: The section `[economics]`.
    """
    if settings.usd_per_wrong_answer is None:
        return True
    ends = traffic_ends(settings)
    if ends is None:
        return None
    best = money(bill, settings, gain, "best")
    pays = any(map(best.pays, best.volumes(*ends)))
    return None if bill.usd_per_1k is None and not pays else pays


def worth_from(bill: Bill, most_gain: float, settings: Economics) -> float | None:
    """Return the value of a wrong answer from which training may pay, US dollars; None if it is not known."""
    traffic = settings.requests_per_month
    if not traffic or most_gain <= 0 or bill.usd_per_1k is None:
        return None
    sums = money(bill, settings)
    return max(0.0, sums.one_off_usd / settings.horizon_months - sums.net_usd(traffic)) / (most_gain * traffic)


def _why(
    point: Money, best: Money, band: tuple[float | None, float | None], settings: Economics, required: float | None
) -> str:
    """Say from which traffic training pays within the horizon, at the estimate and at both ends of the ranges."""
    (low, high), volume = band, point.break_even_volume()
    share = f"the required {FEWEST_SAVED:.0%} of {paid_bill(point.before.usd_per_1k, required or 0.0)}"
    if low is None and required is not None:
        return f"At no traffic volume would training save {share}."
    if low is None:
        return (
            "No traffic volume makes training pay off: an answer of the fine-tuned model saves nothing, or less than "
            "serving it costs."
        )
    pays, about = f"raining pays off within {point.horizon_months:g} months", f"above about {rounded(volume or 0.0)}"
    (case, lowest), at = (best, low) if volume is None else (point, volume), settings.requests_per_month
    if volume is None:
        text = (
            f"In the best case, t{pays} above {rounded(low)} requests per month. With the estimated values, it never "
            "pays off."
        )
    elif high is None:
        text = f"T{pays} {about} requests per month ({rounded(low)} in the best case), in the worst case never."
    elif round(low) == round(high):
        text = f"T{pays} if there are at least {rounded(volume)} requests per month."
    else:
        text = f"T{pays} {about} requests per month ({rounded(low)} in the best case, {rounded(high)} in the worst)."
    return join_sentences(
        text,
        (f"Only what is saved beyond {share} counts." if required else ""),
        "At the project's traffic, it does not." if at and at >= lowest and not case.pays(at) else "",
        SET_TRAFFIC if settings.requests_per_month is None else "",
    )


def _no_bill(before: RunningCost, required: float | None) -> str:
    if before.usd_per_1k is None:
        text = "The saving on the bill is unknown, because no recommended option has a known price."
    elif not before.ways:
        text = "The recommended option has no cost per call, so training cannot reduce the bill."
    else:
        text = (
            "The recommended option runs on a server of your own. A fine-tuned model would need one as well, so "
            "training cannot reduce the bill."
        )
    return (
        text
        if required is not None
        else join_sentences(text, "To count the value of better answers, set `economics.usd_per_wrong_answer`.")
    )


def money_sentence(result: EconomicsResult) -> str:
    """Say whether training pays, and why.

    >>> money_sentence(EconomicsResult(status="unknown"))
    'Whether training pays off is unknown.'
    """
    values = [result.assumptions.get(name, Fact(None)).value for name in ("requests_per_month", "horizon_months")]
    requests, months = (value if isinstance(value, float | int) else None for value in values)
    traffic = f" at {requests:,.0f} requests per month" if requests else ""
    within = f" within {months:g} months" if months else ""
    answer = {
        "pays": f"Training breaks even in month {result.break_even_month}{traffic}.",
        "never": f"Training does not break even{within}{traffic}.",
        "not_applicable": "Only an option that violates a constraint meets the target.",
        "unknown": "" if result.why else "Whether training pays off is unknown.",
    }[result.status]
    return f"{answer} {result.why}".strip()
