"""What a data check is, what it finds, and the door through which one is registered.

A check is a class behind `@check(name)`: its arguments are its settings (so that a recipe can rebuild it), its
docstring is its page, `reasons` names all that it can find in words. It looks at rows and yields findings; the
framework counts, times and stores them, and only the framework changes or leaves out rows.

Rules that hold for every check:

1. The same rows, context and arguments give the same findings.
2. Any row is looked at without an error, however odd: empty turns, unknown roles, lone surrogates.
3. No finding holds personal data: `detail` is for people to read and is written to files.
4. `find` changes nothing; a check whose findings say `mask` has `repair`, which returns the changed row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, TypeVar, runtime_checkable

from tuneworthy.registry import Registry
from tuneworthy.types import Case, Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Action = Literal["drop", "mask", "report"]
"""What a finding asks for: leave the row out, keep it as the check's `repair` changes it, or only tell."""

WHOLE_SET: Final = -1
"""The `row` of a finding that is about all rows together; its action is `report`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    Attributes:
        row: Position in the rows that were looked at, or `WHOLE_SET`.
        reason: A code of the check's `reasons`, e.g. `near_duplicate`.
        detail: For people; never personal data.
        other: The row that it repeats.
        score: How sure or how near, where the check measures it.
        action: What is asked for.
    """

    row: int
    reason: str
    detail: str = ""
    other: int | None = None
    score: float | None = None
    action: Action = "drop"


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors whose dot product is their likeness in meaning."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, ``(n_texts, dim)``."""
        ...


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge says of a row: good or not, or None and why there is no verdict."""

    good: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Opinions:
    """What a judge says of rows, in their order, and how many worthless answers it was shown (it caught them all)."""

    rows: Sequence[Opinion]
    n_canaries: int


@runtime_checkable
class Auditor(Protocol):
    """A judge that says of each row whether it is good to train on."""

    def audit(self, rows: Sequence[Example]) -> Opinions:
        """Ask about all `rows`; what was asked before is not asked again.

        Raises:
            UserError: It calls a worthless answer good, so what it says is worth nothing.
            TuneworthyError: Budget spent, key refused, provider down.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What checks may look at beside the rows.

    Attributes:
        cases: Dev and test: they must not be given away, and they keep the mix of real traffic.
        encoder: For what is found by meaning; without one the checks that need it find less, and say so.
        labels: The labels of a task that has few, else empty.
        auditor: Judges rows; None if the project names no judge for them.
        seed: Of every random choice.
    """

    cases: Sequence[Case] = ()
    encoder: Encoder | None = None
    labels: Sequence[str] = ()
    auditor: Auditor | None = None
    seed: int = 0


class Check(Protocol):
    """Looks at rows. A check that masks also has ``repair(row: Example) -> Example``.

    A check with a gate also has ``gate: ClassVar[frozenset[str]]``: reasons of which no row may stay in a version.

    Attributes:
        code: The name that it is registered under.
        reasons: Code to words, for all that it can find.
        whole: Whether it must see all rows at once; if not, rows may be handed over in batches.
    """

    code: ClassVar[str]
    reasons: ClassVar[Mapping[str, str]]
    whole: ClassVar[bool]

    def find(self, rows: Sequence[Example], context: Context) -> Iterable[Finding]:
        """Yield what is found in `rows`; several findings a row are allowed."""
        ...


BUILTINS: dict[str, str] = {
    "chat": "tuneworthy.dataset.checks.chat",
    "feedback": "tuneworthy.dataset.checks.feedback",
    "truncation": "tuneworthy.dataset.checks.endings",
    "refusal": "tuneworthy.dataset.checks.endings",
    "contamination": "tuneworthy.dataset.checks.contamination",
    "exact": "tuneworthy.dataset.checks.duplicates",
    "near": "tuneworthy.dataset.checks.duplicates",
    "semantic": "tuneworthy.dataset.checks.duplicates",
    "paraphrases": "tuneworthy.dataset.checks.paraphrases",
    "personal_data": "tuneworthy.dataset.checks.personal_data",
    "concentration": "tuneworthy.dataset.checks.concentration",
    "judge_audit": "tuneworthy.dataset.checks.judge_audit",
    "label_errors": "tuneworthy.dataset.checks.label_errors",
    "declined_share": "tuneworthy.dataset.checks.declined_share",
    "length": "tuneworthy.dataset.checks.outliers",
    "language": "tuneworthy.dataset.checks.outliers",
    "teacher_mix": "tuneworthy.dataset.checks.teachers",
    "teacher_drift": "tuneworthy.dataset.checks.teachers",
}
"""Name to module, in the order in which they run: what is cheap and certain first.

What gives a case away leaves before duplicates do, or it would be told as the duplicate of a row that stays, or stand
for rows that give nothing away.
"""

CHECKS: Registry[Callable[..., Check]] = Registry("data_checks", BUILTINS)
"""Name to class; register with ``@check(name)``."""

C = TypeVar("C", bound=type[Any])


def check(name: str) -> Callable[[C], C]:
    """Return a decorator that registers a class as the check `name`."""

    def add(cls: C) -> C:
        cls.code = name
        CHECKS.register(name)(cls)
        return cls

    return add


def all_checks() -> dict[str, Callable[..., Check]]:
    """Return every check by name: ours in their order, then those of installed packages."""
    order = dict.fromkeys([*BUILTINS, *CHECKS])
    return {name: CHECKS.get(name) for name in order}


def page(factory: Callable[..., Check]) -> str:
    """Return the documentation page of a check: its docstring."""
    return cleandoc(factory.__doc__ or "")
