"""`[[graders]] type = "ends_with"`: the answer ends with the expected text."""

from tuneworthy.config.base import Section
from tuneworthy.graders.base import GRADERS, AnswerGrader, GradingContext
from tuneworthy.types import Case, Score, Trace


class EndsWithSection(Section):
    """The keys of the section; unknown keys are refused with the nearest name."""

    type: str
    ignore_case: bool = True


@GRADERS.register("ends_with")
class EndsWith(AnswerGrader):
    """1 if the answer ends with the expected text, else 0."""

    section = EndsWithSection

    def __init__(self, config: EndsWithSection, context: GradingContext) -> None:
        super().__init__(config)
        self.ignore_case = config.ignore_case

    def __call__(self, trace: Trace, case: Case) -> Score:
        answer, expected = trace.text.strip(), str(case.expected)
        if self.ignore_case:
            answer, expected = answer.lower(), expected.lower()
        return Score(num=1.0) if answer.endswith(expected) else Score(reason="wrong")
