"""Paraphrases of cases: what has nothing to do with them does not lean to them, and what was made from them does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.dataset.check_rows import CASES, Meaning, row
from tuneworthy.dataset import CheckContext
from tuneworthy.dataset.checks import paraphrases
from tuneworthy.dataset.checks.paraphrases import Paraphrases, leaning, nearness
from tuneworthy.types import Case


def unit(
    rng: np.random.Generator, n: int, around: NDArray[np.float32] | None = None, wide: float = 1.0
) -> NDArray[np.float32]:
    """Random directions, or ones around given ones."""
    vectors = rng.normal(size=(n, 24)) * wide + (0 if around is None else around)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize(("n_cases", "n_others"), [(40, 40), (30, 120), (120, 30)])
def test_rows_that_have_nothing_to_do_with_the_cases_lean_to_neither_side(n_cases: int, n_others: int) -> None:
    rng = np.random.default_rng(n_cases)
    means, told = [], 0
    for _ in range(400):
        found = nearness(unit(rng, 40), unit(rng, n_cases), unit(rng, n_others), np.zeros((40, n_others), bool))
        off, z = leaning(found.lean, found.case)
        means.append(off)
        told += z > 2.33
    assert abs(np.mean(means)) < 0.02
    assert told <= 0.03 * 400


def test_rows_made_from_the_cases_lean_to_them_whatever_their_style() -> None:
    rng = np.random.default_rng(1)
    cases, others, style = unit(rng, 200), unit(rng, 400), unit(rng, 1)
    made = unit(rng, 40, cases[:40] + style, 0.1)
    off, z = leaning(*_of(nearness(made, cases, others, np.zeros((40, 400), bool))))
    own = unit(rng, 40, style, 0.1)
    _, z_of_style = leaning(*_of(nearness(own, cases, others, np.zeros((40, 400), bool))))
    assert z > 3 and off > 0.1
    assert z_of_style < z


def _of(found: paraphrases.Nearness) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return found.lean, found.case


def test_rows_around_one_case_count_as_one_draw() -> None:
    lean = np.ones(50)
    assert leaning(lean, np.arange(50))[1] == pytest.approx(50**0.5)
    assert leaning(lean, np.zeros(50, int))[1] == pytest.approx(1)


def test_the_row_itself_and_the_same_question_are_no_other_rows() -> None:
    rows, cases = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[2:]
    same = np.eye(3, dtype=bool)
    found = nearness(rows, cases, rows, same)
    assert found.margin.tolist() == [0, 0, 1]
    assert nearness(rows, cases, rows, np.zeros((3, 3), bool)).margin[2] == 0


def test_never_more_rows_are_told_than_the_share_that_may_be() -> None:
    cases = [Case(id=f"z{i}", input=f"case about zebra{i}.") for i in range(40)]
    rows = [row(f"other words on zebra{i}.") for i in range(40)] + [row(f"hm {i}") for i in range(60)]
    context = CheckContext(cases=cases, encoder=Meaning(*(f"zebra{i}." for i in range(40))), seed=1)
    for share, most in ((0.02, 2), (0.1, 10), (0.005, 0)):
        found = list(Paraphrases(false_alarms=share)(rows, context))
        told = [one.row for one in found if one.code == "overlap_paraphrase"]
        assert len(told) == most and all(number < 40 for number in told)


def test_what_is_found_does_not_depend_on_how_many_rows_are_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [replace(row(f"hm {i} about zebra{i % 9}."), source=f"a.jsonl:{i}") for i in range(120)]
    context = CheckContext(cases=CASES, encoder=Meaning(*(f"zebra{i}." for i in range(9))), seed=1)
    whole = list(Paraphrases()(rows, context))
    monkeypatch.setattr(paraphrases, "_BATCH", 17)
    monkeypatch.setattr(paraphrases, "_BLOCK", 5)
    assert list(Paraphrases()(rows, context)) == whole


def test_without_an_encoder_or_cases_nothing_is_told() -> None:
    assert list(Paraphrases()([row("x")], CheckContext(cases=CASES))) == []
    assert list(Paraphrases()([row("x")], CheckContext(encoder=Meaning()))) == []
    assert list(Paraphrases()([row(CASES[0].text)], CheckContext(cases=CASES, encoder=Meaning()))) == []
