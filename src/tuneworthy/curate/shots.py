"""The shots that a teacher is shown: never the question itself, and no personal data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tuneworthy.cases.text import normalise, question_of
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Case, Example, Shots

SPARE = 8
"""More shots than are wanted, from which those that ask the same are taken out."""


class TeacherShots(ShotPool):
    """The pool of the ladder, for questions that may be among its own examples.

    A shot with the question's own words would hand the old answer over instead of the teacher's. The choice is made
    among the examples as they are, and what is shown is masked.

    Args:
        examples: The pool of the ladder.
        masked: Returns an example as the teacher may see it, or None if it may not.
    """

    def __init__(self, examples: Sequence[Example], masked: Callable[[Example], Example | None]) -> None:
        super().__init__(examples)
        self._masked = masked
        self._shown: dict[str, Example | None] = {}

    def select(self, shots: Shots | None, cases: Sequence[Case]) -> dict[str, tuple[Example, ...]]:
        """Return the shots of each case by case id (see `ShotPool.select`)."""
        if shots is None:
            return {}
        more = replace(shots, k=shots.k + SPARE) if shots.mode == "per_case" else shots
        chosen = super().select(more, cases)
        asked = {case.id: normalise(question_of(case)) for case in cases}
        return {case: self._fit(rows, asked[case], shots.k) for case, rows in chosen.items()}

    def _fit(self, rows: Sequence[Example], asked: str, k: int) -> tuple[Example, ...]:
        """Return the last `k` of the rows that do not ask the same, as they are shown."""
        others = [row for row in rows if normalise(row.question) != asked]
        shown = [one for row in others if (one := self._show(row)) is not None]
        return tuple(shown[-k:])

    def _show(self, row: Example) -> Example | None:
        if row.id not in self._shown:
            self._shown[row.id] = self._masked(row)
        return self._shown[row.id]
