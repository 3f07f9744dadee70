"""The article's three wrong claims on decoding, beside numbers that are computed here (or measured elsewhere).

Source: facts.md 0, rows 1, 2, 16 to 18; facts.md C2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuneworthy.decoding.engines import Sampling, engine_of
from tuneworthy.decoding.samplers import at_temperature, explain, largest_share, logits_of

FINE_TUNED = np.array([0.85, 0.05, 0.03, *[0.007] * 10])
"""The article's distribution after fine-tuning, its tail filled up."""
TEMPERATURES = (0.5, 0.7, 1.5, 2.0)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the article says, what holds instead, and the source with its mark."""

    says: str
    holds: str
    source: str


def claims() -> list[Claim]:
    """Return the claims, their numbers computed."""
    shares = ", ".join(f"{float(at_temperature(FINE_TUNED, t)[1]):.1%} at T = {t:g}" for t in TEMPERATURES)
    most, at = largest_share(FINE_TUNED, 1)
    weights = np.array([85, 5, 3, *[0.69] * 10])
    kept = explain(logits_of(weights), Sampling(temperature=1, top_p=0.9), engine_of("vllm")).left
    told = " and ".join(f"{share:.1%}" for share in kept.probabilities)
    greedy = explain(
        np.array([10.0, 9.5]), Sampling(temperature=0, repetition_penalty=1.1), engine_of("vllm"), prompt=[0]
    )
    return [
        Claim(
            "T = 0.7 amplifies a 5 % token back to 15 %",
            f"T below 1 shrinks the tail: of 85, 5, 3, ... % the second token gets {shares}; no temperature gives it "
            f"more than {most:.1%} (at T = {at:.1f})",
            "computed; facts.md 0, row 1",
        ),
        Claim(
            "top_p = 0.9 passes only the first of 85, 5, 3, ... %",
            f"0.85 is below 0.9, so {len(kept)} tokens stay, at {told}",
            "computed; facts.md 0, row 2",
        ),
        Claim(
            "T = 0 is fully deterministic",
            "kernels depend on the batch: 1,000 runs at T = 0 gave 80 different answers, and OpenAI calls its seed "
            "best effort; a penalty changes the greedy token too (logits 10 and 9.5, penalty 1.1: "
            f"token {greedy.left.ids[0]} is taken). Measure it: `decode sweep` tells the flip rate at T = 0",
            "facts.md 0, rows 17 and 20 [V2]; facts.md C2",
        ),
    ]
