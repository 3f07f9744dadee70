"""Subject of a parity check: measured answers, the files behind them, the limits, and the grader's scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from tuneworthy.ship.parity.measure import FormAnswers, ParityPlan
from tuneworthy.ship.parity.request import ParityRequest, Scoring
from tuneworthy.types import Texts, frozen, positional


@positional
class FormLimits:
    """How far a form may be from the adapter on its base.

    Attributes:
        kl: Highest mean KL of the next token, nats.
        agreement: Smallest share of equal greedy answers.
    """

    kl: float
    agreement: float


LIMITS = dict.fromkeys(("f32", "bf16", "f16"), FormLimits(0.02, 0.9)) | {"q8_0": FormLimits(0.05, 0.8)}
# Limits of anything below 8 bits, where the score decides.
COARSE = FormLimits(0.3, 0.5)


@frozen
class Scores:
    """The grader's contributions of the same cases in one form, ``(n_cases,)`` each (see `stats.paired`)."""

    num: Sequence[float]
    den: Sequence[float]
    groups: Texts | None = None


@frozen
class Subject:
    """Subject of a parity check.

    Attributes:
        plan: What every form was asked.
        request: The artifacts behind the forms, and the limits.
        base_folder: The folder that the adapter was merged into; after 4-bit training the dequantised weights.
        base: Answers of the untrained model.
        adapter: Answers of the adapter on it.
        forms: Answers of the other forms, by name.
        scores: Scores of forms, by name; the others are compared with `adapter`.
        why_not_scored: Why there are no scores.
    """

    plan: ParityPlan
    request: ParityRequest
    base_folder: Path
    base: FormAnswers
    adapter: FormAnswers
    forms: Mapping[str, FormAnswers]
    scores: Mapping[str, Scores] = field(default_factory=dict)
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
