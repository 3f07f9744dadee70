"""Answers that were cut off or refused: how they ended, according to the log or to the text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import DATA_CHECKS, Action, CheckContext, RowFinding
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
    r"(?:[,;:(\[{–]|\b(?:the|an?|and|or|of|to|with|for|in|on|at|by|from|that|which|because|your|der|die|das|und|oder|"
    r"mit|für|le|la|les|et|ou|de|el|los|las|y|con))$"
)
_MIN_WORDS = 8
_HEAD = 400
_DECLINES = Declines()


def finish_reason(row: Example) -> str:
    """Return the finish reason in the log, in lower case; "" if the log has no such key."""
    reason: Any = row.meta.get("finish_reason", row.meta.get("stop_reason"))
    return reason.strip().lower() if isinstance(reason, str) else ""


def cut_off(answer: str) -> str:
    """Return the sign that `answer` breaks off, for people; "" if it does not.

    >>> cut_off('{"city": "Oslo", "peo'), cut_off('{"city": "Oslo"}')
    ('JSON that does not end', '')
    """
    text = answer.rstrip()
    if text.count("```") % 2:
        return messages.say("open_code_block")
    if text[:1] in {"{", "["} and text[-1:] not in {"}", "]"} and parse_object(text) is UNLABELLED:
        return messages.say("open_json") if text[1:2] in {'"', "{", "[", "\n", " "} else ""
    if len(text.split()) >= _MIN_WORDS and _DANGLING.search(text):
        return messages.say("open_sentence")
    return ""


def refuses(answer: str) -> bool:
    """Whether `answer` declines and refers to itself as a model or to its rules: never what a product should say.

    >>> refuses("I'm sorry, but as an AI language model I can't help with that."), refuses("I don't know.")
    (True, False)
    """
    return bool(_MODEL.search(answer[:_HEAD])) and _DECLINES.text(answer)


@DATA_CHECKS.rule("truncation", codes=messages.REASONS["truncation"])
@dataclass(frozen=True, slots=True)
class Truncation:
    """Answers that hit the token limit, break off, or ended for another unusual reason.

    A model that learns from half answers stops in the middle. The log's finish reason is certain; without one, an open
    code block, JSON that does not end and a last word such as "the" are the signs (`by_text` is what becomes of these).

    Bad: an answer with `finish_reason: length`.
    """

    by_text: Action = "drop"

    def __call__(self, rows: Sequence[Example], context: CheckContext) -> Iterator[RowFinding]:
        for number, row in enumerate(rows):
            reason = finish_reason(row)
            if reason in CUT:
                yield RowFinding(row=number, code="truncated")
            elif reason and reason not in NATURAL | REFUSED:
                yield RowFinding(row=number, code="unnatural_end", message=messages.finish_reason(reason))
            elif not reason and (sign := cut_off(row.answer)):
                yield RowFinding(row=number, code="cut_off", message=sign, action=self.by_text)


@DATA_CHECKS.rule("refusal", codes=messages.REASONS["refusal"])
def refusal(rows: Sequence[Example], context: CheckContext) -> Iterator[RowFinding]:
    """Answers that a provider blocked, and refusals in which the model refers to itself or to its rules.

    They come from the teacher, not from the task, and spread when they are trained on. An honest "I don't know" is not
    a refusal: how many of these there should be is up to `declined_share`.

    Bad: "As an AI language model, I cannot help with that."
    """
    for number, row in enumerate(rows):
        if finish_reason(row) in REFUSED:
            yield RowFinding(row=number, code="refused", message=messages.say("refused_by_log"))
        elif refuses(row.answer):
            yield RowFinding(row=number, code="refused", message=messages.say("refused_by_text"))
