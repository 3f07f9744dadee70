"""Lints of how settings are compared, and of what is read out of log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

from tuneworthy.decoding.lints.base import Fault, Use, lint

FEWEST_REPEATS = 3


@lint(
    "one_draw",
    "warning",
    source="article, failure mode 5; facts.md 0, rows 17 and 18",
    bad=Use(engine="vllm", decoding={"temperature": 0.7, "min_p": 0.05}, compares=True, repeats=1),
    good=Use(engine="vllm", decoding={"temperature": 0.7, "min_p": 0.05}, compares=True, repeats=3),
)
def one_draw(use: Use) -> Iterator[Fault]:
    """Two settings are compared on one sampled answer a case.

    One seed is one draw: it repeats an answer (where the server obeys it at all), it does not line two models up. Even
    temperature 0 is not the same each time where the batch changes. Repeats, paired on the means of cases, are what
    makes a comparison fair.
    """
    takes = use.capabilities is None or "temperature" in use.capabilities.parameters
    if use.compares and takes and use.value("temperature", 1) > 0 and use.repeats < FEWEST_REPEATS:
        seed = "a seed, which fixes one draw" if use.decoding.get("seed") is not None else "no seed"
        yield (
            f"expected {FEWEST_REPEATS} answers or more to each case above temperature 0, got {use.repeats} and {seed}",
            f"set repeats to {FEWEST_REPEATS}, or temperature to 0",
        )


@lint(
    "uncalibrated_threshold",
    "error",
    source="facts.md 0, row 24",
    bad=Use(engine="vllm", decoding={"temperature": 0}, threshold=-0.7),
    good=Use(engine="vllm", decoding={"temperature": 0}, threshold=-0.7, calibrated=True),
)
def uncalibrated_threshold(use: Use) -> Iterator[Fault]:
    """A fixed bound on log-probabilities is acted on, and nobody has shown that it tells wrong answers.

    The log-probability is that of the token that was drawn, raw by default (before temperature and penalties), and a
    token can be unlikely because the same thing can be said in many ways.
    """
    if use.threshold is not None and not use.calibrated:
        share = f"a token probability of {exp(use.threshold):.2f}" if use.threshold <= 0 else "none is above 0"
        yield (
            f"expected a threshold that graded answers support, got log-probability {use.threshold:g} ({share})",
            "calibrate it: tuneworthy decode watch",
        )
