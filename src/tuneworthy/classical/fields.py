"""JSON answers as fields: flattening, which fields copy words of the question, and how a copy is written.

A field is a path of keys; its value a scalar, or a list of scalars. Anything deeper is one opaque value.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tuneworthy.classical.base import QuestionAnswer
from tuneworthy.classical.runtime import ABSENT, CASES, Field, most_frequent, write
from tuneworthy.classical.spans import Span, Text, choose_occurrences
from tuneworthy.errors import Undecided
from tuneworthy.text import number_text
from tuneworthy.types import JsonMapping, JsonObject

Path = tuple[str, ...]

COPIED_FROM = 0.5  # share of a field's filled values that must appear in the question


def read_object(text: str) -> JsonObject | None:
    """Return the JSON object of `text` (bare or in a code fence), or None."""
    fenced = re.fullmatch(r"```\w*\s*(.*?)\s*```", text.strip(), re.DOTALL)
    try:
        value = orjson.loads(fenced[1] if fenced else text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def read_rows(rows: Sequence[QuestionAnswer]) -> tuple[list[Text], list[JsonObject]]:
    """Return the questions and objects of the rows whose answer is a JSON object.

    Raises:
        Undecided: No answer is a JSON object.
    """
    pairs = [(Text(r.question), read_object(r.answer)) for r in rows]
    readable = [(text, value) for text, value in pairs if value is not None]
    if not readable:
        raise Undecided(
            f"None of the {len(rows)} examples has a JSON object as its answer.",
            hint="Choose a different classical baseline, or fix the answers in [examples].",
        )
    return [text for text, _ in readable], [value for _, value in readable]


def flatten(value: JsonMapping, prefix: Path = ()) -> dict[Path, Any]:
    """Return the leaves of nested objects by path.

    >>> flatten({"a": {"b": 1}, "c": [2]})
    {('a', 'b'): 1, ('c',): [2]}
    """
    leaves: dict[Path, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            leaves |= flatten(item, (*prefix, key))
        else:
            leaves[*prefix, key] = item
    return leaves


def is_filled(value: Any) -> bool:
    return value is not None and value not in ("", [], {})


def words_of(value: Any) -> list[str]:
    """Return the texts that a question must contain for `value` to be copied; [] if it cannot be copied."""
    items = value if isinstance(value, list) else [value]
    if not items or any(isinstance(i, bool) or not isinstance(i, (str, int, float)) for i in items):
        return []
    return [i if isinstance(i, str) else number_text(i) for i in items]


def learn_fields(texts: Sequence[Text], leaves: Sequence[Mapping[Path, Any]]) -> list[Field]:
    return [_learn_field(path, texts, leaves) for path in dict.fromkeys(path for row in leaves for path in row)]


def _learn_field(path: Path, texts: Sequence[Text], leaves: Sequence[Mapping[Path, Any]]) -> Field:
    filled = [(text, row[path]) for text, row in zip(texts, leaves, strict=True) if is_filled(row.get(path))]
    unfilled = [write(row[path]) if path in row else ABSENT for row in leaves if not is_filled(row.get(path))]
    values = [value for _, value in filled]
    found = [all(text.find(word) for word in words_of(value)) and bool(words_of(value)) for text, value in filled]
    return Field(
        path=path,
        copied=bool(filled) and sum(found) >= COPIED_FROM * len(filled),
        many=sum(isinstance(v, list) for v in values) * 2 > len(values),
        number=bool(values) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values),
        case=_usual_case([pair for pair, copied in zip(filled, found, strict=True) if copied]),
        empty=most_frequent(unfilled or [write(v) for v in values]),
    )


def _usual_case(copied: Sequence[tuple[Text, Any]]) -> str:
    hits: Counter[str] = Counter()
    for text, value in copied:
        for word in words_of(value):
            original = text.slice(text.find(word)[0])
            hits.update(name for name, change in CASES.items() if change(original) == word)
    return max(CASES, key=lambda name: hits[name])


def align(field: Field, texts: Sequence[Text], leaves: Sequence[Mapping[Path, Any]]) -> list[list[Span] | None]:
    """Return the spans that a copied field takes in each question: [] if it is empty there, None if not found."""
    wanted = [words_of(row[field.path]) if is_filled(row.get(field.path)) else [] for row in leaves]
    columns = []
    for k in range(max(map(len, wanted), default=0)):
        options = [text.find(words[k]) if k < len(words) else [] for text, words in zip(texts, wanted, strict=True)]
        columns.append(choose_occurrences(texts, options))
    aligned: list[list[Span] | None] = []
    for i, row in enumerate(leaves):
        spans = [span for k in range(len(wanted[i])) if (span := columns[k][i]) is not None]
        lost = len(spans) < len(wanted[i]) or (is_filled(row.get(field.path)) and not spans)
        aligned.append(None if lost else spans)
    return aligned
