"""What an answer of the tuned model saves against the best without training: tokens and money, as measured on test.

A tuned model needs no instructions and no examples in its prompt (prompt distillation), so that what it reads is mostly
the question. Counted from the answers on test; a price is used where the project's models have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuneworthy.config.project import Project
from tuneworthy.ladder.record import RunRecord
from tuneworthy.providers.prices import price_for
from tuneworthy.verdict.evidence import TUNED


def saved(project: Project, record: RunRecord, before: RunRecord) -> dict[str, Any]:
    """Return what an answer saves; {} unless a tuned variant and one without training were put to test.

    Args:
        project: Tells the prices.
        record: The stored run. before: The same without tuned models (`evidence.without_tuned`).

    Returns:
        `against` (the name), `input_tokens`, `output_tokens` (before, tuned and saved an answer), `usd_per_1k` (of a
        thousand answers: before; and what the same answers would cost at that price with the tokens of the tuned
        variant: the part that the shorter prompt alone saves).
    """
    tuned = record.rung(TUNED)
    upstream = record.rung(before.best.rung) if before.best else None
    if tuned is None or tuned.score is None or upstream is None:
        return {}
    found: dict[str, Any] = {"against": upstream.name}
    if upstream.input_tokens is not None and tuned.input_tokens is not None:
        found["input_tokens"] = _saved(upstream.input_tokens, tuned.input_tokens)
    if upstream.output_tokens is not None and tuned.output_tokens is not None:
        found["output_tokens"] = _saved(upstream.output_tokens, tuned.output_tokens)
    variant = record.variant_of(upstream)
    price = price_for(project.models[variant.model]) if variant and variant.model in project.models else None
    if price is not None and not price.free and "input_tokens" in found and "output_tokens" in found:
        rates = price.rates_at(int(found["input_tokens"]["before"]))
        reads, writes = found["input_tokens"]["tuned"], found["output_tokens"]["tuned"]
        shorter = (reads * rates.input + writes * rates.output) / 1000
        found["usd_per_1k"] = {"before": upstream.usd_per_1k, "with_tuned_tokens": shorter}
        if upstream.usd_per_1k is not None:
            found["usd_per_1k"]["saved"] = upstream.usd_per_1k - shorter
    return found


def _saved(before: float, tuned: float) -> dict[str, float]:
    return {"before": before, "tuned": tuned, "saved": before - tuned}


def saved_words(found: Mapping[str, Any]) -> str:
    """Say it in one sentence; "" if nothing is known.

    >>> saved_words({"against": "few_shot/fixed-4", "input_tokens": {"before": 400.0, "tuned": 90.0, "saved": 310.0}})
    'an answer reads 90 tokens instead of the 400 of few_shot/fixed-4'
    """
    parts = []
    if read := found.get("input_tokens"):
        parts.append(
            f"an answer reads {read['tuned']:,.0f} tokens instead of the {read['before']:,.0f} of {found['against']}"
        )
    if wrote := found.get("output_tokens"):
        parts.append(f"writes {wrote['tuned']:,.0f} instead of {wrote['before']:,.0f}")
    usd = found.get("usd_per_1k") or {}
    if usd.get("saved") is not None:
        parts.append(
            f"at the same price that is ${usd['saved']:,.4f} less for a thousand answers (${usd['before']:,.4f} today)"
        )
    return ", ".join(parts)
