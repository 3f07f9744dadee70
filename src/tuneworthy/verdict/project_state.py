"""Read what the checklist looks at: a project's data and the documents in its folder; nothing is asked or locked."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain

from tuneworthy.cases.labelling import label_path, labelling_time, read_labels
from tuneworthy.config import Project
from tuneworthy.engine.models import OpenModel
from tuneworthy.errors import UserError
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.estimate import most_for
from tuneworthy.ladder.provenance import changed_since, provenance, run_note, shown_run
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.task_data import TaskData
from tuneworthy.people.review_log import FILE_NAME, Ledger
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.retrieval.library import open_library
from tuneworthy.store import Folder
from tuneworthy.train.phases import TrainingState, read_training
from tuneworthy.verdict.answer import load_verdict
from tuneworthy.verdict.base import Cost
from tuneworthy.verdict.gather import evidence_of
from tuneworthy.verdict.playbook import ProjectState


def read_state(project: Project) -> ProjectState:
    """Return what the folder of `project` shows.

    Raises:
        UserError: A document in `.tuneworthy` cannot be read.
    """
    facts = Facts(project, contact=False)
    folder = Folder(project.root)
    record, quick = shown_run(project), shown_run(project, "quick")
    evidence = evidence_of(project, facts.data, record, stale=_stale(facts, record) if record else ())
    last = load_verdict(project)
    faults = [*facts.case_faults, *facts.example_faults, *filter(None, [facts.split_fault])]
    return ProjectState(
        evidence=evidence,
        n_cases=len(facts.labelled),
        n_unlabelled=len(facts.cases) - len(facts.labelled),
        fault=str(faults[0]) if faults else "",
        quick={
            row.rung: (row.candidates[0].score, row.candidates[0].n)
            for row in (quick.rungs if quick else ())
            if row.candidates
        },
        labelling=_labelling(project),
        training_s=sum((read_training(folder) or TrainingState()).finished.values()),
        verdict=last.verdict if last else None,
        verdict_stale=[*last.changed, *evidence.stale] if last else (),
        costs=step_costs(project, facts.data, {name: model for name, (model, _) in facts.opened.items() if model}),
        notes=[*filter(None, [run_note(folder, name, "") for name in ("run", "quick")])],
    )


def _labelling(project: Project) -> dict[str, tuple[int, float]]:
    """Return queue to timed rows and the usual seconds for a row; without files that cannot be read."""
    found, cases = {}, project.path(project.cases.path)
    with suppress(UserError):
        found["cases"] = [(one.labeller, one.time) for one in read_labels(label_path(cases))]
    with suppress(UserError):
        rated = chain.from_iterable(Ledger.read(project.root / FILE_NAME).verdicts.values())
        found["review"] = [(one.reviewer, one.time) for one in rated]
    return {queue: timed for queue, rows in found.items() if (timed := labelling_time(rows))}


def stale_since(project: Project, record: RunRecord) -> list[str]:
    """Say what changed since a stored run, in words, without opening a session."""
    return _stale(Facts(project, contact=False), record)


def step_costs(project: Project, data: TaskData | None, models: Mapping[str, OpenModel]) -> dict[str, Cost]:
    """Return the cost of each rung at most, without the baseline's part but for its own; from no stored answers.

    Rungs that have nothing to try, and all of them where the data or the prompt cannot be used, are left out.
    """
    if data is None:
        return {}
    rungs = [name for name in project.ladder.rungs if name not in {"classical", "baseline"}]
    works = {"baseline": most_for(project, data, models)}
    works |= {name: most_for(project, data, models, [name]) for name in rungs}
    return {
        name: Cost(calls=int(work.calls), usd=work.usd, minutes=work.seconds / 60)
        for name, work in works.items()
        if work.calls > 0
    }


def _stale(facts: Facts, record: RunRecord) -> list[str]:
    """Say what changed since the run, as far as it shows without opening a session (a judge's model is left out)."""
    if facts.data is None:
        return ["the cases or examples can no longer be used"]
    split = facts.data.split
    built = [(config.type, grader) for config, grader, _ in reversed(facts.graders)]  # the first of a type counts
    graders = {name: grader for name, grader in built if grader and name != "judge"}
    opened = {name: model.provider.identity for name, (model, _) in facts.opened.items() if model}
    try:
        return changed_since(
            record,
            facts.project,
            provenance(facts.project, split, graders, ShotPool(split.pool).hash, open_library(facts.project)),
            opened,
        )
    except UserError as error:
        return [error.message]
