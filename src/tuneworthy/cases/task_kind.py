"""What kind of task the expected answers show: labels, JSON, short answers or free text."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from tuneworthy.cases.normalize import words
from tuneworthy.text import plural
from tuneworthy.types import UNLABELLED, Case, NamedInts, Texts, TextTuple

TaskKind = Literal["label", "json", "short_answer", "free_text"]

_MAX_LABEL_WORDS = 8
_MAX_LABELS = 500
_MAX_NUMBERS = 20
_SHORT_WORDS = 10
_MOST = 0.9
# A mark of a formal language, such as SQL, a pattern or a command; a text in one has a mark per 100 characters.
_MARK = re.compile(r"[][{}<>=|\\^]|(?<!\S)--?[a-z]")
_MAX_TEXT_PER_MARK = 100
# Of 200 cases of 150 equally frequent labels 74 % repeat, give or take 4 points.
_REPEATED = 0.6
# A number, or a worked solution whose last line is "#### 18"; no dates, versions or codes such as 00412.
_WHOLE = r"(?:[1-9]\d{0,2}(?:[,\u00a0\u202f]\d{3})+(?:\.\d+)?|(?:0|[1-9]\d*)(?:[.,]\d+)?)"
_NUMBER = rf"[-−+]?[$€£¥]?\s?{_WHOLE}(?:[eE][-+]?\d+)?\s?%?"
_NUMERIC = re.compile(rf"(?:(?:.*\n)?\s*####\s*)?{_NUMBER}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a task, the reason in words, and the labels if it is one of labels."""

    name: TaskKind
    reason: str
    labels: TextTuple = ()


def answer_text(expected: Any) -> str:
    """Return an expected answer as the text that a model would write: text as it is, the rest as JSON."""
    return expected if isinstance(expected, str) else orjson.dumps(expected, option=orjson.OPT_SORT_KEYS).decode()


def are_numbers(answers: Texts) -> bool:
    """Return whether all answers are a number, or end with one after `####`.

    >>> are_numbers(["18", "-3.5", "1,200"]), are_numbers(["6 * 3 = 18\\n#### 18"]), are_numbers(["18 apples"])
    (True, True, False)
    """
    return bool(answers) and all(_NUMERIC.fullmatch(text.strip()) for text in answers)


def are_code(answers: Texts) -> bool:
    """Return whether most answers are written in a formal language.

    >>> are_code(["SELECT name FROM city WHERE id = 4;", r"\\b(cat|dog)\\b"]), are_code(["Oslo (Norway)", "about 5"])
    (True, False)
    """
    n_code = sum(0 < len(text) <= _MAX_TEXT_PER_MARK * len(_MARK.findall(text)) for text in answers)
    return n_code > len(answers) / 2


def parse_object(text: str) -> Any:
    """Return the JSON object or list that `text` is, or UNLABELLED if it is neither."""
    if text.lstrip()[:1] not in {"{", "["}:
        return UNLABELLED
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return UNLABELLED


def guess_kind(expected_values: Iterable[Any]) -> Kind:
    """Guess the kind of task from expected answers (or answers of examples).

    Answers that are None (decline) or UNLABELLED do not count.

    >>> guess_kind(["yes", "no", "yes", "yes", "no"]).name
    'label'
    >>> guess_kind([{"city": "Oslo"}, {}]).name
    'json'
    """
    known = [value for value in expected_values if value is not None and value is not UNLABELLED]
    if not known:
        return Kind("free_text", "no case has an expected answer yet")
    n_objects = sum(_is_object(value) for value in known)
    if n_objects >= _MOST * len(known):
        return Kind("json", f"{n_objects} of {len(known)} answers are JSON objects")
    # Of several accepted answers the first counts.
    texts = [answer_text(value[0] if isinstance(value, list) and value else value) for value in known]
    counts = Counter(text.strip() for text in texts)
    if reason := _label_reason(texts, counts):
        return Kind("label", reason, tuple(sorted(counts)))
    if are_code(texts):
        return Kind("free_text", "most answers are written in a formal language")
    n_short = sum(len(words(text)) <= _SHORT_WORDS for text in texts)
    if n_short >= _MOST * len(texts):
        return Kind("short_answer", f"{n_short} of {len(texts)} answers have at most {_SHORT_WORDS} words")
    return Kind("free_text", f"{len(texts) - n_short} of {len(texts)} answers have more than {_SHORT_WORDS} words")


def _is_object(value: Any) -> bool:
    if isinstance(value, str):
        value = parse_object(value)
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _label_reason(texts: Texts, counts: Counter[str]) -> str:
    n, distinct = len(texts), len(counts)
    repeated = sum(count for count in counts.values() if count > 1)
    short = max(len(text.split()) for text in texts) <= _MAX_LABEL_WORDS and max(map(len, texts)) <= 100
    few = distinct <= (_MAX_NUMBERS if are_numbers([*counts]) else _MAX_LABELS) and distinct < n
    if not (short and few and repeated >= _REPEATED * n):
        return ""
    return (
        f"{n} short answers with {distinct} distinct {plural(distinct, 'value', 'values')}; {repeated} of them "
        "have a value that occurs more than once"
    )


def label_counts(cases: Iterable[Case]) -> NamedInts:
    expected = [case.expected for case in cases if case.has_answer]
    first = (value[0] if isinstance(value, list) and value else value for value in expected)
    return dict(Counter(answer_text(value).strip() for value in first).most_common())
