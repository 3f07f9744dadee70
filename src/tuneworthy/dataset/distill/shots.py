"""The shots in a teacher's prompt: never the question itself, with its old answer."""

from collections.abc import Sequence
from dataclasses import replace

from tuneworthy.cases.normalize import normalise, question_of
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Case, Example, Shots

# Shots drawn beyond those needed, as those that ask the same question are removed.
SPARE = 8


class TeacherShots(ShotPool):
    """The pool of the ladder, for questions that may be among its own examples.

    A shot with the question's own words would make the teacher repeat the old answer.
    """

    def select(self, shots: Shots | None, cases: Sequence[Case]) -> dict[str, tuple[Example, ...]]:
        """Return the shots of each case by case id (see `ShotPool.select`)."""
        if shots is None:
            return {}
        more = replace(shots, k=shots.k + SPARE) if shots.mode == "per_case" else shots
        questions = {case.id: normalise(question_of(case)) for case in cases}
        chosen = super().select(more, cases)
        others = {
            case: [row for row in rows if normalise(row.question) != questions[case]] for case, rows in chosen.items()
        }
        return {case: tuple(rows[-shots.k :]) for case, rows in others.items()}
