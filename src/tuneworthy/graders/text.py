"""Graders that compare texts: `exact`, `normalised_exact`, `includes`; and a lenient reader for the error analysis."""

import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Literal

import regex

from tuneworthy.config.graders import Exact, Includes, NormalisedExact
from tuneworthy.graders.base import GRADERS, RIGHT, WRONG, AnswerGrader, accepted
from tuneworthy.types import Case, Score, Texts, Trace

# Longest part of an answer that is normalised; what follows cannot make a wrong answer right.
MAX_CHARS = 200_000
# A question that contains the answer and is at most so many times as long repeats it, with an instruction.
MAX_INSTRUCTION = 4

_ACCENTS = regex.compile(r"(?<=[\p{Latin}\p{Greek}]\p{Mn}*)\p{Mn}")
_RAISED = regex.compile(r"[⁰¹²³⁴-⁹]+")
_APOSTROPHES = regex.compile(r"['’ʼ`´]")
_INVISIBLE = regex.compile(r"[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\u00ad]")
_PUNCTUATION = regex.compile(r"(?<=\d)[.,:/\-](?=\d)(*SKIP)(*FAIL)|(?<![\w.,])[-−](?=\d)(*SKIP)(*FAIL)|\p{P}")


def unicode_form(text: str, form: Literal["NFKC", "NFC"] = "NFKC") -> str:
    """Return `text` in one Unicode form, with single spaces and without invisible marks; case stays.

    NFKC turns raised digits into an exponent, so that a square is no number of its own (2² is not 22).

    >>> unicode_form("Ru\u0308ckgabe"), unicode_form("Ｒｅｆ\u200bｕｎｄ"), unicode_form("m²")
    ('Rückgabe', 'Refund', 'm^2')
    """
    text = _RAISED.sub(r"^\g<0>", text[:MAX_CHARS]) if form == "NFKC" else text[:MAX_CHARS]
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize(form, text)).split())


def normalise(text: str) -> str:
    """Fold what people do not mean: Unicode form, case, punctuation, white space, invisible marks.

    Punctuation inside numbers stays (3.5 is not 35), and so does a minus sign. A text of nothing but
    punctuation is kept, so that "?" and "!" differ.

    >>> normalise("  It’s  WELL-known: 3.5%! "), normalise("?")
    ('its well known 3.5', '?')
    """
    folded = unicode_form(text).casefold()
    return " ".join(_PUNCTUATION.sub(" ", _APOSTROPHES.sub("", folded)).split()) or folded


def differs_in_form(text: str, expected: Any) -> bool:
    """Whether an answer is an expected text in another canonical Unicode form (NFC, NFD)."""
    answer, *texts = (one.strip()[:MAX_CHARS] for one in (text, *accepted(expected)))
    return answer not in texts and unicodedata.normalize("NFC", answer) in {
        unicodedata.normalize("NFC", one) for one in texts
    }


def readable_by(text: str, expected: Any, labels: Texts, grader: str, question: str = "") -> str:
    """Return the grader that reads an answer which `grader` calls wrong as right; "" if the answer is wrong.

    Ignores Unicode form and case, and in label tasks the accents of Latin and Greek letters. An answer that also
    reads as another label is wrong; so is one in another script (`Kyiv` for `Київ`), and each answer to a case whose
    question reads as the expected answer: there the form is the task (restore capitals).

    Args:
        text: The answer.
        expected: Of its case.
        labels: Of a label task.
        grader: Type of the primary grader.
        question: Of its case.

    Returns:
        Its type; `python` where no built-in grader reads the answer; "" also where only punctuation differs.

    >>> [readable_by(one, "Rückgabe", ["Rückgabe", "Zahlung"], "exact") for one in ("rückgabe", "Ruckgabe", "zahlung")]
    ['choice', 'python', '']
    """
    right = set() if expected is None else {*accepted(expected)}
    reader = "choice" if labels else "normalised_exact"
    plain = reader if reader != grader else "python"
    for name, key in (plain, lambda one: unicode_form(one).casefold()), ("", normalise), ("python", _without_accents):
        if same := {one for one in {*right, *labels} if key(one) == key(text)}:
            blamed = same <= right and (labels or key is not _without_accents)
            return name if blamed and not restates(question, right, key) else ""
    return ""


def restates(question: str, texts: Iterable[str], key: Callable[[str], str] = normalise) -> bool:
    """Whether a question is one of the expected texts in another form, perhaps with an instruction.

    Args:
        question: Of the case.
        texts: The expected texts.
        key: Equal for texts that differ only in form.
    """
    asked = key(question)
    return any(key(one) in asked and len(asked) <= MAX_INSTRUCTION * len(key(one)) for one in texts)


def _without_accents(text: str) -> str:
    return str(_ACCENTS.sub("", unicodedata.normalize("NFD", normalise(text))))


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
