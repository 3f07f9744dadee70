"""An opened project: its data read and split, its store and models at hand. What all commands that ask share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tuneworthy.cases import Dataset, read_dataset
from tuneworthy.cases.splits import Changes, Split, labels_of
from tuneworthy.cases.task_kind import label_counts
from tuneworthy.config.grants import missing_grants
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.evaluate.budget import Budget
from tuneworthy.evaluate.models import Models
from tuneworthy.evaluate.request_batcher import RequestBatcher
from tuneworthy.evaluate.runner import Progress, Runner
from tuneworthy.graders.apply import aggregate, grade_all, make_grader
from tuneworthy.graders.base import Grader, GradingContext
from tuneworthy.ladder import messages
from tuneworthy.ladder.cascade import is_sent, joined, large_of
from tuneworthy.ladder.classical_models import add_classical_models, add_classifiers
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.ladder.reveal import reveal_note
from tuneworthy.ladder.task_info import TaskInfo, task_of
from tuneworthy.ladder.tuned_models import add_tuned
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.encoder import load_encoder
from tuneworthy.retrieval.library import open_library
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.text import count, plural
from tuneworthy.trust import require
from tuneworthy.types import Case, Score, Trace, Variant, canonical

if TYPE_CHECKING:
    from tuneworthy.graders.judge import JudgeGrader
    from tuneworthy.ladder.judging import Judging


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """The data of a project, and derived facts for a run.

    Attributes:
        dataset: Cases and examples, read and split.
        split: Dev, test and the examples that are left for shots and training.
        task: Kind, labels, schema.
        labels: All labels that occur anywhere: what graders read answers with, and no model is shown.
        notes: For readers of the record.
    """

    dataset: Dataset
    split: Split
    task: TaskInfo
    labels: Sequence[str]
    notes: Sequence[str]

    @property
    def cases(self) -> Sequence[Case]:
        """All cases of the file."""
        return self.dataset.cases


def read_data(project: Project) -> TaskData:
    """Read and split the project's data; a stored split stays as it was drawn.

    Raises:
        UserError: A file is missing or wrong, a case has no label, a split is empty, or cases were edited.
    """
    dataset = read_dataset(project)
    unlabelled = [case.id for case in dataset.cases if not case.labelled]
    if unlabelled:
        raise UserError(
            (f"{count(len(unlabelled), 'case has', 'cases have')} no expected answer, starting with {unlabelled[0]}."),
            hint="Run `tuneworthy cases label` to label them.",
        )
    return settle(project, dataset)


def settle(project: Project, dataset: Dataset) -> TaskData:
    """Return the facts for a run of `dataset`, whose cases are all labelled.

    Raises:
        UserError: A side of the split is empty, cases of the stored split were edited or removed, or the plan of
            comparisons is gone.
    """
    folder = Folder(project.root)
    read_comparisons(folder)
    notes = [*dataset.notes, *filter(None, [reveal_note(folder)]), *_changes_since(dataset.changes)]
    task, task_notes = task_of(project, dataset.split)
    return TaskData(
        dataset=dataset,
        split=dataset.split,
        task=task,
        labels=labels_of(dataset.cases, dataset.examples) if task.kind == "label" else (),
        notes=[*notes, *task_notes],
    )


def _changes_since(found: Changes) -> list[str]:
    """Return how the cases differ from those of the first run, in sentences.

    Raises:
        UserError: Cases were edited or removed: that is another test set.
    """
    if gone := [*found.edited, *found.removed]:
        raise UserError(
            (
                f"{count(len(gone), 'case')} from the first run {plural(len(gone), 'has', 'have')} been edited or "
                f"removed: {messages.listed(gone)}."
            ),
            hint=(
                "Restore these cases. To start over with a new test set, delete split.json and comparisons.json "
                "in .tuneworthy."
            ),
        )
    notes = []
    if found.relabelled:
        notes.append(
            f"Labels of cases have changed since the first run: {', '.join(found.relabelled)}. All variants are "
            "therefore scored again."
        )
    if found.added:
        notes.append(
            f"{count(len(found.added), 'case was', 'cases were')} added to the file after the split was drawn. "
            f"Run `tuneworthy cases add` to add {plural(len(found.added), 'it', 'them')} to the test set."
        )
    return notes


class Session:
    """Everything that a command needs to call models and score answers; open it with `open_session`.

    Args:
        project: Its configuration.
        data: Its data, split.
        store: Where answers are kept.
        progress: Is shown what happens.
        budget: What calls may cost.
        identities: Of models by name; if given, no model is called and no judge is opened.
    """

    def __init__(
        self,
        project: Project,
        data: TaskData,
        store: ResponseStore,
        progress: Progress | None,
        budget: Budget,
        *,
        identities: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.project = project
        self.folder = Folder(project.root)
        self.data = data
        self.split = data.split
        self.task = data.task
        self.models = Models(project)
        self.pool = ShotPool(data.split.pool, load_encoder)
        add_classical_models(self.models, self.task, self.pool, project.split.seed)
        add_classifiers(self.models, project)
        add_tuned(self.models, project)  # its rung reports one that cannot be opened
        self.library = open_library(project, Account(store, budget) if identities is None else None)
        self.runner = Runner(
            store,
            budget,
            self.pool,
            progress,
            seed=project.split.seed,
            library=self.library,
        )
        self.asker = RequestBatcher(self.runner, self.models, identities=identities)

    @cached_property
    def graders(self) -> dict[str, Grader]:
        """All graders, the primary one first, by type; the second of a type is `type#2`."""
        context = GradingContext(
            root=self.project.root,
            examples=self.split.shots,
            labels=self.data.labels,
            label_counts=label_counts(self.data.cases) if self.task.kind == "label" else {},
            asker=self.asker,
            seed=self.project.split.seed,
        )
        graders: dict[str, Grader] = {}
        of_type: Counter[str] = Counter()
        for config in self.project.graders:
            of_type[config.type] += 1
            name = config.type if of_type[config.type] == 1 else f"{config.type}#{of_type[config.type]}"
            graders[name] = make_grader(config, context)
        return graders

    @property
    def primary(self) -> Grader:
        """The grader that decides."""
        return next(iter(self.graders.values()))

    @cached_property
    def judging(self) -> Judging | None:
        """Reason that bars a judge from deciding; None unless the primary grader is one."""
        if self.project.graders[0].type != "judge":
            return None
        from tuneworthy.ladder.judging import Judging  # few projects have a judge, and it loads the statistics

        return Judging(self.project, self.split, cast("JudgeGrader", self.primary))

    async def ask(
        self, variant: Variant, cases: Sequence[Case], *, repeats: int = 1, logprobs: int | None = None
    ) -> list[Trace]:
        """Return the traces of `cases`, each case's repeats together; those of a cascade come from its two parts.

        Args:
            variant: The variant to call.
            cases: Its cases.
            repeats: Answers to each case.
            logprobs: Alternatives per token to request; None requests nothing.

        Raises:
            UserError: `[models]` names another model now than the one that the variant was measured with.
        """
        if variant.cascade is not None:
            own = await self.ask(variant.cascade.first, cases)
            sent = {trace.case_id for trace in own if is_sent(variant.cascade, trace)}
            rest = [case for case in cases if case.id in sent]
            return joined(
                variant, own, await self.ask(large_of(variant), rest, repeats=repeats, logprobs=logprobs), repeats
            )
        model = self.models[variant.model]
        if canonical(dict(variant.model_identity)) != model.identity:
            raise UserError(
                f"models.{variant.model} is no longer the model that {variant.name} was measured with.",
                hint=(
                    "Run `tuneworthy run` again, or restore the previous model and add the new one under a "
                    "different name."
                ),
            )
        return await self.runner.run(variant, model, cases, repeats=range(repeats), logprobs=logprobs)

    def stored(self, variant: Variant, cases: Sequence[Case], *, repeats: int = 1) -> list[Trace]:
        """Return the traces of `ask` that are stored, in its order; asks nothing."""
        if variant.cascade is None:
            return self.runner.stored(variant, cases, repeats=range(repeats))
        own = self.stored(variant.cascade.first, cases)
        return joined(variant, own, self.stored(large_of(variant), cases, repeats=repeats), repeats)

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
    reading: bool = False,
    beside: bool = False,
) -> AsyncIterator[Session]:
    """Open `project` for asking: one process at a time, except for readers.

    Args:
        progress: Told what happens.
        max_usd: Spending limit of this run, in addition to the project's own budget.
        waiting: Called if another process has the project.
        reading: Whether a folder that cannot be written will do.
        beside: Whether the lock is not taken: for a command that calls no model and stores nothing here. Its inputs
            are written as a whole by the process that has the lock, and the split is never drawn for it.

    Raises:
        Untrusted: The project needs a permission that it lacks.
        UserError: `max_usd` is no amount; no limit would apply to `nan`.
    """
    if max_usd is not None and not max_usd >= 0:
        raise UserError(f"max_usd must be 0 or more, but it is {max_usd}.")
    require(project.root, *missing_grants(project))  # all at once, and before money is spent
    folder = Folder(project.root)
    with nullcontext() if beside else folder.lock(waiting, reading=reading):
        data = read_data(project)  # now, as another process may just have drawn the split
        if folder.writable and not beside and not (folder.path / "split.json").exists():
            folder.write("split", data.split.stored())
        store = ResponseStore(folder.responses)
        spending = store.spending()
        limits = [
            limit
            for limit in (project.ladder.budget_usd, None if max_usd is None else spending.usd + max_usd)
            if limit is not None
        ]
        budget = Budget(min(limits) if limits else None, spending.usd, spending.unanswered_usd)
        session = Session(project, data, store, progress, budget)
        try:
            yield session
        finally:
            await session.models.close()
            if session.library:
                session.library.close()
            store.close()
