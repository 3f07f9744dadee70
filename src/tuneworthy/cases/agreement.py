"""Agreement of a row's answer with the expected one: it tells a copy of the question from a similar question."""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Literal

from tuneworthy.cases.normalize import normalised_bytes, signed, words
from tuneworthy.cases.task_kind import answer_text, parse_object
from tuneworthy.types import UNLABELLED, CaseOrExample, Example, canonical

# `other`: a label, JSON or a short answer that is not the expected one. `unlike`: free text in other words.
Agreement = Literal["same", "other", "unlike", "unknown"]

# Words of an answer that is compared as a whole.
_SHORT = 10
# Share of the words of two texts, together, that both have.
_ALIKE = 0.5


class ExpectedAnswer:
    """The answer that a case expects, prepared to be compared with those of many rows.

    Args:
        expected: As in `Case`; of a list of texts, each is right.
        labels: All labels of a task that has few, as `padded_words` returns them.
    """

    def __init__(self, expected: Any, labels: Collection[str] = ()) -> None:
        self._labels = labels
        self._known = expected is not UNLABELLED and expected is not None and expected != ""
        several = isinstance(expected, list) and bool(expected) and not isinstance(expected[0], dict)
        texts = [answer_text(value) for value in (expected if several else [expected])] if self._known else []
        self.forms = {form_of(text) for text in texts}
        self._words = [words(signed(text)) for text in texts]

    def agreement(self, row: CaseOrExample) -> Agreement:
        answer = answer_of(row)
        if not self._known or not answer.strip():
            return "unknown"
        if form_of(answer) in self.forms:
            return "same"
        if any(form.startswith((b"{", b"[")) for form in self.forms):
            data = "".join(re.findall(r"[{\[].*[}\]]", answer, re.DOTALL))  # in a fence or among words
            return "same" if form_of(data) in self.forms else "other"
        own = words(signed(answer))
        short = any(len(each) <= _SHORT for each in self._words)
        if short and len(own) <= _SHORT:
            return "same" if self._names_label(padded_words(answer)) else "other"
        if short:  # the answer may come after some reasoning
            return "same" if any(each and own[-len(each) :] == each for each in self._words) else "unknown"
        return "same" if any(len({*own} & {*each}) >= _ALIKE * len({*own, *each}) for each in self._words) else "unlike"

    def _names_label(self, answer: str) -> bool:
        """Whether the right label is the only one in an answer; one within a longer one does not count."""
        named = [label for label in self._labels if label in answer]
        longest = [label for label in named if not any(label in other for other in named if other != label)]
        return len(longest) == 1 and longest[0] in {f" {' '.join(each)} " for each in self._words}


def padded_words(text: str) -> str:
    return f" {' '.join(words(text))} "


def answer_of(row: CaseOrExample) -> str:
    if isinstance(row, Example):
        return row.answer
    return answer_text(row.expected) if row.has_answer else ""


@lru_cache(maxsize=64)  # a row is compared with many cases in turn
def form_of(text: str) -> bytes:
    """Return the form that answers of one meaning share: JSON with sorted keys, and letters, digits and their signs."""
    value = parse_object(text)
    return normalised_bytes(text) if value is UNLABELLED else canonical(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return normalised_bytes(value).decode("utf-8", "replace") if isinstance(value, str) else value
