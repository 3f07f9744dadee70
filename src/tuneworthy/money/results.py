"""Result of the break-even analysis: status, volumes, costs, assumptions with their sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tuneworthy.money.serving import Basis, RunningCost, Training
from tuneworthy.types import NamedFloats, frozen

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
