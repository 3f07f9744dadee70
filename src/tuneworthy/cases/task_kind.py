"""What kind of task the expected answers show: labels, JSON, short answers or free text."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import orjson

from tuneworthy.cases.normalize import words
from tuneworthy.errors import nearest
from tuneworthy.text import plural
from tuneworthy.types import UNLABELLED, Case, NamedInts, Texts, TextTuple, positional

TaskKind = Literal["label", "json", "short_answer", "free_text"]

_MAX_LABEL_WORDS = 8
_MAX_LABELS = 500
_MAX_NUMBERS = 20
_SHORT_WORDS = 10
_MOST = 0.9
# A mark of a formal language, such as SQL, a pattern, a command, a call or a path; a text in one has a mark per 100
# characters.
_MARK = re.compile(
    r"[][{}<>=|\\^]|(?<!\S)--?[a-z]|[A-Za-z_]\w*\(|^\(.+\)$|&&|(?<!\S)\*(?=[\s/]|$)|[a-z]{2,}[._][a-z]{2,}"
    r"|^[A-Z_]{2,}(?=[ (:])"
)
_MAX_TEXT_PER_MARK = 100
# Shares of answers in which the kind of a task is not clear: of labels that repeat, code, short answers, and objects.
_UNCLEAR = {"repeated": (0.3, 0.6), "code": (0.25, 0.75), "short": (0.6, 0.9), "objects": (0.1, 0.9)}
# Of 200 cases of 150 equally frequent labels 74 % repeat, give or take 4 points.
_REPEATED = 0.6
# A number, or a worked solution whose last line is "#### 18"; no dates, versions or codes such as 00412.
_WHOLE = r"(?:[1-9]\d{0,2}(?:(?:[,\u00a0\u202f'’]\d{3})+(?:\.\d+)?|(?:\.\d{3})+(?:,\d+)?)|(?:0|[1-9]\d*)(?:[.,]\d+)?)"
_CURRENCY = r"(?:[$€£¥]|[A-Z]{3}\b)"
_NUMBER = rf"[-−+]?{_CURRENCY}?\s?[-−]?{_WHOLE}(?:[eE][-+]?\d+)?\s?(?:%|{_CURRENCY})?"
_NUMERIC = re.compile(rf"(?:(?:.*\n)?\s*####\s*)?{_NUMBER}", re.DOTALL)

# Separators between the words of a label; a hyphen before or after them may be a sign (-1, A-).
_SEPARATOR = re.compile(r"[\s_]+|(?<=\w)-(?=\w)")
# Similarity of a typing error, and how much more frequent the right spelling is.
_SAME_WORD, _FREQUENT = 0.85, 10


@positional
class Kind:
    """The kind of a task, the reason in words, the labels if it is one of labels, and whether the answers are clear."""

    name: TaskKind
    reason: str
    labels: TextTuple = ()
    clear: bool = True


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
    return sum(map(_is_code, answers)) > len(answers) / 2


def _is_code(text: str) -> bool:
    return 0 < len(text) <= _MAX_TEXT_PER_MARK * len(_MARK.findall(text)) and not _NUMERIC.fullmatch(text.strip())


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
        return Kind("free_text", "no case has an expected answer yet", clear=False)
    n, n_objects = len(known), sum(map(_is_object, known))
    if n_objects >= _MOST * n:
        return Kind("json", f"{n_objects} of {n} answers are JSON objects")
    # Of several accepted answers the first counts.
    texts = [answer_text(value[0] if isinstance(value, list) and value else value) for value in known]
    counts = Counter(text.strip() for text in texts)
    n_repeated = _repeated(texts, counts)
    if n_repeated >= _REPEATED * n:
        return Kind(
            "label",
            f"{n} short answers with {len(counts)} distinct {plural(len(counts), 'value', 'values')}; {n_repeated} of "
            "them have a value that occurs more than once",
            tuple(sorted(counts)),
        )
    n_code, n_short = sum(map(_is_code, texts)), sum(len(words(text)) <= _SHORT_WORDS for text in texts)
    found = {"objects": n_objects, "repeated": n_repeated, "code": n_code}
    if n_code > n / 2:
        return Kind("free_text", "most answers are written in a formal language", clear=_clear(found, n))
    clear = _clear(found | {"short": n_short}, n)
    if n_short >= _MOST * n:
        return Kind("short_answer", f"{n_short} of {n} answers have at most {_SHORT_WORDS} words", clear=clear)
    return Kind("free_text", f"{n - n_short} of {n} answers have more than {_SHORT_WORDS} words", clear=clear)


def _clear(found: NamedInts, n: int) -> bool:
    return not any(_UNCLEAR[name][0] <= number / n < _UNCLEAR[name][1] for name, number in found.items())


def _is_object(value: Any) -> bool:
    if isinstance(value, str):
        value = parse_object(value)
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _repeated(texts: Texts, counts: Counter[str]) -> int:
    """Return how many answers have a value that occurs more than once; 0 if they are no labels."""
    short = max(len(text.split()) for text in texts) <= _MAX_LABEL_WORDS and max(map(len, texts)) <= 100
    few = len(counts) <= (_MAX_NUMBERS if are_numbers([*counts]) else _MAX_LABELS) and len(counts) < len(texts)
    return sum(count for count in counts.values() if count > 1) if short and few else 0


def spelling_variants(counts: NamedInts) -> list[list[str]]:
    """Return the labels that are probably one, the most frequent spelling first.

    They differ in case, hyphens, underscores or spaces only; or a rare one has a letter more, less or changed.

    >>> spelling_variants({"pay_bill": 40, "balance": 30, "BALANCE": 2, "pay_bil": 1, "level 1": 9, "level 2": 9})
    [['pay_bill', 'pay_bil'], ['balance', 'BALANCE']]
    """
    groups: dict[str, list[str]] = {}
    for label in sorted(counts, key=lambda one: -counts[one]):
        key = _SEPARATOR.sub(" ", label.casefold()).strip() if len(label) > 1 else label
        near = nearest(key, (one for one in groups if counts[groups[one][0]] >= _FREQUENT * counts[label]), _SAME_WORD)
        same = near if re.findall(r"\d", near) == re.findall(r"\d", key) else ""
        groups.setdefault(key if key in groups else same or key, []).append(label)
    return [labels for labels in groups.values() if len(labels) > 1]


def label_counts(cases: Iterable[Case]) -> NamedInts:
    expected = [case.expected for case in cases if case.has_answer and not case.expects_calls]
    first = (value[0] if isinstance(value, list) and value else value for value in expected)
    return dict(Counter(answer_text(value).strip() for value in first).most_common())
