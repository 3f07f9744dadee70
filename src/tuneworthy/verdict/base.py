"""The nouns of a verdict: gates with their evidence, error analysis, forecast, economics, the answer.

Values only. Each part is computed in a file of its own and stored or shown as plain data.
"""

from collections.abc import Sequence
from dataclasses import field, fields
from enum import StrEnum
from typing import Literal

from tuneworthy.errors import join_sentences
from tuneworthy.rules import Status
from tuneworthy.text import readable_minutes
from tuneworthy.types import Bounds, JsonMapping, NamedFloats, OpenBounds, Texts, frozen

# The rung of tuned models.
TUNED = "fine_tune"

Stage = Literal["to_decide", "to_train", "to_ship"]
ReasonName = Literal["quality", "cost", "latency", "locality", "format", "style", "ownership", "domain"]
ReasonStatus = Literal["measured", "refuted", "unknown"]
Method = Literal["sft", "preference", "continued", "rl", "distil", "classifier"]
ErrorClass = Literal[
    "format", "knowledge", "tools", "reasoning", "instability", "refusal", "label_or_grader", "unexplained"
]


class Outcome(StrEnum):
    """What a verdict says."""

    FINE_TUNE = "fine_tune"
    DO_NOT_FINE_TUNE = "do_not_fine_tune"
    UNDECIDED = "undecided"
    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"


@frozen
class GateResult:
    """What a gate says of a project, after waivers.

    Attributes:
        gate: Its name.
        stage: When it is needed.
        status: Its status.
        evidence: The measured numbers it rests on, JSON-able.
        message: What was measured or is missing, as a sentence.
        fix: What to do, as a sentence; "" if there is nothing to do.
    """

    gate: str
    stage: Stage
    status: Status
    evidence: JsonMapping = field(default_factory=dict)
    message: str = ""
    fix: str = ""

    @property
    def detail(self) -> str:
        return join_sentences(self.message, self.fix)

    @property
    def is_open(self) -> bool:
        """Whether it failed or is unknown."""
        return self.status in {"fail", "unknown"}


@frozen
class ErrorShare:
    """A class of failures on dev.

    Attributes:
        name: The class.
        n_failed: Failures of this class.
        n: All failures that were analysed.
        share: n_failed / n.
        ci95: Its Clopper-Pearson interval.
        fixed_by: The rung or command that fixes it, e.g. `retrieval` or `label cases`; "" if unknown.
        probe: How it was found, in one sentence.
        limits: What could not be measured here, a sentence each.
    """

    name: ErrorClass
    n_failed: int
    n: int
    share: float
    ci95: Bounds
    fixed_by: str
    probe: str
    limits: Texts = ()


@frozen
class LabelCeiling:
    """The blind audit of test labels: the score that a model which is always right gets against them.

    A model that repeats errors of the labels, as one trained on such labels may, can score above that.

    Attributes:
        share: Share of test cases whose label is wrong now, with its 95% interval.
        ceiling: 1 - share.
        n: Test cases that people labelled.
        scores: Score by option if all labels were right; empty for tasks without labels.
        decides: Whether wrong labels keep options from the target: the upper bound of the ceiling is below it, or most
            failures of the best option are the label's. None where the audit does not settle it.
        uncorrected: Whether the files still have a label that people contradict.
        to_label: Test cases that people are to label next.
    """

    share: float
    ci95: Bounds
    ceiling: float
    n: int
    scores: NamedFloats = field(default_factory=dict)
    decides: bool | None = None
    uncorrected: bool = False
    to_label: int = 0

    def __str__(self) -> str:
        low, high = self.ci95
        best = max(self.scores, key=lambda name: self.scores[name], default="")
        return join_sentences(
            f"{self.share:.1%} of the test labels are wrong (95% interval [{low:.1%}, {high:.1%}], {self.n} audited "
            f"cases). A model that is always right scores {self.ceiling:.1%} on them [{1 - high:.1%}, {1 - low:.1%}].",
            f"With right labels, {best} scores about {self.scores[best]:.1%}." if best and self.share else "",
        )


@frozen
class Forecast:
    """What training is expected to gain; `unknown` before a pilot (target minus baseline is never called a gain).

    Attributes:
        status: `unknown` or `measured`.
        baseline: Score of the model before training, with the serving prompt, on dev: the gain is over that.
        gain: Of the primary grader at `n_examples`: where the pilot ends, or less where its curve bends down.
        ci95: Its bounds: the lower bound is claimed; the upper is None unless the curve has flattened.
        n_examples: The size it is forecast for; at most twice the largest pilot.
        points: The pilot: (size, seed, score).
        cost: Cost of a pilot, in a sentence, while unknown.
    """

    status: Literal["unknown", "measured"]
    baseline: float | None = None
    gain: float | None = None
    ci95: OpenBounds | None = None
    n_examples: int | None = None
    points: Sequence[tuple[int, int, float]] = ()
    cost: str = ""


@frozen
class TrainingReason:
    """A reason to train, and the finding about it."""

    reason: ReasonName
    status: ReasonStatus
    evidence: str


# How many more bits per byte, as a share of those of general sentences, make a gap. Assumed: clear of what people write
# to a service (up to 40% with SmolLM2-135M), and far below notes in abbreviations (240% and more).
DOMAIN_GAP = 0.5


@frozen
class DomainText:
    """How unusual the text of the domain is to a model.

    Attributes:
        n: Texts of the domain.
        domain: Bits per byte of these texts; None if not measured, like the next one.
        general: The same of general English sentences of the same lengths.
        why: Why it is not measured, and what measures it; "" if it is.
    """

    n: int = 0
    domain: float | None = None
    general: float | None = None
    why: str = ""


@frozen
class TrainingAdvice:
    """Which training fits, and the reasons for and against any.

    Attributes:
        method: None unless the answer is to train.
        why: Why this method and no other; "" without one.
        source: A document that it rests on.
        reasons: All reasons.
    """

    method: Method | None = None
    why: str = ""
    source: str = ""
    reasons: Sequence[TrainingReason] = ()


@frozen
class NextAction:
    """The next step.

    Attributes:
        command: To run; "" where a person has to decide or edit.
        why: Effect and reason, in sentences.
        calls: Of the models, at most; None if not known, like the US dollars.
        person_minutes: Of a person.
        chance_to_settle: That the answer is yes or no afterwards; None where the answer is settled already.
    """

    command: str
    why: str
    calls: int | None = None
    usd: float | None = None
    person_minutes: float | None = None
    chance_to_settle: float | None = None

    def __str__(self) -> str:
        named = all(command in self.why for command in self.command.split(" && "))
        return join_sentences(self.why, "" if named else f"Run `{self.command}`.")


@frozen
class Cost:
    """The cost of a step, at most.

    Attributes:
        calls: Of the models, like US dollars and minutes.
        person_minutes: Of a person.
    """

    calls: int = 0
    usd: float = 0.0
    minutes: float = 0.0
    person_minutes: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    @property
    def order(self) -> tuple[float, float, float]:
        """The key of a cheaper cost is lower: money, then time, then calls."""
        return self.usd, self.minutes + self.person_minutes, self.calls

    def __str__(self) -> str:
        usd = f"${self.usd:,.2f}" if self.usd else "no cost"
        if self.person_minutes:
            return f"about {readable_minutes(self.person_minutes)} of manual work" + (f", {usd}" if self.usd else "")
        if not self.calls:
            return "no calls, no cost, a few seconds"
        minutes = f"{self.minutes:.0f} min" if round(self.minutes) else "less than a minute"
        return f"at most {self.calls:,} calls, less those already answered, {usd}, {minutes}"
