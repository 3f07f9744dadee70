"""Grader `regex`: a pattern is found in the answer.

A pattern may be written by anyone, so its time is limited: the search runs over the first part of an answer
only, and one that takes too long leaves the trace unscored, with the pattern named.
"""

from typing import Any

import regex

from tuneworthy.config.graders import Regex
from tuneworthy.errors import UserError
from tuneworthy.graders.base import GRADERS, RIGHT, WRONG, AnswerGrader, GradingContext, accepted
from tuneworthy.patterns import compile_pattern
from tuneworthy.types import Case, Score, Trace

MAX_CHARS = 20_000
TIMEOUT_S = 0.5


def search(pattern: str, text: str) -> bool | None:
    """Return whether `pattern` is found in the first `MAX_CHARS` of `text`; None if that takes too long."""
    try:
        return compile_pattern(pattern).search(text[:MAX_CHARS], timeout=TIMEOUT_S) is not None
    except TimeoutError:
        return None


@GRADERS.register("regex")
class RegexGrader(AnswerGrader[Regex]):
    """The configured pattern, or one of the expected values taken as patterns, is found in the answer."""

    def __init__(self, config: Regex, context: GradingContext) -> None:
        super().__init__(config, engine=regex.__version__)
        self._pattern = config.pattern
        if self._pattern is not None:
            compile_pattern(self._pattern)

    def label_fault(self, expected: Any) -> str:
        """Without a configured pattern, the expected value must be one."""
        try:
            for pattern in () if self._pattern is not None else accepted(expected):
                compile_pattern(pattern)
        except UserError as error:
            return error.message
        return ""

    def __call__(self, trace: Trace, case: Case) -> Score:
        if fault := self.label_fault(case.expected):
            return Score.failed(fault)
        for pattern in (self._pattern,) if self._pattern is not None else accepted(case.expected):
            found = search(pattern, trace.text)
            if found is None:
                return Score.failed(f"matching the pattern {pattern[:200]!r} took more than {TIMEOUT_S} s")
            if found:
                return RIGHT
        return WRONG
