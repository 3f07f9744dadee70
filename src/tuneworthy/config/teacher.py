"""[teacher]: who answers the questions that a small model is to learn from, and under which terms."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tuneworthy.config.base import Count, Sampled, Share

References = Literal["corrected", "all", "none"]
PersonalData = Literal["mask", "drop", "send"]


class Teacher(Sampled):
    """Who answers in `tuneworthy data distill`: a model, or (prompt distillation) a variant of this project's ladder.

    The rows have the bare question and the teacher's answer, so the student learns to do without the teacher's prompt.
    """

    model: str | None = None
    """Key of `[models]`: it answers with the project's prompt."""
    variant: str | None = None
    """`best`, a rung of the last run (`fine_tune` for your own model), an id or an exported file: it answers with all
    that belongs to it (prompt, shots, documents, constrained output). Either this or `model`."""
    allows_training: bool | None = None
    """Whether the terms of the teacher allow training on its outputs. Must be answered where a model is hosted or a
    pipeline answers; false refuses."""
    terms: str | None = None
    """Source of these terms: an address, or an agreement with its date. Stored in the version and on the card."""
    samples: Count = 1
    """Answers to each question: the best is kept where a right answer is known, else see `self_consistency`."""
    references: References = "corrected"
    """Which answers in the rows are right, so that the primary grader chooses among the samples and drops errors:
    those that people corrected, all (a file that people labelled), or no answers."""
    self_consistency: Share | None = Field(default=None, gt=0)
    """Least share of the samples that must say the same where no right answer is known; else the question is dropped.
    Needs at least 3 samples."""
    personal_data: PersonalData = "mask"
    """Action on personal data before the teacher sees it, in questions and in shots: masked, the question
    dropped, or sent as it is."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.model is None) == (self.variant is None):
            raise ValueError(
                "[teacher] sets both model and variant. Remove one of them."
                if self.model
                else "[teacher] needs either model or variant."
            )
        if self.self_consistency is not None and self.samples < 3:
            raise ValueError(f"teacher.samples is {self.samples}, but teacher.self_consistency needs at least 3.")
        return self
