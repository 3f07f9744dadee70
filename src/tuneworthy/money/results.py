"""Result of the break-even analysis: status, volumes, costs, assumptions with their sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tuneworthy.money.serving import Basis, RunningCost

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Break-even volume with one assumption halved or doubled; None where training pays at no volume."""

    name: str
    value: float | None
    halved: float | None
    doubled: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSaving:
    """Mean tokens per test answer, without training and with the fine-tuned model."""

    before: float
    tuned: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Tokens and dollars per answer of the fine-tuned model against the option that it would replace.

    Attributes:
        against: Name of the replaced option.
        input_tokens: None where a provider does not report them, like the output.
        usd_per_1k: A thousand answers without training, as measured.
        usd_with_tuned_tokens: The same answers at that price with the token counts of the fine-tuned model.
    """

    against: str
    input_tokens: TokenSaving | None = None
    output_tokens: TokenSaving | None = None
    usd_per_1k: float | None = None
    usd_with_tuned_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsdPer1k:
    """Cost per thousand answers: the replaced option, the same with all discounts, the fine-tuned model."""

    reference: float | None = None
    reference_discounted: float | None = None
    tuned_served: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
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
        one_off_usd: Data, work and training.
        monthly_usd: Serving and upkeep of the fine-tuned model.
        assumptions: Every number used, by name.
        sensitivity: The most influential assumptions first.
        saved: None before a fine-tuned model was compared on test.
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
    one_off_usd: float | None = None
    monthly_usd: float | None = None
    assumptions: Mapping[str, Fact] = field(default_factory=dict)
    sensitivity: Sequence[Sensitivity] = ()
    saved: Savings | None = None
