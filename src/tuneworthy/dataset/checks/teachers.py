"""Rows that models answered: whether it was one teacher, and whether it stayed the same."""

import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from datetime import date
from functools import cache

from tuneworthy.cases.normalize import question_of
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.dataset.checks.duplicates import answer_text
from tuneworthy.dataset.distill.teacher import KEY, name_of, pin, teacher_of
from tuneworthy.dataset.rows import rows_with
from tuneworthy.types import Examples, Texts, frozen


@data_check("teacher_mix", gate=frozenset({"teachers_mixed"}), whole=True)
@frozen
class TeacherMix:
    """Answers of several teachers in one set: other models, prompts or parameters.

    Each teacher has its own style, and the student learns no clear style. A teacher is pinned by `data distill` in
    every row: the model as configured, the model that the server reports, the prompt, the parameters. `teacher_mix =
    true` in [data] allows a mix, which is then reported only. Rows that people wrote have no teacher.

    Bad: half of the rows by one model, half by another.
    """

    allowed: bool = False

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        counts: Counter[str] = Counter()
        names: dict[str, str] = {}
        for _, row in rows_with(rows, KEY):
            if teacher := teacher_of(row):
                key = pin(teacher)
                counts[key] += 1
                names.setdefault(key, name_of(teacher))
        if len(counts) > 1:
            yield RowFinding(
                code="teachers_mixed_as_asked" if self.allowed else "teachers_mixed",
                message=messages.teachers([(n, names[key]) for key, n in counts.most_common()]),
            )


@data_check("teacher_drift", whole=True)
def teacher_drift(rows: Examples, context: CheckContext) -> RowFindings:
    """Answers of a teacher that changed from week to week, or from teacher to teacher.

    A model behind an address changes without notice. A classifier tries to separate the answers by week
    and by teacher: its area under the ROC curve (cross-validated, with its interval; 0.5 is chance) is
    reported. It counts as drift if the answers can be told apart, and better than their questions. It takes 40 rows of
    each.

    Bad: terse answers in one week, chatty answers in the next.
    """
    numbers, weeks, pins, names = array("q"), list[str](), list[str](), dict[str, str]()
    for number, row in rows_with(rows, KEY):
        if teacher := teacher_of(row):
            numbers.append(number)
            weeks.append(_week(teacher.date[:10]))
            pins.append(sys.intern(pin(teacher)))
            names[pins[-1]] = f"teacher {name_of(teacher)}"
    for groups in (weeks, [names[key] for key in pins]):
        dated = [n for n, group in enumerate(groups) if group]
        if len({groups[n] for n in dated}) > 1:
            some = array("q", (numbers[n] for n in dated))
            yield from _compare_groups(rows, some, [groups[n] for n in dated], context.seed)


def _compare_groups(rows: Examples, numbers: Sequence[int], groups: Texts, seed: int) -> RowFindings:
    from tuneworthy.classical.drift import MIN_ROWS, tell_apart

    comparisons = tell_apart(
        lambda n: question_of(rows[numbers[n]]), lambda n: answer_text(rows[numbers[n]]), groups, seed
    )
    for one in comparisons:
        yield RowFinding(code="answers_drift" if one.drifts else "answers_steady", message=str(one), score=one.auc)
    if not comparisons:
        yield RowFinding(
            code="too_few_answers",
            message=messages.too_few_answers(MIN_ROWS, Counter(groups).most_common()),
        )


@cache
def _week(day: str) -> str:
    """Return the ISO week of a day, or "" if it is not a date.

    >>> _week("2026-11-24"), _week("soon")
    ('week 2026-W48', '')
    """
    try:
        year, week, _ = date.fromisoformat(day).isocalendar()
    except ValueError:
        return ""
    return f"week {year}-W{week:02}"
