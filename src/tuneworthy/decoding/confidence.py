"""Uncertainty signals from log-probabilities, per token and per answer. They are no probabilities of being right.

The alternatives are the likeliest tokens with their raw log-probabilities (before temperature and penalties, as vLLM
and llama.cpp return them); what lies behind them is one lump of the mass that is missing.

Source: https://docs.vllm.ai/en/latest/serving/engine_args.html (`--logprobs-mode`).
"""

import math
from collections import Counter
from collections.abc import Sequence

from tuneworthy.types import JsonMapping, NamedFloats, Texts, frozen

# Signals of an answer, higher where the model is less certain; the first decides.
SIGNALS = {
    "mean_surprise": "mean of -log p over the tokens",
    "max_surprise": "largest -log p of a token",
    "mean_entropy": "mean entropy of the alternatives",
    "max_entropy": "largest entropy of the alternatives",
    "min_margin": "1 less the smallest gap between the two likeliest tokens",
}
PRIMARY = "mean_surprise"
# The signal of sampled answers, which needs no log-probabilities.
DISAGREEMENT = "disagreement"


@frozen
class Token:
    """One token of an answer.

    Attributes:
        text: Text of the token.
        surprise: -log p, nats.
        entropy: Entropy of the alternatives, nats.
        margin: Gap between the probabilities of the two likeliest tokens.
        top: (token, probability), the likeliest first.
    """

    text: str
    surprise: float
    entropy: float
    margin: float
    top: tuple[tuple[str, float], ...]


def tokens_of(logprobs: Sequence[JsonMapping]) -> list[Token]:
    found = []
    for one in logprobs:
        text, logprob, likeliest = one["token"], min(0.0, float(one["logprob"])), one["top"] or ()
        top = tuple((str(other), math.exp(min(0.0, float(share)))) for other, share in likeliest)
        shares = sorted((share for _, share in top), reverse=True) or [math.exp(logprob)]
        margin = shares[0] - (shares[1] if len(shares) > 1 else max(0.0, 1 - shares[0]))
        found.append(Token(text=str(text), surprise=abs(logprob), entropy=entropy(shares), margin=margin, top=top))
    return found


def entropy(shares: Sequence[float]) -> float:
    """Return the entropy of probabilities, nats; mass that is missing counts as one more outcome.

    >>> round(entropy([0.5, 0.25]), 3)
    1.04
    """
    return -sum(share * math.log(share) for share in (*shares, max(0.0, 1.0 - sum(shares))) if share > 1e-12)


def signals(tokens: Sequence[Token]) -> NamedFloats:
    if not tokens:
        return dict.fromkeys(SIGNALS, 0.0)
    surprise, spread = [one.surprise for one in tokens], [one.entropy for one in tokens]
    return {
        "mean_surprise": sum(surprise) / len(surprise),
        "max_surprise": max(surprise),
        "mean_entropy": sum(spread) / len(spread),
        "max_entropy": max(spread),
        "min_margin": 1 - min(one.margin for one in tokens),
    }


def disagreement(answers: Texts) -> float:
    """Return how much answers to one question differ: the entropy of their distinct forms over its largest, 0 to 1.

    Answers that differ only in case and spaces are one form; of long free text nearly all forms differ, and this says
    little.

    >>> disagreement(["Paris", "paris ", "Rome"]) > disagreement(["Paris", "Paris", "Paris"])
    True
    """
    if len(answers) < 2:
        return 0.0
    counts = Counter(" ".join(one.lower().split()) for one in answers)
    return entropy([n / len(answers) for n in counts.values()]) / math.log(len(answers))
