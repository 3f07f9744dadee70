"""Judges that answer by a rule, so that what they can be trusted with is known, and what they were sent is kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tuneworthy.types import Case, Response, Trace, Variant

Rule = Callable[[dict[str, Any]], str]


def material(case: Case) -> dict[str, Any]:
    """Read the data that a judge was sent, as the one JSON value between its delimiters."""
    opening, body, closing = case.messages[-1]["content"].split("\n")[:3]
    nonce = re.fullmatch(r"<data-([0-9a-f]{16})>", opening)
    assert nonce
    assert closing == f"</data-{nonce.group(1)}>"
    found: dict[str, Any] = json.loads(body)
    return found


class ScriptedAsker:
    """Answers what a judge asks by `rule`, and keeps what was asked.

    Args:
        rule: From the data (question, reference, answer) to what the judge says.
        supports: What the model accepts.
    """

    def __init__(self, rule: Rule, *, supports: frozenset[str] = frozenset({"choice"}), **response: Any) -> None:
        self.rule = rule
        self._supports = supports
        self._response = response
        self.sent: list[tuple[Variant, Case]] = []

    def identity(self, model: str) -> Mapping[str, Any]:
        return {"provider": "scripted", "model": model}

    def supports(self, model: str) -> frozenset[str]:
        return self._supports

    async def __call__(self, variant: Variant, case: Case) -> Trace:
        self.sent.append((variant, case))
        response = Response(text=self.rule(material(case)), **self._response)
        return Trace(case_id=case.id, variant_id=variant.id, repeat=0, messages=case.messages, response=response)


def same_as_reference(data: dict[str, Any]) -> str:
    """Call an answer good if it is the reference, whatever else it says."""
    return "good" if data["answer"].strip() == data.get("reference") else "bad"


def always_good(data: dict[str, Any]) -> str:
    """Call everything good."""
    return "good"


def number(*parts: Any) -> float:
    """Return a number in [0, 1) that looks random and is the same every time."""
    return int(hashlib.md5("|".join(map(str, parts)).encode()).hexdigest(), 16) / 2**128


def fooled_by(canary: str) -> Rule:
    """Judge soundly, but call `canary` good."""

    def rule(data: dict[str, Any]) -> str:
        return "good" if data["answer"] == canary else same_as_reference(data)

    return rule


def noisy(sensitivity: float, specificity: float) -> Rule:
    """Be right on this share of the good and of the bad answers, sound on what is plainly worthless."""

    def rule(data: dict[str, Any]) -> str:
        good = data["answer"] == data.get("reference")
        if not good and not data["answer"].startswith("wrong"):
            return "bad"
        right = number(data["question"], data["answer"]) < (sensitivity if good else specificity)
        return "good" if good == right else "bad"

    return rule
