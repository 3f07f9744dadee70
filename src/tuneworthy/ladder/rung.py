"""Protocol of a rung: it proposes candidates; `run` explores, tests and decides for all rungs alike.

A rung is a subclass of `Rung` behind `@rung(name)`. Its steps get inputs as arguments and return results:
a rung has no state.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneworthy.config.ladder import RUNGS as BUILT_IN
from tuneworthy.config.project import Project
from tuneworthy.engine.models import Models
from tuneworthy.engine.toolbox import Toolbox
from tuneworthy.ladder.rung_details import Detail
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.registry import Registry
from tuneworthy.retrieval.library import DocumentLibrary
from tuneworthy.search.racing import Race
from tuneworthy.types import Cases, NamedInts, Texts, Variant, frozen


@dataclass(frozen=True, kw_only=True)
class View:
    """Context of a rung: the opened project, and the state of the run that it builds on.

    Attributes:
        project: Its configuration.
        task: Kind, labels, schema.
        pool: Examples that shots are drawn from.
        models: Models that can be called.
        library: The project's documents.
        toolbox: The project's tools.
        opened: The session, in which models can be called; None in an estimate.
        best: The best variant so far; None before the baseline.
        n_dev: Dev cases.
        dev: The dev cases in the order of the race; empty in an estimate.
        searched: Whether models may be called to find candidates: in a whole run, and where dev is large enough.
        tried: The candidates of the rungs before.
        measured: Variants that were measured on test with a language model and may serve.
    """

    project: Project
    task: TaskInfo
    pool: ShotPool
    models: Models
    library: DocumentLibrary | None
    toolbox: Toolbox | None = None
    opened: Session | None = None
    best: Variant | None = None
    n_dev: int
    dev: Cases = ()
    searched: bool = False
    tried: Sequence[Variant] = ()
    measured: Sequence[Variant] = ()

    @property
    def seed(self) -> int:
        return self.project.split.seed

    @property
    def session(self) -> Session:
        assert self.opened is not None
        return self.opened

    @property
    def incumbent(self) -> Variant:
        assert self.best is not None
        return self.best


def view_of(session: Session, **state: Any) -> View:
    return View(
        project=session.project,
        task=session.task,
        pool=session.pool,
        models=session.models,
        library=session.library,
        toolbox=session.toolbox,
        opened=session,
        **state,
    )


@frozen
class Proposal:
    """Candidates of a rung.

    Attributes:
        candidates: Variants; the first is the one that is preregistered where dev is too small to explore.
        skipped: Why there is nothing to try ("" if there is something).
        skip_code: The same for machines.
        ineligible: Candidates that a constraint forbids, with reasons.
        notes: Skipped or dropped items.
        more_candidates: How many `search` adds at most.
        more_calls: Model to the calls that `search`, `examine` and `after_test` make at most, in addition to race, test
            and latency.
    """

    candidates: Sequence[Variant] = ()
    skipped: str = ""
    skip_code: str = ""
    ineligible: Texts = ()
    notes: Texts = ()
    more_candidates: int = 0
    more_calls: NamedInts = field(default_factory=dict)


@frozen
class SearchResult(Proposal):
    """Result of a rung's search with models: further candidates, or why there is nothing to try after all.

    Attributes:
        made_from: Ids of the dev cases that the candidates were made from: no race uses these.
        detail: How they were found.
    """

    made_from: frozenset[str] = frozenset()
    detail: Detail | None = None


class Rung(ABC):
    """A step of the ladder; every step but `propose` may do nothing."""

    @abstractmethod
    async def propose(self, view: View) -> Proposal:
        """Return what to try above the best variant so far."""

    async def search(self, view: View) -> SearchResult:
        """Search for further candidates with models, on dev.

        Calls depend only on stored answers and the seed, so an interrupted search continues.
        """
        return SearchResult()

    async def combine(self, view: View, raced: Race, dev: Cases) -> tuple[Race, Texts]:
        """Return the race with a winner that combines its candidates, from their stored answers, and notes.

        Args:
            view: The context of the proposal.
            raced: All candidates have left it, or answered the same dev cases.
            dev: The cases of the race, in its order.
        """
        return raced, ()

    async def examine(self, view: View, tried: Sequence[Variant], winner: Variant) -> Detail | None:
        """Look closer at the winner of the race, on dev.

        Args:
            view: The context of the proposal.
            tried: All candidates.
            winner: The best on dev.
        """
        return None

    async def after_test(self, view: View, winner: Variant) -> Detail | None:
        """Measure further facts of the winner, once it was compared on test."""
        return None


RUNGS: Registry[type[Rung]] = Registry(
    "rungs", {name: f"tuneworthy.ladder.rungs.{name}" for name in BUILT_IN}, chosen=True
)
rung = RUNGS.register
