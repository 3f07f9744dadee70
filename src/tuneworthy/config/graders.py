"""[[graders]]: how an answer is judged. The first is primary; the others are shown with it."""

from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import Field, SerializeAsAny, model_validator

from tuneworthy.config.base import FunctionSection, JudgeSettings, Margined, NonNegative, Section
from tuneworthy.config.strangers import tagged_section
from tuneworthy.config.task import DataPath


class GraderSection(Section):
    """A grader; itself the section of an installed grader without a section of its own."""

    type: str
    """The kind of grader."""


class Exact(GraderSection):
    """The answer, stripped of outer white space, equals the expected text (or one text of a list)."""


class NormalisedExact(GraderSection):
    """Equal after folding of Unicode forms, case, punctuation (but not within numbers) and white space."""


class Includes(GraderSection):
    """The answer contains the expected text (or all texts of a list); case does not count."""


class Regex(GraderSection):
    """`pattern` (or the expected value, taken as a pattern) is found in the answer."""

    pattern: str | None = None
    """Regular expression; the expected value of each case if not set."""


class Numeric(GraderSection):
    """The last number of the answer equals the expected number within the tolerance."""

    tolerance: NonNegative = 0.0
    """Difference that is allowed."""
    decimal_comma: bool = False
    """Read 1.234,56 instead of 1,234.56."""


class SquadExactMatch(GraderSection):
    """SQuAD's exact match: best over the accepted answers."""


class SquadF1(GraderSection):
    """SQuAD's token F1: best over the accepted answers. Case, articles and punctuation do not count: where the form
    of the answer matters, use `exact`."""


class JsonGrader(GraderSection):
    """A grader of JSON."""

    strict: bool = False
    """Accept only an answer that is JSON and nothing else."""


class JsonFields(JsonGrader):
    """Micro F1 over the (field, value) pairs of a JSON object, texts without case, and a number equals its text; a
    rightly empty object is right."""

    fields: list[str] | None = None
    """Fields that count (`a.b` for a nested one), with all below them; all fields if not set."""


class JsonSchema(JsonGrader, DataPath):
    """The answer parses as JSON and is valid under the JSON schema at `path`. A schema that refers to other files or to
    the network is refused."""


class Choice(GraderSection):
    """The answer names exactly one of the labels, and it is the expected one."""

    labels: list[str] | None = None
    """All labels; those of cases and examples if not set."""


class BalancedAccuracy(Choice):
    """As `choice`, but every label counts as much as any other, however rare it is."""


class ToolCall(GraderSection):
    """The expected tools are called, in any order, with the arguments that are equal under each tool's schema. An
    expected answer in words is right if no tool is called; its words are not compared."""


class RougeL(GraderSection):
    """ROUGE-L F1 against the expected text."""


class ChrF(GraderSection):
    """chrF against the expected text, 0..1."""


class Abstention(GraderSection):
    """Declines where declining is right (`"expected": null`), answers where an answer is known."""


class Style(GraderSection):
    """Brand voice: a classifier of brand against generic text, and lexical rules; the mean of both parts."""

    generic: str
    """JSONL of generic texts (`{"text": ...}`), at least 20; brand texts are the examples' answers."""
    words: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    """Fewest and most words of an answer, such as `[35, 90]`."""
    banned: list[str] = []
    """Phrases that must not appear in the answer (case is ignored)."""
    required: list[str] = []
    """Regular expressions that must all be found."""


class FormGrader(GraderSection):
    """A grader that may judge form only."""

    needs_expected: bool = True
    """False for a grader of form only: it rates every case and never sees the expected answer."""


class PythonFunction(FormGrader, FunctionSection):
    """A function of the project's own: `(answer: str, expected, case) -> float | bool | Score`."""


class Judge(FormGrader, JudgeSettings):
    """A language model rates the answer. As the first grader it decides only where people's verdicts on both variants
    correct it (`tuneworthy label judge`)."""

    @model_validator(mode="after")
    def _rubric_given(self) -> Self:
        if not self.rubric.strip():
            raise ValueError("A judge needs a rubric: the criteria for a good answer, or a .md or .txt file of them.")
        return self


GRADER_SECTIONS: Final[Mapping[str, type[GraderSection]]] = {
    "exact": Exact, "normalised_exact": NormalisedExact, "includes": Includes, "regex": Regex, "numeric": Numeric,
    "squad_em": SquadExactMatch, "squad_f1": SquadF1, "json_fields": JsonFields, "json_schema": JsonSchema,
    "choice": Choice, "balanced_accuracy": BalancedAccuracy, "tool_call": ToolCall, "rouge_l": RougeL, "chrf": ChrF,
    "abstention": Abstention, "style": Style, "python": PythonFunction, "judge": Judge,
}  # fmt: skip
Grader = Annotated[GraderSection, tagged_section("graders", "type", GRADER_SECTIONS, GraderSection), SerializeAsAny()]


class RegressionSource(DataPath, Margined):
    """A set of cases that the base and the fine-tuned model both answer. A set `general` of 64 cases, margin 0.10, is
    always measured as well."""

    name: str = Field(pattern=r"^[\w][\w .-]*$")
    """Its name in the verdict."""
    graders: list[Grader] = Field(min_length=1)
    """How answers are judged; the first decides."""
    system: str | None = None
    """System prompt: a text, or a file below the project; none if not set."""
