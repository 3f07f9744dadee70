"""The tool's own words in plain ones, for people who have not read its manual."""

from __future__ import annotations

from collections.abc import Mapping

from tuneworthy.verdict.base import HeadroomClass
from tuneworthy.verdict.evidence import RungEvidence

UNDECIDED = "Not decided yet: "
"""How a reason begins that says what is missing."""
RUNG_WORDS: Mapping[str, str] = {
    "floor": "no language model",
    "baseline": "in use today",
    "prompt": "rewritten prompt",
    "retrieval": "retrieved documents",
    "model": "stronger model",
    "few_shot": "examples in the prompt",
    "decoding": "sampling settings",
    "fine_tune": "fine-tuning",
}
"""A rung in plain words."""
CLASS_WORDS: Mapping[HeadroomClass, str] = {
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

    >>> named(RungEvidence(rung="floor", status="reference", name="floor/linear"))
    'a classifier without a language model (linear)'
    """
    words = "a classifier without a language model" if rung.rung == "floor" else RUNG_WORDS.get(rung.rung, rung.rung)
    return f"{words} ({rung.name.partition('/')[2] or rung.name})"


def scored(rung: RungEvidence, n: int) -> str:
    """Say what it scores, with its one-sided 95 % bounds and n: `84.0% (78.9% to 88.1%, 200 test cases)`."""
    if rung.score is None:
        return "no score"
    bounds = "" if rung.lower is None or rung.upper is None else f"{rung.lower:.1%} to {rung.upper:.1%}, "
    return f"{rung.score:.1%} ({bounds}{n} test cases)"
