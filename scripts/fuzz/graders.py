"""Every grader of the project file, built from sections with odd keys, judging odd answers by odd labels."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
from hypothesis import strategies as st
from pydantic import ValidationError
from scripts.fuzz.mutations import VALUES, as_json, values

from tuneworthy.config import graders as sections
from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.apply import grade_all, label_faults, make_grader
from tuneworthy.graders.base import Grader, GradingContext
from tuneworthy.types import UNLABELLED, Case, Example, Response, Score, Trace, Variant

SECTIONS: Final = sections.GRADER_SECTIONS
# What a section needs to be built at all.
NEEDED: Final[Mapping[str, Mapping[str, Any]]] = {
    "json_schema": {"path": "schema.json"},
    "choice": {"labels": ["refund", "exchange", "A", "東京"]},
    "balanced_accuracy": {"labels": ["refund", "exchange"]},
    "style": {"generic": "generic.jsonl"},
    "python": {"function": "own.py:judge"},
    "judge": {"model": "m", "rubric": "It is right."},
}
LABELS: Final[tuple[Any, ...]] = (
    "refund", ["Paris", "Seine"], 1234.5, "1,234.5", {"time": "8 pm", "guests": [{"n": 1}, 2]}, r"\d+",
    {"name": "book", "arguments": {"people": 4}}, [{"name": "book"}, {"name": "pay", "arguments": '{"usd": 1}'}], None,
)  # fmt: skip
CALLS: Final = (
    [{"id": "c", "type": "function", "function": {"name": "book", "arguments": '{"people": 4}'}}],
    [{"function": {"name": "book", "arguments": {"a": [1, {"b": None}]}}}, {"name": "pay"}],
    [],
)
ANSWERS: Final = (
    "refund", "A.", "So it is 1.234,5 or 1,234.5 %", '```json\n{"time": "8 PM", "guests": []}\n```', "I don't know.",
    "", '{"a": {"b": 1}} {', "-1e-400", "½", "∞", "12:30", "$(1)", "<think>x</think> refund", "東京 refund東京",
    "\u202erefund", '[{"name": "book"}]', "1" * 400, "{" * 5000, "```" * 5000, "1," * 5000, "refund " * 20_000,
    "'" * 50_000, "\u0301" * 5000, "[[" * 5000,
)  # fmt: skip
SCHEMAS: Final = (
    {"type": "object", "required": ["time"], "properties": {"time": {"type": "string", "pattern": "^[0-9]+ ?pm$"}}},
    {"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"items": {"multipleOf": 0.1}, "uniqueItems": True}}},
)
OWN: Final = "def judge(answer, expected, case):\n    return expected\n"


class Asker:
    """A judge that says what is drawn."""

    text = "good"

    def identity(self, model: str) -> Mapping[str, Any]:
        """Return what the model is."""
        return {"provider": "fuzz", "model": model}

    def supports(self, model: str) -> frozenset[str]:
        """Return what a judge needs."""
        return frozenset({"choice"})

    async def __call__(self, variant: Variant, case: Case) -> Trace:
        """Answer."""
        response = Response(text=self.text)
        return Trace(case_id=case.id, variant_id="j", repeat=0, messages=case.messages, response=response)


ASKER: Final = Asker()


@cache
def context() -> GradingContext:
    """Return a project with the files that sections name."""
    root = Path(tempfile.mkdtemp(prefix="tuneworthy-fuzz-"))
    (root / "schema.json").write_bytes(as_json(SCHEMAS[0]))
    (root / "own.py").write_text(OWN)
    generic = (as_json({"text": f"It was sent, number {n}."}) for n in range(30))
    (root / "generic.jsonl").write_bytes(b"\n".join(generic))
    turns = ({"role": "user", "content": "?"},)
    brand = [Example(id=str(n), messages=(*turns, {"role": "assistant", "content": f"Ahoy {n}!"})) for n in range(30)]
    counts = {"refund": 9, "A": 1}
    return GradingContext(root=root, examples=brand, labels=tuple(counts), label_counts=counts, asker=ASKER)


@cache
def plain(name: str) -> Grader:
    """Build a grader with the keys that it needs."""
    return make_grader(SECTIONS[name](type=name, **NEEDED.get(name, {})), context())


@st.composite
def odd_sections(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Return the type of a grader and the keys of its section; none for the plain one."""
    name = draw(st.sampled_from(sorted(SECTIONS)))
    keys = sorted(SECTIONS[name].model_fields.keys() - {"type"})
    if not keys or name == "style" or draw(st.booleans()):
        return name, {}
    odd = values([["refund", "(a+)+$", "a.b", ""]]) | st.sampled_from(VALUES)
    changed = draw(st.dictionaries(st.sampled_from(keys), odd, min_size=1))
    return name, {**NEEDED.get(name, {}), **changed}


def loaded(value: Any) -> Any:
    """Return a mutated value as a reader would hand it on; what it would refuse is None."""
    try:
        result = orjson.loads(as_json(value))
        orjson.dumps(result)
    except (orjson.JSONDecodeError, TypeError):
        return None
    return result


INPUTS = st.tuples(
    odd_sections(),
    values(LABELS).map(loaded),
    st.sampled_from(ANSWERS) | values(ANSWERS).map(lambda value: as_json(value).decode()) | st.text(max_size=50)
    | values(LABELS).map(lambda value: as_json(value).decode()),
    values(CALLS).map(loaded),
    st.sampled_from(["stop", "length", "refusal", "tool_calls", ""]),
    values(SCHEMAS),
)  # fmt: skip


def use(drawn: Any) -> None:
    """Build a grader and let it judge one answer; a score is one that can be counted and stored."""
    (name, keys), expected, answer, calls, ending, schema = drawn
    with suppress(TuneworthyError):
        if name == "json_schema":
            (context().root / "schema.json").write_bytes(as_json(schema))
            keys = keys or NEEDED[name]
        try:
            grader = make_grader(SECTIONS[name](type=name, **keys), context()) if keys else plain(name)
        except ValidationError:
            return
        calls = tuple(one for one in calls if isinstance(one, dict)) if isinstance(calls, list) else ()
        ASKER.text = answer if isinstance(expected, str) else "good"
        response = Response(text=answer, finish_reason=ending, tool_calls=calls)
        trace = Trace(case_id="c", variant_id="v", repeat=0, messages=(), response=response)
        for label in (expected, UNLABELLED):
            case = Case(id="c", input="q", expected=label)
            label_faults(grader, [case])
            check(*asyncio.run(grade_all(grader, [trace], [case])))


def check(score: Score) -> None:
    """Fail unless a score is unscored or within its bounds, and can be stored with a record around it."""
    assert score.unscored or (0 <= score.num <= score.den and math.isfinite(score.den)), score
    orjson.dumps([{"rows": [{"score": {"reason": score.reason, "detail": score.detail}}]}])


def prepare() -> None:
    """Build each grader once, outside the bounds of an input."""
    for name in SECTIONS:
        plain(name)
