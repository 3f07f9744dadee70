"""Rows that models answered: whether it was one teacher, and whether it stayed the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from tuneworthy.cases.normalize import question_of
from tuneworthy.dataset.base import WHOLE_SET, Context, Finding, check
from tuneworthy.dataset.checks.duplicates import answer_text
from tuneworthy.dataset.distill.teacher import name_of, pin, teacher_of
from tuneworthy.types import Example

_SHOWN = 4


@check("teacher_mix")
@dataclass(frozen=True, slots=True)
class TeacherMix:
    """Answers of several teachers in one set: other models, prompts or parameters.

    Each teacher has its own voice, and the student finds none. A teacher is what `data distill` pins in every row:
    the model as configured, what the server says that it ran, the prompt, the parameters. `teacher_mix = true` in
    [data] asks for a mix, which is then reported only. Rows that people wrote have no teacher.

    Bad: half of the rows by one model, half by another.
    """

    allowed: bool = False

    code: ClassVar[str]
    reasons: ClassVar = {
        "teachers_mixed": "answers of several teachers",
        "teachers_mixed_as_asked": "answers of several teachers, as the project asks for",
    }
    whole: ClassVar = True
    gate: ClassVar = frozenset({"teachers_mixed"})

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield at most one finding, on the whole set."""
        counts: Counter[str] = Counter()
        names: dict[str, str] = {}
        for row in rows:
            if teacher := teacher_of(row):
                key = pin(teacher)
                counts[key] += 1
                names.setdefault(key, name_of(teacher))
        if len(counts) > 1:
            told = "; ".join(f"{n} rows by {names[key]}" for key, n in counts.most_common(_SHOWN))
            more = f"; and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
            reason = "teachers_mixed_as_asked" if self.allowed else "teachers_mixed"
            yield Finding(WHOLE_SET, reason, f"{len(counts)} teachers: {told}{more}", action="report")


@check("teacher_drift")
@dataclass(frozen=True, slots=True)
class TeacherDrift:
    """Answers of a teacher that changed from week to week, or from teacher to teacher.

    A model behind an address changes without notice. A classifier tries to tell the answers of each week, and of each
    teacher, from the others: its area under the ROC curve (cross-validated, with its interval; 0.5 is chance) is
    reported. It is drift if the answers are told apart, and better than their questions are. It takes 40 rows each.

    Bad: terse answers in one week, and chatty ones in the next.
    """

    code: ClassVar[str]
    reasons: ClassVar = {
        "answers_drift": "the answers of weeks or teachers can be told apart",
        "answers_steady": "the answers of weeks or teachers cannot be told apart",
        "too_few_answers": "weeks or teachers with too few answers to compare",
    }
    whole: ClassVar = True

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield a finding for each week and teacher that is compared, on the whole set."""
        taught = [(row, teacher) for row in rows if (teacher := teacher_of(row))]
        pins = [pin(teacher) for _, teacher in taught]
        names = {key: f"teacher {name_of(teacher)}" for key, (_, teacher) in zip(pins, taught, strict=True)}
        by = {
            "week": [_week(str(teacher.get("date", ""))) for _, teacher in taught],
            "teacher": [names[key] for key in pins],
        }
        for groups in by.values():
            known = [n for n, group in enumerate(groups) if group]
            if len({groups[n] for n in known}) > 1:
                yield from _compared([taught[n][0] for n in known], [groups[n] for n in known], context.seed)


def _compared(rows: Sequence[Example], groups: Sequence[str], seed: int) -> Iterator[Finding]:
    from tuneworthy.dataset.distill.drift import MIN_ROWS, tell_apart

    found = tell_apart([question_of(row) for row in rows], [answer_text(row) for row in rows], groups, seed)
    for one in found:
        reason = "answers_drift" if one.found else "answers_steady"
        yield Finding(WHOLE_SET, reason, str(one), score=one.auc, action="report")
    if not found:
        told = ", ".join(f"{n} of {name}" for name, n in Counter(groups).most_common(_SHOWN))
        yield Finding(WHOLE_SET, "too_few_answers", f"it takes {MIN_ROWS} of each, there are {told}", action="report")


def _week(day: str) -> str:
    """Return the ISO week of a day, or "" if it is none.

    >>> _week("2026-11-24"), _week("soon")
    ('week 2026-W48', '')
    """
    try:
        year, week, _ = date.fromisoformat(day[:10]).isocalendar()
    except ValueError:
        return ""
    return f"week {year}-W{week:02}"
