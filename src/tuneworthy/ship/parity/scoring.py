"""The project's grader on what every form answered to the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuneworthy.cases import read_cases
from tuneworthy.cases.splits import example_case
from tuneworthy.config.project import Project
from tuneworthy.ship.parity.measure import FormAnswers
from tuneworthy.ship.parity.subject import Scores
from tuneworthy.store.folder import Folder
from tuneworthy.train.training_rows import TaskMetric, kind_of, own_grader
from tuneworthy.types import Case, Example


@dataclass(frozen=True, slots=True)
class Scoring:
    """What grades the answers of a form.

    Attributes:
        metric: The grader, with the rows that it can grade as its cases; None without one.
        places: Places of those rows among the ones that are asked, ``(n_cases,)``.
        why_not: Why nothing is scored; "" if something is.
    """

    metric: TaskMetric | None = None
    places: tuple[int, ...] = ()
    why_not: str = "no grader is configured"


def scoring_of(project: Project, store: Folder, rows: Sequence[Example], drawn: Sequence[Example]) -> Scoring:
    """Return what grades `drawn`: the project's first grader, on those that are cases, each question once.

    Args:
        project: The project.
        store: Its folder.
        rows: Rows that were trained on, for graders that are made from examples.
        drawn: Rows that are asked.

    Raises:
        UserError: The cases cannot be read, or the grader cannot be made.
    """
    if project.graders[0].type == "judge":
        return Scoring(why_not="the first grader is a judge, which would need model calls")
    cases = read_cases(project.path(project.cases.path)).cases
    kind = kind_of(store, cases, rows)
    gradable: dict[str, tuple[int, Case]] = {}
    for place, row in enumerate(drawn):
        if (case := example_case(row, kind)) is not None:
            gradable.setdefault(case.id, (place, case))
    if not gradable:
        return Scoring(
            why_not=f"none of the training rows used as prompts can be graded as a case of this task type ({kind.name})"
        )
    places, asked_cases = zip(*gradable.values(), strict=True)
    return Scoring(TaskMetric(grader=own_grader(project, cases, rows, kind), cases=asked_cases), places, "")


def scores_of(scoring: Scoring, adapter: FormAnswers, forms: Mapping[str, FormAnswers]) -> dict[str, Scores]:
    """Return the grader's scores of the greedy answers of the adapter and of each form; nothing without a grader.

    Rows whose answer the adapter did not end within the limit are left out (cut answers say nothing of the score), and
    so are rows that cannot be scored.

    Args:
        scoring: What grades.
        adapter: Answers that the others are compared with.
        forms: Their answers, by name.
    """
    if scoring.metric is None:
        return {}
    grades = {
        name: scoring.metric.grades(
            [(form.greedy[place].text, "stop" if form.greedy[place].ended else "length") for place in scoring.places]
        )
        for name, form in {"adapter": adapter, **forms}.items()
    }
    counted = [
        at for at, place in enumerate(scoring.places)
        if adapter.greedy[place].ended and not any(scores[at].unscored for scores in grades.values())
    ]  # fmt: skip
    groups = [scoring.metric.cases[at].source for at in counted]
    return {
        name: Scores(num=[scores[at].num for at in counted], den=[scores[at].den for at in counted], groups=groups)
        for name, scores in grades.items() if counted
    }  # fmt: skip
