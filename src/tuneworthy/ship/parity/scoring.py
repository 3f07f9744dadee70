"""The project's grader on what every form answered to the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuneworthy.cases import read_cases
from tuneworthy.cases.splits import example_case
from tuneworthy.config.project import Project
from tuneworthy.ship.parity.measure import FormAnswers, Greedy
from tuneworthy.ship.parity.subject import Scores
from tuneworthy.store.folder import Folder
from tuneworthy.train.training_rows import TaskMetric, kind_of, own_grader
from tuneworthy.types import Case, Example


@dataclass(frozen=True, slots=True)
class Scoring:
    """What grades the answers of a form.

    Attributes:
        metric: The grader, with the rows that it can grade as its cases; None if there is none.
        places: Of those rows among the ones that are asked, ``(n_cases,)``.
        why_not: Why nothing is scored; empty if something is.
    """

    metric: TaskMetric | None = None
    places: tuple[int, ...] = ()
    why_not: str = "no grader was handed in"


def scoring_of(project: Project, store: Folder, rows: Sequence[Example], drawn: Sequence[Example]) -> Scoring:
    """Return what grades `drawn`: the project's first grader, on those that are cases, each question once.

    Args:
        project: The project. store: Its folder.
        rows: That were trained on, for graders that are made from examples. drawn: Those that are asked.

    Raises:
        UserError: The cases cannot be read, or the grader cannot be made.
    """
    if project.graders[0].type == "judge":
        return Scoring(why_not="the first grader is a judge, who would have to be asked")
    cases = read_cases(project.root / project.cases.path).cases
    kind = kind_of(store, cases, rows)
    found: dict[str, tuple[int, Case]] = {}
    for place, row in enumerate(drawn):
        case = example_case(row, kind)
        if case is not None:
            found.setdefault(case.id, (place, case))
    if not found:
        return Scoring(why_not=f"no row that was asked is a case of the task ({kind.name})")
    metric = TaskMetric(grader=own_grader(project, cases, rows, kind), cases=tuple(case for _, case in found.values()))
    return Scoring(metric, tuple(place for place, _ in found.values()), "")


def scores_of(scoring: Scoring, adapter: FormAnswers, forms: Mapping[str, FormAnswers]) -> dict[str, Scores]:
    """Return what the grader says of the greedy answers of the adapter and of each form; nothing without a grader.

    Left out are the rows whose answer the adapter did not end within the limit (cut answers say nothing of the score),
    and those that cannot be scored.

    Args:
        scoring: What grades. adapter: What the others are compared with. forms: By name.
    """
    if scoring.metric is None:
        return {}
    grades = {
        name: scoring.metric.grades([_answer(form.greedy[place]) for place in scoring.places])
        for name, form in {"adapter": adapter, **forms}.items()
    }
    counted = [
        at for at, place in enumerate(scoring.places)
        if adapter.greedy[place].ended and not any(found[at].unscored for found in grades.values())
    ]  # fmt: skip
    groups = [scoring.metric.cases[at].source for at in counted]
    return {
        name: Scores(num=[found[at].num for at in counted], den=[found[at].den for at in counted], groups=groups)
        for name, found in grades.items() if counted
    }  # fmt: skip


def _answer(greedy: Greedy) -> tuple[str, str]:
    return greedy.text, "stop" if greedy.ended else "length"
