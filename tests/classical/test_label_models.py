"""The label classical baselines: tasks planted for each, calibrated probabilities, the learning curve, banking77."""

from __future__ import annotations

import random

import numpy as np
import pytest
from classical_data import banking77, example

from tuneworthy.classical import ProbabilisticModel, candidates, fit, linear
from tuneworthy.errors import Undecided, UserError

COLOURS = {"red": ["rose", "blood", "brick"], "green": ["moss", "fern", "grass"], "blue": ["sky", "sea", "denim"]}


def planted(n: int, seed: int) -> list[tuple[str, str]]:
    """Questions with one telling word among noise words."""
    rng = random.Random(seed)
    noise = ["paint", "the", "wall", "like", "please", "today", "house", "door", "again", "soon"]
    pairs = []
    for _ in range(n):
        label = rng.choice(list(COLOURS))
        words = [*rng.sample(noise, 5), rng.choice(COLOURS[label])]
        rng.shuffle(words)
        pairs.append((" ".join(words), label))
    return pairs


def accuracy(name: str, train: list[tuple[str, str]], test: list[tuple[str, str]]) -> float:
    classical = fit(name, [example(q, a) for q, a in train], 7)
    return float(np.mean([p == a for p, (_, a) in zip(classical.predict([q for q, _ in test]), test, strict=True)]))


def test_the_linear_classical_baseline_finds_the_telling_word_among_noise():
    train, test = planted(200, 1), planted(200, 2)
    assert accuracy("linear", train, test) >= 0.99
    assert accuracy("linear", train, test) > accuracy("nearest", train, test) > accuracy("majority", train, test)


def test_the_nearest_classical_baseline_wins_where_every_answer_is_its_own_label():
    train = [(f"what is the code of station {word}", f"{i:03}") for i, word in enumerate(["Aldwych", "Bank", "Cowley"])]
    test = [(f"code of {word} station?", f"{i:03}") for i, word in enumerate(["Aldwych", "Bank", "Cowley"])]
    assert accuracy("nearest", train, test) == 1.0
    assert accuracy("majority", train, test) == pytest.approx(1 / 3)


def test_the_majority_classical_baseline_wins_where_the_question_says_nothing():
    rng = random.Random(5)
    pairs = [("".join(rng.choices("bcdfgh", k=9)), "yes" if rng.random() < 0.7 else "no") for _ in range(400)]
    assert accuracy("majority", pairs[:200], pairs[200:]) > accuracy("nearest", pairs[:200], pairs[200:]) + 0.02


def test_equally_near_duplicates_are_settled_by_their_majority():
    rows = [example("same words", a) for a in ("b", "a", "b")] + [example("else", "c")]
    assert fit("nearest", rows, 0).predict(["same words"]) == ["b"]


def test_probabilities_are_calibrated_on_a_noisy_task():
    rng = random.Random(3)
    pairs = [(q, a if rng.random() < 0.7 else rng.choice(list(COLOURS))) for q, a in planted(1200, 9)]
    classical = fit("linear", [example(q, a) for q, a in pairs[:600]], 7)
    assert isinstance(classical, ProbabilisticModel)
    sure = classical.probabilities([q for q, _ in pairs[600:]])
    right = [classical.labels[i] == a for i, (_, a) in zip(sure.argmax(axis=1), pairs[600:], strict=True)]
    assert np.allclose(sure.sum(axis=1), 1.0)
    assert abs(sure.max(axis=1).mean() - np.mean(right)) < 0.08  # over-confident by less than 8 points


@pytest.mark.parametrize("name", ["majority", "linear"])
def test_columns_of_the_probabilities_are_the_labels(name):
    classical = fit(name, [example(q, a) for q, a in planted(60, 1)], 7)
    assert isinstance(classical, ProbabilisticModel)
    assert classical.labels == sorted(COLOURS)
    assert classical.probabilities(["rose", ""]).shape == (2, 3)
    assert classical.probabilities([]).shape == (0, 3)


def test_a_task_with_a_label_a_row_learns_what_it_can_afford(monkeypatch):
    rows = [("again and again", "usual")] * 9 + [(f"thing number {i}", f"label {i}") for i in range(40)]
    monkeypatch.setattr(linear, "MAX_FIT_WORK", 1)
    classical = fit("linear", [example(q, a) for q, a in rows], 7)
    assert len(classical.labels) == 41
    assert classical.predict(["again and again"]) == ["usual"]
    assert set(classical.predict([q for q, _ in rows])) <= {"usual", "label 0"}  # the two most frequent


def test_duplicate_questions_never_stand_on_both_sides_of_a_fold():
    answers, groups = ["a", "b", "a"] * 20, [str(i % 7) for i in range(60)]
    folds = linear.assign_folds(answers, groups, 3)
    assert len({(g, f) for g, f in zip(groups, folds, strict=True)}) == 7
    assert set(folds.tolist()) == {0, 1, 2}


def test_unknown_names_and_kinds_are_refused():
    with pytest.raises(UserError, match="Unknown classical model"):
        fit("oracle", [example("q", "a")], 0)
    with pytest.raises(ValueError, match="expected one of label"):
        candidates("image")  # type: ignore[arg-type]
    with pytest.raises(Undecided, match="at least one example"):
        fit("majority", [], 0)


@pytest.mark.slow
def test_banking77_with_2000_examples_is_above_75_percent():
    train, test = banking77("train"), random.Random(1).sample(banking77("test"), 300)
    assert accuracy("linear", random.Random(2).sample(train, 2000), test) >= 0.75


@pytest.mark.slow
def test_banking77_in_full():
    assert accuracy("linear", banking77("train"), banking77("test")) >= 0.90
