"""Subject of a parity check: measured answers, the files behind them, the limits, and the grader's scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tuneworthy.cases import read_cases
from tuneworthy.cases.splits import example_case
from tuneworthy.config.project import Project
from tuneworthy.ship.parity.measure import FormAnswers, ParityPlan
from tuneworthy.store.folder import Folder
from tuneworthy.train.training_rows import TaskMetric, kind_of, own_grader
from tuneworthy.types import Case, Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The files behind the forms.

    Attributes:
        base: The folder that the adapter was merged into; after 4-bit training that may be the dequantised weights.
        base_id: Id of the base at hand.
        adapter: Folder of the adapter.
        adapter_id: Id of the adapter at hand.
        adapter_parent: Id of the base that the adapter names.
        merged: Folder of the merged model, if there is one.
        merged_id: Id of the merged model at hand.
        merged_parent: Id of the adapter that the merged model names.
        gguf_parents: Ids of the models that the GGUF files name.
        template_sha256: Hash of the template that was trained with, if it was recorded.
        end_supervised: Whether the token that ends an answer was trained on, if it was recorded.
        rank: The highest rank in the adapter.
        max_rank: Limit of the server; None if no server applies adapters.
    """

    base: Path
    base_id: str
    adapter: Path
    adapter_id: str
    adapter_parent: str | None
    merged: Path | None = None
    merged_id: str | None = None
    merged_parent: str | None = None
    gguf_parents: Sequence[str] = ()
    template_sha256: str | None = None
    end_supervised: bool | None = None
    rank: int = 0
    max_rank: int | None = None


@dataclass(frozen=True, slots=True)
class FormLimits:
    """How far a form may be from the adapter on its base.

    Attributes:
        kl: Highest mean KL of the next token, nats.
        agreement: Smallest share of equal greedy answers.
    """

    kl: float
    agreement: float


LIMITS: Final = {
    "f32": FormLimits(0.02, 0.9),
    "bf16": FormLimits(0.02, 0.9),
    "f16": FormLimits(0.02, 0.9),
    "q8_0": FormLimits(0.05, 0.8),
}
# Limits of anything below 8 bits, where the score decides.
COARSE: Final = FormLimits(0.3, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The grader's contributions of the same cases in one form, ``(n_cases,)`` each (see `stats.paired`)."""

    num: Sequence[float]
    den: Sequence[float]
    groups: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Subject of a parity check.

    Attributes:
        plan: What every form was asked.
        lineage: The files behind the forms.
        base: Answers of the untrained model.
        adapter: Answers of the adapter on it.
        forms: Answers of the other forms, by name.
        scores: Scores of forms, by name; the others are compared with `adapter`.
        margin: Largest harmless loss of score.
        why_not_scored: Why there are no scores.
    """

    plan: ParityPlan
    lineage: Lineage
    base: FormAnswers
    adapter: FormAnswers
    forms: Mapping[str, FormAnswers]
    scores: Mapping[str, Scores] = field(default_factory=dict)
    margin: float = 0.05
    why_not_scored: str = ""

    @property
    def adapter_and_forms(self) -> Sequence[FormAnswers]:
        return (self.adapter, *self.forms.values())

    def without(self, names: Collection[str]) -> Subject:
        forms = {name: form for name, form in self.forms.items() if name not in names}
        scores = {name: scores for name, scores in self.scores.items() if name not in names}
        return replace(self, forms=forms, scores=scores)

    def limits(self, form: FormAnswers) -> FormLimits:
        """Return how far `form` may be from the adapter."""
        return LIMITS.get(form.kind, COARSE)


@dataclass(frozen=True, slots=True)
class Scoring:
    """What grades the answers of a form.

    Attributes:
        metric: The grader, with the rows that it can grade as its cases; None without one.
        places: Places of those rows among those that are asked, ``(n_cases,)``.
        why_not: Why nothing is scored; "" if something is.
    """

    metric: TaskMetric | None = None
    places: tuple[int, ...] = ()
    why_not: str = "no grader is configured"


def scoring_of(project: Project, store: Folder, rows: Sequence[Example], drawn: Sequence[Example]) -> Scoring:
    """Return what grades `drawn`: the project's first grader, on those that are cases, each question once.

    Args:
        project: The project.
        store: Its folder.
        rows: Rows that were trained on, for graders that are made from examples.
        drawn: Rows that are asked.

    Raises:
        UserError: The cases cannot be read, or the grader cannot be made.
    """
    if project.graders[0].type == "judge":
        return Scoring(why_not="the first grader is a judge, which would need model calls")
    cases = read_cases(project.path(project.cases.path)).cases
    kind = kind_of(store, cases, rows)
    gradable: dict[str, tuple[int, Case]] = {}
    for place, row in enumerate(drawn):
        if (case := example_case(row, kind)) is not None:
            gradable.setdefault(case.id, (place, case))
    if not gradable:
        return Scoring(
            why_not=f"none of the training rows used as prompts can be graded as a case of this task type ({kind.name})"
        )
    places, asked_cases = zip(*gradable.values(), strict=True)
    return Scoring(TaskMetric(grader=own_grader(project, cases, rows, kind), cases=asked_cases), places, "")


def scores_of(scoring: Scoring, adapter: FormAnswers, forms: Mapping[str, FormAnswers]) -> dict[str, Scores]:
    """Return the grader's scores of the greedy answers of the adapter and per form; nothing without a grader.

    Rows whose answer the adapter did not end within the limit are left out (cut answers say nothing of the score), and
    so are rows that cannot be scored.

    Args:
        scoring: What grades.
        adapter: Answers that the others are compared with.
        forms: Their answers, by name.
    """
    if scoring.metric is None:
        return {}
    grades = {
        name: scoring.metric.grades(
            [(form.greedy[place].text, "stop" if form.greedy[place].ended else "length") for place in scoring.places]
        )
        for name, form in {"adapter": adapter, **forms}.items()
    }
    counted = [
        at for at, place in enumerate(scoring.places)
        if adapter.greedy[place].ended and not any(scores[at].unscored for scores in grades.values())
    ]  # fmt: skip
    groups = [scoring.metric.cases[at].source for at in counted]
    return {
        name: Scores(num=[scores[at].num for at in counted], den=[scores[at].den for at in counted], groups=groups)
        for name, scores in grades.items() if counted
    }  # fmt: skip
