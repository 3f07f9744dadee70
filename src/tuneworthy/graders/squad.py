"""Graders `squad_em` and `squad_f1`: the two numbers of SQuAD, best over the accepted answers.

Source: the official evaluation script of SQuAD v1.1 (evaluate-v1.1.py, Rajpurkar et al. 2016).
"""

import re
import string
from collections import Counter

from tuneworthy.config.graders import SquadExactMatch, SquadF1
from tuneworthy.graders.base import GRADERS, RIGHT, WRONG, AnswerGrader, accepted, partial
from tuneworthy.types import Case, Score, Trace

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Lower the case, remove ASCII punctuation and the articles a, an, the, and fold white space.

    >>> normalise("The  Eiffel-Tower, in a city.")
    'eiffeltower in city'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def token_f1(answer: str, expected: str) -> float:
    """Return the F1 of the multisets of words of two normalised texts, 0..1 (0 if one has no words)."""
    left, right = answer.split(), expected.split()
    same = (Counter(left) & Counter(right)).total()
    return 2 * same / (len(left) + len(right)) if same else 0.0


@GRADERS.register("squad_em")
class SquadExactMatchGrader(AnswerGrader[SquadExactMatch]):
    """The normalised answer equals one of the normalised accepted answers."""

    def __call__(self, trace: Trace, case: Case) -> Score:
        return RIGHT if normalise(trace.text) in map(normalise, accepted(case.expected)) else WRONG


@GRADERS.register("squad_f1")
class SquadF1Grader(AnswerGrader[SquadF1]):
    """Word F1 with the closest of the accepted answers."""

    def __call__(self, trace: Trace, case: Case) -> Score:
        answer = normalise(trace.text)
        return partial(max((token_f1(answer, normalise(one)) for one in accepted(case.expected)), default=0.0))
