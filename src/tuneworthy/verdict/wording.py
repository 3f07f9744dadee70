"""The tool's own words in plain ones, for people who have not read its manual."""

from __future__ import annotations

from collections.abc import Mapping

from tuneworthy.verdict.base import ErrorClass
from tuneworthy.verdict.evidence import RungEvidence

UNDECIDED = "Not decided yet: "
"""How a reason begins that says what is missing."""
RUNG_WORDS: Mapping[str, str] = {
    "classical": "no language model",
    "baseline": "in use today",
    "prompt": "rewritten prompt",
    "retrieval": "retrieved documents",
    "model": "stronger model",
    "few_shot": "examples in the prompt",
    "decoding": "sampling settings",
    "fine_tune": "fine-tuning",
}
"""A rung in plain words."""
CLASS_WORDS: Mapping[ErrorClass, str] = {
    "refusal": "the model declines, or answers where declining is right",
    "format": "the form of the answer is wrong",
    "label_or_grader": "the answer that is expected is probably wrong",
    "knowledge": "the model lacks a document that it could be given",
    "instability": "the model is right at another try",
    "reasoning": "only a stronger model is right",
    "other": "nothing that was tried mends them",
}
"""Why answers are wrong."""
LEVER_WORDS: Mapping[str, str] = {
    "prompt": "rewrite the prompt",
    "retrieval": "give the model the documents",
    "model": "use a stronger model",
    "few_shot": "show examples in the prompt, or force the form of the answer",
    "decoding": "change the sampling settings",
    "cases label": "correct the expected answers",
}
"""What mends a class of failures."""
MOTIVATION_WORDS: Mapping[str, str] = {
    "style_persona": "a style or persona",
    "strict_format": "a strict format",
    "distillation": "a smaller model taught by a stronger one",
    "private_domain": "a private domain",
    "latency_hard_constraint": "a hard limit on where or how fast answers are made",
}


def named(rung: RungEvidence) -> str:
    """Name what was measured: `examples in the prompt (per_case-8)`.

    >>> named(RungEvidence(rung="classical baseline", status="reference", name="classical/linear"))
    'a classifier without a language model (linear)'
    """
    words = (
        "a classifier without a language model" if rung.rung == "classical" else RUNG_WORDS.get(rung.rung, rung.rung)
    )
    return f"{words} ({rung.name.partition('/')[2] or rung.name})"


def scored(rung: RungEvidence, n: int) -> str:
    """Say what it scores: `84.0% (90 % interval 78.9% to 88.1%, 200 test cases)`; two one-sided 95 % bounds make it.

    Args:
        rung: What was measured. n: Test cases, of which those without a score are taken off.
    """
    if rung.score is None:
        return "no score"
    known = rung.lower is not None and rung.upper is not None
    bounds = f"90 % interval {rung.lower:.1%} to {rung.upper:.1%}, " if known else ""
    return f"{rung.score:.1%} ({bounds}{n - rung.unscored} test cases)"
