"""What a parity check is, what it says, and the door through which one is registered.

A check is a class behind `@parity_check(name)`; its docstring is its page, `causes` names all that it can find wrong.
It is a function of what was measured and changes nothing. The checks run in order, from the cause to what follows from
it: the cause of a failed run is that of the first check that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import cleandoc
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Protocol, TypeVar

from tuneworthy.registry import Registry
from tuneworthy.ship.parity.measure import FormAnswers, ParityPlan

Status = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Which files stand behind the forms.

    Attributes:
        base: The folder that the adapter was merged into; after 4-bit training that may be the dequantised weights.
        adapter, merged: Their folders; merged may be None.
        told_base: Id of the base that the adapter names. base_id: Id of the base at hand.
        told_adapter: Id of the adapter that the merged model names. adapter_id: Id of the adapter at hand.
        told_merged: Ids of the models that the GGUF files name. merged_id: Id of the merged model at hand.
        template_sha256: Of the template that was trained with, if it was recorded.
        end_supervised: Whether the token that ends an answer was trained on, if it was recorded.
        rank: The highest of the adapter. max_rank: What the server allows; None if none applies adapters.
    """

    base: Path
    adapter: Path
    base_id: str
    adapter_id: str
    told_base: str | None
    merged: Path | None = None
    merged_id: str | None = None
    told_adapter: str | None = None
    told_merged: Sequence[str] = ()
    template_sha256: str | None = None
    end_supervised: bool | None = None
    rank: int = 0
    max_rank: int | None = None


@dataclass(frozen=True, slots=True)
class FormLimits:
    """How far a form may be from the adapter on its base.

    Attributes:
        kl: Mean KL of the next token, nats. agreement: Least share of equal greedy answers.
    """

    kl: float
    agreement: float


LIMITS: Final[Mapping[str, FormLimits]] = {
    "f32": FormLimits(0.02, 0.9),
    "bf16": FormLimits(0.02, 0.9),
    "f16": FormLimits(0.02, 0.9),
    "q8_0": FormLimits(0.05, 0.8),
}
COARSE: Final = FormLimits(0.3, 0.5)
"""Of anything below 8 bit, where the score decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The grader's contributions of the same cases in one form: ``(n_cases,)`` each (see `stats.paired`)."""

    num: Sequence[float]
    den: Sequence[float]
    groups: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """All that a check may look at.

    Attributes:
        plan: What was asked. lineage: Which files. base: The untrained model. adapter: The adapter on it.
        forms: The other forms, by name. scores: Of forms, by name; `adapter` is what they are compared with.
        margin: Largest harmless loss of score. why_not_scored: Why there are no scores.
    """

    plan: ParityPlan
    lineage: Lineage
    base: FormAnswers
    adapter: FormAnswers
    forms: Mapping[str, FormAnswers]
    scores: Mapping[str, Scores] = field(default_factory=dict)
    margin: float = 0.05
    why_not_scored: str = ""

    def without(self, names: Collection[str]) -> Subject:
        """Return the same without some forms."""
        forms = {name: one for name, one in self.forms.items() if name not in names}
        return replace(self, forms=forms, scores={name: one for name, one in self.scores.items() if name not in names})

    def limits(self, form: FormAnswers) -> FormLimits:
        """Return how far `form` may be from the adapter."""
        return LIMITS.get(form.kind, COARSE)


@dataclass(frozen=True, slots=True)
class Said:
    """What a check says.

    Attributes:
        status: `pass`, `fail` or `skipped`. detail: One sentence, with the figures.
        cause: Of a failure, a key of the check's `causes`. forms: Those that failed, or were looked at.
        numbers: Figures by name.
    """

    status: Status
    detail: str
    cause: str | None = None
    forms: Sequence[str] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


class ParityCheck(Protocol):
    """Looks at what was measured.

    Attributes:
        code: The name that it is registered under. causes: Code to words, for all that it can find.
    """

    code: ClassVar[str]
    causes: ClassVar[Mapping[str, str]]

    def look(self, subject: Subject) -> Said:
        """Say whether it holds."""
        ...


BUILTINS: dict[str, str] = {
    "lineage": "tuneworthy.ship.parity.checks.files",
    "rank": "tuneworthy.ship.parity.checks.files",
    "template": "tuneworthy.ship.parity.checks.text",
    "added_tokens": "tuneworthy.ship.parity.checks.text",
    "prompt_ids": "tuneworthy.ship.parity.checks.text",
    "weights": "tuneworthy.ship.parity.checks.files",
    "acts": "tuneworthy.ship.parity.checks.answers",
    "end_of_turn": "tuneworthy.ship.parity.checks.answers",
    "distributions": "tuneworthy.ship.parity.checks.answers",
    "greedy": "tuneworthy.ship.parity.checks.answers",
    "fact": "tuneworthy.ship.parity.checks.answers",
    "score": "tuneworthy.ship.parity.checks.answers",
}
"""Name to module, in the order in which they run: a cause before what follows from it."""

PARITY_CHECKS: Registry[type[ParityCheck]] = Registry("parity_checks", BUILTINS)
"""Name to class; register with ``@parity_check(name)``."""

C = TypeVar("C", bound=type[Any])


def parity_check(name: str) -> Callable[[C], C]:
    """Return a decorator that registers a class as the check `name`."""

    def add(cls: C) -> C:
        cls.code = name
        PARITY_CHECKS.register(name)(cls)
        return cls

    return add


def all_checks() -> dict[str, type[ParityCheck]]:
    """Return every check by name: ours in their order, then those of installed packages."""
    return {name: PARITY_CHECKS.get(name) for name in dict.fromkeys([*BUILTINS, *PARITY_CHECKS])}


def page(check: type[ParityCheck]) -> str:
    """Return the documentation page of a check: its docstring."""
    return cleandoc(check.__doc__ or "")


def run_checks(subject: Subject) -> Iterator[tuple[str, Said]]:
    """Yield what every check says, in order."""
    for name, check in all_checks().items():
        yield name, check().look(subject)
