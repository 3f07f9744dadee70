"""What dev, the examples and the project file show of a task: kind, labels, schema. Nothing of it is taken from test.

Graders know all labels; what a model is shown, or held to, comes from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tuneworthy.cases.splits import Split
from tuneworthy.cases.task_kind import labels_of, parse_object
from tuneworthy.config.project import Project
from tuneworthy.ladder.rung import Task
from tuneworthy.prompts.schema import infer_schema
from tuneworthy.types import Case

MOST_NAMED = 5
NAME_THEM = "name all labels in a `choice` grader if they are known beforehand"


def task_of(project: Project, split: Split) -> tuple[Task, list[str]]:
    """Return the task, and what a reader must know of how far dev and examples show it."""
    if split.kind.name == "label":
        return _label_task(project, split)
    if split.kind.name == "json":
        return _json_task(split)
    return Task(kind=split.kind.name), []


def _label_task(project: Project, split: Split) -> tuple[Task, list[str]]:
    """Take the labels of dev and examples, and those that the project file names.

    They are taken to be nearly all there are if the chance that the next answer has another one is at most the
    margin. Source: Good 1953: it is the share of answers whose label occurs once.
    """
    named = {label for grader in project.graders if grader.type == "choice" for label in grader.labels or ()}
    rows = [labels_of([case]) for case in split.dev] + [labels_of((), [example]) for example in split.shots]
    counts = Counter(label for row in rows for label in row)
    once = sum(count == 1 and label not in named for label, count in counts.items())
    labels = tuple(sorted({*counts, *named}))
    closed = bool(named) or once <= project.task.margin * counts.total()
    notes = []
    if not closed:
        notes.append(
            f"{once} of {counts.total()} answers of dev and examples have a label that occurs once: more labels are to "
            f"be expected, so no answer is held to those that are known; {NAME_THEM}"
        )
    if unseen := sorted(set(labels_of(split.test)) - set(labels)):
        rest = f" and {len(unseen) - MOST_NAMED} more" if len(unseen) > MOST_NAMED else ""
        notes.append(
            f"{len(unseen)} labels occur in test only ({', '.join(unseen[:MOST_NAMED])}{rest}): they are not among the "
            f"choices that a model is given; {NAME_THEM}"
        )
    return Task(kind="label", labels=labels, closed=closed), notes


def _json_task(split: Split) -> tuple[Task, list[str]]:
    """Infer the schema from the answers of dev and examples."""
    values = [case.expected for case in split.dev if case.expected is not None]
    shown = (parse_object(example.answer) for example in split.shots)
    schema = infer_schema([*values, *(value for value in shown if isinstance(value, dict))])
    missed = _misfits(schema, split.test) if schema else 0
    notes = [
        f"the right answers of {missed} of {len(split.test)} test cases do not fit the schema that dev and examples "
        "show: a model that is held to it cannot give them"
    ]
    return Task(kind="json", schema=schema), notes if missed else []


def _misfits(schema: dict[str, Any], cases: Sequence[Case]) -> int:
    """Return how many right answers the schema forbids."""
    from jsonschema import Draft202012Validator

    fits = Draft202012Validator(schema).is_valid
    return sum(case.expected is not None and not fits(case.expected) for case in cases)
