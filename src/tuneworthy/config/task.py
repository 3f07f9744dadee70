"""[task], [cases], [examples], [split], [prompt]: the task, its data, and the prompt."""

from typing import Annotated, Literal

from pydantic import Field

from tuneworthy.config.base import Count, Margined, Sampled, Section, Seed, Share
from tuneworthy.types import NamedFloats

Problem = Literal[
    "factual_knowledge",
    "reasoning",
    "strict_format",
    "style",
    "persona",
    "low_latency",
    "private_domain",
    "hallucination",
    "cross_language",
    "tool_calls",
    "tone",
    "long_context",
]
Motivation = Literal["quality", "cost", "latency", "locality", "format", "style", "ownership", "domain"]


class TaskSection(Margined):
    """The task and its target."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Short name: letters, digits, `.`, `_`, `-`."""
    problem: Problem | None = None
    """The row of the decision matrix that the problem belongs to."""
    motivation: Motivation | None = None
    """The reason to train that the team has in mind; it is measured, and decides nothing."""
    target: Share | None = None
    """The score of the primary grader on test that is good enough. Without it there is no outcome, only options."""
    critical: dict[str, Annotated[float, Field(ge=0, lt=1)]] | list[str] = {}
    """Labels that must not be missed, each with the recall that it needs; of a list, the target less the margin. An
    option whose lower bound of the recall is below does not meet the target."""

    @property
    def critical_recall(self) -> NamedFloats:
        """The recall that each critical label needs."""
        if isinstance(self.critical, dict):
            return dict(self.critical)
        return dict.fromkeys(self.critical, max(0.0, (self.target or 1.0) - self.margin))


class DataPath(Section):
    """A file of cases or examples, or a folder of documents."""

    path: str
    """Path below the project, or a URL for fsspec such as `s3://bucket/cases.jsonl`. Cases: JSONL, CSV, Excel, Parquet,
    promptfoo, Inspect, openai/evals or Langfuse. Examples: JSONL, CSV, Excel or Parquet. Documents: a folder of text,
    Markdown, HTML, PDF and JSONL files, or one such file."""


class SplitSection(Section):
    """How dev and test are drawn."""

    seed: Seed = 7
    """Seed of every draw of this project."""
    dev: Count = 80
    """Most dev cases that are taken from the examples, where there are at least 200; else dev is all cases that are
    not test, those are examples too, and none is answered with itself among the shots or training rows."""


class PromptSection(Sampled):
    """The prompt as it is today: template files or text; `{{ input }}` or the case's own variables."""

    system: str | None = None
    """A path that exists below the project, else the text itself."""
    user: str = "{{ input }}"
    """A path that exists below the project, else the template itself."""
    max_tokens: Count = 256
    """Limit of an answer, tokens."""
    stop: list[str] = []
    """Texts that end an answer, such as a line break where answers are one line."""
    rank_labels: bool = True
    """Whether the rung `prompt` also ranks the labels of a choice task by their log-probability, where the model can;
    each case then takes about as long as an answer that is as long as all labels together."""
