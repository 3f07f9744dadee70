"""For each grader: a section, a case it can judge, a right answer and a wrong one."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from judge_scripts import ScriptedAsker, same_as_reference

from tuneworthy.config import graders as sections
from tuneworthy.graders.apply import make_grader
from tuneworthy.graders.base import Grader, GradingContext
from tuneworthy.types import Case, Example, Failure, Response, Score, Trace

SECTIONS = sections.GRADER_SECTIONS
"""Type name to section class, read from the union of the project file."""


@dataclass(frozen=True)
class Sample:
    """A planted right and wrong answer; `other` is a set of arguments that must change the identity."""

    expected: Any
    right: str
    wrong: str
    arguments: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    tool_calls: tuple[dict[str, Any], ...] = ()
    least: float = 1.0


CALL = {"type": "function", "function": {"name": "book", "arguments": '{"people": 4}'}}
SCHEMA = {"type": "object", "required": ["time"], "properties": {"time": {"type": "string"}}}
SAMPLES: dict[str, Sample] = {
    "exact": Sample("refund", " refund\n", "Refund"),
    "normalised_exact": Sample("It's late.", "its  LATE", "it is late"),
    "includes": Sample(["Paris", "Seine"], "paris on the seine", "Paris"),
    "regex": Sample("x", "order 42", "order", {"pattern": r"\d+"}, other={"pattern": r"\d"}),
    "numeric": Sample(1234.5, "So it is 1,234.5.", "1,234.6", other={"tolerance": 1.0}),
    "squad_em": Sample(["the Seine", "Seine"], "Seine!", "a river"),
    "squad_f1": Sample("Eiffel Tower", "the Eiffel Tower", "a river"),
    "json_fields": Sample({"time": "8 pm"}, '{"time": "8 PM"}', '{"time": "9 pm"}', other={"fields": ["time"]}),
    "json_schema": Sample({}, '{"time": "8"}', '{"time": 8}', {"path": "schema.json"}, other={"strict": True}),
    "choice": Sample("refund", "Refund.", "exchange", {"labels": ["refund", "exchange"]}, {"labels": ["refund", "x"]}),
    "balanced_accuracy": Sample(
        "refund", "Refund.", "exchange", {"labels": ["refund", "exchange"]}, {"labels": ["refund", "x"]}
    ),
    "tool_call": Sample(
        {"name": "book", "arguments": {"people": 4}}, "", "I booked it.", tool_calls=(CALL,)
    ),
    "rouge_l": Sample("the cat sat", "The cat sat", "dogs bark"),
    "chrf": Sample("the cat sat", "the cat sat", "zzz"),
    "abstention": Sample("Paris", "Rome", "I don't know."),
    "style": Sample("x", "Ahoy matey, yer parcel sails today!", "The package was sent.", {"generic": "generic.jsonl"},
                    {"words": [0, 5]}, least=0.6),
    "python": Sample("yes", "yes", "no", {"function": "own.py:judge"}, other={"needs_expected": False}),
    "judge": Sample("yes", "yes", "no", {"model": "judge", "rubric": "It is right."}, other={"rubric": "It is kind."}),
}  # fmt: skip

BRAND = [
    f"Ahoy matey, {noun} number {n} sails yer way today!" for n, noun in enumerate(["parcel", "order", "map"] * 10)
]
GENERIC = [f"The {noun} number {n} was shipped to you today." for n, noun in enumerate(["parcel", "order", "map"] * 10)]
OWN = "def judge(answer, expected, case):\n    return answer == expected\n"


def write_project(root: Path) -> GradingContext:
    """Write the files that the sections name, and return the context."""
    (root / "schema.json").write_text(json.dumps(SCHEMA))
    (root / "generic.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in GENERIC))
    (root / "own.py").write_text(OWN)
    return GradingContext(root=root, examples=brand_examples(), asker=ScriptedAsker(same_as_reference))


def brand_examples() -> list[Example]:
    """Return examples whose answers are the brand's."""
    return [
        Example(id=str(n), messages=({"role": "user", "content": "?"}, {"role": "assistant", "content": text}))
        for n, text in enumerate(BRAND)
    ]


def build(name: str, context: GradingContext | None = None, **arguments: Any) -> Grader:
    """Build the grader `name` with its sample's arguments and `arguments`."""
    given = {**(SAMPLES[name].arguments if name in SAMPLES else {}), **arguments}
    return make_grader(SECTIONS[name](type=name, **given), context)


def trace(text: str, *, case_id: str = "c", repeat: int = 0, **response: Any) -> Trace:
    """Return a trace that answered `text`."""
    return Trace(case_id=case_id, variant_id="v", repeat=repeat, messages=(), response=Response(text=text, **response))


def failed(case_id: str = "c") -> Trace:
    """Return a trace whose call failed."""
    error = Failure(code="timeout", message="60 s")
    return Trace(case_id=case_id, variant_id="v", repeat=0, messages=(), response=None, error=error)


def scored(result: Any) -> Score:
    """Return the score that a grader gave at once, or gives when its judge has answered."""
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Score:
    return await result


def judge(grader: Callable[..., Any], text: str, expected: Any, tools: Any = (), **response: Any) -> Any:
    """Ask the grader itself, without the rules of `grade_all`."""
    return grader(trace(text, **response), Case(id="c", input="?", expected=expected, tools=tools))
