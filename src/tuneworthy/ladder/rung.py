"""What a rung is: it proposes candidates; `run` explores, tests and decides for all rungs alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from tuneworthy.cases.task_kind import TaskKind
from tuneworthy.config.project import Project
from tuneworthy.evaluate.latency import Latency
from tuneworthy.evaluate.models import Models
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.registry import Registry
from tuneworthy.retrieval.library import DocumentLibrary
from tuneworthy.types import Case, OutputFormat, Trace, Variant

if TYPE_CHECKING:
    from tuneworthy.ladder.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a rung wants to try.

    Attributes:
        candidates: Variants; the first is the one that is preregistered where dev is too small to explore.
        skipped: Why there is nothing to try ("" if there is something).
        skip_code: The same for machines.
        violates_constraint: Names of what a constraint forbids, each with the reason.
    """

    candidates: Sequence[Variant] = ()
    skipped: str = ""
    skip_code: str = ""
    not_eligible: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A variant with what was measured of it on test; `violated` names the constraint that it breaks, "" if none."""

    rung: str
    variant: Variant
    traces: Sequence[Trace]
    num: np.ndarray
    den: np.ndarray
    unscored: int
    usd_per_1k: float | None
    latency: Latency | None = None
    violated: str = ""

    @property
    def score(self) -> float:
        """sum(num) / sum(den) over the scored cases."""
        scored = ~np.isnan(self.num)
        total = float(self.den[scored].sum())
        return float(self.num[scored].sum()) / total if total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What rungs know of the task.

    Attributes:
        kind: `label`, `json`, `short_answer` or `free_text`.
        labels: The labels of a label task that dev and examples have, and those that the project file names.
        closed: Whether these are nearly all there are; if not, no answer is held to them.
        schema: JSON schema of the answers of a JSON task, inferred from dev and examples.
    """

    kind: TaskKind
    labels: tuple[str, ...] = ()
    closed: bool = True
    schema: dict[str, Any] | None = None

    @property
    def structured(self) -> OutputFormat:
        """The constraint that fits the task; free where none does."""
        if self.kind == "label" and self.closed and len(self.labels) > 1:
            return OutputFormat(kind="choice", choices=self.labels)
        if self.kind == "json" and self.schema:
            return OutputFormat(kind="json_schema", schema=self.schema)
        return OutputFormat()


class Rung(Protocol):
    """A step of the ladder."""

    async def propose(self, view: View) -> Proposal:
        """Return what to try above the best variant so far."""
        ...


@runtime_checkable
class Examines(Protocol):
    """A rung that looks closer at its winner, on dev; the record has a field of the rung's name for what it finds."""

    async def examine(self, session: Session, winner: Variant, dev: Sequence[Case]) -> dict[str, Any]:
        """Return plain JSON-able data."""
        ...

    def examined(self, view: View, winner: Variant, dev: Sequence[Case], raced: int) -> Sequence[tuple[Variant, int]]:
        """Return whom `examine` will ask, and how often, beside the `raced` cases that the winner has answered."""
        ...


@runtime_checkable
class Searches(Protocol):
    """A rung that asks models, on dev, to find candidates beside those that it proposes."""

    async def search(self, session: Session, view: View) -> Sequence[Variant]:
        """Return what was found; nothing (and a note, if the project file asks for it) where it may not be searched.

        What is asked comes from stored answers and the seed alone, so that a search that was cut short goes on.
        """
        ...

    def expected(self, view: View) -> Sequence[tuple[Variant, int]]:
        """Return whom `search` and the candidates that it finds will ask, and how often, about."""
        ...


@dataclass(frozen=True, kw_only=True)
class View:
    """What a rung may look at when it proposes: no test answers, no scores of cases.

    Attributes:
        library: The project's documents, or None.
        dev: Cases whose named documents a search may be tuned on; empty where nothing may be searched (an estimate).
        searched: Whether models may be asked to find candidates: a whole run, and a dev that is large enough.
        made_from: Ids of the dev cases that candidates were made from, filled in by a search: no race sees them.
    """

    project: Project
    task: Task
    pool: ShotPool
    models: Models
    best: Variant | None
    seed: int
    n_dev: int
    library: DocumentLibrary | None = None
    dev: Sequence[Case] = ()
    searched: bool = False
    made_from: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


RUNGS: Registry[Any] = Registry(
    "rungs",
    {
        name: f"tuneworthy.ladder.rungs.{name}"
        for name in ("classical", "baseline", "prompt", "retrieval", "model", "few_shot", "decoding", "fine_tune")
    },
)
rung = RUNGS.register
