"""Whether training pays: what is paid for an answer today against data, training, serving and upkeep.

Pure arithmetic over the record of a run, the price table and the section `[economics]`, whose defaults have their
sources in `economics.json`. Invariants: more traffic never makes "pays" into "never"; a dearer API never raises the
break-even volume; every number used is named with its source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from math import ceil, inf, log
from typing import Any

import orjson

from tuneworthy.config.ladder import Constraints, Economics
from tuneworthy.config.project import Project
from tuneworthy.constraints import too_slow
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.providers.prices import Price, price_for, price_of, table_date
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import EconomicsResult, EconomicsStatus, Fact, Sensitivity, Target
from tuneworthy.verdict.evidence import target_status

# A share of 0 cannot be doubled: the sensitivity tries this instead.
TRIED_SHARE = 0.5
SHARES = frozenset({"cached_share", "batch_share"})
PRICE = "reference_usd_per_1k"
RETIRES_DAYS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A way to answer that was compared on test.

    Attributes:
        name: Of the variant.
        model: Key of `[models]`.
        billed: Whether each answer is paid for.
        usd_per_1k: A thousand answers as they were measured.
        target: Whether it meets the target.
        input_tokens: Mean of an answer; None if the provider does not report it, like the output.
        price: Of the model, for cache and batch; None if it is not known.
        p95_ms: Measured latency.
    """

    name: str
    model: str
    billed: bool
    usd_per_1k: float | None
    target: Target
    input_tokens: float | None = None
    output_tokens: float | None = None
    price: Price | None = None
    p95_ms: float | None = None

    def usd_with(self, settings: Economics) -> float | None:
        """Return what a thousand answers cost with the assumed shares of cache and batch."""
        price = self.price
        if not self.billed or price is None or self.input_tokens is None or self.output_tokens is None:
            return self.usd_per_1k
        rates = price.rates_at(int(self.input_tokens))
        cached = settings.cached_share * self.input_tokens
        cached_rate = rates.input if rates.cached_input is None else rates.cached_input
        dollars = (self.input_tokens - cached) * rates.input + cached * cached_rate + self.output_tokens * rates.output
        batch = settings.batch_share * (1 - (1.0 if price.batch_factor is None else price.batch_factor))
        return dollars * (1 - batch) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bills:
    """What was measured of costs.

    Attributes:
        upstream: The best without training; None before a run.
        options: All variants that were compared on test, the upstream one among them.
        unmeasured: Models that may be cheaper and were not compared on test, in words.
        limits: The constraints.
        gain: Lower bound of the forecast gain of training; None before a pilot.
    """

    upstream: Option | None
    options: Sequence[Option] = ()
    unmeasured: Sequence[str] = ()
    limits: Constraints = field(default_factory=Constraints)
    gain: float | None = None

    @property
    def cheapest(self) -> Option | None:
        """The cheapest billed option that meets the target in time, at its measured price."""
        return min(
            [o for o in self.options if o.billed and o.target == "met" and not too_slow(self.limits, o.p95_ms)],
            key=lambda option: (option.usd_per_1k or 0.0, option.name),
            default=None,
        )

    @property
    def reference(self) -> Option | None:
        """What the tuned model is compared with: the cheapest that meets the target, else the best."""
        return self.cheapest or self.upstream

    @property
    def constraint(self) -> str:
        """The constraint that decides whatever the money says, as a sentence; "" if none does."""
        if self.limits.on_device:
            return messages.say("device_decides")
        times = [option.p95_ms for option in self.options if option.billed and option.p95_ms is not None]
        limit = self.limits.p95_ms
        if limit is not None and times and all(too_slow(self.limits, time) for time in times):
            return messages.say("none_in_time", p95=min(times), limit=limit)
        return ""


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


def economics(bills: Bills, settings: Economics | None = None) -> EconomicsResult:
    """Say whether training pays, from which volume and in which month.

    What is saved is the bill of the cheapest hosted model that meets the target (of those that were measured), or
    of the best without training where none does.

    Args:
        bills: What was measured (`bills_of`).
        settings: The section `[economics]`.
    """
    numbers = settings or Economics()
    reference, rival, upstream = bills.reference, bills.cheapest, bills.upstream
    facts = _facts(bills, numbers)
    money = Money(settings=numbers, usd_per_1k=reference.usd_with(numbers) if reference else None, gain=bills.gain)
    traffic, constraint = numbers.requests_per_month, bills.constraint
    discounted = numbers.model_copy(update=dict.fromkeys(SHARES, 1.0))
    usd = {
        "best_upstream": upstream.usd_with(numbers) if upstream else None,
        "best_upstream_discounted": upstream.usd_with(discounted) if upstream else None,
        "cheapest_hosted": rival.usd_with(numbers) if rival else None,
        "tuned_served": 1000 * money.monthly_usd(traffic) / traffic if traffic else None,
    }
    common: dict[str, Any] = {"usd_per_1k": usd, "one_off_usd": money.one_off_usd, "assumptions": facts}
    common["monthly_usd"] = money.monthly_usd(traffic or 0.0)
    if constraint:
        return EconomicsResult(status="not_applicable", why=constraint, **common)
    volume, has_bill = money.break_even_volume(), reference is not None and (money.saved_usd > 0 or reference.billed)
    status, month = _answer(money, traffic, has_bill=has_bill)
    if status == "never" and traffic and (late := money.payback_months(traffic)) is not None:
        facts["payback_month"] = Fact(ceil(late - 1e-9), messages.say("after_horizon"), "computed")
    return EconomicsResult(
        status=status,
        why=_why(money, traffic, volume) if has_bill else messages.say("no_bill"),
        break_even_requests_per_month=volume if has_bill else None,
        break_even_month=month,
        sensitivity=_sensitivity(numbers, reference, bills.gain) if has_bill and reference else (),
        **common,
    )


def _answer(money: Money, traffic: float | None, *, has_bill: bool) -> tuple[EconomicsStatus, int | None]:
    if traffic is None or not has_bill:
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
    'Whether training pays is not known.'
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


def bills_of(project: Project, record: RunRecord, *, gain: float | None = None) -> Bills:
    """Collect what a run measured of costs.

    Args:
        project: Its project file.
        record: Of the run (see `evidence.with_eligible_best`).
        gain: Lower bound of the forecast gain, if there was a pilot.
    """
    options = {row.rung: _option(project, record, row) for row in record.rungs if row.score is not None}
    return Bills(
        upstream=options.get(record.best.rung) if record.best else None,
        options=[option for rung, option in options.items() if rung != "classical"],
        unmeasured=[] if project.constraints.on_device else _unmeasured(project, list(options.values())),
        limits=project.constraints,
        gain=gain,
    )


@cache
def _sources() -> Any:
    return orjson.loads(files(__package__).joinpath("economics.json").read_bytes())


def _option(project: Project, record: RunRecord, row: RungRecord) -> Option:
    variant = record.variant_of(row)
    model = variant.model if variant else ""
    price = price_for(project.models[model]) if model in project.models else None
    lower, upper = row.bounds95 or (None, None)
    return Option(
        name=row.name or "",
        model=model,
        billed=bool(row.usd_per_1k) or (price is not None and not price.free),
        usd_per_1k=row.usd_per_1k,
        target=target_status(row.score, lower, upper, project.task.target, project.task.margin),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        price=price,
        p95_ms=row.latency_p95_ms,
    )


def _unmeasured(project: Project, options: Sequence[Option]) -> list[str]:
    """Name what may be cheaper and was not compared: models of the project, and the cheapest of the price table."""
    tested = {option.model for option in options}
    prices = {name: price_for(config) for name, config in project.models.items() if name not in tested}
    priced = [name for name, price in prices.items() if price is not None and not price.free]
    names = [messages.say("model_untested", name=name) for name in priced]
    counted = next((option for option in options if option.input_tokens and option.output_tokens), None)
    return [*names, *_cheapest_of_table(project, counted)] if counted else names


def _cheapest_of_table(project: Project, counted: Option) -> list[str]:
    """Name the cheapest hosted model of the price table at these tokens, unless the project has it."""
    table = orjson.loads(files("tuneworthy.providers").joinpath("prices.json").read_bytes())
    own = {getattr(config, "model", "") for config in project.models.values()}
    tokens = int(counted.input_tokens or 0), int(counted.output_tokens or 0)
    result = []
    for row in table["prices"]:
        name = next((model for model in row["models"] if not set(model) & set("*?[:")), "")
        price = price_of(row["provider"], name) if name else None
        if price is not None and not price.retires_within(RETIRES_DAYS):
            result.append((1000 * price.cost(*tokens), name))
    usd, name = min(result, default=(0.0, ""))
    return [messages.say("table_model", name=name, usd=usd, date=table_date())] if name and name not in own else []


def _facts(bills: Bills, numbers: Economics) -> dict[str, Fact]:
    """Return every number used with its source, and what no number says."""
    table, reference = _sources(), bills.reference
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
    facts["gain"] = Fact(
        bills.gain, messages.say("no_pilot") if bills.gain is None else messages.say("gain_source"), "measured"
    )
    compared, price, text = None, None, messages.say("nothing_run")
    if reference:
        compared, price = "cheapest_hosted" if bills.cheapest else "best_upstream", reference.usd_with(numbers)
        text = messages.say("reference", name=reference.name, target=reference.target)
    facts["compared_with"] = Fact(compared, text, "measured")
    facts[PRICE] = Fact(price, messages.say("price_source", date=table_date()), "measured")
    missing = messages.say("not_measured", names="; ".join(bills.unmeasured))
    rival = bills.cheapest.name if bills.cheapest else None
    facts["cheapest_hosted"] = Fact(rival, missing if bills.unmeasured else messages.say("all_measured"), "measured")
    facts["ownership"] = Fact(**table["ownership"], date=table["date"])
    return facts


def _sensitivity(numbers: Economics, reference: Option, gain: float | None) -> list[Sensitivity]:
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
