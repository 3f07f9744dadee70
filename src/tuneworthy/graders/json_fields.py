"""Grader `json_fields`: micro F1 over the (field, value) pairs of a JSON object, compared as multisets.

Nested objects are flattened by path; a list is a multiset of its elements, and an element that is an object
is compared whole (so swapped values between two elements are never right). A field that is null is a field
that is not there: strict schemas make models write nulls.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tuneworthy.config.graders import JsonFields
from tuneworthy.graders.base import GRADERS, AnswerGrader
from tuneworthy.graders.json_text import find_object
from tuneworthy.types import Case, JsonMapping, Score, Texts, Trace, grouped

_NUMBER = re.compile(r"[+-]?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
# A comparable value: ("s", folded text), ("n", number), ("b", bool) or ("o", canonical bytes).
Atom = tuple[str, Any]


@dataclass(slots=True)
class Counts:
    """Pairs that are right (`tp`), only answered (`fp`), only expected (`fn`)."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float | None:
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None

    @property
    def recall(self) -> float | None:
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def f1(self) -> float | None:
        """2 tp / (2 tp + fp + fn); None if there is nothing on either side."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else None

    def add(self, other: Sequence[int]) -> None:
        self.tp, self.fp, self.fn = self.tp + other[0], self.fp + other[1], self.fn + other[2]


def compare(
    expected: JsonMapping,
    answered: JsonMapping,
    *,
    fields: Texts | None = None,
) -> dict[str, Counts]:
    """Count right, surplus and missing pairs for each field.

    Args:
        expected: The right object.
        answered: The answered object.
        fields: Dotted paths that count, with all below them; all if None.

    Returns:
        Dotted path to counts, for every path on either side.

    >>> compare({"time": "8 PM", "people": 4}, {"time": "8  pm", "people": "4", "day": "x"})["day"]
    Counts(tp=0, fp=1, fn=0)
    """
    left, right = pairs(expected, fields), pairs(answered, fields)
    result = {}
    for path in left | right:
        a, b = left.get(path, []), right.get(path, [])
        tp = len(a) if a == b else matches(a, b)
        result[path] = Counts(tp, len(b) - tp, len(a) - tp)
    return result


def pairs(value: JsonMapping, fields: Texts | None) -> dict[str, list[Atom]]:
    """Flatten an object to its comparable values by dotted path."""
    return grouped(
        (path, atom(one))
        for path, one in _leaves(value, "")
        if fields is None or any(path == name or path.startswith(f"{name}.") for name in fields)
    )


def matches(left: Sequence[Atom], right: Sequence[Atom]) -> int:
    """Return the size of the largest matching of two multisets; a number matches a text that reads as it."""
    a, b = Counter(left), Counter(right)
    same = a & b
    a, b = a - same, b - same
    return same.total() + _numeric_matches(a, b) + _numeric_matches(b, a)


def _numeric_matches(numbers: Counter[Atom], texts: Counter[Atom]) -> int:
    readable: Counter[Any] = Counter()
    for (kind, value), count in texts.items():
        number = as_number(value) if kind == "s" else None
        if number is not None:
            readable[number] += count
    return (readable & Counter({value: count for (kind, value), count in numbers.items() if kind == "n"})).total()


def as_number(text: str) -> float | None:
    """Return the number that `text` is, None if it is not a finite number.

    >>> as_number(" 1e3 "), as_number("13:00"), as_number("inf")
    (1000.0, None, None)
    """
    text = text.strip()
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def atom(value: Any) -> Atom:
    if isinstance(value, str):
        return ("s", _folded(value))
    if isinstance(value, bool):
        return ("b", value)
    if isinstance(value, int | float):
        return ("n", value)
    return ("o", orjson.dumps(_canonical(value), option=orjson.OPT_SORT_KEYS, default=str))


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return _folded(value)
    if isinstance(value, Mapping):
        return {str(k): _canonical(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return sorted(
            (_canonical(one) for one in value),
            key=lambda item: orjson.dumps(item, option=orjson.OPT_SORT_KEYS, default=str),
        )
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        yield from ((path, one) for one in value if one is not None)
    elif value is not None:
        yield path, value


def totals(scores: Iterable[Score]) -> dict[str, Counts]:
    """Return the counts of each field over all scores."""
    fields: dict[str, Counts] = {}
    for score in scores:
        counts = score.detail.get("fields")
        for path, three in counts.items() if isinstance(counts, dict) else ():
            fields.setdefault(path, Counts()).add(three)
    return fields


@GRADERS.register("json_fields")
class JsonFieldsGrader(AnswerGrader[JsonFields]):
    """``num = 2 tp`` and ``den = 2 tp + fp + fn`` over the pairs of a case.

    Nothing expected and nothing answered is one right pair (2 of 2). An answer without a JSON object has
    reason `format` and the `den` of an empty answer. `detail` has the object that was read and, for
    each field, ``[tp, fp, fn]``.
    """

    unit = 2.0

    def label_fault(self, expected: Any) -> str:
        return f"{str(expected)[:80]!r} is not a JSON object" if expected_object(expected) is None else ""

    def __call__(self, trace: Trace, case: Case) -> Score:
        expected = expected_object(case.expected)
        if expected is None:
            return Score.failed(self.label_fault(case.expected))
        answered = find_object(trace.text, strict=self.config.strict)
        counts = compare(expected, answered or {}, fields=self.config.fields)
        fields = {path: [one.tp, one.fp, one.fn] for path, one in counts.items()}
        tp = sum(one[0] for one in fields.values())
        den = float(2 * tp + sum(one[1] + one[2] for one in fields.values()))
        if answered is None:
            return Score(den=den or self.unit, reason="format", detail={"answer": None, "fields": fields})
        detail = {"answer": answered, "fields": fields}
        if not den:
            return Score(num=self.unit, den=self.unit, detail=detail)
        reason = "" if 2 * tp == den else "partial" if tp else "wrong"
        return Score(num=2.0 * tp, den=den, reason=reason, detail=detail)


def expected_object(expected: Any) -> JsonMapping | None:
    """Return the expected object; a text that is JSON is read (data files often have it so)."""
    if isinstance(expected, Mapping):
        return expected
    return find_object(expected, strict=True) if isinstance(expected, str) else None
