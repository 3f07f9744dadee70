"""Lints of comparisons of settings, and of uses of log-probabilities."""

from collections.abc import Iterator
from math import exp

from tuneworthy.decoding.lints.base import LINTS, Use
from tuneworthy.rules import Finding


@LINTS.rule(
    "one_draw",
    severity="warning",
    source="https://thinkingmachines.ai/blog/defeating-nondeterminism-in-llm-inference/",
    bad=Use(engine="vllm", decoding={"temperature": 0.7, "min_p": 0.05, "seed": 1}, compares=True),
    good=Use(engine="vllm", decoding={"temperature": 0.7, "min_p": 0.05}, compares=True),
)
def one_draw(use: Use) -> Iterator[Finding]:
    """Settings are compared on one draw: a seed makes all repeats of a sampled answer the same.

    One seed is one draw. It repeats an answer, where the server obeys it at all; it does not align two models. Even
    temperature 0 varies where the batch changes. Repeats that differ, paired on the means of cases, make a
    comparison fair.
    """
    seed = use.decoding.get("seed")
    if use.compares and seed is not None and use.can_be_greedy and use.value("temperature", 1) > 0:
        yield Finding(
            message=(
                f"The fixed seed {seed} makes all repeats of an answer identical, even though the temperature is "
                "above 0."
            ),
            fix="Remove seed, or set temperature to 0.",
        )


@LINTS.rule(
    "uncalibrated_threshold",
    severity="error",
    source="https://docs.vllm.ai/en/latest/serving/engine_args.html (--logprobs-mode)",
    bad=Use(engine="vllm", decoding={"temperature": 0}, threshold=-0.7),
    good=Use(engine="vllm", decoding={"temperature": 0}, threshold=-0.7, calibrated=True),
)
def uncalibrated_threshold(use: Use) -> Iterator[Finding]:
    """A fixed bound on log-probabilities is acted on, and no graded answers show that it predicts errors.

    The log-probability is that of the token that was drawn, raw by default (before temperature and penalties), and a
    token can be unlikely because the same thing can be said in many ways.
    """
    if use.threshold is not None and not use.calibrated:
        possible = use.threshold <= 0
        share = f"a token probability of {exp(use.threshold):.2f}" if possible else "no log-probability is above 0"
        yield Finding(
            message=(
                f"The log-probability threshold {use.threshold:g} ({share}) has not been calibrated on graded answers."
            ),
            fix="Run `tuneworthy decode uncertainty` to calibrate the threshold.",
        )
