"""Sources of every number in the break-even analysis, and its result: status, volumes, costs, assumptions.

The sources are the project file, measurement, `economics.json` and `hardware.json`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from tuneworthy.config.ladder import DEFAULT_RANGES, Economics
from tuneworthy.money.serving import USUAL_TOKENS, Basis, Bill, RunningCost, Training, hardware_table
from tuneworthy.providers.prices import table_date
from tuneworthy.store.shapes import bundled
from tuneworthy.train.gpus import owned_machines
from tuneworthy.types import Bounds, NamedFloats, frozen

EconomicsStatus = Literal["pays", "never", "unknown", "not_applicable"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A number (or a name) that the economics use.

    Attributes:
        value: None if it is unknown.
        source: Where it comes from, or why it is missing.
        mark: Kind of source; `project` is the project file.
        date: ISO date of the source, where it matters.
        unit: Unit of the value.
    """

    value: float | str | bool | None
    source: str = ""
    mark: Basis = ""
    date: str = ""
    unit: str = ""


@frozen
class UsdPer1k:
    """Cost per thousand answers: the replaced option, the fine-tuned model."""

    reference: float | None = None
    tuned_served: float | None = None


@frozen
class TrainingWay:
    """A kind of training, the cheapest way to serve its model, and the monthly cost with upkeep."""

    training: Training
    serving: str
    usd_per_month: float | None


@frozen
class EconomicsResult:
    """Whether training pays.

    Attributes:
        status: `pays` (breaks even within the horizon over all ranges), `never`, `unknown` (no traffic, or the ranges
            leave it open), or `not_applicable` (a hard constraint decides, not money).
        why: Reason for the status, as a sentence.
        reference: Name of the option whose bill and score training is compared with; None before a run.
        required_usd_per_1k: Saving per thousand answers that is required and does not count, where the option meets
            the target; None where cost is not the question.
        break_even_requests_per_month: Traffic at which training pays within the horizon; None if at no traffic.
        break_even_band: The same at the best and at the worst end of every range.
        running: Running cost of the fine-tuned model.
        break_even_month: Month in which training has paid back at the project's traffic; None if never or unknown.
        usd_per_1k: Cost of a thousand answers.
        ways: Of training, each with its price; the cheapest one counts.
        one_off: Parts of the one-off costs, US dollars.
        one_off_usd: Their sum.
        monthly_usd: Serving and upkeep of the fine-tuned model.
        assumptions: Every number used, by name.
    """

    status: EconomicsStatus
    why: str = ""
    reference: str | None = None
    required_usd_per_1k: float | None = None
    break_even_requests_per_month: float | None = None
    break_even_band: tuple[float | None, float | None] = (None, None)
    running: RunningCost | None = None
    break_even_month: int | None = None
    usd_per_1k: UsdPer1k = field(default_factory=UsdPer1k)
    ways: Sequence[TrainingWay] = ()
    one_off: NamedFloats = field(default_factory=dict)
    one_off_usd: float | None = None
    monthly_usd: float | None = None
    assumptions: Mapping[str, Fact] = field(default_factory=dict)


PRICE = "reference_usd_per_1k"
# Meaning of the two numbers of a range, by its key in [economics.ranges].
RANGES = {
    "traffic": "lowest and highest traffic, as factors of requests_per_month",
    "price": "lowest and highest future price of the provider, as factors of today's price",
    "costs": "lowest and highest cost of training and upkeep, as factors of the values that the project does not set",
    "capacity": "lowest and highest capacity of a server, as factors of the computed one",
    "success": "lowest and highest chance that a training run reaches its goal; at 0.5, the one-off costs count twice",
    "wrong_answer": "lowest and highest cost of a wrong answer, as factors of usd_per_wrong_answer",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Unit and source of a default of `[economics]`."""

    unit: str
    source: str
    mark: Basis


@dataclass(frozen=True, slots=True)
class SourceTable:
    """Content of `economics.json`."""

    date: str
    sources: Mapping[str, Source]
    ownership: Fact


@cache
def source_table() -> SourceTable:
    return bundled("tuneworthy.money", "economics.json", SourceTable)


def facts_of(reference: Bill | None, settings: Economics, gain: Bounds | None) -> dict[str, Fact]:
    """Return every number used with its source, and further notes.

    Args:
        reference: Bill of the option that would be replaced.
        settings: The section `[economics]`.
        gain: Bounds of the gain from training; None before a pilot.
    """
    table, given = source_table(), settings.model_fields_set

    def setting(name: str, row: Source) -> Fact:
        value: Any = getattr(settings, name)
        return (
            Fact(value, "project file", "project", unit=row.unit)
            if name in given
            else Fact(value, row.source, row.mark, table.date, row.unit)
        )

    facts = {name: setting(name, row) for name, row in table.sources.items()}
    if reference is not None and reference.trained_b is not None and "serve_params_b" not in given:
        facts["serve_params_b"] = replace(
            facts["serve_params_b"],
            value=reference.trained_b,
            source="number of weights in the files of the model that would be trained",
            mark="measured",
        )
    facts |= _serving_facts(reference, settings, table.sources)
    for name in ("requests_per_month", "usd_per_wrong_answer"):
        value = getattr(settings, name)
        facts[name] = (
            Fact(None, f"economics.{name} is not set") if value is None else Fact(value, "project file", "project")
        )
    source = "no pilot yet" if gain is None else "lower bound of the gain over the option that it is compared with"
    facts["gain"] = Fact(gain[0] if gain else None, source, "measured")
    name = reference.name if reference else ""
    facts["compared_with"] = Fact(name or None, "" if name else "no run yet", "measured")
    source = f"token counts on the test set at the prices of {table_date()}"
    if reference is not None:
        if reference.price is not None and reference.price.source == "project file":
            source = "token counts on the test set at the prices in the project file"
        if reference.unreported:
            source += f"; the maximum price for the {reference.unreported:.1%} of answers without usable token counts"
    facts[PRICE] = Fact(reference.usd_with(settings) if reference else None, source, "measured")
    for name in DEFAULT_RANGES:
        low, high = settings.spread(name)
        mark: Basis = "project" if name in settings.ranges else "assumed"
        facts[f"range_{name}"] = Fact(f"[{low:g}, {high:g}]", RANGES[name], mark)
    facts["own_machines"] = _own_machines(facts["serve_params_b"].value)
    facts["ownership"] = replace(table.ownership, date=table.date)
    return facts


def _own_machines(params_b: Any) -> Fact:
    """Return the form in which each machine that people own serves a model; its price is not part of the sum."""
    forms = "; ".join(f"{machine}: {machine.form(params_b) or 'too small'}" for machine in owned_machines())
    source = "weights and a fifth more within the memory of a machine that people own; not priced"
    return Fact(forms, source, "computed", hardware_table().date)


def _serving_facts(reference: Bill | None, settings: Economics, sources: Mapping[str, Source]) -> dict[str, Fact]:
    """Return the way to serve, and price and capacity of a machine where the project file does not set them."""
    bill, day = reference or Bill(name="", usd_per_1k=None), hardware_table().date
    way, tokens = bill.trained(settings).way_at(settings.requests_per_month), bill.tokens_to_serve
    facts = {
        "serve_hardware": Fact(settings.serve_hardware, "project file", "project")
        if settings.serve_hardware
        else Fact(
            way.title if way else None,
            "the cheapest way that meets the latency limit and carries the traffic",
            "computed",
            day,
        )
    }
    if settings.serve_usd_per_month is None:
        source = f"{way.title}: {way.source}" if way else "it depends on the traffic"
        unit = sources["serve_usd_per_month"].unit
        facts["serve_usd_per_month"] = Fact(way.usd_per_month if way else None, source, "published", day, unit)
    if settings.serve_capacity_per_month is None:
        read, written = tokens or USUAL_TOKENS
        known = "as measured" if tokens else "which are assumed"
        source = f"{read:,.0f} prompt and {written:,.0f} answer tokens, {known}, on {way.title if way else 'each way'}"
        unit = sources["serve_capacity_per_month"].unit
        facts["serve_capacity_per_month"] = Fact(way.capacity if way else None, source, "computed", day, unit)
    return facts
