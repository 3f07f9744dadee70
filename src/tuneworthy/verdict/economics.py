"""Whether training pays: what an answer costs today against data, training, serving and upkeep.

Pure arithmetic over the record of a run, the price table and the section `[economics]`, whose defaults have their
sources in `economics.json`. Invariants: more traffic never makes "pays" into "never"; a dearer API never raises the
break-even volume; every number used is named with its source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import ceil, inf, log
from typing import Any, Final

import orjson

from tuneworthy.config.ladder import Economics
from tuneworthy.config.project import Project
from tuneworthy.ladder.classical_models import PREFIX
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.providers.prices import Price, price_for, table_date
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import EconomicsResult, EconomicsStatus, Fact, Sensitivity

# A share of 0 cannot be doubled: the sensitivity tries this instead.
TRIED_SHARE = 0.5
SHARES = frozenset({"cached_share", "batch_share"})
PRICE = "reference_usd_per_1k"
# What data, training, serving and upkeep may cost beside the estimate: the two ends of the range.
SPREAD: Final = (0.75, 1.25)
SPREADING: Final = ("hours_data", "hours_engineering", "train_hours", "serve_usd_per_month", "upkeep_usd_per_month")
# A saving below this share of what is paid is no reason to train, as no option displaces another for less.
FEWEST_SAVED = 0.2
# Traffic that nobody who leaves `requests_per_month` out is taken to have.
MOST_REQUESTS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What an answer of a measured option costs.

    Attributes:
        name: Of the variant.
        usd_per_1k: A thousand answers as they were measured; None if the price is not known.
        input_tokens: Mean of an answer; None if the provider does not report it, like the output.
        price: Of the model, for cache and batch; None if it is free or not known.
    """

    name: str
    usd_per_1k: float | None
    input_tokens: float | None = None
    output_tokens: float | None = None
    price: Price | None = None

    def usd_with(self, settings: Economics) -> float | None:
        """Return what a thousand answers cost with the assumed shares of cache and batch."""
        price = self.price
        if not self.usd_per_1k or price is None or self.input_tokens is None or self.output_tokens is None:
            return self.usd_per_1k
        rates = price.rates_at(int(self.input_tokens))
        cached = settings.cached_share * self.input_tokens
        cached_rate = rates.input if rates.cached_input is None else rates.cached_input
        dollars = (self.input_tokens - cached) * rates.input + cached * cached_rate + self.output_tokens * rates.output
        batch = settings.batch_share * (1 - (1.0 if price.batch_factor is None else price.batch_factor))
        return dollars * (1 - batch) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The arithmetic of one comparison; all in US dollars.

    Servers beyond the first are counted in parts (``max(1, requests / capacity)``): a step would let a little more
    traffic turn a gain into a loss.

    Attributes:
        settings: What is assumed.
        usd_per_1k: A thousand answers of what the tuned model is compared with.
        gain: Of the primary grader; None if it is not known.
    """

    settings: Economics
    usd_per_1k: float | None
    gain: float | None

    @property
    def saved_usd(self) -> float:
        """An answer of today, plus what a better one is worth, less what a tuned one costs by the answer."""
        worth = (self.gain or 0.0) * (self.settings.usd_per_wrong_answer or 0.0)
        return (self.usd_per_1k or 0.0) / 1000 + worth - self.settings.serve_usd_per_1k / 1000

    @property
    def one_off_usd(self) -> float:
        """Data, work and training."""
        work = (self.settings.hours_data + self.settings.hours_engineering) * self.settings.usd_per_hour
        return work + self.settings.train_hours * self.settings.gpu_usd_per_hour

    def _fixed_usd(self, requests: float) -> float:
        servers = max(1.0, requests / self.settings.serve_capacity_per_month)
        return self.settings.serve_usd_per_month * servers + self.settings.upkeep_usd_per_month

    def monthly_usd(self, requests: float) -> float:
        """Return what the tuned model costs in a month with so many requests."""
        return self._fixed_usd(requests) + self.settings.serve_usd_per_1k / 1000 * requests

    def payback_months(self, requests: float) -> float | None:
        """Return the months until the one-off costs are saved; None if they never are."""
        net = self.saved_usd * requests - self._fixed_usd(requests)
        return self.one_off_usd / net if net > 0 else None

    def break_even_volume(self) -> float | None:
        """Return the fewest requests a month at which the one-off costs are saved within the horizon."""
        numbers, saved = self.settings, self.saved_usd
        month = self.one_off_usd / numbers.horizon_months + numbers.upkeep_usd_per_month
        if saved <= 0:
            return None
        on_one_server = (month + numbers.serve_usd_per_month) / saved
        if on_one_server <= numbers.serve_capacity_per_month:
            return on_one_server
        slope = saved - numbers.serve_usd_per_month / numbers.serve_capacity_per_month
        volume = month / slope if slope > 0 else inf
        return volume if volume < inf else None


def economics(reference: Bill | None, settings: Economics, gain: float | None = None) -> EconomicsResult:
    """Say whether training pays against one option, from which volume and in which month.

    Args:
        reference: The option that would be replaced; None before a run.
        settings: The section `[economics]`.
        gain: Lower bound of the forecast gain; None before a pilot.
    """
    usd, traffic = reference.usd_with(settings) if reference else None, settings.requests_per_month
    money = Money(settings=settings, usd_per_1k=usd, gain=gain)
    discounted = settings.model_copy(update=dict.fromkeys(SHARES, 1.0))
    volume, saves = money.break_even_volume(), money.saved_usd > 0
    status, month = _answer(money, traffic, known=saves or bool(usd))
    facts = _facts(reference, settings, gain)
    if status == "never" and traffic and (late := money.payback_months(traffic)) is not None:
        facts["payback_month"] = Fact(ceil(late - 1e-9), messages.say("after_horizon"), "computed")
    return EconomicsResult(
        status=status,
        why=_why(money, traffic, volume) if saves or usd else messages.say("no_bill" if usd == 0 else "bill_unknown"),
        break_even_requests_per_month=volume,
        break_even_month=month,
        usd_per_1k={
            "reference": usd,
            "reference_discounted": reference.usd_with(discounted) if reference else None,
            "tuned_served": 1000 * money.monthly_usd(traffic) / traffic if traffic else None,
        },
        one_off_usd=money.one_off_usd,
        monthly_usd=money.monthly_usd(traffic or 0.0),
        assumptions=facts,
        sensitivity=_sensitivity(settings, reference, gain) if reference and usd else (),
    )


def spread(settings: Economics, factor: float) -> Economics:
    """Return settings whose assumed costs of training, serving and upkeep are `factor` times the estimate.

    What the project file gives is taken as it is, so that giving it narrows the range.
    """
    return settings.model_copy(update={name: factor * getattr(settings, name) for name in assumed_costs(settings)})


def assumed_costs(settings: Economics) -> list[str]:
    """Return the costs of training, serving and upkeep that the project file does not give."""
    return [name for name in SPREADING if name not in settings.model_fields_set]


def has_smaller(usd_per_1k: float | None, smaller_usd: float | None) -> bool:
    """Return whether a model was called that is so much cheaper than an option that it may replace it.

    >>> has_smaller(1.0, 0.1), has_smaller(1.0, 0.9)
    (True, False)
    """
    return usd_per_1k is not None and smaller_usd is not None and smaller_usd <= (1 - FEWEST_SAVED) * usd_per_1k


def monthly_saving(usd_per_1k: float, settings: Economics) -> tuple[float, float] | None:
    """Return what a tuned model saves a month, one-off costs spread over the horizon: the low and the high end.

    None where the traffic is not known.
    """
    traffic = settings.requests_per_month
    if traffic is None:
        return None
    ends = []
    for factor in SPREAD:
        money = Money(settings=spread(settings, factor), usd_per_1k=usd_per_1k, gain=None)
        once = money.one_off_usd / settings.horizon_months
        ends.append(usd_per_1k / 1000 * traffic - money.monthly_usd(traffic) - once)
    return min(ends), max(ends)


def least_volume(usd_per_1k: float, settings: Economics) -> float | None:
    """Return the requests a month below which no tuned model can pay, at the best end of the range; None if at none."""
    best = Money(settings=spread(settings, SPREAD[0]), usd_per_1k=usd_per_1k, gain=None)
    return best.break_even_volume()


def cost_is_a_reason(
    usd_per_1k: float | None, today_usd: float | None, settings: Economics, smaller_usd: float | None
) -> bool | None:
    """Say whether a smaller model, tuned, would save more than it costs against an option; None if it is not known.

    Args:
        usd_per_1k: A thousand answers of the option.
        today_usd: The same of today's option; None if not known.
        settings: The section `[economics]`.
        smaller_usd: Least cost of a thousand answers among the models that were called.

    >>> cost_is_a_reason(0.0, 0.0, Economics(), 0.0)
    False
    """
    if usd_per_1k == 0:
        return False
    if usd_per_1k is None:
        return None
    saving, traffic = monthly_saving(usd_per_1k, settings), settings.requests_per_month
    if saving is None or traffic is None:
        volume = least_volume(usd_per_1k, settings)
        return False if volume is None or volume > MOST_REQUESTS else None
    low, high = saving
    if high < FEWEST_SAVED * max(usd_per_1k, today_usd or 0.0) / 1000 * traffic:
        return False
    known = has_smaller(usd_per_1k, smaller_usd) and today_usd is not None
    return True if known and low >= FEWEST_SAVED * max(usd_per_1k, today_usd or 0.0) / 1000 * traffic else None


def can_pay(usd_per_1k: float | None, most_gain: float, settings: Economics) -> bool | None:
    """Say whether training may pay at the best end of the range, the value of a better answer included.

    Money decides only where that value is given. None where the traffic is not known, or a price that matters.

    Args:
        usd_per_1k: A thousand answers of the option that would be replaced.
        most_gain: The most that training can gain of the primary grader.
        settings: The section `[economics]`.
    """
    if settings.usd_per_wrong_answer is None:
        return True
    if settings.requests_per_month is None:
        return None
    best = Money(settings=spread(settings, SPREAD[0]), usd_per_1k=usd_per_1k, gain=most_gain)
    months = best.payback_months(settings.requests_per_month)
    pays = months is not None and months <= settings.horizon_months
    return None if usd_per_1k is None and not pays else pays


def worth_from(usd_per_1k: float | None, most_gain: float, settings: Economics) -> float | None:
    """Return the value of a wrong answer from which training may pay, US dollars; None if it is not known."""
    traffic = settings.requests_per_month
    if not traffic or most_gain <= 0 or usd_per_1k is None:
        return None
    money = Money(settings=settings, usd_per_1k=usd_per_1k, gain=None)
    month = money.monthly_usd(traffic) + money.one_off_usd / settings.horizon_months
    return max(0.0, month - usd_per_1k / 1000 * traffic) / (most_gain * traffic)


def _answer(money: Money, traffic: float | None, *, known: bool) -> tuple[EconomicsStatus, int | None]:
    if traffic is None or not known:
        return "unknown", None
    months = money.payback_months(traffic)
    if months is None or months > money.settings.horizon_months * (1 + 1e-9):
        return "never", None
    return "pays", ceil(months - 1e-9)


def _why(money: Money, traffic: float | None, volume: float | None) -> str:
    if volume is None:
        return messages.say("no_volume")
    text = messages.say("pays_from", volume=volume, horizon=money.settings.horizon_months)
    return text if traffic is not None else f"{text} {messages.say('set_traffic')}"


def money_sentence(result: EconomicsResult, *, short: bool = False) -> str:
    """Say whether training pays, and why unless it is to be `short`.

    >>> money_sentence(EconomicsResult(status="unknown"))
    'Whether training pays off is unknown.'
    """
    values = [result.assumptions.get(name, Fact(None)).value for name in ("requests_per_month", "horizon_months")]
    requests, months = (value if isinstance(value, float | int) else None for value in values)
    traffic = messages.say("at_traffic", requests=requests) if requests else ""
    within = messages.say("within", months=months) if months else ""
    answer = {
        "pays": messages.say("pays", month=result.break_even_month, traffic=traffic),
        "never": messages.say("pays_never", traffic=traffic, horizon=within),
        "not_applicable": messages.say("constraint_decides"),
        "unknown": "" if result.why else messages.say("money_unknown"),
    }[result.status]
    return answer if answer and (short or not result.why) else f"{answer} {result.why}".strip()


def bills_of(project: Project, record: RunRecord) -> dict[str, Bill]:
    """Return what an answer of each rung costs that was measured on test."""
    bills = {}
    for row in record.rungs:
        variant = record.variant_of(row)
        if row.score is None or variant is None:
            continue
        bills[row.rung] = Bill(
            name=row.name or "",
            usd_per_1k=known_usd(row, variant.model, project),
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            price=price_for(project.models[variant.model]) if variant.model in project.models else None,
        )
    return bills


def known_usd(row: RungRecord, model: str, project: Project) -> float | None:
    """Return the cost of a thousand answers; None where the price of the model is not known.

    Args:
        row: Of the rung.
        model: Key of `[models]`, or the name of a classical baseline.
        project: Has the prices.
    """
    if model in project.models and price_for(project.models[model]) is None:
        return None
    return 0.0 if model.startswith(PREFIX) else row.usd_per_1k


def smallest_usd(project: Project, record: RunRecord) -> float | None:
    """Return the least cost of a thousand answers among the language models that were called, on test or on dev."""
    costs = [
        known_usd(row, variant.model, project)
        for row in record.rungs
        if (variant := record.variant_of(row))
        if not variant.model.startswith(PREFIX) and row.score is not None
    ]
    models = record.rung("model")
    costs += [1000 * one.cost_usd / one.n for one in (models.candidates if models else ()) if one.n]
    return min((cost for cost in costs if cost is not None), default=None)


@cache
def _sources() -> Any:
    return orjson.loads(files(__package__).joinpath("economics.json").read_bytes())


def _facts(reference: Bill | None, numbers: Economics, gain: float | None) -> dict[str, Fact]:
    """Return every number used with its source, and what no number says."""
    table = _sources()
    facts = {
        name: Fact(getattr(numbers, name), "project file", "project", unit=row["unit"])
        if name in numbers.model_fields_set
        else Fact(getattr(numbers, name), row["source"], row["mark"], table["date"], row["unit"])
        for name, row in table["sources"].items()
    }
    for name, missing in (
        ("requests_per_month", messages.say("no_traffic")),
        ("usd_per_wrong_answer", messages.say("no_worth")),
    ):
        value = getattr(numbers, name)
        facts[name] = Fact(None, missing) if value is None else Fact(value, "project file", "project")
    source = messages.say("no_pilot") if gain is None else messages.say("gain_source")
    facts["gain"] = Fact(gain, source, "measured")
    facts["compared_with"] = Fact(
        reference.name if reference else None, "" if reference else messages.say("nothing_run"), "measured"
    )
    usd = reference.usd_with(numbers) if reference else None
    facts[PRICE] = Fact(usd, messages.say("price_source", date=table_date()), "measured")
    facts["ownership"] = Fact(**table["ownership"], date=table["date"])
    return facts


def _sensitivity(numbers: Economics, reference: Bill, gain: float | None) -> list[Sensitivity]:
    """Return the break-even volume with each assumption halved and doubled, what matters most first."""

    def volume(name: str, factor: float) -> float | None:
        changed, price = numbers, factor if name == PRICE else 1.0
        if name != PRICE:
            value = getattr(numbers, name)
            value = TRIED_SHARE if name in SHARES and not value and factor > 1 else value * factor
            changed = numbers.model_copy(update={name: min(1.0, value) if name in SHARES else value})
        usd = reference.usd_with(changed)
        return Money(settings=changed, usd_per_1k=usd and usd * price, gain=gain).break_even_volume()

    names = [*_sources()["sources"], *(["usd_per_wrong_answer"] if gain and numbers.usd_per_wrong_answer else [])]
    values: Mapping[str, float | None] = {name: getattr(numbers, name) for name in names}
    rows = [
        Sensitivity(name=name, value=value, halved=volume(name, 0.5), doubled=volume(name, 2.0))
        for name, value in [*values.items(), (PRICE, reference.usd_with(numbers))]
    ]
    return sorted(
        (row for row in rows if row.halved != row.doubled),
        key=lambda row: abs(log(row.halved / row.doubled)) if row.halved and row.doubled else inf,
        reverse=True,
    )
