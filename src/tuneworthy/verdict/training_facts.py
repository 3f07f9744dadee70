"""What a verdict knows of the training data, the pilot, the tuned model and the proofs of it: values only.

Everything names the hash of what it is about. What is about another dataset, adapter or base than the one at hand is
named in `changed` and not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tuneworthy.dataset.records import Effect
from tuneworthy.ladder.rung_details import TunedDetail

ReviewStatus = Literal["no_plan", "open", "accepted", "rejected"]
Terms = Literal["pass", "fail", "unknown", "not_applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEvidence:
    """A frozen version of the training data.

    Attributes:
        version: Its hash.
        n_rows: Its rows.
        broken: Why its files are not what was frozen; "" if they are.
        failed: Gates of its build that failed, in words: it was frozen with `--unsafe`.
        overlaps: What the overlap check of the build says if it did not pass; "" if it did.
        n_near: Rows that resemble a case, which were reported and are still in it.
        changed: What differs now from what it was checked against, in words.
        review: How far the review by people is.
        review_words: What it says.
        bound: The share of good rows that was shown; None before.
        effect: What its build does to accuracy.
        effect_words: The same for people.
        lost: Labels that cases expect and of which its build dropped every row.
        terms: Whether the terms of the models that wrote rows allow training on them.
        terms_words: Why.
        newer: The version that was frozen after it, which a tuned model was not trained on; "" without one.
    """

    version: str
    n_rows: int
    broken: str = ""
    failed: Sequence[str] = ()
    overlaps: str = ""
    n_near: int = 0
    changed: Sequence[str] = ()
    review: ReviewStatus = "no_plan"
    review_words: str = ""
    bound: float | None = None
    effect: Effect | None = None
    effect_words: str = ""
    lost: Sequence[str] = ()
    terms: Terms = "unknown"
    terms_words: str = ""
    newer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotEvidence:
    """A pilot: small trainings of growing size.

    Attributes:
        n: Trainings.
        changed: Why it says nothing of the dataset and base at hand, in words; its points are then not used.
        built_gain: Gain of the built over the raw rows at equal steps, with its interval; None if it was not measured.
    """

    n: int
    changed: Sequence[str] = ()
    built_gain: tuple[float, tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofEvidence:
    """A proof of a model: that its file is the one that was measured (`parity`), that it is served (`serving`), or that
    it does no worse on recorded traffic (`shadow`).

    Attributes:
        status: What it says.
        detail: What was measured, and what caused a failure.
        changed: Why it is about another model than the one on test, in words; it is then not used.
        numbers: Ids and checks, for the record.
    """

    status: Literal["pass", "fail", "unknown"]
    detail: str = ""
    changed: Sequence[str] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionEvidence:
    """What a regression set says of the tuned model (see `regressions.compare.RegressionResult`).

    Attributes:
        changed: Whether the set is another now than it was; it is then not used.
    """

    name: str
    status: str
    n: int
    margin: float
    detail: str
    needs: int | None = None
    changed: bool = False

    @property
    def sentence(self) -> str:
        """Name and detail, without a full stop."""
        return f"{self.name}: {self.detail.rstrip('.')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvidence:
    """All that is known of training and shipping.

    Attributes:
        dataset: The version that the tuned model was trained on; the latest one before training.
        pilot: As far as there is one, like the proofs.
        parity: That the forms of the model are one model.
        serving: That it is served.
        shadow: That it does no worse on recorded traffic.
        adapter: The adapter or classifier that was trained last.
        tuned: The artifacts that were compared on test, and what was measured besides the score.
        regressions: Of the run.
        sets_missing: Regression sets of the project without answers, or without answers as they are now.
        changed: What was made since the tuned model was compared on test, in words.
    """

    dataset: DatasetEvidence | None = None
    pilot: PilotEvidence | None = None
    parity: ProofEvidence | None = None
    serving: ProofEvidence | None = None
    shadow: ProofEvidence | None = None
    adapter: str | None = None
    tuned: TunedDetail | None = None
    regressions: Sequence[RegressionEvidence] = ()
    sets_missing: Sequence[str] = ()
    changed: Sequence[str] = ()

    @property
    def rival(self) -> str:
        """The model that the regression sets compare the fine-tuned model with."""
        return (self.tuned.compared_with if self.tuned else "") or "a different model"

    @property
    def compares_base(self) -> bool:
        """Whether the regression sets compare the fine-tuned model with its own base model."""
        tuned = self.tuned
        return tuned is not None and tuned.base is not None and tuned.compared_base == tuned.base
