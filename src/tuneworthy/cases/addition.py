"""Extension of the test set: new cases join test, and no present case moves.

Invariant: no added case copies a case, has the group of a dev case or overlaps an example, so that dev, shots and
training rows stay as they are, and no copy crosses the split.
"""

from dataclasses import replace
from itertools import chain
from pathlib import Path

from tuneworthy.cases.dataset import Dataset, find_overlaps, read_dataset
from tuneworthy.cases.near_duplicates import group_near_duplicates
from tuneworthy.cases.normalize import normalise, question_of
from tuneworthy.cases.readers.reader import read_cases
from tuneworthy.cases.splits import fingerprint
from tuneworthy.cases.task_kind import label_counts
from tuneworthy.cases.writer import case_row, json_lines
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.store import Folder, write_atomic
from tuneworthy.text import count, plural
from tuneworthy.types import Case, Cases, Ids, Texts, frozen

# One-sided errors of the shares of a label among drawn and added cases, where it is said that they differ.
CHANCE = 0.01


@frozen
class AddedCases:
    """The result of adding cases.

    Attributes:
        added: Ids of the added cases.
        repeated: Ids of cases with the question of a present case.
        overlapping: Ids of cases that reword a case, have the group of a dev case or overlap an example.
        n_test: Test cases now; None before the first run, which draws them.
        by_label: Whether a critical label is so frequent among the added cases that they count for recall only.
    """

    added: Ids
    repeated: Ids
    overlapping: Ids
    n_test: int | None
    by_label: bool


def add_cases(
    project: Project,
    source: Path | None = None,
    inputs: Texts = (),
    expected: str | None = None,
    *,
    joins: bool = False,
) -> AddedCases:
    """Add the cases of a file, and those that the project's own file has gained, to test.

    Before the first run they only join the file. Refused cases are not added to the file.

    Args:
        project: The project; its folder is locked by the caller.
        source: A file of labelled cases in any format that is read.
        inputs: Its columns of the question; recognised if empty.
        expected: Its column of the right answer; recognised if None.
        joins: Whether they join the cases that were added last, which no run has measured.

    Raises:
        UserError: The file is wrong, a case has no label, or the project's file takes no rows.
    """
    dataset = read_dataset(project)
    new, repeated = _new_cases(
        (read_cases(source, input_column=inputs, expected_column=expected).cases if source else ()), dataset.cases
    )
    gained = set(dataset.changes.added)
    candidates = [*(case for case in dataset.cases if case.id in gained), *new]
    if unlabelled := [case.id for case in candidates if not case.labelled]:
        n = len(unlabelled)
        raise UserError(
            f"{count(n, 'case')} to add {plural(n, 'has', 'have')} no expected answer, starting with {unlabelled[0]}. "
            f"Label {plural(n, 'it', 'them')} first.",
            hint="If a column has the answers, rename it to `expected` or pass --expected COLUMN." if source else "",
        )
    overlapping = _overlapping(dataset, candidates) if dataset.stored else set()
    added = [case for case in candidates if case.id not in overlapping]
    if rows := [case for case in new if case.id not in overlapping]:
        path = project.path(project.cases.path)
        if "://" in project.cases.path or read_cases(path).format != "jsonl/native":
            raise UserError(
                f"Rows cannot be appended to {project.cases.path}.",
                hint="Append the rows to this file yourself, then run `tuneworthy cases add` without a file.",
            )
        content = path.read_bytes()
        write_atomic(path, b"".join([content, b"\n" * (not content.endswith(b"\n")), *json_lines(map(case_row, rows))]))
    return AddedCases(
        added=tuple(case.id for case in added),
        repeated=tuple(repeated),
        overlapping=tuple(sorted(overlapping)),
        n_test=len(dataset.split.asked) + len(added) if dataset.stored else None,
        by_label=bool(added and dataset.stored) and _joins_test(project, dataset, added, joins=joins),
    )


def _joins_test(project: Project, dataset: Dataset, added: Cases, *, joins: bool) -> bool:
    """Add cases to the stored test set; return whether they count for recall only."""
    from tuneworthy.stats.intervals import lower_bound, upper_bound

    base, cases = dataset.settled(), (*dataset.split.test, *added)
    earlier = base.additions[: len(base.additions) - joins]
    joined = (*chain(*base.additions[len(earlier) :]), *(case.id for case in added))
    before, now = (label_counts(case for case in cases if (case.id in joined) is late) for late in (False, True))
    by_label = any(
        lower_bound(now.get(label, 0), max(1, sum(now.values())), CHANCE)
        > upper_bound(before.get(label, 0), max(1, sum(before.values())), CHANCE)
        for label in project.task.critical
    )
    Folder(project.root).write(
        "split",
        replace(
            base,
            test=tuple(sorted([*base.test, *map(fingerprint, added)], key=lambda entry: entry.id)),
            additions=(*earlier, *[joined] * (not by_label)),
            by_label=(*base.by_label, *joined * by_label),
            groups={
                **(base.groups or {}),
                **{case.id: case.group for case in group_near_duplicates(added)[0] if case.group},
            },
        ),
    )
    return by_label


def _new_cases(given: Cases, known: Cases) -> tuple[list[Case], list[str]]:
    ids, questions = {case.id for case in known}, {normalise(question_of(case)) for case in known}
    new, repeated = [], []
    for case in given:
        question = normalise(question_of(case))
        if case.id in ids or question in questions:
            repeated.append(case.id)
        else:
            new.append(case)
        ids.add(case.id)
        questions.add(question)
    return new, repeated


def _overlapping(dataset: Dataset, candidates: Cases) -> set[str]:
    """Return the ids of the candidates that copy a case, have the group of a dev case, or overlap an example in use."""
    split, left = dataset.split, dataset.contamination.dev_test.rows
    among, ids = (*left, *split.asked, *candidates), {case.id for case in left}
    groups = {case.group for case in (*left, *dataset.cases) if case.id in ids} - {None}
    copies = [hit for side in (left, split.asked) for hit in find_overlaps(candidates, side, among=among).dropped]
    refused = {
        *(candidates[hit.row].id for hit in copies if hit.reason != "group"),
        *(case.id for case in candidates if case.group in groups),
    }
    waiting = {case.id for case in candidates}
    known = [case for case in dataset.cases if case.id not in waiting]
    rows = dataset.contamination.cases.remaining
    while True:
        rest = {case.id: case for case in candidates if case.id not in refused}
        hits = rest.keys() & {
            overlap.case_id for overlap in find_overlaps(rows, [*known, *rest.values()], among=dataset.examples).dropped
        }
        if not hits:
            return refused
        refused |= hits
