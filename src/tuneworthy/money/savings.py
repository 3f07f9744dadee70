"""Token and dollar savings of a fine-tuned model, measured on test.

A fine-tuned model needs no instructions and no examples in its prompt (prompt distillation). A price is used where the
project's models have one.
"""

from tuneworthy.money.bills import Bill
from tuneworthy.money.results import Savings, TokenSaving


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
        rates = reference.price.rates_at(int(reads.before))
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
