"""Graders that compare texts: `exact`, `normalised_exact`, `includes`."""

import unicodedata
from typing import Any, Literal

import regex

from tuneworthy.config.graders import Exact, Includes, NormalisedExact
from tuneworthy.graders.base import GRADERS, RIGHT, WRONG, AnswerGrader, accepted
from tuneworthy.types import Case, Score, Trace

# Longest part of an answer that is normalised; what follows cannot make a wrong answer right.
MAX_CHARS = 200_000

_APOSTROPHES = regex.compile(r"['’ʼ`´]")
_INVISIBLE = regex.compile(r"[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\u00ad]")
_PUNCTUATION = regex.compile(r"(?<=\d)[.,:/\-](?=\d)(*SKIP)(*FAIL)|(?<![\w.,])[-−](?=\d)(*SKIP)(*FAIL)|\p{P}")


def unicode_form(text: str, form: Literal["NFKC", "NFC"] = "NFKC") -> str:
    """Return `text` in one Unicode form, without invisible marks; case stays.

    >>> unicode_form("Ru\u0308ckgabe"), unicode_form("Ｒｅｆ\u200bｕｎｄ")
    ('Rückgabe', 'Refund')
    """
    return _INVISIBLE.sub("", unicodedata.normalize(form, text))


def normalise(text: str) -> str:
    """Fold what people do not mean: Unicode form, case, punctuation, white space, invisible marks.

    Punctuation inside numbers stays (3.5 is not 35), and so does a minus sign. A text of nothing but
    punctuation is kept, so that "?" and "!" differ.

    >>> normalise("  It’s  WELL-known: 3.5%! "), normalise("?")
    ('its well known 3.5', '?')
    """
    folded = unicode_form(text[:MAX_CHARS]).casefold()
    plain = " ".join(_PUNCTUATION.sub(" ", _APOSTROPHES.sub("", folded)).split())
    return plain or " ".join(folded.split())


@GRADERS.register("exact")
class ExactGrader(AnswerGrader[Exact]):
    """The answer, stripped of outer white space, equals the expected text (or one text of a list)."""

    def __call__(self, trace: Trace, case: Case) -> Score:
        return RIGHT if trace.text.strip() in map(str.strip, accepted(case.expected)) else WRONG


@GRADERS.register("normalised_exact")
class NormalisedExactGrader(AnswerGrader[NormalisedExact]):
    """The normalised answer equals one of the normalised expected texts."""

    def __call__(self, trace: Trace, case: Case) -> Score:
        if trace.text == case.expected:
            return RIGHT
        return RIGHT if normalise(trace.text) in map(normalise, accepted(case.expected)) else WRONG


@GRADERS.register("includes")
class IncludesGrader(AnswerGrader[Includes]):
    """The answer contains the expected text, or all texts of a list."""

    def label_fault(self, expected: Any) -> str:
        """An empty text is contained in every answer, so it judges nothing."""
        texts = accepted(expected)
        return "" if texts and all(text.strip() for text in texts) else "the expected text is empty"

    def __call__(self, trace: Trace, case: Case) -> Score:
        if fault := self.label_fault(case.expected):
            return Score.failed(fault)
        answer = trace.text.casefold()
        return RIGHT if all(one.casefold().strip() in answer for one in accepted(case.expected)) else WRONG
