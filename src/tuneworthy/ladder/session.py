"""An opened project: its data read and split, its store and models at hand. What all commands that ask share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tuneworthy.cases import Dataset, read_dataset
from tuneworthy.cases.splits import Changes, Split
from tuneworthy.cases.task_kind import labels_of
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.evaluate.budget import Budget
from tuneworthy.evaluate.models import Models
from tuneworthy.evaluate.request_batcher import RequestBatcher
from tuneworthy.evaluate.runner import Progress, Runner
from tuneworthy.graders.apply import aggregate, grade_all, make_grader
from tuneworthy.graders.base import Grader, GradingContext
from tuneworthy.ladder.comparisons import read_comparisons
from tuneworthy.ladder.reveal import reveal_note
from tuneworthy.ladder.rung import Task
from tuneworthy.ladder.rungs.classical import add_classical_models
from tuneworthy.ladder.rungs.tuned_models import add_tuned
from tuneworthy.ladder.task_info import task_of
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.encoder import load_encoder
from tuneworthy.retrieval.library import open_library
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import Case, Score, Trace, Variant, canonical

if TYPE_CHECKING:
    from tuneworthy.graders.judge import JudgeGrader
    from tuneworthy.ladder.judging import Judging


@dataclass
class Data:
    """Cases and examples, read, cleaned of overlaps, and split.

    Attributes:
        cases: All cases of the file.
        split: dev, test and the examples left for shots and training.
        task: Kind, labels, schema.
        labels: All labels that occur anywhere: what graders read answers with, and no model is shown.
        overlaps: Examples that left because they give a case away: counts by side and reason.
        notes: What a reader of the record must know.
    """

    cases: Sequence[Case]
    split: Split
    task: Task
    labels: Sequence[str]
    overlaps: dict[str, Any]
    notes: list[str]


def read_data(project: Project) -> Data:
    """Read, clean and split the project's data; a stored split stays as it was drawn.

    Raises:
        UserError: A file is missing or wrong, a case has no label, a split is empty, or cases were edited.
    """
    dataset = read_dataset(project)
    unlabelled = [case.id for case in dataset.cases if not case.labelled]
    if unlabelled:
        raise UserError(
            f"expected every case to have a right answer, got {len(unlabelled)} without ({unlabelled[0]}, ...)",
            hint="label them with `tuneworthy cases label`",
        )
    return settle(project, dataset)


def settle(project: Project, dataset: Dataset) -> Data:
    """Return what a run needs to know of `dataset`, all of whose cases are labelled.

    Raises:
        UserError: A side of the split is empty, cases of the stored split were edited or removed, or the looks at
            them are gone.
    """
    folder = Folder(project.root)
    read_comparisons(folder)
    notes = [*dataset.notes, *filter(None, [reveal_note(folder)]), *_changes_since(dataset.changes)]
    task, task_notes = task_of(project, dataset.split)
    return Data(
        cases=dataset.cases,
        split=dataset.split,
        task=task,
        labels=labels_of(dataset.cases, dataset.examples) if task.kind == "label" else (),
        overlaps=dataset.contamination.counts,
        notes=[*notes, *task_notes],
    )


def _changes_since(found: Changes) -> list[str]:
    """Say how the cases differ from those of the first run.

    Raises:
        UserError: What is asked was edited, or cases are gone: that is another test set.
    """
    if found.edited or found.removed:
        gone = [*found.edited, *found.removed]
        raise UserError(
            f"expected the cases of the first run, got {len(gone)} edited or removed ({', '.join(gone[:3])})",
            hint="put them back, or start over with a new test set: move .tuneworthy/split.json and comparisons.json away",
        )
    notes = []
    if found.relabelled:
        notes.append(f"labels corrected since the first run, all variants scored again: {', '.join(found.relabelled)}")
    if found.added:
        notes.append(f"{len(found.added)} cases were added after the split was drawn and are not used")
    return notes


class Session:
    """Everything a command needs to ask and judge; open it with `open_session`.

    Args:
        known: Identities of models by name; if given, nothing is asked and no judge is opened.
    """

    def __init__(
        self,
        project: Project,
        data: Data,
        store: ResponseStore,
        progress: Progress | None,
        budget: Budget,
        *,
        known: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.project = project
        self.folder = Folder(project.root)
        self.data = data
        self.split = data.split
        self.task = data.task
        self.models = Models(project)
        self.pool = ShotPool(data.split.shots, load_encoder)
        add_classical_models(self.models, self.task.kind, self.pool, project.split.seed)
        add_tuned(self.models, project)  # one that cannot be opened is told by its rung
        self.library = open_library(project, Account(store, budget) if known is None else None)
        self.runner = Runner(store, budget, self.pool, progress, seed=project.split.seed, library=self.library)
        self.asker = RequestBatcher(self.runner, self.models, identities=known)

    @cached_property
    def graders(self) -> dict[str, Grader]:
        """All graders, the primary one first, by type; the second of a type is `type#2`."""
        context = GradingContext(
            root=self.project.root,
            examples=self.split.shots,
            labels=self.data.labels,
            asker=self.asker,
            seed=self.project.split.seed,
        )
        found: dict[str, Grader] = {}
        seen: Counter[str] = Counter()
        for config in self.project.graders:
            seen[config.type] += 1
            name = config.type if seen[config.type] == 1 else f"{config.type}#{seen[config.type]}"
            found[name] = make_grader(config, context)
        return found

    @property
    def primary(self) -> Grader:
        """The grader that decides."""
        return next(iter(self.graders.values()))

    @cached_property
    def judging(self) -> Judging | None:
        """What bars a judge from deciding alone; None unless the primary grader is one."""
        if self.project.graders[0].type != "judge":
            return None
        from tuneworthy.ladder.judging import Judging  # few projects have a judge, and it loads the statistics

        return Judging(self.project, self.split, cast("JudgeGrader", self.primary))

    async def ask(
        self, variant: Variant, cases: Sequence[Case], *, repeats: int = 1, logprobs: int | None = None
    ) -> list[Trace]:
        """Return the traces of `cases`, each case's repeats together.

        Args:
            variant: What is asked. cases: Who is asked about.
            repeats: Answers to each case. logprobs: Alternatives per token to ask for; None asks for none.

        Raises:
            UserError: `[models]` names another model now than the one that the variant was measured with.
        """
        model = self.models[variant.model]
        if canonical(dict(variant.model_identity)) != model.identity:
            raise UserError(
                f"expected models.{variant.model} to be the model that {variant.name} was measured with, got another",
                hint="walk again with `tuneworthy run`, or put the model back under a name of its own",
            )
        return await self.runner.run(variant, model, cases, repeats=range(repeats), logprobs=logprobs)

    async def score(
        self, traces: Sequence[Trace], cases: Sequence[Case], *, grader: Grader | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[Score]]:
        """Judge traces of `cases`.

        Returns:
            num and den, `(n_cases,)`, means over the repeats, NaN where unscored; and all scores.
        """
        scores = await grade_all(grader or self.primary, traces, cases)
        num, den = aggregate(scores, [trace.case_id for trace in traces], order=[case.id for case in cases])
        return num, den, scores

    def groups(self, cases: Sequence[Case]) -> np.ndarray | None:
        """Return group numbers of `cases`, `(n_cases,)`, or None if no case names a group."""
        if not any(case.group for case in cases):
            return None
        numbers: dict[str, int] = defaultdict(lambda: len(numbers))
        return np.array([numbers[case.source] for case in cases])


@asynccontextmanager
async def open_session(
    project: Project,
    *,
    progress: Progress | None = None,
    max_usd: float | None = None,
    waiting: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Session]:
    """Open `project` for asking: one process at a time.

    Args:
        progress: Told what happens.
        max_usd: Limit of what this run may spend, beside the project's own budget.
        waiting: Told if another process holds the project.
    """
    folder = Folder(project.root)
    with folder.lock(waiting):
        data = read_data(project)  # now, as another process may just have drawn the split
        if folder.read("split") is None:
            folder.write("split", data.split.to_dict())
        store = ResponseStore(folder.responses)
        spent = store.spent_usd()
        limits = [
            limit
            for limit in (project.ladder.budget_usd, None if max_usd is None else spent + max_usd)
            if limit is not None
        ]
        session = Session(project, data, store, progress, Budget(min(limits) if limits else None, spent))
        try:
            yield session
        finally:
            await session.models.close()
            if session.library:
                session.library.close()
            store.close()
