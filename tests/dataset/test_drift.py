"""A teacher that stays the same is not called drifted; one that changes its style is."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.dataset.taught import FIRST, SECOND, answered, chattily, plainly, question, scattered
from tuneworthy.classical.drift import MAX_ROWS, MIN_ROWS, tell_apart
from tuneworthy.dataset import WHOLE_SET, CheckContext
from tuneworthy.dataset.checks.teachers import teacher_drift

N = 100


def halves(first: str, second: str, n: int) -> list[str]:
    return [first] * n + [second] * n


def test_the_answers_of_one_teacher_are_not_told_apart() -> None:
    numbers = scattered(0, 2 * N)
    (found,) = tell_apart(
        [*map(question, numbers)].__getitem__, [*map(plainly, numbers)].__getitem__, halves("one", "two", N)
    )
    assert not found.drifts
    assert found.ci95[0] <= 0.5 <= found.ci95[1]
    assert (found.n, found.n_others) == (N, N)


def test_two_planted_styles_are_drift() -> None:
    numbers = scattered(0, 2 * N)
    answers = [*map(plainly, numbers[:N]), *map(chattily, numbers[N:])]
    (found,) = tell_apart([*map(question, numbers)].__getitem__, answers.__getitem__, halves("one", "two", N))
    assert found.drifts
    assert found.ci95[0] > 0.9
    assert found.questions_ci95[0] <= 0.5 <= found.questions_ci95[1]


def test_other_topics_are_no_drift_of_the_teacher() -> None:
    topics = [("moon", "Mars", "orbit"), ("soup", "bread", "oven")]
    questions = [f"What of the {topics[i // N][i % 3]} in part {i}?" for i in range(2 * N)]
    answers = [f"The {topics[i // N][i % 3]} is in part {i}." for i in range(2 * N)]
    (found,) = tell_apart(questions.__getitem__, answers.__getitem__, halves("one", "two", N))
    assert found.ci95[0] > 0.9
    assert found.questions_ci95[0] > 0.9
    assert not found.drifts


def test_answers_to_one_question_stay_in_one_fold() -> None:
    """Each question has one answer of its own, said twice: known answers would tell the groups apart."""
    rng = random.Random(5)
    own = [f"code {rng.randrange(10**9)} {rng.randrange(10**9)}" for _ in range(N)]
    questions = [question(i) for i in range(N) for _ in range(2)]
    answers = [text for text in own for _ in range(2)]
    sides = [side for i in range(N) for side in (str(i % 2),) * 2]
    (found,) = tell_apart(questions.__getitem__, answers.__getitem__, sides)
    assert found.ci95[0] <= 0.5 <= found.ci95[1]


def test_each_of_three_weeks_is_compared_and_large_ones_are_drawn_from() -> None:
    n = MAX_ROWS + 50
    groups = ["a"] * n + ["b"] * 60 + ["c"] * 60 + ["d"] * (MIN_ROWS - 1)
    answers = ["yes" if i % 2 else "no" for i in range(len(groups))]
    found = tell_apart("q {}".format, answers.__getitem__, groups)
    assert [one.group for one in found] == ["a", "b", "c"]
    assert found[0].n == MAX_ROWS


def test_the_check_tells_weeks_and_teachers_and_says_when_there_is_too_little() -> None:
    steady = [*answered(0, N, day=FIRST), *answered(N, N, day=SECOND)]
    drifted = [*answered(0, N, day=FIRST), *answered(N, N, chattily, day=SECOND)]
    two = [*answered(0, N), *answered(N, N, chattily, model="big-2")]
    little = [*answered(0, N, day=FIRST), *answered(N, 5, chattily, day=SECOND)]
    for rows, reason in (
        (steady, "answers_steady"),
        (drifted, "answers_drift"),
        (two, "answers_drift"),
        (little, "too_few_answers"),
    ):
        (finding,) = teacher_drift(rows, CheckContext())
        assert (finding.row, finding.code) == (WHOLE_SET, reason)
    assert list(teacher_drift(answered(0, N), CheckContext())) == []


@pytest.mark.slow
def test_a_steady_teacher_is_called_drifted_in_at_most_5_of_100_sets() -> None:
    wrong, areas = 0, []
    for seed in range(200):
        rng = random.Random(seed)
        numbers = rng.sample(range(10_000), 120)
        questions, answers = [question(i) for i in numbers], [plainly(i) for i in numbers]
        (found,) = tell_apart(questions.__getitem__, answers.__getitem__, halves("one", "two", 60), seed=seed)
        wrong += found.drifts
        areas.append(found.auc)
    assert wrong <= 10
    assert abs(float(np.mean(areas)) - 0.5) < 0.02
