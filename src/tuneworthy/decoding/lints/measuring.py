"""Lints of how settings are compared, and of what is read out of log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

from tuneworthy.decoding.lints.base import Fault, Use, lint


@lint(
    "one_draw",
    "warning",
    source="article, failure mode 5; facts.md 0, rows 17 and 18",
    bad=Use(engine="vllm", decoding={"temperature": 0.7, "min_p": 0.05, "seed": 1}, compares=True),
    good=Use(engine="vllm", decoding={"temperature": 0.7, "min_p": 0.05}, compares=True),
)
def one_draw(use: Use) -> Iterator[Fault]:
    """Settings are compared on one draw: a seed makes all repeats of a sampled answer the same.

    One seed is one draw: it repeats an answer (where the server obeys it at all), it does not line two models up. Even
    temperature 0 is not the same each time where the batch changes. Repeats that differ, paired on the means of cases,
    are what makes a comparison fair.
    """
    seed = use.decoding.get("seed")
    obeyed = seed is not None and not use.idle("seed")
    if use.compares and obeyed and use.can_be_greedy and use.value("temperature", 1) > 0:
        yield (
            f"expected repeats that differ above temperature 0, got seed {seed}, which makes them one draw",
            "remove seed, or set temperature to 0",
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
            "calibrate it: tuneworthy decode uncertainty",
        )
