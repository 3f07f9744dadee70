"""Graders `rouge_l` and `chrf`: overlap with the expected text, best over the accepted answers.

On ASCII texts ROUGE-L equals `rouge_score` without stemming. That library drops every letter outside a-z;
here the words of all scripts count, and scripts without spaces are split into characters.
"""

import re
from collections.abc import Hashable, Sequence
from importlib.metadata import version
from typing import Any

from tuneworthy.config.graders import ChrF, RougeL
from tuneworthy.extras import require
from tuneworthy.graders.base import FORMAT, GRADERS, AnswerGrader, C, GradingContext, accepted, partial
from tuneworthy.types import Case, Score, Trace

# Characters of an answer that are compared; longer answers are cut.
MAX_CHARS = 50_000

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """Return the lower-case words of `text`; letters of scripts without spaces one by one.

    >>> words("Don't_stop, café 東京!")
    ['don', 't', 'stop', 'café', '東', '京']
    """
    return _WORD.findall(text.lower())


def longest_common_subsequence(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Return the length of the longest common subsequence, one machine word of `left` at a time.

    Source: H. Hyyrö, "Bit-parallel LCS-length computation revisited", AWOCA 2004.

    >>> longest_common_subsequence("abcbdab", "bdcaba")
    4
    """
    where: dict[Hashable, int] = {}
    for index, token in enumerate(left):
        where[token] = where.get(token, 0) | (1 << index)
    full = (1 << len(left)) - 1
    row = full
    for token in right:
        if hit := row & where.get(token, 0):
            row = ((row + hit) | (row - hit)) & full
    return len(left) - row.bit_count()


def rouge_l(answer: str, expected: str) -> float:
    """Return ROUGE-L's F1 of two texts, 0..1.

    Source: C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries", ACL 2004; precision and recall
    weighted equally, as in `rouge_score`.
    """
    left, right = words(expected[:MAX_CHARS]), words(answer[:MAX_CHARS])
    if not left or not right:
        return 0.0
    return 2 * longest_common_subsequence(left, right) / (len(left) + len(right))


class _OverlapGrader(AnswerGrader[C]):
    """An empty answer cannot be read; any other gets its best overlap."""

    def overlap(self, answer: str, expected: str) -> float:
        raise NotImplementedError

    def __call__(self, trace: Trace, case: Case) -> Score:
        answer = trace.text.strip()
        if not answer:
            return FORMAT
        return partial(max((self.overlap(answer, one.strip()) for one in accepted(case.expected)), default=0.0))


@GRADERS.register("rouge_l")
class RougeLGrader(_OverlapGrader[RougeL]):
    """ROUGE-L F1."""

    overlap = staticmethod(rouge_l)


@GRADERS.register("chrf")
class ChrFGrader(_OverlapGrader[ChrF]):
    """Sentence chrF of sacrebleu (character 6-grams, beta 2), divided by 100."""

    def __init__(self, config: ChrF, context: GradingContext) -> None:
        require("sacrebleu")
        from sacrebleu.metrics.chrf import CHRF

        super().__init__(config, sacrebleu=version("sacrebleu"))
        self._chrf: Any = CHRF()

    def overlap(self, answer: str, expected: str) -> float:
        score = self._chrf.sentence_score(answer[:MAX_CHARS], [expected[:MAX_CHARS]]).score
        return min(max(round(float(score) / 100, 12), 0.0), 1.0)
