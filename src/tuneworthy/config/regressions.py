"""[[regressions]]: sets on which a fine-tuned model must not get worse; a built-in general set always runs as well."""

from typing import Annotated

from pydantic import Field

from tuneworthy.config.base import Count, Section
from tuneworthy.config.graders import Grader

Margin = Annotated[float, Field(gt=0, lt=1)]


class RegressionSource(Section):
    """A set of cases that the base and the fine-tuned model both answer. A set `general` of 64 cases, margin 0.10, is
    always measured as well."""

    name: str = Field(pattern=r"^[\w][\w .-]*$")
    """Its name in the verdict."""
    path: str
    """Cases, in any form that `[cases]` reads."""
    graders: list[Grader] = Field(min_length=1)
    """How answers are judged; the first decides."""
    margin: Margin = 0.05
    """The largest loss that does no harm."""
    system: str | None = None
    """System prompt: a text, or a file below the project; none if not set."""
    max_tokens: Count = 128
    """Limit of an answer, tokens."""
