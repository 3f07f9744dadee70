"""[[regressions]]: sets on which a fine-tuned model must not get worse; a built-in general set always runs as well."""

from pydantic import Field

from tuneworthy.config.base import Margined
from tuneworthy.config.graders import Grader
from tuneworthy.config.task import DataPath


class RegressionSource(DataPath, Margined):
    """A set of cases that the base and the fine-tuned model both answer. A set `general` of 64 cases, margin 0.10, is
    always measured as well."""

    name: str = Field(pattern=r"^[\w][\w .-]*$")
    """Its name in the verdict."""
    graders: list[Grader] = Field(min_length=1)
    """How answers are judged; the first decides."""
    system: str | None = None
    """System prompt: a text, or a file below the project; none if not set."""
