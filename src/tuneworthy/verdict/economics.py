"""Whether training pays: what is paid for an answer today against data, training, serving and upkeep.

Pure arithmetic over the record of a run, the price table and the assumptions (`economics.json`, each settable in
`[economics]`). Invariants: more traffic never makes "pays" into "never"; a dearer API never raises the break-even
volume; every number used is named with its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from math import ceil, inf, log
from typing import Any, Literal

import orjson

from tuneworthy.config.ladder import Economics
from tuneworthy.config.project import Project
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.providers.prices import Price, price_for, price_of, table_date
from tuneworthy.verdict.base import EconomicsResult, Target
from tuneworthy.verdict.evidence import bounds_of, target_status

TRIED_SHARE = 0.5
"""A share of 0 cannot be doubled: the sensitivity tries this instead."""
_SHARES = frozenset({"cached_share", "batch_share"})
_PRICE = "reference_usd_per_1k"
_Status = Literal["pays", "never", "unknown", "not_applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A way to answer that was put to test.

    Attributes:
        name: Of the variant. model: Key of `[models]`.
        billed: Whether each answer is paid for.
        usd_per_1k: A thousand answers as they were measured.
        input_tokens, output_tokens: Means of an answer; None if the provider does not tell.
        price: Of the model, for cache and batch; None if it is not known.
        target: Whether it meets the target.
        p95_ms: Measured latency, ms.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bills:
    """What was measured of costs.

    Attributes:
        upstream: The best upstream variant; None before a run.
        options: All variants that were put to test, the upstream one among them.
        unmeasured: Models that may be cheaper and were not put to test, in words.
        on_device: Whether hosted models are forbidden. p95_ms: limit of the latency, ms.
        hard_constraint: A sentence if a constraint decides whatever the money says, else "".
        gain: Lower bound of the measured gain of training; None before a pilot.
    """

    upstream: Option | None
    options: Sequence[Option] = ()
    unmeasured: Sequence[str] = ()
    on_device: bool = False
    p95_ms: float | None = None
    hard_constraint: str = ""
    gain: float | None = None


def economics(bills: Bills, settings: Economics | None = None) -> EconomicsResult:
    """Say whether training pays, from which volume and in which month.

    What is saved is the bill of the cheapest hosted model that meets the target (of those that were measured), or
    of the best upstream variant where none does.

    Args:
        bills: What was measured (`bills_of`).
        settings: The section `[economics]`.
    """
    settings = settings or Economics()
    numbers = assumed(settings)
    hard = _hard(bills)
    reference, word = _reference(bills)
    rival = _cheapest(bills)
    facts = _facts(bills, numbers, settings, (reference, word))
    money = Money.of(numbers, _usd_per_1k(reference, numbers), bills.gain, settings.usd_per_wrong_answer)
    traffic = settings.requests_per_month
    usd: dict[str, float | None] = {
        "best_upstream": _usd_per_1k(bills.upstream, numbers),
        "best_upstream_discounted": _usd_per_1k(bills.upstream, numbers | {"cached_share": 1.0, "batch_share": 1.0}),
        "cheapest_hosted": _usd_per_1k(rival, numbers),
        "tuned_served": money.tuned_usd_per_1k(traffic),
    }
    common: dict[str, Any] = {
        "usd_per_1k": usd,
        "one_off_usd": money.one_off_usd,
        "monthly_usd": money.monthly_usd(traffic or 0.0),
    }
    if hard:
        return EconomicsResult(status="not_applicable", assumptions=facts | {"why": _measured(True, hard)}, **common)
    volume = money.break_even_volume()
    known = reference is not None and (money.saved_usd > 0 or reference.billed)
    status, month = _answer(money, traffic, known=known)
    if status == "never" and traffic and (late := money.payback_months(traffic)) is not None:
        facts["payback_month"] = _computed(ceil(late - 1e-9), "after the horizon, at the project's traffic")
    facts["why"] = _computed(status, _why(money, traffic, volume, known=known))
    return EconomicsResult(
        status=status,
        break_even_requests_per_month=volume if known else None,
        break_even_month=month,
        assumptions=facts,
        sensitivity=_sensitivity(numbers, reference, bills.gain, settings.usd_per_wrong_answer) if known else (),
        **common,
    )


def _answer(money: Money, traffic: float | None, *, known: bool) -> tuple[_Status, int | None]:
    """Return the status and the month in which it has paid back."""
    if traffic is None or not known:
        return "unknown", None
    months = money.payback_months(traffic)
    if months is None or months > money.horizon_months * (1 + 1e-9):
        return "never", None
    return "pays", ceil(months - 1e-9)


def _why(money: Money, traffic: float | None, volume: float | None, *, known: bool) -> str:
    """Say in one sentence what the status rests on."""
    if not known:
        return (
            "no answer is billed today, so there is no bill to save: training pays only by better answers; "
            "set `economics.usd_per_wrong_answer` and run a pilot for the gain, or say under `[[waivers]]` why money "
            "does not matter"
        )
    if volume is None:
        return "it pays at no volume: an answer of the tuned model saves nothing, or less than serving it costs"
    words = f"training pays from {volume:,.0f} requests a month, within {money.horizon_months:g} months"
    return words if traffic is not None else f"{words}; set [economics] requests_per_month"


def money_words(found: EconomicsResult) -> str:
    """Say in one sentence what the money says, in the words of the assumption `why`.

    >>> money_words(EconomicsResult(status="unknown"))
    'whether training pays is not known'
    """

    def value(name: str) -> Any:
        return found.assumptions.get(name, {}).get("value")

    why = str(found.assumptions.get("why", {}).get("source", ""))
    traffic = value("requests_per_month")
    at = f" at {traffic:,.0f} requests a month" if traffic else ""
    if found.status == "pays":
        return f"training pays back in month {found.break_even_month}{at}" + (f"; {why}" if why else "")
    if found.status == "never":
        late = f" within {value('horizon_months'):g} months" if value("horizon_months") else ""
        return f"training does not pay back{at}{late}" + (f"; {why}" if why else "")
    if found.status == "not_applicable":
        return "a hard constraint decides, not money" + (f": {why}" if why else "")
    return why or "whether training pays is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The arithmetic of one comparison; all in US dollars.

    Servers beyond the first are counted in parts (``max(1, requests / capacity)``): a step would let a little more
    traffic turn a gain into a loss.

    Attributes:
        saved_usd: An answer of today, plus what a better one is worth, less what a tuned one costs by the answer.
        served_usd: What a tuned answer costs by the answer.
        one_off_usd: Data, work and training. server_usd, upkeep_usd: a month. capacity: requests a server a month.
    """

    saved_usd: float
    served_usd: float
    one_off_usd: float
    server_usd: float
    capacity: float
    upkeep_usd: float
    horizon_months: float

    @classmethod
    def of(
        cls, numbers: Mapping[str, float], usd_per_1k: float | None, gain: float | None, usd_per_wrong: float | None
    ) -> Money:
        """Collect the numbers of a comparison with an answer that costs `usd_per_1k` / 1000."""
        worth = (gain or 0.0) * (usd_per_wrong or 0.0)
        work = (numbers["hours_data"] + numbers["hours_engineering"]) * numbers["usd_per_hour"]
        return cls(
            saved_usd=(usd_per_1k or 0.0) / 1000 + worth - numbers["serve_usd_per_1k"] / 1000,
            served_usd=numbers["serve_usd_per_1k"] / 1000,
            one_off_usd=work + numbers["train_hours"] * numbers["gpu_usd_per_hour"],
            server_usd=numbers["serve_usd_per_month"],
            capacity=numbers["serve_capacity_per_month"],
            upkeep_usd=numbers["upkeep_usd_per_month"],
            horizon_months=numbers["horizon_months"],
        )

    def monthly_usd(self, requests: float) -> float:
        """Return what the tuned model costs in a month with so many requests."""
        return self.server_usd * max(1.0, requests / self.capacity) + self.upkeep_usd + self.served_usd * requests

    def tuned_usd_per_1k(self, requests: float | None) -> float | None:
        """Return what a thousand tuned answers cost, serving and upkeep, at so many requests a month."""
        return 1000 * self.monthly_usd(requests) / requests if requests else None

    def net_usd(self, requests: float) -> float:
        """Return what is saved in a month with so many requests, after serving and upkeep."""
        return self.saved_usd * requests - self.server_usd * max(1.0, requests / self.capacity) - self.upkeep_usd

    def payback_months(self, requests: float) -> float | None:
        """Return the months until the one-off costs are saved; None if they never are."""
        net = self.net_usd(requests)
        return self.one_off_usd / net if net > 0 else None

    def break_even_volume(self) -> float | None:
        """Return the fewest requests a month at which the one-off costs are saved within the horizon."""
        month = self.one_off_usd / self.horizon_months + self.upkeep_usd
        if self.saved_usd <= 0:
            return None
        on_one_server = (month + self.server_usd) / self.saved_usd
        if on_one_server <= self.capacity:
            return on_one_server
        slope = self.saved_usd - self.server_usd / self.capacity
        volume = month / slope if slope > 0 else inf
        return volume if volume < inf else None


def bills_of(project: Project, record: RunRecord, *, hard_constraint: str = "", gain: float | None = None) -> Bills:
    """Collect what a run measured of costs.

    Args:
        project: Its project file.
        record: Of the run (see `evidence.with_eligible_best`).
        hard_constraint: A sentence if another gate found that a constraint decides.
        gain: Lower bound of the forecast gain, if there was a pilot.
    """
    options = {row.rung: _option(project, record, row) for row in record.rungs if row.score is not None}
    return Bills(
        upstream=options.get(record.best.rung) if record.best else None,
        options=[option for rung, option in options.items() if rung != "classical"],
        unmeasured=_unmeasured(project, options),
        on_device=project.constraints.on_device,
        p95_ms=project.constraints.p95_ms,
        hard_constraint=hard_constraint,
        gain=gain,
    )


def assumed(settings: Economics) -> dict[str, float]:
    """Return the assumptions by name: those of the project file, else the defaults."""
    given = settings.model_dump(exclude_none=True)
    return {name: float(given.get(name, row["value"])) for name, row in _table()["defaults"].items()}


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads(files(__package__).joinpath("economics.json").read_bytes())
    return table


def _option(project: Project, record: RunRecord, row: RungRecord) -> Option:
    variant = record.variant_of(row)
    model = variant.model if variant else ""
    config = project.models.get(model)
    price = price_for(config) if config else None
    lower, upper = bounds_of(row)
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


def _usd_per_1k(option: Option | None, numbers: Mapping[str, float]) -> float | None:
    """Return what a thousand answers of `option` cost with the assumed shares of cache and batch."""
    if option is None:
        return None
    price = option.price
    if not option.billed or price is None or option.input_tokens is None or option.output_tokens is None:
        return option.usd_per_1k
    rates = price.rates_at(int(option.input_tokens))
    cached = numbers["cached_share"] * option.input_tokens
    cached_rate = rates.input if rates.cached_input is None else rates.cached_input
    dollars = (option.input_tokens - cached) * rates.input + cached * cached_rate + option.output_tokens * rates.output
    batch = numbers["batch_share"] * (1 - (1.0 if price.batch_factor is None else price.batch_factor))
    return dollars * (1 - batch) / 1000


def _eligible(bills: Bills, option: Option) -> bool:
    return not (bills.p95_ms and option.p95_ms is not None and option.p95_ms > bills.p95_ms)


def _cheapest(bills: Bills) -> Option | None:
    """Return the cheapest billed option that meets the target and the limits, at its measured price."""
    meeting = [o for o in bills.options if o.billed and o.target == "met" and _eligible(bills, o)]
    return min(meeting, key=lambda option: (option.usd_per_1k or 0.0, option.name), default=None)


def _reference(bills: Bills) -> tuple[Option | None, str]:
    """Return what the tuned model is compared with, and its name among the options."""
    rival = _cheapest(bills)
    if rival is not None:
        return rival, "cheapest_hosted"
    return bills.upstream, "best_upstream"


def _hard(bills: Bills) -> str:
    """Say which constraint decides whatever the money says; "" if none does."""
    if bills.hard_constraint:
        return bills.hard_constraint
    if bills.on_device:
        return "the task must run on the device: hosted models are not eligible"
    billed = [option for option in bills.options if option.billed and option.p95_ms is not None]
    if bills.p95_ms and billed and not any(_eligible(bills, option) for option in billed):
        fastest = min(option.p95_ms or inf for option in billed)
        return (
            f"no hosted model that was measured answers in time: p95 is {fastest:.0f} ms at best, "
            f"the limit is {bills.p95_ms:g} ms"
        )
    return ""


def _unmeasured(project: Project, options: Mapping[str, Option]) -> list[str]:
    """Name what may be cheaper and was not put to test: models of the project, and the cheapest of the price table."""
    tested = {option.model for option in options.values()}
    names = [
        f"{name} (in the project file, not put to test)"
        for name, config in project.models.items()
        if name not in tested and _has_price(config)
    ]
    if project.constraints.on_device:
        return []
    told = next((option for option in options.values() if option.input_tokens and option.output_tokens), None)
    if told is not None and (row := _cheapest_of_table(project, told)):
        names.append(row)
    return names


def _has_price(config: Any) -> bool:
    price = price_for(config)
    return price is not None and not price.free


def _cheapest_of_table(project: Project, told: Option) -> str:
    """Name the cheapest hosted model of the price table at these tokens, unless the project has it."""
    table = orjson.loads(files("tuneworthy.providers").joinpath("prices.json").read_bytes())
    own = {getattr(config, "model", "") for config in project.models.values()}
    tokens = int(told.input_tokens or 0), int(told.output_tokens or 0)
    found = []
    for row in table["prices"]:
        name = next((one for one in row["models"] if not set(one) & set("*?[:")), "")
        price = price_of(row["provider"], name) if name else None
        if price is not None and not price.retires_within(180):
            found.append((1000 * price.cost(*tokens), name))
    usd, name = min(found, default=(0.0, ""))
    if not name or name in own:
        return ""
    return f"{name} (${usd:.4f} a thousand at these tokens by the table of {table_date()}; its score is not known)"


def _facts(
    bills: Bills,
    numbers: Mapping[str, float],
    settings: Economics,
    compared: tuple[Option | None, str],
) -> dict[str, Mapping[str, Any]]:
    """Return every number used with its source, and what no number says."""
    reference, word = compared
    table = _table()
    facts: dict[str, Mapping[str, Any]] = {}
    for name, value in numbers.items():
        row = table["defaults"][name]
        own = getattr(settings, name) is not None
        source = {"source": "project file", "mark": "V"} if own else {"source": row["source"], "mark": row["mark"]}
        facts[name] = {"value": value, "unit": row["unit"], "date": "" if own else table["date"], **source}
    traffic = settings.requests_per_month
    facts["requests_per_month"] = _given(traffic, "not set: [economics] requests_per_month")
    worth = "not set: a better answer has no price here ([economics] usd_per_wrong_answer)"
    facts["usd_per_wrong_answer"] = _given(settings.usd_per_wrong_answer, worth)
    facts["gain"] = _measured(bills.gain, "lower bound of the forecast" if bills.gain is not None else "no pilot")
    name = f"{reference.name}: target {reference.target}" if reference else "nothing was run yet"
    facts["compared_with"] = _measured(word if reference else None, name)
    facts[_PRICE] = _measured(_usd_per_1k(reference, numbers), f"tokens of test, prices of {table_date()}")
    rival = _cheapest(bills)
    missing = "; ".join(bills.unmeasured)
    facts["cheapest_hosted"] = _measured(
        rival.name if rival else None,
        f"not measured: {missing}" if missing else "all hosted models of the project were measured",
    )
    facts["ownership"] = {**table["ownership"], "date": table["date"]}
    return facts


def _given(value: float | None, missing: str) -> dict[str, Any]:
    if value is None:
        return {"value": None, "source": missing, "mark": "", "date": ""}
    return {"value": value, "source": "project file", "mark": "V", "date": ""}


def _measured(value: Any, source: str) -> dict[str, Any]:
    return {"value": value, "source": source, "mark": "V", "date": ""}


def _computed(value: Any, source: str) -> dict[str, Any]:
    return {"value": value, "source": source, "mark": "C", "date": ""}


def _sensitivity(
    numbers: Mapping[str, float], reference: Option | None, gain: float | None, usd_per_wrong: float | None
) -> list[dict[str, Any]]:
    """Return the break-even volume with each assumption halved and doubled, what matters most first."""

    def volume(name: str, factor: float) -> float | None:
        changed, option, worth = dict(numbers), reference, usd_per_wrong
        if name in _SHARES and not numbers[name] and factor > 1:
            changed[name] = TRIED_SHARE
        elif name in numbers:
            changed[name] = min(1.0, numbers[name] * factor) if name in _SHARES else numbers[name] * factor
        usd = _usd_per_1k(option, changed)
        if name == _PRICE and usd is not None:
            usd *= factor
        if name == "usd_per_wrong_answer" and worth is not None:
            worth *= factor
        return Money.of(changed, usd, gain, worth).break_even_volume()

    values: dict[str, float | None] = {**numbers, _PRICE: _usd_per_1k(reference, numbers)}
    if gain is not None and usd_per_wrong is not None:
        values["usd_per_wrong_answer"] = usd_per_wrong
    rows = [
        {"name": name, "value": value, "halved": volume(name, 0.5), "doubled": volume(name, 2.0)}
        for name, value in values.items()
    ]
    return sorted((row for row in rows if row["halved"] != row["doubled"]), key=_weight, reverse=True)


def _weight(row: Mapping[str, Any]) -> float:
    halved, doubled = row["halved"], row["doubled"]
    if not halved or not doubled:
        return inf
    return abs(log(halved / doubled))
