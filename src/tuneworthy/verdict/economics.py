"""Whether training pays: what an option costs to run against data, training, serving and upkeep.

Pure arithmetic over the record of a run, the price table, `hardware.json` and the section `[economics]`, whose
defaults have their sources in `economics.json`. One option is the reference: training is compared with its bill and
with its score. Invariants: more traffic never makes "pays" into "never"; a dearer API never raises the break-even
volume; every number used is named with its source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise, product
from math import ceil, inf, log
from typing import Any, Final, Literal

import orjson

from tuneworthy.config.ladder import Economics
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.bills import Bill
from tuneworthy.ladder.serving import (
    USUAL_TOKENS,
    RunningCost,
    hardware,
    hardware_date,
    server_for,
    size_b,
    upkeep_usd,
)
from tuneworthy.providers.prices import table_date
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import EconomicsResult, EconomicsStatus, Fact, Sensitivity, Verdict
from tuneworthy.verdict.savings import savings_of

# A share of 0 cannot be doubled: the sensitivity tries this instead.
TRIED_SHARE = 0.5
SHARES = frozenset({"cached_share", "batch_share", "serve_load"})
PRICE = "reference_usd_per_1k"
# What a project says that knows its own server: nothing is then assumed.
SERVER: Final = ("serve_usd_per_month", "serve_capacity_per_month")
# The costs of training and upkeep that are a range where the project file does not give them.
SPREADING: Final = ("hours_data", "hours_engineering", "hours_retrain", "train_hours", "upkeep_usd_per_month")
# The ranges that a person narrows in one go, by what is named to them; own costs narrow two.
RANGES_OF: Final[Mapping[str, Sequence[Literal["traffic", "price", "success", "costs", "capacity"]]]] = {
    "traffic": ("traffic",),
    "price": ("price",),
    "success": ("success",),
    "costs": ("costs", "capacity"),
}
# Numbers of a range that are tried, from its worst end to its best.
STEPS: Final = 4
# A saving below this share of what is paid is no reason to train, as no option displaces another for less.
FEWEST_SAVED = 0.2
# Traffic that nobody who leaves `requests_per_month` out is taken to have.
MOST_REQUESTS = 10_000_000
Gain = tuple[float, float]
# Of the ranges: the estimate, the end at which training pays least, the end at which it pays most.
End = Literal["estimate", "worst", "best"]
ENDS: Final[tuple[End, ...]] = ("estimate", "worst", "best")


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The arithmetic of training against one option; all in US dollars.

    Attributes:
        before: What the option costs to run.
        tuned: What the fine-tuned model costs to run.
        one_off_usd: Data, work and training.
        worth: What the gain is worth, by the answer.
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
        """What a tuned answer saves, and what a better one is worth, less what is required."""
        usd = (self.before.usd_per_1k or 0.0) - (self.tuned.usd_per_1k or 0.0)
        return usd / 1000 + self.worth - self.required

    def net_usd(self, requests: float) -> float:
        """Return what is gained in a month with so many requests, one-off costs apart."""
        before = self.before.server.monthly_usd(requests) if self.before.server else 0.0
        tuned = self.tuned.server.monthly_usd(requests) if self.tuned.server else 0.0
        return self.saved_usd * requests + before + self.before.upkeep_usd - tuned - self.tuned.upkeep_usd

    def payback_months(self, requests: float) -> float | None:
        """Return the months until the one-off costs are saved; None if they never are."""
        net = self.net_usd(requests)
        return self.one_off_usd / net if net > 0 else None

    def pays(self, requests: float) -> bool:
        """Return whether the one-off costs are saved within the horizon."""
        months = self.payback_months(requests)
        return months is not None and months <= self.horizon_months * (1 + 1e-9)

    def break_even_volume(self) -> float | None:
        """Return the fewest requests a month at which the one-off costs are saved within the horizon.

        The net gain is straight between the capacities of the servers, where a second one is needed.
        """
        month = self.one_off_usd / self.horizon_months
        bends = sorted({one.server.capacity for one in (self.before, self.tuned) if one.server})
        for low, high in pairwise([0.0, *bends, inf]):
            short = month - self.net_usd(low)
            if short <= 0:
                return low
            step = 1.0 if high == inf else high - low
            slope = (self.net_usd(low + step) - self.net_usd(low)) / step
            if slope > 0 and low + short / slope <= high:
                return low + short / slope
        return None


def one_off_usd(settings: Economics) -> float:
    """Return the cost of data, work and training."""
    work = (settings.hours_data + settings.hours_engineering) * settings.usd_per_hour
    return work + settings.train_hours * settings.gpu_usd_per_hour


def trained(settings: Economics, tokens: tuple[float, float] | None, params_b: float | None = None) -> RunningCost:
    """Return what a tuned model costs to run that reads and writes so many tokens; its size as in `server_for`."""
    return RunningCost(
        usd_per_1k=settings.serve_usd_per_1k,
        server=server_for(settings, tokens, params_b),
        upkeep_usd=upkeep_usd(settings),
    )


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
        gain: Lower and upper bound of what training gains over that option; the lower one is what is claimed.
        end: Of the ranges.
        tuned: The tuned model that was compared on test; before, it is taken to read and write as much as the option.
        required: US dollars of a thousand answers that must be saved and do not count.
    """
    ranges, at = settings.ranges, 1 if end == "best" else 0
    factor = dict.fromkeys(type(ranges).model_fields, 1.0)
    if end != "estimate":
        factor = {name: getattr(ranges, name)[at] for name in factor}
        costs = ranges.costs[1 - at]
        assumed: dict[str, float] = {name: costs * getattr(settings, name) for name in assumed_costs(settings)}
        assumed["serve_load"] = settings.serve_load * factor["capacity"]
        settings = settings.model_copy(update=assumed)
    before = bill.running(settings)
    usd = None if before.usd_per_1k is None else before.usd_per_1k * factor["price"]
    return Money(
        before=RunningCost(usd_per_1k=usd, server=before.server, upkeep_usd=before.upkeep_usd),
        tuned=tuned.running(settings) if tuned else trained(settings, bill.tokens_to_serve, bill.trained_b),
        one_off_usd=one_off_usd(settings) / factor["success"],
        worth=(gain or (0.0, 0.0))[at] * (settings.usd_per_wrong_answer or 0.0) * factor["wrong_answer"],
        required=required / 1000,
        horizon_months=settings.horizon_months,
    )


def traffic_ends(settings: Economics) -> Gain | None:
    """Return the least and the most traffic; None if it is not known."""
    if settings.requests_per_month is None:
        return None
    low, high = settings.ranges.traffic
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
            then the question, and what a better answer is worth does not count.
    """
    bill, traffic = reference or Bill(name="", usd_per_1k=None), settings.requests_per_month
    span = gain if most is None else ((gain or (0.0, 0.0))[0], most)
    span = span if required is None else None
    point, worst, best = (money(bill, settings, span, end, tuned, required=required or 0.0) for end in ENDS)
    discounted = settings.model_copy(update=dict.fromkeys(("cached_share", "batch_share"), 1.0))
    band, usd = (best.break_even_volume(), worst.break_even_volume()), point.before.usd_per_1k
    counts = usd if most is None else usd is not None
    saves = bool(best.saved_usd > 0 or point.net_usd(0.0) > 0 or counts)
    month = point.tuned.monthly_usd(traffic or 0.0)
    status: EconomicsStatus = "unknown"
    if required is not None:
        status = _STATUS[saves_enough(bill, settings, required)]
    elif (ends := traffic_ends(settings)) and saves:
        lost: EconomicsStatus = "unknown" if most is not None and usd is None else "never"
        status = "pays" if worst.pays(ends[0]) else "unknown" if best.pays(ends[1]) else lost
    months = point.payback_months(traffic) if traffic and status != "unknown" else None
    facts = _facts(reference, settings, gain)
    if status == "never" and months is not None:
        facts["payback_month"] = Fact(
            ceil(months - 1e-9), "later than the horizon, at the project's traffic", "computed"
        )
    return EconomicsResult(
        status=status,
        reference=bill.name or None,
        why=_why(point, band, settings, required)
        if usd or (required is None and saves)
        else _no_bill(point.before, required),
        required_usd_per_1k=required,
        break_even_requests_per_month=point.break_even_volume(),
        break_even_band=band,
        running=point.tuned,
        break_even_month=ceil(months - 1e-9) if status == "pays" and months is not None else None,
        usd_per_1k={
            "reference": usd,
            "reference_discounted": reference.usd_with(discounted) if reference else None,
            "tuned_served": 1000 * month / traffic if traffic and month is not None else None,
        },
        one_off_usd=point.one_off_usd,
        monthly_usd=month,
        assumptions=facts,
        sensitivity=_sensitivity(settings, reference, span, required or 0.0) if reference and usd else (),
        saved=savings_of(reference, tuned),
    )


_STATUS: Final[Mapping[bool | None, EconomicsStatus]] = {True: "pays", False: "never", None: "unknown"}


def assumed_costs(settings: Economics) -> list[str]:
    """Return the costs of training and upkeep that the project file does not give."""
    return [name for name in SPREADING if name not in settings.model_fields_set]


def open_ranges(settings: Economics) -> list[str]:
    """Return what is known as a range only, by the keys of `RANGES_OF`."""
    moves = {"costs": bool(assumed_costs(settings)), "capacity": settings.serve_capacity_per_month is None}

    def is_open(key: str) -> bool:
        low, high = getattr(settings.ranges, key)
        return bool(low < high) and moves.get(key, True)

    return [name for name, keys in RANGES_OF.items() if any(map(is_open, keys))]


def chance_to_settle(bill: Bill, settings: Economics, required: float, names: Sequence[str]) -> float:
    """Return how likely it is known whether training saves enough once some ranges are numbers: 1 if all open ones are.

    The numbers of a range are taken to be equally likely, and one result that was not tried is taken to settle nothing.
    """
    if not set(open_ranges(settings)) - set(names):
        return 1.0
    ranges = settings.ranges
    steps = [place / STEPS for place in range(STEPS + 1)]
    places = list(product(steps, repeat=len(names)))
    settled = 0
    for place in places:
        numbers: dict[str, Gain] = {}
        for name, share in zip(names, place, strict=True):
            for key in RANGES_OF[name]:
                low, high = getattr(ranges, key)
                number = low + (high - low) * (1 - share if key == "costs" else share)
                numbers[key] = (number, number)
        changed = settings.model_copy(update={"ranges": ranges.model_copy(update=numbers)})
        settled += saves_enough(bill, changed, required) is not None
    return settled / (len(places) + 1)


def has_smaller(usd_per_1k: float | None, smaller_usd: float | None) -> bool:
    """Return whether a model was called that is so much cheaper than an option that it may replace it.

    >>> has_smaller(1.0, 0.1), has_smaller(1.0, 0.9)
    (True, False)
    """
    return usd_per_1k is not None and smaller_usd is not None and smaller_usd <= (1 - FEWEST_SAVED) * usd_per_1k


def monthly_saving(bill: Bill, settings: Economics, required: float = 0.0) -> Gain | None:
    """Return what a tuned model saves a month, one-off costs spread over the horizon: the low and the high end.

    None where the traffic is not known.

    Args:
        bill: Of the option that would be replaced.
        settings: The section `[economics]`.
        required: As for `money`.
    """
    ends = traffic_ends(settings)
    if ends is None:
        return None
    found = []
    for end in ENDS[1:]:
        sums = money(bill, settings, end=end, required=required)
        bends = [one.server.capacity for one in (sums.before, sums.tuned) if one.server]
        volumes = [*ends, *(bend for bend in bends if ends[0] < bend < ends[1])]
        months = [sums.net_usd(one) - sums.one_off_usd / sums.horizon_months for one in volumes]
        found += [min(months), max(months)]
    return min(found), max(found)


def least_volume(bill: Bill, settings: Economics, required: float = 0.0) -> float | None:
    """Return the requests a month below which no tuned model can pay, at the best end of the range; None if at none."""
    return money(bill, settings, end="best", required=required).break_even_volume()


def required_usd(bill: Bill, today_usd: float | None, settings: Economics) -> float:
    """Return what training must save of a thousand answers: a part of what is paid for them, or today.

    Without traffic nothing is known of what is paid today, and what is not known refutes nothing.
    """
    today = 0.0 if settings.requests_per_month is None else today_usd or 0.0
    return FEWEST_SAVED * max(bill.usd_with(settings) or 0.0, today)


def paid_bill(usd_per_1k: float | None, required: float) -> str:
    """Name the bill of which a part is required: of an option, or today's where that is dearer."""
    return "today's bill" if required > FEWEST_SAVED * (usd_per_1k or 0.0) else "the bill"


def saves_enough(bill: Bill, settings: Economics, required: float) -> bool | None:
    """Say whether a tuned model saves what is required and more than it costs; None if that is not known.

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
        return False if volume is None or volume > MOST_REQUESTS * settings.ranges.traffic[1] else None
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
    known = has_smaller(usd, smaller_usd) and today_usd is not None
    return saves if known or saves is False else None


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
    pays = money(bill, settings, gain, "best").pays(ends[1])
    return None if bill.usd_per_1k is None and not pays else pays


def worth_from(bill: Bill, most_gain: float, settings: Economics) -> float | None:
    """Return the value of a wrong answer from which training may pay, US dollars; None if it is not known."""
    traffic = settings.requests_per_month
    if not traffic or most_gain <= 0 or bill.usd_per_1k is None:
        return None
    sums = money(bill, settings)
    short = sums.one_off_usd / settings.horizon_months - sums.net_usd(traffic)
    return max(0.0, short) / (most_gain * traffic)


def _why(
    point: Money, band: tuple[float | None, float | None], settings: Economics, required: float | None = None
) -> str:
    volume, (low, high) = point.break_even_volume(), band
    share = {"share": FEWEST_SAVED, "bill": paid_bill(point.before.usd_per_1k, required or 0.0)}
    if low is None:
        return (
            (
                "No traffic volume makes training pay off: an answer of the fine-tuned model saves nothing, or less "
                "than serving it costs."
            )
            if required is None
            else messages.say("no_volume_saves", **share)
        )
    numbers = {"horizon": point.horizon_months, "low": low}
    if volume is None:
        text = messages.say("pays_at_best", **numbers)
    elif high is None:
        text = messages.say("pays_from_open", volume=volume, **numbers)
    elif round(low) == round(high):
        text = (
            f"Training pays off within {point.horizon_months:g} months if there are at least {volume:,.0f} "
            "requests per month."
        )
    else:
        text = messages.say("pays_from_band", volume=volume, high=high, **numbers)
    return join_sentences(
        text,
        messages.say("only_beyond", **share) if required else "",
        messages.say("set_traffic") if settings.requests_per_month is None else "",
    )


def _no_bill(before: RunningCost, required: float | None) -> str:
    text = "The saving on the bill is unknown, because no recommended option has a known price."
    if before.usd_per_1k is not None:
        text = (
            "The recommended option has no cost per call, so training cannot reduce the bill."
            if before.server is None
            else (
                "The recommended option runs on a server of your own. A fine-tuned model would need one as well, so "
                "training cannot reduce the bill."
            )
        )
    return (
        text
        if required is not None
        else join_sentences(text, "To count the value of better answers, set `economics.usd_per_wrong_answer`.")
    )


def money_sentence(result: EconomicsResult, *, short: bool = False) -> str:
    """Say whether training pays, and why unless it is to be `short`.

    >>> money_sentence(EconomicsResult(status="unknown"))
    'Whether training pays off is unknown.'
    """
    values = [result.assumptions.get(name, Fact(None)).value for name in ("requests_per_month", "horizon_months")]
    requests, months = (value if isinstance(value, float | int) else None for value in values)
    traffic = f" at {requests:,.0f} requests per month" if requests else ""
    within = f" within {months:g} months" if months else ""
    answer = {
        "pays": messages.say("pays", month=result.break_even_month, traffic=traffic),
        "never": f"Training does not break even{within}{traffic}.",
        "not_applicable": messages.say("constraint_decides"),
        "unknown": "" if result.why else "Whether training pays off is unknown.",
    }[result.status]
    return answer if answer and (short or not result.why) else f"{answer} {result.why}".strip()


def serving_sentence(verdict: Verdict) -> str:
    """Say what serving a model of one's own is taken to need; "" where no option does, or the project says it all.

    It is that of the recommended option, else of the last one, which is training.
    """
    facts, served = verdict.economics.assumptions, [one for one in verdict.options if one.server]
    chosen = next((one for one in served if one.option == verdict.recommendation), served[-1] if served else None)
    name, requests = (facts.get(key, Fact(None)) for key in ("serve_hardware", "requests_per_month"))
    given = all(facts[key].mark == "project" for key in SERVER if key in facts)
    if (
        chosen is None
        or chosen.server is None
        or not chosen.server.usd_per_month
        or given
        or chosen.server.params_b is None
        or name.value is None
    ):
        return ""
    server, size = chosen.server, chosen.server.params_b
    cards = hardware(str(name.value)).cards_for(size)
    machine = messages.say("machine", n=cards, name=messages.MACHINES[str(name.value)])
    part = ""
    if isinstance(requests.value, float | int):
        count = max(1.0, requests.value / server.capacity)
        n = f"{float(f'{count:.3g}'):,.10g}"
        part = messages.say("servers", n=n, name=chosen.option) if count > 1 else ", one server at this traffic"
    own = facts["serve_usd_per_month"].mark == "project"
    price = (
        f"${server.usd_per_month:,.0f} a month, as the project file says"
        if own
        else f"${server.usd_per_month:,.0f} a month"
    )
    known = {"project": "serving", "file": "serving_sized", "assumed": "serving_unsized"}
    text = messages.say(known[server.size_from], size=size, machine=machine, price=price, servers=part)
    assumed = ["serve_hardware"] if facts["serve_hardware"].mark != "project" else []
    assumed += ["serve_params_b"] if server.size_from == "assumed" else []
    return join_sentences(
        text,
        "The number of servers is an estimate, because the model reported no token counts."
        if part and server.tokens_assumed and chosen.score is not None
        else "",
        f"To change this, set {' and '.join(f'`economics.{key}`' for key in assumed)}." if assumed else "",
    )


@cache
def _sources() -> Any:
    return orjson.loads(files(__package__).joinpath("economics.json").read_bytes())


def _facts(reference: Bill | None, numbers: Economics, gain: Gain | None) -> dict[str, Fact]:
    """Return every number used with its source, and what no number says."""
    table = _sources()
    facts = {
        name: Fact(getattr(numbers, name), "project file", "project", unit=row["unit"])
        if name in numbers.model_fields_set
        else Fact(getattr(numbers, name), row["source"], row["mark"], table["date"], row["unit"])
        for name, row in table["sources"].items()
    }
    if reference is not None and reference.trained_b is not None and facts["serve_params_b"].mark != "project":
        read = "number of weights in the files of the model that would be trained"
        facts["serve_params_b"] = replace(
            facts["serve_params_b"], value=reference.trained_b, source=read, mark="measured"
        )
    facts |= _serving_facts(reference, numbers, facts)
    for name, missing in (
        ("requests_per_month", "economics.requests_per_month is not set"),
        ("usd_per_wrong_answer", "economics.usd_per_wrong_answer is not set"),
    ):
        value = getattr(numbers, name)
        facts[name] = Fact(None, missing) if value is None else Fact(value, "project file", "project")
    source = "no pilot yet" if gain is None else "lower bound of the gain over the option that it is compared with"
    facts["gain"] = Fact(gain[0] if gain else None, source, "measured")
    name = reference.name if reference else ""
    facts["compared_with"] = Fact(name or None, "" if name else "no run yet", "measured")
    usd = reference.usd_with(numbers) if reference else None
    given = reference is not None and reference.price is not None and reference.price.source == "project file"
    source = (
        "token counts on the test set at the prices in the project file"
        if given
        else f"token counts on the test set at the prices of {table_date()}"
    )
    if reference is not None and reference.unreported:
        source = f"{source}; the maximum price for the {reference.unreported:.1%} of answers without token counts"
    facts[PRICE] = Fact(usd, source, "measured")
    for name in type(numbers.ranges).model_fields:
        low, high = getattr(numbers.ranges, name)
        mark: Literal["project", "assumed"] = "project" if name in numbers.ranges.model_fields_set else "assumed"
        facts[f"range_{name}"] = Fact(messages.say("range", low=low, high=high), messages.RANGES[name], mark)
    facts["ownership"] = Fact(**table["ownership"], date=table["date"])
    return facts


def _serving_facts(reference: Bill | None, numbers: Economics, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return the price and the capacity of a server where the project file does not give them, and the hardware."""
    row, tokens = hardware(numbers.serve_hardware), reference.tokens_to_serve if reference else None
    params_b = reference.trained_b if reference else None
    server, day = server_for(numbers, tokens, params_b), hardware_date()
    source = f"{row.cards_for(size_b(numbers, params_b))} x {row.title}"
    read, written = tokens or USUAL_TOKENS
    counted = (
        f"{read:,.0f} prompt and {written:,.0f} answer tokens, as measured"
        if tokens
        else f"{read:,.0f} prompt and {written:,.0f} answer tokens, which are assumed"
    )
    computed = f"{counted}, on {row.title}: {row.rates_source}"
    found = {"serve_hardware": Fact(numbers.serve_hardware, row.title, "assumed", day)}
    if "serve_hardware" in numbers.model_fields_set:
        found["serve_hardware"] = Fact(numbers.serve_hardware, "project file", "project")
    if numbers.serve_usd_per_month is None:
        unit = facts["serve_usd_per_month"].unit
        mark: Any = row.mark
        found["serve_usd_per_month"] = Fact(server.usd_per_month, f"{source}: {row.price_source}", mark, day, unit)
    if numbers.serve_capacity_per_month is None:
        unit = facts["serve_capacity_per_month"].unit
        found["serve_capacity_per_month"] = Fact(server.capacity, computed, "computed", day, unit)
    return found


def _sensitivity(numbers: Economics, reference: Bill, gain: Gain | None, required: float) -> list[Sensitivity]:
    """Return the break-even volume with each assumption halved and doubled, what matters most first."""
    server = server_for(numbers, reference.tokens_to_serve, reference.trained_b)
    served = {
        "serve_usd_per_month": server.usd_per_month,
        "serve_capacity_per_month": server.capacity,
        "serve_params_b": size_b(numbers, reference.trained_b),
    }

    def value_of(name: str) -> float:
        value: float | None = getattr(numbers, name)
        return served[name] if value is None or name == "serve_params_b" else value

    def volume(name: str, factor: float) -> float | None:
        if name == PRICE:
            usd = reference.usd_with(numbers)
            bill = replace(reference, usd_per_1k=usd and usd * factor, price=None)
            return money(bill, numbers, gain, required=required * factor).break_even_volume()
        value = value_of(name)
        value = TRIED_SHARE if name in SHARES and not value and factor > 1 else value * factor
        changed = numbers.model_copy(update={name: min(1.0, value) if name in SHARES else value})
        return money(reference, changed, gain, required=required).break_even_volume()

    names = [*_sources()["sources"], *(["usd_per_wrong_answer"] if gain and numbers.usd_per_wrong_answer else [])]
    values: Mapping[str, float | None] = {name: value_of(name) for name in names}
    rows = [
        Sensitivity(name=name, value=value, halved=volume(name, 0.5), doubled=volume(name, 2.0))
        for name, value in [*values.items(), (PRICE, reference.usd_with(numbers))]
    ]
    return sorted(
        (row for row in rows if row.halved != row.doubled),
        key=lambda row: abs(log(row.halved / row.doubled)) if row.halved and row.doubled else inf,
        reverse=True,
    )
