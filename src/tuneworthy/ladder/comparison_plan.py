"""The planned comparisons on test of a project, as stored in `.tuneworthy/comparisons.json`.

Invariant: the stored split says how many comparisons were made, so that a test set that was used is never taken for a
fresh one.
"""

from dataclasses import asdict, replace

from tuneworthy.cases.splits import Split, StoredSplit
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.providers.prices import price_for
from tuneworthy.retrieval.library import documents_path
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.store import Folder
from tuneworthy.types import Texts

# Of the document, and of the count in the stored split.
NAME = "comparisons"


def read_comparisons(folder: Folder) -> ComparisonPlan:
    """Return the comparisons planned and made so far; an empty plan before the first run.

    Raises:
        UserError: Comparisons were planned, and the plan is gone, was set back, or is unreadable.
    """
    split = folder.read("split", StoredSplit)
    plan, made = folder.read(NAME, ComparisonPlan), split.comparisons if split else None
    if plan is None and made is None and not (folder.path / "run.json").exists():
        return ComparisonPlan()
    if plan is None or len(plan.spent) < (made or 0):
        problem = (
            "The record of test comparisons is missing."
            if plan is None
            else f"This file lists only {len(plan.spent)} of the {made} test comparisons made so far."
        )
        raise UserError(
            f"{folder.path / NAME}.json: {problem}",
            hint=(
                "Restore the file, which records how often the test set has been used. To start over with a new test "
                "set, delete split.json and comparisons.json in .tuneworthy."
            ),
        )
    return plan


def write_comparisons(folder: Folder, plan: ComparisonPlan) -> None:
    folder.write(NAME, asdict(plan))
    if (split := folder.read("split", StoredSplit)) is not None:
        folder.write("split", replace(split, comparisons=len(plan.spent)))


def is_measured(folder: Folder) -> bool:
    """Return whether a run, or a comparison on test, has used the cases that were added last."""
    split, record, plan = folder.read("split", StoredSplit), read_record(folder), read_comparisons(folder)
    times, seen = len(split.additions) if split else 0, record.split.additions if record else 0
    return seen >= times or any(name.endswith(f"+{times}") for name in (*plan.added, *plan.spent))


def options_of(plan: ComparisonPlan) -> int:
    """Return how many options without training may be tested for the target: today's, and one per planned rung."""
    return len({"baseline", *plan.planned} - {"fine_tune"})


def slot_name(rung: str, split: Split) -> str:
    return f"{rung}+{len(split.additions)}" if split.additions else rung


def with_slots(plan: ComparisonPlan, rungs: Texts, split: Split) -> ComparisonPlan:
    """Return the plan with a slot for each rung; planning again only adds.

    Once cases were added to test, each rung may compare again: all share half of the reserve.
    """
    if not plan.planned or not split.additions:
        plan = plan.plan(rungs)
    if split.additions:  # a rung that is new then has no use for a slot on the cases before
        plan = plan.share([slot_name(rung, split) for rung in rungs])
    return plan


def rungs_with_comparisons(project: Project, split: Split, task: TaskInfo) -> list[str]:
    """Return the rungs that can compare something on test, in the order of the ladder.

    `classical` is the best variant's comparison with it. `fine_tune` is planned before a model is trained.
    """
    able: dict[str, bool] = {
        "baseline": False,
        "classical": len(split.pool) > 0,
        "retrieval": documents_path(project) is not None,
        "tools": bool(project.tools),
        "model": len(project.answering) > 1,
        "few_shot": len(split.pool) > 0 or task.structured.kind != "free",
        "cascade": split.explore and not cascade_barred(project, task)[1],
    }
    return [name for name in project.ladder.rungs if able.get(name, True)]


def cascade_barred(project: Project, task: TaskInfo) -> tuple[str, str]:
    """Return why the project can have no cascade, in words and as a code; two empty texts if it can."""
    if task.kind != "label":
        return "a cascade needs a task whose answers are labels", "no_labels"
    if project.graders[0].type == "judge":
        return "a judge scores the answers, and a cascade needs a grader that compares labels", "judge"
    if not any(
        price is not None and not price.free
        for price in [price_for(project.models[name]) for name in project.answering if project.may_serve(name)]
    ):
        return "no model that may serve has a price, so a cascade saves nothing", "no_dearer_model"
    return "", ""
