"""Deterministic rewrites of a prompt: a careful engineer's first attempts. Pure: (variant, task) -> variant."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import orjson

from tuneworthy.text import verbatim
from tuneworthy.types import JsonSchema, Texts, Variant

COT_MARKER = "Answer:"
COT_TOKENS = 64
LONG_PROMPT_WORDS = 40
_THINK = re.compile(
    r"\b(think|reason|work)\b[^.\n]{0,40}\bstep[ -]by[ -]step\b|\b(think|reason) (first|aloud|out loud)\b",
    re.IGNORECASE,
)


class AnswerForm(NamedTuple):
    """The kind of a task's answers, their labels, and the JSON schema of objects."""

    kind: str
    labels: Texts
    schema: JsonSchema | None

    @property
    def fields(self) -> list[str]:
        return list((self.schema or {}).get("properties", {}))


Transform = Callable[[Variant, AnswerForm], Variant]


def contract(variant: Variant, form: AnswerForm) -> Variant:
    return _with_system(variant, "\n\n".join(filter(None, [variant.system, _contract(variant, form)])))


def xml(variant: Variant, form: AnswerForm) -> Variant:
    """Put instructions and input into XML elements of their own.

    Source: Anthropic, "Use XML tags to structure your prompts".
    """
    system = f"<instructions>\n{variant.system or 'Answer the input.'}\n</instructions>"
    return replace(
        _with_system(variant, system),
        user=f"<input>\n{variant.user}\n</input>" if "<input>" not in variant.user else variant.user,
    )


def xml_contract(variant: Variant, form: AnswerForm) -> Variant:
    structured = xml(variant, form)
    element = f"<output_format>\n{_contract(variant, form)}\n</output_format>"
    return _with_system(structured, f"{structured.system}\n{element}")


def role(variant: Variant, form: AnswerForm) -> Variant:
    doing = {
        "label": "an expert at sorting messages into the right category",
        "json": "an expert at extracting structured data from text",
        "short_answer": "an expert who gives short, exact answers",
    }.get(form.kind, "an experienced writer for this brand")
    return _with_system(variant, f"You are {doing}.\n\n{variant.system or ''}".strip())


def half(variant: Variant, form: AnswerForm) -> Variant:
    names = [*form.labels, *form.fields]
    parts = [part for part in re.split(r"(?<=[.!?])\s+|\n+", variant.system or "") if part.strip()]
    kept = [
        part
        for index, part in enumerate(parts)
        if index < (len(parts) + 1) // 2 or any(name and name in part for name in names)
    ]
    return _with_system(variant, "\n".join(kept))


def chain_of_thought(variant: Variant, form: AnswerForm) -> Variant:
    ask = f"Think step by step in one short sentence. Then answer on a line that begins with `{COT_MARKER}`."
    return replace(
        _with_system(variant, "\n\n".join(filter(None, [variant.system, ask]))),
        answer_after=COT_MARKER,
        max_tokens=variant.max_tokens + COT_TOKENS,
        stop=(),
    )


# By name; the first is the one that is preregistered where dev is too small to explore.
TRANSFORMS: dict[str, Transform] = {
    "xml_contract": xml_contract,
    "contract": contract,
    "xml": xml,
    "role": role,
    "half": half,
    "chain_of_thought": chain_of_thought,
}


def asks_to_think(*templates: str) -> bool:
    """Whether a prompt asks for reasoning before the answer, as far as its words show.

    >>> asks_to_think("Name the intent.", "Think it through step by step: {{ input }}")
    True
    """
    return any(_THINK.search(text) for text in templates)


def applicable(variant: Variant, kind: str) -> list[str]:
    names = list(TRANSFORMS)
    if len((variant.system or "").split()) < LONG_PROMPT_WORDS:
        names.remove("half")
    if kind == "free_text":
        names.remove("chain_of_thought")
    return names


def _with_system(variant: Variant, system: str) -> Variant:
    return replace(variant, system=system or None)


def _contract(variant: Variant, form: AnswerForm) -> str:
    """Describe the form of the answer in words; labels that appear in the prompt already are not listed again."""
    listed = [verbatim(label) for label in form.labels]
    if form.kind == "label" and all(label in (variant.system or "") for label in listed):
        return "Answer with exactly one of the labels above, copied letter by letter, and nothing else."
    if form.kind == "label":
        return "Answer with exactly one of these labels, copied letter by letter, and nothing else:\n" + "\n".join(
            listed
        )
    if form.kind == "json":
        return (
            f"Answer with one JSON object and nothing else. Use only these fields: "
            f"{verbatim(orjson.dumps(form.fields).decode())}. "
            "Leave a field out if the input does not give it. Copy values from the input word by word."
        )
    if form.kind == "short_answer":
        return "Answer in as few words as possible, without a full sentence and without explanation."
    return "Answer with the text of the reply only: no preamble, no explanation, no headings."
