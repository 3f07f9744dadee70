"""Task facts from dev, the examples and the project file: kind, labels, schema. Nothing comes from test.

Graders know all labels; labels in prompts and constraints come from here.
"""

from collections import Counter

from tuneworthy.cases.example_store import answer_counts
from tuneworthy.cases.splits import Split, labels_of
from tuneworthy.cases.task_kind import TaskKind, parse_object
from tuneworthy.config.graders import Choice
from tuneworthy.config.project import Project
from tuneworthy.ladder import messages
from tuneworthy.prompts.schema import infer_schema
from tuneworthy.text import listed
from tuneworthy.types import JsonObject, OutputFormat, TextTuple, frozen


@frozen
class TaskInfo:
    """What rungs know of the task.

    Attributes:
        kind: `label`, `json`, `short_answer` or `free_text`.
        labels: The labels of a label task that dev and examples have, and those that the project file names.
        closed: Whether these are nearly all there are; if not, no answer is constrained to them.
        schema: JSON schema of the answers of a JSON task, inferred from dev and examples.
    """

    kind: TaskKind
    labels: TextTuple = ()
    closed: bool = True
    schema: JsonObject | None = None

    @property
    def structured(self) -> OutputFormat:
        if self.kind == "label" and self.closed and len(self.labels) > 1:
            return OutputFormat(kind="choice", choices=self.labels)
        return (
            OutputFormat(kind="json_schema", schema=self.schema)
            if self.kind == "json" and self.schema
            else OutputFormat()
        )


def task_of(project: Project, split: Split) -> tuple[TaskInfo, list[str]]:
    if any(case.expects_calls for case in split.dev):  # no constraint on words allows a call
        return TaskInfo(kind="free_text"), []
    if split.kind.name == "label" or (isinstance(project.graders[0], Choice) and project.graders[0].labels):
        several = any(isinstance(case.expected, list) and len(case.expected) > 1 for case in split.dev)
        if several and project.graders[0].type == "includes":  # the answer must have all labels
            return TaskInfo(kind="short_answer"), []
        return _label_task(project, split)
    return _json_task(split) if split.kind.name == "json" else (TaskInfo(kind=split.kind.name), [])


def _label_task(project: Project, split: Split) -> tuple[TaskInfo, list[str]]:
    """Take the labels of dev and examples, and those that the project file names.

    They are taken to be nearly all there are if the chance that the next answer has another one is at most the
    margin. Source: Good 1953: it is the share of answers whose label occurs once.
    """
    named = {label for grader in project.graders if isinstance(grader, Choice) for label in grader.labels or ()}
    counts = Counter(label for case in split.dev for label in labels_of([case])) + answer_counts(split.shots)
    once = sum(count == 1 and label not in named for label, count in counts.items())
    labels = tuple(sorted({*counts, *named}))
    closed = bool(named) or once <= project.task.margin * counts.total()
    notes = []
    if not closed:
        notes.append(
            f"Labels that occur only once make up {once} of {counts.total()} answers in dev cases and examples, so "
            "more labels probably exist. Answers are therefore not constrained to the known labels. "
            f"{messages.say('name_labels')}"
        )
    if missing := sorted(set(labels_of(split.test)) - set(labels)):
        notes.append(
            messages.say(
                "labels_in_test_only",
                n=len(missing),
                names=listed(missing),
                hint=messages.say("name_labels"),
            )
        )
    return TaskInfo(kind="label", labels=labels, closed=closed), notes


def _json_task(split: Split) -> tuple[TaskInfo, list[str]]:
    values = [case.expected for case in split.dev if case.expected is not None]
    shown = (parse_object(example.answer) for example in split.shots)
    task = TaskInfo(kind="json", schema=infer_schema([*values, *(value for value in shown if isinstance(value, dict))]))
    if not task.schema:
        return task, []
    from jsonschema import Draft202012Validator

    fits = Draft202012Validator(task.schema).is_valid
    misfits = sum(case.expected is not None and not fits(case.expected) for case in split.test)
    return task, [
        (
            f"In {misfits} of {len(split.test)} test cases, the expected answer does not match the schema inferred "
            "from dev cases and examples. A model constrained to this schema cannot produce it."
        )
    ] if misfits else []
