"""How sure a model is of the first tokens of its answers: entropy and the share of the likeliest token.

After training both usually show a sharper distribution, so that sampling settings move little: seen side by side with
the base, not assumed. A server reports only the likeliest `TOP` tokens: the remaining probability counts as one
further token, so that the entropy is a lower bound.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log2
from typing import Any

from tuneworthy.ladder.rung_details import Sureness
from tuneworthy.ladder.session import Session
from tuneworthy.types import Case, OutputFormat, Trace, Variant

# Tokens of an answer that are looked at.
FIRST = 8
# Alternatives a token; no provider tells more.
TOP = 20
MOST_CASES = 64


async def sureness(session: Session, variant: Variant, cases: Sequence[Case]) -> Sureness | None:
    """Ask for the first tokens of free, greedy answers; None if the provider tells no log-probabilities.

    Args:
        session: The opened project.
        variant: Model and prompt; its constraint and sampling are left out.
        cases: Of dev; the first `MOST_CASES` are asked.
    """
    model = session.models[variant.model]
    if "logprobs" not in model.provider.supports:
        return None
    bare = replace(variant, output=OutputFormat(), decoding={"temperature": 0.0}, max_tokens=FIRST)
    return read_sureness(await session.runner.run(bare, model, cases[:MOST_CASES], logprobs=TOP))


def read_sureness(traces: Sequence[Trace]) -> Sureness | None:
    """Return statistics of the log-probabilities of `traces`; None without any."""
    answers = [
        [measured for token in trace.response.logprobs[:FIRST] if (measured := _token(token))]
        for trace in traces
        if trace.response and trace.response.logprobs
    ]
    answers = [tokens for tokens in answers if tokens]
    if not answers:
        return None
    every = [token for tokens in answers for token in tokens]
    first = [tokens[0] for tokens in answers]
    return Sureness(
        n=len(answers),
        tokens=len(every),
        entropy_bits=sum(entropy for entropy, _ in every) / len(every),
        top1_share=sum(share for _, share in every) / len(every),
        first_entropy_bits=sum(entropy for entropy, _ in first) / len(first),
        first_top1_share=sum(share for _, share in first) / len(first),
    )


def _token(token: dict[str, Any]) -> tuple[float, float] | None:
    """Return entropy (bits) and the largest probability of a token; None where no alternatives are told.

    >>> _token({"token": "a", "top": [["a", -0.6931471805599453], ["b", -0.6931471805599453]]})
    (1.0, 0.5)
    """
    shares = [exp(min(0.0, logprob)) for _, logprob in token.get("top") or ()]
    if not shares:
        return None
    rest = max(0.0, 1.0 - sum(shares))
    return max(0.0, -sum(share * log2(share) for share in (*shares, rest) if share > 0)), max(shares)
