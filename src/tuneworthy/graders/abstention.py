"""Grader `abstention`: declines where declining is right, answers where an answer is known.

The content of the answer does not matter here. `grade_all` judges the cases that expect declining (an answer there is
`answered_unanswerable`); this grader sees the others, where declining is `refused`.
"""

from tuneworthy.config.graders import Abstention
from tuneworthy.graders.base import FORMAT, GRADERS, RIGHT, AnswerGrader, GradingContext, accepted
from tuneworthy.graders.declining import built_in
from tuneworthy.types import Case, Score, Trace


@GRADERS.register("abstention")
class AbstentionGrader(AnswerGrader[Abstention]):
    """Right if the case has an answer and the model gives any."""

    takes_calls = True

    def __init__(self, config: Abstention, context: GradingContext) -> None:
        self._detector = built_in()
        super().__init__(config, phrases_hash=self._detector.identity)

    def __call__(self, trace: Trace, case: Case) -> Score:
        response, text = trace.response, trace.text.strip()
        if text and text in accepted(case.expected):
            return RIGHT  # the right answer may be "none"
        if response is not None and self._detector(response):
            return Score(reason="refused")
        return RIGHT if text or (response and response.tool_calls) else FORMAT
