"""An opened project: its data read and split, its store and models at hand; and the provenance of its runs.

Later changes are detected by hash or value, named, never mixed. Invariant: a fact that is unknown on one side (an older
record, a judge that cannot be opened here) is never called changed, but a record without settings whose project file
has another hash is.
"""

import os
from asyncio import current_task
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, cast

import numpy as np

from tuneworthy import __version__
from tuneworthy.cases.splits import Split
from tuneworthy.cases.stratified import numbered
from tuneworthy.cases.task_kind import label_counts
from tuneworthy.config.grants import require_grants
from tuneworthy.config.ladder import Reflection
from tuneworthy.config.project import Project
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.models import Models
from tuneworthy.engine.request_batcher import RequestBatcher
from tuneworthy.engine.runner import Progress, Runner, usage
from tuneworthy.engine.served_model import SERVED
from tuneworthy.engine.shards import collect, keys_elsewhere, open_round
from tuneworthy.engine.toolbox import Toolbox
from tuneworthy.errors import OutsideFault, UserError
from tuneworthy.executors import REPEATED
from tuneworthy.graders.apply import aggregate, grade_all, make_grader
from tuneworthy.graders.base import Grader, GradingContext
from tuneworthy.ladder import messages
from tuneworthy.ladder.cascade import is_sent, joined, large_of
from tuneworthy.ladder.own_models import IN_PROCESS, TUNED, add_classical_models, add_classifiers, add_tuned, shot_pool
from tuneworthy.ladder.record import NOT_REACHED, Provenance, RunKind, RunRecord, read_record
from tuneworthy.ladder.task_data import TaskData, read_data
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.library import DocumentLibrary, open_library
from tuneworthy.search.racing import DevScores
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import (
    MAX_AMOUNT,
    Bounds,
    Cases,
    JsonMapping,
    JsonObject,
    Paths,
    Say,
    Score,
    Trace,
    Traces,
    Turns,
    Variant,
    canonical,
    content_hash,
)

if TYPE_CHECKING:
    from tuneworthy.graders.judge import JudgeGrader
    from tuneworthy.graders.judging import Judging


def provenance(
    project: Project, split: Split, graders: Mapping[str, Grader], examples: str, library: DocumentLibrary | None = None
) -> Provenance:
    """Return versions, seed, hashes and settings: what someone needs to get the same numbers.

    Args:
        project: The project file.
        split: The cases.
        graders: Those whose identity can be had, by name.
        examples: Hash of the shot pool.
        library: The documents, or None.
    """
    sides = (split.dev, split.asked)
    return Provenance(
        tuneworthy=__version__,
        seed=project.split.seed,
        project=content_hash(project.model_dump(mode="json")),
        split=content_hash([[case.id for case in side] for side in sides]),
        labels=content_hash([[[case.id, case.expected] for case in side] for side in sides]),
        groups=content_hash([[[case.id, case.group] for case in side] for side in sides]),
        graders={name: content_hash(dict(grader.identity)) for name, grader in graders.items()},
        examples=examples,
        documents=library.corpus.hash if library else "",
        models=sorted(project.models),
        settings=settings(project),
    )


# Keys of the project file in addition to those of whole sections.
SETTINGS = "task.target", "task.margin", "ladder.baseline", "ladder.repeats", "split.seed", "prompt.rank_labels"


# Parts of a variant that `[prompt]` sets.
PROMPT = "system", "user", "max_tokens", "stop", "decoding"


def settings(project: Project) -> JsonObject:
    return {
        **{key: attrgetter(key)(project) for key in SETTINGS},
        **{f"reflection.{key}": getattr(project.reflection, key, None) for key in Reflection.model_fields},
        **{
            f"{section}.{key}": value
            for section in ("retrieval", "few_shot", "decoding", "constraints")
            for key, value in getattr(project, section).model_dump(mode="json").items()
        },
        **({"tools": Toolbox(project).stamp} if project.tools else {}),
    }


def changed_since(record: RunRecord, project: Project, now: Provenance, opened: Mapping[str, JsonMapping]) -> list[str]:
    """Return the changes since a run, and its incomplete measurements, in words.

    Args:
        record: Of the run.
        project: The project file now.
        now: `provenance` now.
        opened: Identity of each model now, if it can be opened.
    """
    half = [
        f"the rung {row.rung} is incomplete ({row.n} of {record.n_test} cases)"
        for row in record.rungs
        if row.score is not None and row.n != record.n_test
    ]
    where = [f"the run was measured elsewhere (signed by: {record.elsewhere:.18})"] if record.elsewhere else []
    return [*where, *half, *data_changes(record.provenance, now), *_edits(record, project, opened)]


def data_changes(then: Provenance, now: Provenance) -> list[str]:
    """Return the changes of cases, examples, documents and graders, in words."""
    changed = [change for name, change in messages.CHANGED.items() if getattr(then, name) != getattr(now, name)]
    if then.split != now.split:  # other cases have other hashes of labels and groups, whether or not one was edited
        changed = [
            change for change in changed if change not in {messages.CHANGED["labels"], messages.CHANGED["groups"]}
        ]
    return changed + [
        f"the {'judge' if name.startswith('judge') else f'grader {name}'} has changed"
        for name, grader in now.graders.items()
        if then.graders and then.graders.get(name) != grader
    ]


def shown_run(project: Project, name: RunKind = "run") -> RunRecord | None:
    """Return the run that readers show, unfinished or not; None before a rung was finished.

    Raises:
        UserError: A record cannot be read.
    """
    whole, unfinished = (read_record(Folder(project.root), name, unfinished=one) for one in (False, True))
    return later_of(unfinished, whole, project) if unfinished and unfinished.rungs else whole


def required_run(project: Project, *, quick: bool = False) -> RunRecord:
    """Return the run that readers show; the last quick run if there is no other and `quick`.

    Raises:
        UserError: There is no run, or it cannot be read.
    """
    if (record := shown_run(project) or (shown_run(project, "quick") if quick else None)) is None:
        raise UserError(run_note(Folder(project.root)), hint="Run `tuneworthy run` first.")
    return record


def later_of(later: RunRecord, earlier: RunRecord | None, project: Project) -> RunRecord:
    """Return the later of two runs; the earlier one if only that is of this project file, or if the later has no more.

    So a run that was started after an edit counts, and no longer once the edit is undone; and a run that repeats
    another one counts once it has more.
    """
    if earlier is None or earlier.elsewhere:
        return later
    is_edited, was_edited = (bool(_edits(one, project)) for one in (later, earlier))
    if is_edited != was_edited:
        return earlier if is_edited else later
    is_same = all(
        getattr(later.provenance, name) == getattr(earlier.provenance, name) for name in (*messages.CHANGED, "graders")
    )
    now, before = ({row.rung for row in one.rungs if row.reason_code != NOT_REACHED} for one in (later, earlier))
    return earlier if is_same and not now > before else later


def run_note(folder: Folder, name: RunKind = "run", otherwise: str = "There is no run yet.") -> str:
    """Return how far the unfinished run is, as a sentence; without one, return `otherwise`."""
    if (record := read_record(folder, name, unfinished=True)) is None:
        return otherwise
    rungs = ", ".join(row.rung for row in record.rungs) or "no rung yet"
    return (
        f"The {'quick run' if record.quick else 'run'} is incomplete: {record.partial.rstrip('.')}. Finished: {rungs}."
    )


def _edits(record: RunRecord, project: Project, opened: Mapping[str, JsonMapping] = {}) -> list[str]:
    then = record.provenance
    added = (name for name in project.models if name not in then.models and name not in project.forms)
    return [
        *["the first grader has changed"] * (record.primary != project.graders[0].type),
        *_variants(record, project, opened),
        *(f"the model {name} has been added" for name in added),
        *setting_changes(then, settings(project)),
    ]


def setting_changes(then: Provenance, now: JsonMapping) -> list[str]:
    """Return the changes of settings, in words; `now` has their values by name."""
    return [
        f"{name} was {messages.shown(then.settings[name])} and is now {messages.shown(value)}"
        if name != "tools"
        else "the tools have changed"
        for name, value in now.items()
        if name in then.settings and then.settings[name] != value
    ]


def _variants(record: RunRecord, project: Project, opened: Mapping[str, JsonMapping]) -> list[str]:
    """Compare today's prompt with the baseline's, and the models with those of every variant that was measured."""
    baseline = record.rung("baseline")
    base = record.variant_of(baseline) if baseline else None
    changed = []
    today = project.variant("", "", {})
    if base is not None and any(getattr(base, name) != getattr(today, name) for name in PROMPT):
        changed.append("the prompt has changed")
    for name, identity in {variant.model: variant.model_identity for variant in record.variants.values()}.items():
        if name not in project.models:
            changed += [] if name.startswith((*IN_PROCESS, TUNED)) else [f"the model {name} has been removed"]
        elif name in opened and content_hash(dict(opened[name])) != content_hash(dict(identity)):
            served = opened[name].get(SERVED)
            changed.append(
                f"the model {name} has changed" + (f" (its server answers as {served[-1]})" if served else "")
            )
    return changed


class Session:
    """Everything that a command needs to call models and score answers; open it with `open_session`.

    Args:
        project: Its configuration.
        data: Its data, split.
        store: Where answers are kept.
        progress: Is shown what happens.
        budget: What calls may cost.
        identities: Of models by name; if given, no model is called and no judge is opened.

    Attributes:
        agreement: The model whose recorded answers are compared with (see `Dataset.agreement`); "" with right answers.
    """

    agreement = ""

    def __init__(
        self,
        project: Project,
        data: TaskData,
        store: ResponseStore,
        progress: Progress | None,
        budget: Budget,
        *,
        identities: Mapping[str, JsonMapping] | None = None,
    ) -> None:
        self.project, self.folder = project, Folder(project.root)
        self.data, self.split, self.task = data, data.split, data.task
        self.agreement = data.dataset.agreement
        self.pool = shot_pool(data.split.pool)
        self.models = Models(project, self._add_models)
        self.library = open_library(project, Account(store, budget) if identities is None else None)
        self.toolbox = Toolbox(project)
        self.runner = Runner(
            store,
            budget,
            self.pool,
            progress,
            seed=project.split.seed,
            library=self.library,
            toolbox=self.toolbox,
        )
        self.asker = RequestBatcher(self.runner, self.models, identities=identities)

    def _add_models(self, models: Models) -> None:
        """Add the models that the project file does not name; the rung of one that cannot be opened reports it."""
        add_classical_models(models, self.task, self.pool, self.project.split.seed)
        add_classifiers(models, self.folder)
        add_tuned(models, self.project)

    @cached_property
    def graders(self) -> dict[str, Grader]:
        """All graders, the primary one first, by type; the second of a type is `type#2`."""
        context = GradingContext(
            root=self.project.root,
            examples=self.split.shots,
            labels=self.data.labels,
            label_counts=label_counts(self.data.cases) if self.data.labels else {},
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
        return next(iter(self.graders.values()))

    @cached_property
    def judging(self) -> "Judging | None":
        """Reason that bars a judge from deciding; None unless the primary grader is one."""
        if self.project.graders[0].type != "judge":
            return None
        from tuneworthy.graders.judging import Judging  # few projects have a judge, and it loads the statistics

        return Judging(self.project, self.split, cast("JudgeGrader", self.primary))

    async def ask(
        self, variant: Variant, cases: Cases, *, repeats: int = 1, logprobs: int | None = None
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
            return joined(
                variant,
                own,
                await self.ask(
                    large_of(variant), [case for case in cases if case.id in sent], repeats=repeats, logprobs=logprobs
                ),
                repeats,
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

    @property
    def target(self) -> float | None:
        """Score that is good enough; None if not set, or where scores are agreement with today's model."""
        return None if self.agreement else self.project.task.target

    def stored(self, variant: Variant, cases: Cases, *, repeats: int = 1) -> list[Trace]:
        if variant.cascade is None:
            return self.runner.stored(variant, cases, repeats=range(repeats))
        return joined(
            variant,
            self.stored(variant.cascade.first, cases),
            self.stored(large_of(variant), cases, repeats=repeats),
            repeats,
        )

    async def score(
        self, traces: Traces, cases: Cases, *, grader: Grader | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[Score]]:
        """Judge traces of `cases`.

        Returns:
            num and den, `(n_cases,)`, means over the repeats with the cases' weights, NaN where unscored; and all
            scores.
        """
        scores = await grade_all(grader or self.primary, traces, cases)
        num, den = aggregate(scores, [trace.case_id for trace in traces], order=[case.id for case in cases])
        weights = np.array([*{case.id: case.weight for case in cases}.values()])  # a search may repeat a case
        return weights * num, weights * den, scores

    def groups(self, cases: Cases) -> np.ndarray:
        return np.array(numbered(case.source for case in cases))

    async def measure(self, variant: Variant, cases: Cases) -> DevScores:
        traces = await self.ask(variant, cases)
        num, den, _ = await self.score(traces, cases)
        return DevScores(
            num=num, den=den, cost_usd=sum(trace.cost_usd for trace in traces), weight=usage(traces).weight
        )

    def memory_mib(self, name: str) -> Bounds | None:
        """Return the MiB of a model's file, and of its process as first measured; None unless forms are compared."""
        if not self.project.forms:
            return None
        provider, stored = self.models[name].provider, self.folder.read("memory", dict[str, Bounds]) or {}
        key, measured = content_hash(dict(provider.identity)), getattr(provider, "memory_mib", None)
        if measured and key not in stored:
            self.folder.write("memory", stored := {**stored, key: measured})
        return stored.get(key)

    @contextmanager
    def all_answered(self) -> Iterator[None]:
        """Require that every call within is answered, or fails as it would in any other run.

        Raises:
            OutsideFault: A call failed for a reason that may pass: another run would ask again.
        """
        lost = self.runner.lost
        before = len(lost)
        yield
        if len(lost) > before:
            raise OutsideFault(
                f"The search needs every answer, but a call failed: {lost[before].message}",
                hint="Run the same command again when the provider is available. Finished calls are cached.",
            )

    async def answers(self, variant: Variant, cases: Cases) -> tuple[list[Trace], list[Score]]:
        """Ask `cases` once each for a search, and score the answers with the primary grader.

        Raises:
            OutsideFault: An answer, or a judge's verdict on it, did not come, and would be asked for again.
        """
        with self.all_answered():
            traces = await self.ask(variant, cases)
            _, _, scores = await self.score(traces, cases)
        return traces, scores


@asynccontextmanager
async def open_session(
    project: Project,
    *,
    progress: Progress | None = None,
    max_usd: float | None = None,
    waiting: Say = lambda _: None,
    beside: bool = False,
    calls: bool = True,
    copies: Paths = (),
) -> AsyncIterator[Session]:
    """Open `project` for asking: one process at a time, except for readers.

    Args:
        progress: Told what happens.
        max_usd: Spending limit of this run, in addition to the project's own budget.
        waiting: Called if another process has the project.
        beside: Whether the lock is not taken: for a command that stores nothing here. Its inputs are written as a whole
            by the process that has the lock, and the split is never drawn for it.
        calls: Whether a model may be called; else `NotStored` is raised for an answer that is not stored.
        copies: Folders of the project on other machines; the answers of their shards are added.

    Raises:
        Untrusted: The project needs a permission that it lacks.
        UserError: `max_usd` is no amount; no limit would apply to `nan` or infinity.
    """
    _check_amount(max_usd)
    require_grants(project)  # all at once, and before money is spent
    folder = Folder(project.root)
    with nullcontext() if beside else folder.lock(waiting, task.cancelling if (task := current_task()) else int):
        data = read_data(project)  # now, as another process may just have drawn the split
        if folder.writable and not beside and (split := data.dataset.settled()) != data.dataset.stored:
            folder.write("split", split)
            data.dataset.write_dropped(folder)
        store = ResponseStore(folder.responses)
        earlier = open_round(folder) if REPEATED in os.environ else None  # its --max-usd is no further allowance
        if folder.writable and not beside:
            collect(folder, store, waiting, copies)
        budget = _budget(project, store, max_usd, earlier.limit_usd if earlier else None)
        session = Session(project, data, store, progress, budget)
        session.runner.calls = calls
        session.runner.elsewhere = partial(keys_elsewhere, folder)
        try:
            yield session
        finally:
            await session.models.close()
            if session.library:
                session.library.close()
            session.toolbox.close()
            store.close()


def _check_amount(max_usd: float | None) -> None:
    if max_usd is not None and not 0 <= max_usd < MAX_AMOUNT:
        raise UserError(f"max_usd must be a number from 0, but it is {max_usd}.")


def _budget(project: Project, store: ResponseStore, max_usd: float | None, limit_usd: float | None = None) -> Budget:
    spending = store.spending()
    limits = [project.ladder.budget_usd, None if max_usd is None else spending.usd + max_usd, limit_usd]
    limit = min((one for one in limits if one is not None), default=None)
    return Budget(limit, spending.usd, spending.unanswered_usd, max_usd if limit == limits[1] else None)


@asynccontextmanager
async def open_runner(
    project: Project,
    *,
    progress: Progress | None = None,
    max_usd: float | None = None,
    mask: Callable[[Turns], Turns] | None = None,
    waiting: Say = lambda _: None,
) -> AsyncIterator[tuple[Runner, Models]]:
    """Open the store, the budget and the models of a project whose cases need not exist yet.

    Args:
        project: Its configuration.
        progress: Is shown what happens.
        max_usd: Spending limit of this run, in addition to the project's own budget.
        mask: See `Runner`.
        waiting: Called if another process has the project.

    Raises:
        Untrusted: The project needs a permission that it lacks.
        UserError: `max_usd` is no amount.
    """
    _check_amount(max_usd)
    require_grants(project)
    folder = Folder(project.root)
    with folder.lock(waiting, task.cancelling if (task := current_task()) else int):
        store, models = ResponseStore(folder.responses), Models(project)
        collect(folder, store, waiting)
        budget = _budget(project, store, max_usd)
        try:
            runner = Runner(store, budget, ShotPool(()), progress, mask=mask, compares=False)
            runner.elsewhere = partial(keys_elsewhere, folder)
            yield runner, models
        finally:
            await models.close()
            store.close()
