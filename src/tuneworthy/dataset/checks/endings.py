"""Answers that were cut off or refused: how they ended, according to the log or to the text."""

import re

from tuneworthy.cases.normalize import normalise
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.graders.refusals import find_refusals
from tuneworthy.types import UNLABELLED, Example, Examples

NATURAL = frozenset(
    {"stop", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence", "eos", "completed"}
)
CUT = frozenset({"length", "max_tokens", "max_output_tokens", "max_length", "model_length", "incomplete"})
REFUSED = frozenset({"refusal", "content_filter", "safety", "prohibited_content", "blocklist", "recitation"})
# Last words after which a sentence always goes on: "das" and "un" may be pronouns, and "a" an option.
_DANGLING = re.compile(
    r"(?<![-\w])(?:the|and|or|because|your|und|oder|weil|dass|les|et|ou|que|el|las|y|il|gli|della|dello|delle|che|"
    r"e|o)$"
)
_EMOTICON = re.compile(r"[:;=]['’]?-?[(\[{]+")
_MIN_WORDS = 8
# Characters at the end of a text in which its last word is looked for: more than any of those above has.
_TAIL = 24
_MIN_LAST = 4


def finish_reason(row: Example) -> str:
    """Return the finish reason in the log, in lower case; "" if the log has no such key."""
    reason = row.meta.get("finish_reason", row.meta.get("stop_reason"))
    return reason.strip().lower() if isinstance(reason, str) else ""


def cut_off(answer: str) -> str:
    """Return the unmistakable sign that `answer` breaks off, for people; "" if it does not.

    >>> cut_off('{"city": "Oslo", "peo'), cut_off('{"city": "Oslo"}')
    ('unclosed JSON', '')
    """
    text = answer.rstrip()
    if text.count("```") % 2:
        return "unclosed code block"
    if text[:1] in {"{", "["} and text[-1:] not in {"}", "]"} and parse_object(text) is UNLABELLED:
        return "unclosed JSON" if text[1:2] in {'"', "{", "[", "\n", " "} else ""
    text = _without_emoticons(text)
    dangles = _DANGLING.search(text[-_TAIL:]) is not None
    if text[-1:] in {",", "("}:  # "Kind regards," is a line by itself
        dangles = dangles or _has_words(text[text.rfind("\n") + 1 :], _MIN_LAST + 1)
    return messages.say("open_sentence") if dangles and _has_words(text, _MIN_WORDS) else ""


def _has_words(text: str, n: int) -> bool:
    return len(text.split(None, n)) >= n


def _without_emoticons(text: str) -> str:
    return _EMOTICON.sub("", text) if "(" in text or "[" in text or "{" in text else text


@data_check("truncation", version=3)
def truncation(rows: Examples, context: CheckContext) -> RowFindings:
    """Answers that hit the token limit, break off, or ended for another unusual reason.

    A model that learns from half answers stops in the middle. The log's finish reason is certain. Without one, an open
    code block or JSON, and a last word such as "and" or a comma, are the signs.
    Less certain ends are up to the check `sources`, which learns them from the rows.

    Bad: an answer with `finish_reason: length`.
    """

    for number, row in enumerate(rows):
        reason = finish_reason(row)
        if reason in CUT:
            yield RowFinding(row=number, code="truncated")
        elif reason and reason not in NATURAL | REFUSED:
            yield RowFinding(row=number, code="unnatural_end", message=messages.finish_reason(reason))
        elif not reason and (sign := cut_off(row.answer)):
            yield RowFinding(row=number, code="cut_off", message=sign)


@data_check("refusal", version=5)
def refusal(rows: Examples, context: CheckContext) -> RowFindings:
    """Answers that a provider blocked, and those in which the assistant says that it will or can not help.

    They come from the teacher, not from the task, and spread when they are trained on. A small classifier reads the
    first sentences, in English, German, French, Spanish and Italian. An honest "I don't know" is not a refusal (how
    many of these there should be is up to `declined_share`), and neither are "the text does not say", "we do not repair
    old models" or a label that the cases expect. Of a JSON object with one text, that text is read, of others nothing.

    Bad: "As an AI language model, I cannot help with that."
    """
    labels = frozenset(map(normalise, context.labels))
    read = [(finish_reason(row) in REFUSED, row.answer) for row in rows]
    by_text = set(find_refusals(["" if labels and normalise(answer) in labels else answer for _, answer in read]))
    for number, (by_log, _) in enumerate(read):
        if by_log or number in by_text:
            yield RowFinding(
                row=number, code="refused", message=messages.say("refused_by_log" if by_log else "refused_by_text")
            )
