"""Answers that were cut off or refused: how they ended, told by the log or by the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset.base import Action, Context, Finding, check
from tuneworthy.graders.declining import Declines
from tuneworthy.types import UNLABELLED, Example

NATURAL = frozenset(
    {"stop", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence", "eos", "completed"}
)
CUT = frozenset({"length", "max_tokens", "max_output_tokens", "max_length", "model_length", "incomplete"})
REFUSED = frozenset({"refusal", "content_filter", "safety", "prohibited_content", "blocklist", "recitation"})
_MODEL = re.compile(
    r"\b(?:as an? (?:ai|artificial intelligence|(?:large )?language model)"
    r"|(?:against|violates?) (?:my|our) (?:guidelines|(?:content |usage )?polic(?:y|ies)))\b",
    re.IGNORECASE,
)
_DANGLING = re.compile(
    r"(?:[,;:(\[{–]|\b(?:the|an?|and|or|of|to|with|for|in|on|at|by|from|that|which|because|your|der|die|das|und|oder|mit|"
    r"für|le|la|les|et|ou|de|el|los|las|y|con))$"
)
_MIN_WORDS = 8
_HEAD = 400
_DECLINES = Declines()


def finish_reason(row: Example) -> str:
    """Return how the answer ended as the log tells it, in lower case; "" if it does not."""
    told: Any = row.meta.get("finish_reason", row.meta.get("stop_reason"))
    return told.strip().lower() if isinstance(told, str) else ""


def cut_off(answer: str) -> str:
    """Return what shows that `answer` breaks off, in words; "" if nothing does.

    >>> cut_off('{"city": "Oslo", "peo'), cut_off('{"city": "Oslo"}')
    ('JSON that does not end', '')
    """
    text = answer.rstrip()
    if text.count("```") % 2:
        return "a code block that does not end"
    if text[:1] in {"{", "["} and text[-1:] not in {"}", "]"} and parse_object(text) is UNLABELLED:
        return "JSON that does not end" if text[1:2] in {'"', "{", "[", "\n", " "} else ""
    if len(text.split()) >= _MIN_WORDS and _DANGLING.search(text):
        return "a sentence that breaks off"
    return ""


def refuses(answer: str) -> bool:
    """Whether `answer` declines and speaks as a model or of its rules: never what a product should say.

    >>> refuses("I'm sorry, but as an AI language model I can't help with that."), refuses("I don't know.")
    (True, False)
    """
    return bool(_MODEL.search(answer[:_HEAD])) and _DECLINES.text(answer)


@check("truncation")
@dataclass(frozen=True, slots=True)
class Truncation:
    """Answers that hit the token limit or break off, and those that ended in any other way than by themselves.

    A model that learns from half answers stops in the middle. The log's finish reason is certain; without one, an open
    code block, JSON that does not end and a last word such as "the" tell it (`by_text` says what becomes of these).

    Bad: an answer with `finish_reason: length`.
    """

    by_text: Action = "drop"

    code: ClassVar[str]
    reasons: ClassVar = {
        "truncated": "the answer hit the token limit",
        "cut_off": "the answer breaks off",
        "unnatural_end": "the answer did not end by itself",
    }
    whole: ClassVar = False

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield one finding for each answer that did not come to its end."""
        for number, row in enumerate(rows):
            told = finish_reason(row)
            if told in CUT:
                yield Finding(number, "truncated")
            elif told and told not in NATURAL | REFUSED:
                yield Finding(number, "unnatural_end", f"finish reason {told[:40]!r}")
            elif not told and (sign := cut_off(row.answer)):
                yield Finding(number, "cut_off", sign, action=self.by_text)


@check("refusal")
@dataclass(frozen=True, slots=True)
class Refusal:
    """Answers that a provider blocked, and refusals that speak as a model or of its rules.

    They come from the teacher, not from the task, and spread when trained in. An honest "I don't know" is none: how
    many of these there should be is the business of `declined_share`.

    Bad: "As an AI language model, I cannot help with that."
    """

    code: ClassVar[str]
    reasons: ClassVar = {"refused": "the answer is a refusal of the model or its provider"}
    whole: ClassVar = False

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield one finding for each refusal."""
        for number, row in enumerate(rows):
            if finish_reason(row) in REFUSED:
                yield Finding(number, "refused", "the log says so")
            elif refuses(row.answer):
                yield Finding(number, "refused", "by its words")
