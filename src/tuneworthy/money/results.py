"""Result of the break-even analysis: status, volumes, costs, assumptions with their sources."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tuneworthy.money.bills import Bill
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
    saved: Savings | None = None


def savings_of(reference: Bill | None, tuned: Bill | None) -> Savings | None:
    """Return the savings per answer; None unless the fine-tuned model and the reference were compared on test.

    Args:
        reference: The option that the tuned model would replace.
        tuned: The tuned model.
    """
    if reference is None or tuned is None:
        return None
    reads = _saving(reference.input_tokens, tuned.input_tokens)
    writes = _saving(reference.output_tokens, tuned.output_tokens)
    usd = shorter = None
    if reference.price is not None and not reference.price.free and reads and writes:
        rates = reference.price.rates_at(reads.before)
        usd, shorter = reference.usd_per_1k, (reads.tuned * rates.input + writes.tuned * rates.output) / 1000
    return Savings(
        against=reference.name,
        input_tokens=reads,
        output_tokens=writes,
        usd_per_1k=usd,
        usd_with_tuned_tokens=shorter,
    )


def _saving(before: float | None, tuned: float | None) -> TokenSaving | None:
    return None if before is None or tuned is None else TokenSaving(before=before, tuned=tuned)


def savings_sentence(savings: Savings | None) -> str:
    """Describe the saving; "" if unknown.

    >>> savings_sentence(Savings(against="few_shot/fixed-4", input_tokens=TokenSaving(before=400.0, tuned=90.0)))
    'With the fine-tuned model, the prompt has 90 tokens per answer, against 400 for few_shot/fixed-4.'
    """
    if savings is None:
        return ""
    parts = []
    if reads := savings.input_tokens:
        parts.append(
            f"With the fine-tuned model, the prompt has {reads.tuned:,.0f} tokens per answer, against "
            f"{reads.before:,.0f} for {savings.against}."
        )
    if writes := savings.output_tokens:
        parts.append(f"An answer has {writes.tuned:,.0f} tokens, against {writes.before:,.0f}.")
    if savings.usd_per_1k is not None and savings.usd_with_tuned_tokens is not None:
        parts.append(
            f"At the same price per token, 1,000 answers cost ${savings.usd_with_tuned_tokens:,.4f} instead of "
            f"${savings.usd_per_1k:,.4f}."
        )
    return " ".join(parts)
