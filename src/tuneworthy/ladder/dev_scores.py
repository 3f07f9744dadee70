"""What a race or an ablation asks of a session: a variant's answers to cases of dev, scored and weighed."""

from __future__ import annotations

from collections.abc import Sequence

from tuneworthy.evaluate.runner import usage
from tuneworthy.ladder.session import Session
from tuneworthy.search.race import Measured
from tuneworthy.types import Case, Variant

OUTPUT_WEIGHT = 4
"""An output token costs and takes about as much as so many input tokens."""


async def measure(session: Session, variant: Variant, cases: Sequence[Case]) -> Measured:
    """Ask `cases` once each, and score the answers with the primary grader."""
    traces = await session.ask(variant, cases)
    num, den, _ = await session.score(traces, cases)
    means = usage(traces)
    tokens = (means["input_tokens"] or 0) + OUTPUT_WEIGHT * (means["output_tokens"] or 0)
    return Measured(
        num=num,
        den=den,
        cost_usd=sum(trace.cost_usd for trace in traces),
        weight=(means["usd_per_1k"] or 0.0, tokens),
    )
