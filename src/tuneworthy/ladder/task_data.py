"""Data of a project, read and split, with the facts that a run derives from them, and the test answers that were shown.

A test set whose answers were seen no longer measures later changes. That is noted in `.tuneworthy/revealed.json` and by
every later run, not forbidden.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import TypedDict

from tuneworthy.cases import Dataset, read_dataset
from tuneworthy.cases.splits import Changes, Split, labels_of
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.ladder.task_info import TaskInfo, task_of
from tuneworthy.store import Folder
from tuneworthy.store.lines import now
from tuneworthy.text import count, listed, plural
from tuneworthy.types import Case, Cases, Texts


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
    labels: Texts
    notes: Texts

    @property
    def cases(self) -> Cases:
        return self.dataset.cases


def read_data(project: Project) -> TaskData:
    """Read and split the project's data; a stored split stays as it was drawn.

    Raises:
        UserError: A file is missing or wrong, a case has no label, a split is empty, or cases were edited.
    """
    dataset = read_dataset(project)
    if unlabelled := [case.id for case in dataset.cases if not case.labelled]:
        raise UserError(
            (f"{count(len(unlabelled), 'case has', 'cases have')} no expected answer, starting with {unlabelled[0]}."),
            hint="Run `tuneworthy label cases` to label them.",
        )
    return settle(project, dataset)


def settle(project: Project, dataset: Dataset) -> TaskData:
    """Return the facts for a run of `dataset`, whose cases are all labelled.

    Raises:
        UserError: A side of the split is empty, cases of the stored split were edited or removed, or the plan of
            comparisons is gone.
    """
    changes = _changes_since(dataset.changes)
    task, task_notes = task_of(project, dataset.split)
    is_label = "label" in {task.kind, dataset.split.kind.name}
    labels = labels_of(dataset.cases, dataset.examples) if is_label else ()
    folder = Folder(project.root)
    read_comparisons(folder)
    notes = [*dataset.notes, *changes, *task_notes]
    if rows := folder.read(REVEALED, list[Reveal]):
        notes.insert(
            len(dataset.notes),
            f"Answers to {count(len(rows), 'test case')} have been revealed, the first on "
            f"{min(row['time'] for row in rows)[:10]}. Changes made since then may score higher on the test set "
            "than on new data.",
        )
    return TaskData(dataset=dataset, split=dataset.split, task=task, labels=labels, notes=notes)


def _changes_since(changes: Changes) -> list[str]:
    """Return how the cases differ from those of the first run; edited cases would be another test set."""
    if gone := [*changes.edited, *changes.removed]:
        raise UserError(
            (
                f"{count(len(gone), 'case')} from the first run {plural(len(gone), 'has', 'have')} been edited or "
                f"removed: {listed(gone)}."
            ),
            hint=(
                "Restore these cases. To start over with a new test set, delete split.json and comparisons.json "
                "in .tuneworthy."
            ),
        )
    notes = []
    if changes.relabelled:
        notes.append(
            f"Labels of cases have changed since the first run: {', '.join(changes.relabelled)}. All variants are "
            "therefore scored again."
        )
    if changes.added:
        notes.append(
            f"{count(len(changes.added), 'case was', 'cases were')} added to the file after the split was drawn. "
            f"Run `tuneworthy cases add` to add {plural(len(changes.added), 'it', 'them')} to the test set."
        )
    return notes


def shuffled(dev: Cases, seed: int) -> list[Case]:
    cases = sorted(dev, key=lambda case: case.id)
    random.Random(seed).shuffle(cases)
    return cases


REVEALED = "revealed"


class Reveal(TypedDict):
    """A test case whose answers were shown, when, and by which command."""

    case: str
    time: str
    command: str


def record_reveal(folder: Folder, case_ids: Iterable[str], command: str) -> None:
    """Note that the answers to these test cases were shown; a case is noted once.

    Args:
        folder: Of the project.
        case_ids: Test cases.
        command: What showed them, e.g. `cases show`.
    """
    rows = folder.read(REVEALED, list[Reveal]) or []
    noted = {row["case"] for row in rows}
    fresh = [{"case": one, "time": now(), "command": command} for one in dict.fromkeys(case_ids) if one not in noted]
    if fresh:
        folder.write(REVEALED, [*rows, *fresh])
