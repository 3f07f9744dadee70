"""Grader `choice`: the answer names exactly one of the labels, and it is the expected one."""

import re
from dataclasses import replace
from typing import Any, Literal

from tuneworthy.config.graders import BalancedAccuracy, Choice
from tuneworthy.errors import UserError
from tuneworthy.graders.base import GRADERS, RIGHT, WRONG, AnswerGrader, GradingContext, accepted
from tuneworthy.graders.text import unicode_form
from tuneworthy.types import Case, Score, Texts, Trace, grouped

# Labels are looked for in the first so many characters of an answer.
MAX_CHARS = 20_000

# Scripts that write no spaces between words, where a label has no word boundary.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")
# A hyphen that belongs to a name, unlike one between words: before a number (-1), or after the last letter (A-).
_SIGN = re.compile(r"(?<![^\W_])(?<!-)-(?=\.?\d)|(?<=[^\W_])-(?![\w-])")
# No label is negated, or part of a word, a number (1 of -1 and 1.5, but not of 1.0) or a signed name (C of C++).
_BEFORE = r"(?<!\w)(?!(?:(?<=[−^])|(?<=\d[.,]))\d)"
_AFTER = r"(?!\w|\^|#(?!#)|\+\+|\+(?!\w)|−(?! *\w)|(?<=\d)(?:,|\.(?!0+\b))\d)"
_NEGATED = r"(?<!\bnot )(?<!\bnon[- ])"


def fold(label: str) -> str:
    """Return `label` in NFKC without case, and with underscores, hyphens and white space as one space; signs stay.

    >>> fold("Card_Arrival"), fold("-1"), fold("A-")
    ('card arrival', '−1', 'a−')
    """
    return " ".join(re.sub(r"[_\-]", " ", _signed(unicode_form(label)).casefold()).split()) or label


def _signed(text: str) -> str:
    """Return `text` with each hyphen that belongs to a name, also if typed as a dash, as a minus sign."""
    return _SIGN.sub("−", re.sub("[−–]", "-", text))


class LabelFinder:
    """Finds the labels that a text names as whole words or phrases.

    The longest label wins if one contains another. Unicode form, case and underscores do not matter, except
    that a label of one character ("A") must be written as it is, or be the whole answer. Signs and decimals matter:
    -1 and 1.5 do not name 1, and A- does not name A.

    Args:
        labels: All labels, distinct.

    Attributes:
        form: Unicode form in which labels and answers are compared: NFKC, or NFC where NFKC makes two labels equal.
    """

    def __init__(self, labels: Texts) -> None:
        self.form: Literal["NFKC", "NFC"] = "NFKC" if len({*map(unicode_form, labels)}) == len(labels) else "NFC"
        self._raw = {label.strip(): label for label in labels}
        self._exact = {_signed(unicode_form(label.strip(), self.form)): label for label in labels}
        folded = grouped((fold(label), label) for label in labels)
        self._folded = {key: names[0] for key, names in folded.items() if len(names) == 1}
        phrases = "|".join(map(_phrase, sorted(filter(None, self._exact), key=len, reverse=True)))
        self._pattern = re.compile(f"{_NEGATED}(?:{phrases})", re.IGNORECASE) if phrases else None

    def __call__(self, text: str) -> list[str]:
        answer = text[:MAX_CHARS].strip()
        if answer in self._raw:
            return [self._raw[answer]]
        answer = _signed(unicode_form(answer, self.form))
        bare = fold(answer.strip(" \t\r\n.,;:!?\"'`*()[]{}"))
        if bare in self._folded:
            return [self._folded[bare]]
        found = [match[0] for match in self._pattern.finditer(answer)] if self._pattern else []
        names = (self._exact.get(text) or self._folded.get(fold(text)) for text in found)
        return list(dict.fromkeys(filter(None, names)))


def _phrase(label: str) -> str:
    """Return a pattern for one label, signs and boundaries included."""
    words = [re.escape(word) for word in re.split(r"[\s_\-]+", label) if word]
    phrase = (r"[\s_\-]*" if _UNSPACED.search(label) else r"[\s_\-]+").join(words) or re.escape(label)
    before = "" if _UNSPACED.match(label) else _BEFORE
    after = "" if _UNSPACED.match(label[-1:]) or label.endswith(("+", "#", "−")) else _AFTER
    return f"{before}(?-i:{phrase}){after}" if len(label) == 1 else before + phrase + after


@GRADERS.register("choice")
class ChoiceGrader(AnswerGrader[Choice | BalancedAccuracy]):
    """Right label 1, another label 0, no label or several 0 with reason `format`."""

    declined_reasons = frozenset({"format"})  # a label may be called "unknown"

    def __init__(self, config: Choice | BalancedAccuracy, context: GradingContext) -> None:
        labels = list(dict.fromkeys(label for label in (config.labels or context.labels) if label.strip()))
        if len(labels) < 2:
            raise UserError(
                f"The grader needs at least 2 labels, but it has {len(labels)}.", hint="Set labels in [[graders]]."
            )
        self._find = LabelFinder(labels)
        super().__init__(config, labels=sorted(labels), form=self._find.form)
        self.labels = tuple(labels)
        self._names = frozenset(labels)

    def label_fault(self, expected: Any) -> str:
        unknown = [one for one in accepted(expected) if one not in self._names]
        return f"{unknown[0]!r} is not one of the {len(self.labels)} labels" if unknown else ""

    def __call__(self, trace: Trace, case: Case) -> Score:
        expected, answer = case.expected, trace.text.strip()
        if isinstance(expected, str) and answer == expected and expected in self._names:
            return RIGHT
        if fault := self.label_fault(expected):
            return Score.failed(fault)
        named = self._find(answer)
        if len(named) != 1:
            return Score(reason="format", detail={"named": named})
        return RIGHT if named[0] in accepted(expected) else WRONG


@GRADERS.register("balanced_accuracy")
class BalancedAccuracyGrader(ChoiceGrader):
    """As `choice`, each case weighed so that all labels count alike: the mean of the recalls of the labels."""

    def __init__(self, config: BalancedAccuracy, context: GradingContext) -> None:
        super().__init__(config, context)
        counts, total = context.label_counts, sum(context.label_counts.values())
        self.weights = {label: total / (len(counts) * n) for label, n in counts.items()}
        self.identity = {**self.identity, "weights": self.weights}

    def __call__(self, trace: Trace, case: Case) -> Score:
        score, weight = super().__call__(trace, case), self.weights.get("".join(accepted(case.expected)[:1]), 1.0)
        return score if score.unscored else replace(score, num=score.num * weight, den=weight)
