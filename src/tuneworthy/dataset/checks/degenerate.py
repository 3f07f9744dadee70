"""Answers that say nothing: template tokens, placeholders, open reasoning, echoes, loops, tracebacks.

The patterns are data (`degenerate.json`). RE2 searches them without look-around, in linear time.
"""

import re
from collections import Counter
from importlib.resources import files
from itertools import pairwise
from string import punctuation
from typing import Any

import orjson
import re2

from tuneworthy.cases.normalize import normalise
from tuneworthy.cases.splits import labels_of
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset.base import MANY, CheckContext, RowFinding, RowFindings, as_rows, data_check
from tuneworthy.types import UNLABELLED, Example, Examples, JsonObject, Texts, text_of

# Words of a question from which an answer that equals it is an echo, and no label that is the question's one word.
_MIN_ECHO = 3
# Words of an answer from which it can be a loop; words of the longest unit that is repeated.
_MIN_LOOP = 10
_LONGEST_UNIT = 60
# Share of distinct pairs of words above which no loop is looked for.
_DISTINCT = 0.8
# Repetitions after the first: of a short unit, and of one of `_LONG_UNIT` words.
_REPEATED = 3
_LONG_UNIT = 8
# Share of an answer, or words, that a loop makes up: lists and tables repeat a little.
_MUCH = 1 / 3
_LONG_RUN = 60
# Words of an answer up to which one word again and again means as many items.
_MOST_ITEMS = 50
# Characters of an answer in which a provider's error is the only text.
_ERROR_CHARS = 1000
_ERROR_HEAD = 120
# Share of the expected answers with one code above which that is the task.
_IS_TASK = 0.05
# Codes that a task can ask for. A log of an outage is full of errors, and no one asks for those.
_TASKS = frozenset({"echo", "placeholder"})


def _compiled() -> JsonObject:
    """Compile `degenerate.json`: alternatives by name, in which ``<<PART>>`` is a list of words.

    UTF-8 is read byte by byte, so that no text is refused.
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    data = orjson.loads(files("tuneworthy.dataset.checks").joinpath("degenerate.json").read_bytes())
    patterns = {
        name: re2.compile(
            re.sub("<<([A-Z]+)>>", lambda part: str(data["parts"][part[1]]), "|".join(alternatives)).encode(), options
        )
        for name, alternatives in data["patterns"].items()
    }
    # Matches every text with a fault that is not its words; code, in backquotes, is taken out first.
    faults = "control", "tokens", "headings", "open", "close", "traceback", "error", "whole_tag", "placeholders"
    patterns["any"] = re2.compile(b"|".join([b"`", *(patterns[name].pattern for name in faults)]), options)
    return patterns


_PATTERNS = _compiled()


def _holds(name: str, text: str) -> bool:
    return _PATTERNS[name].search(_bytes(text)) is not None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _without(name: str, answer: str) -> bytes:
    return bytes(_PATTERNS[name].sub(b" ", _bytes(answer)))


def loops(answer: str) -> bool:
    """Whether `answer` says the same again and again: a unit of words, or one letter.

    One word for each of several items, such as tags, is no loop.

    >>> loops("We will help. " * 6), loops("yes, yes, it works and it works well"), loops("NOUN " * 12)
    (True, False, False)
    """
    listed = tokens = answer.split()
    if len(answer) > 20 * max(1, len(tokens)):
        tokens = list(answer)
    pairs = list(pairwise(tokens))
    if len(tokens) < _MIN_LOOP or len(set(pairs)) > _DISTINCT * len(pairs) or parse_object(answer) is not UNLABELLED:
        return False
    if _MIN_LOOP <= len(listed) <= _MOST_ITEMS:
        items = {token.strip(punctuation).casefold() for token in listed if re.search(r"[^\W\d_]", token)}
        if len(items) == 1:
            return False
    return any(_repeats(tokens, size) for size in range(1, min(_LONGEST_UNIT, len(tokens) // 2) + 1))


def _repeats(tokens: Texts, size: int) -> bool:
    much = min(_LONG_RUN, int(_MUCH * len(tokens))) - size
    enough = max(_MIN_LOOP - 1, size * (_REPEATED if size < _LONG_UNIT else _REPEATED - 1), much)
    run = 0
    for place in range(size, len(tokens)):
        run = run + 1 if tokens[place] == tokens[place - size] else 0
        if run >= enough:
            unit = tokens[place - size + 1 : place + 1]
            return any(sum(map(str.isalpha, token)) > 1 for token in unit) or len(set("".join(unit))) > 3
    return False


def _template_token(row: Example) -> bool:
    texts = (message.get("content") for message in row.messages)
    if any(isinstance(text, str) and _holds("control", text) for text in texts) or _holds("headings", row.answer):
        return True
    asked = _bytes(row.question)
    return any(match.group() not in asked for match in _PATTERNS["tokens"].finditer(_bytes(row.answer)))


def _open_thinking(row: Example) -> bool:
    raw = _bytes(row.answer)
    ends = [match.end() for match in _PATTERNS["close"].finditer(raw)]
    starts = [match.start() for match in _PATTERNS["open"].finditer(raw)]
    if not starts and not ends:
        return False
    return len(starts) != len(ends) or starts[0] > ends[0] or not raw[ends[-1] :].strip()


def _provider_error(row: Example) -> bool:
    match = _PATTERNS["error"].search(_bytes(row.answer)) if len(row.answer) <= _ERROR_CHARS else None
    return match is not None and match.start() <= _ERROR_HEAD and not _holds("about_errors", row.question)


def _placeholder(row: Example) -> bool:
    is_tag = _holds("whole_tag", row.answer)
    if not (is_tag or _holds("placeholders", row.answer)) or _holds("about_templates", row.question):
        return False
    raw, asked = _without("markup", row.answer), _bytes(row.question)
    matches = _PATTERNS["placeholders"].finditer(raw)
    return is_tag or any(match.group() not in asked and not _is_markup(raw, match) for match in matches)


def _is_markup(raw: bytes, match: Any) -> bool:
    text, before, after = (
        match.group(),
        raw[max(0, match.start() - 1) : match.start()],
        raw[match.end() : match.end() + 1],
    )
    if text.startswith(b"<"):
        return before.isalnum() or raw.find(b"</" + text[1:-1] + b">", match.end()) >= 0
    return text.startswith(b"[") and (after == b"(" or text + b": http" in raw)


def _echo(row: Example) -> bool:
    answer, question = row.answer.strip(), row.question.strip()
    if not 0.9 * len(question) <= len(answer) <= 1.2 * len(question) + 30 or len(question.split()) < _MIN_ECHO:
        return False
    folded, whole = normalise(answer), normalise(question)
    return bool(whole) and (folded == whole or (folded.startswith(whole) and len(folded) <= 1.2 * len(whole)))


# Detectors by code, the most certain first; a row has one code. The last two look at the words.
_DETECTORS = {
    "template_token": _template_token,
    "open_thinking": _open_thinking,
    "traceback": lambda row: (
        _PATTERNS["traceback"].search(_without("code", row.answer)) is not None
        and not _holds("about_errors", row.question)
    ),
    "provider_error": _provider_error,
    "placeholder": _placeholder,
    "loop": lambda row: loops(row.answer) and not loops(row.question),
    "echo": _echo,
}


@data_check(
    "degenerate",
    gate=frozenset({"template_token"}),
    asks=dict.fromkeys(_TASKS, MANY),
    version=3,
)
def degenerate(rows: Examples, context: CheckContext) -> RowFindings:
    """Answers that say nothing: remains of a template, a server error or a stuck model.

    Control tokens of a chat template are looked for in every turn, all else in the answer only. An answer that is a
    label, or that the cases expect, is dropped for such a token only. Placeholders do not count in code, markup or
    links, nor where the question is about templates; tracebacks and errors of a provider do not count where the
    question is about errors. Where over 5% of the expected answers equal their question, or contain a placeholder, that
    is the task, as in correcting a text or writing a template: such answers are only reported.

    Bad: "Dear {{name}}, your order has been shipped.<|im_end|>"
    """
    expected = {label.casefold() for label in (*context.labels, *labels_of(context.cases))}
    cases = as_rows(context.cases)
    counts = Counter(map(_code, cases))
    tasks = {code for code in _TASKS if counts[code] > _IS_TASK * len(cases)}
    for number, row in enumerate(rows):
        code = _code(row)
        if code == "template_token" or (code and row.answer.strip().casefold() not in expected):
            yield RowFinding(row=number, code=code, action="report" if code in tasks else "drop")


def _code(row: Example) -> str:
    first = 0 if any(_holds("any", text) for text in map(text_of, row.messages)) else -2
    return next((code for code in [*_DETECTORS][first:] if _DETECTORS[code](row)), "")


def is_degenerate(answer: str) -> bool:
    """Whether `answer` says nothing, whatever was asked.

    >>> is_degenerate("503 Service Unavailable"), is_degenerate("card_lost")
    (True, False)
    """
    return bool(_code(Example(messages=({"role": "assistant", "content": answer},), id="")))
