"""Racing: who wins, how much is asked, and that dev alone never decides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from tuneworthy.search.race import Measured, Race, race
from tuneworthy.types import Case, Variant

DEV = [Case(id=str(i), input=str(i), expected="x") for i in range(120)]


def variant(name: str) -> Variant:
    """A variant that differs by its system prompt."""
    return Variant(name=name, model="m", model_identity={}, system=name, user="{{ input }}")


def run(shares: dict[str, float], weights: dict[str, float] | None = None) -> tuple[Race, dict[str, int]]:
    """Race variants that are right for so large a share of the cases."""
    asked: dict[str, int] = {}

    async def measure(one: Variant, cases: Sequence[Case]) -> Measured:
        asked[one.name] = len(cases)
        draws = np.random.default_rng(5).random(len(DEV))  # the same cases are hard for all
        num = (draws[: len(cases)] < shares[one.name]).astype(float)
        return Measured(
            num=num, den=np.ones(len(cases)), cost_usd=0.0, weight=(0.0, (weights or {}).get(one.name, 1.0))
        )

    return asyncio.run(race([variant(name) for name in shares], DEV, measure)), asked


def test_the_best_candidate_wins() -> None:
    found, _ = run({"a": 0.2, "b": 0.9, "c": 0.3, "d": 0.1})
    assert found.winner.name == "b"


def test_those_behind_are_not_asked_all_of_dev() -> None:
    found, asked = run({"a": 0.2, "b": 0.9, "c": 0.3, "d": 0.1, "e": 0.1, "f": 0.1})
    assert asked["b"] >= 80
    assert sum(n == 40 for n in asked.values()) == 3
    assert found.calls == sum(asked.values()) < found.calls_full == 720


def race_of(answers: dict[str, np.ndarray]) -> Race:
    """Race variants whose right and wrong answers are given, `(n_dev,)` of 0/1 each."""
    n = len(next(iter(answers.values())))

    async def measure(one: Variant, cases: Sequence[Case]) -> Measured:
        num = answers[one.name][: len(cases)].astype(float)
        return Measured(num=num, den=np.ones(len(cases)), cost_usd=0.0, weight=(0.0, 1.0))

    dev = [Case(id=str(i), input=str(i), expected="x") for i in range(n)]
    return asyncio.run(race([variant(name) for name in answers], dev, measure))


def test_two_candidates_or_more_finish_however_far_one_is_behind_at_a_third() -> None:
    for names in ("ab", "abc"):
        _, asked = run(dict(zip(names, (0.9, 0.3, 0.1), strict=False)))
        assert sorted(asked.values(), reverse=True)[:2] == [120, 120]


def test_of_eight_candidates_four_calls_in_ten_are_saved_and_little_is_lost() -> None:
    shares, regrets = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        levels = rng.permutation(np.linspace(0.5, 0.7, 8))
        shared = rng.random(120)  # half of what makes a case hard is the same for all
        answers = {str(i): (shared + rng.random(120)) / 2 < level for i, level in enumerate(levels)}
        found = race_of(answers)
        shares.append(found.calls / found.calls_full)
        regrets.append(0.7 - levels[int(found.winner.name)])
    assert float(np.mean(shares)) < 0.6
    assert float(np.mean(regrets)) < 0.03


def test_of_two_that_dev_cannot_tell_apart_the_cheaper_wins() -> None:
    both_right = [1.0] * 60 + [0.0] * 45
    rows = {"dear": [*both_right, *[1.0] * 8, *[0.0] * 7], "cheap": [*both_right, *[0.0] * 8, *[1.0] * 7]}

    async def measure(one: Variant, cases: Sequence[Case]) -> Measured:
        num = np.array(rows[one.name])[np.random.default_rng(1).permutation(120)][: len(cases)]
        return Measured(
            num=num, den=np.ones(len(cases)), cost_usd=0.0, weight=(0.0, 100.0 if one.name == "dear" else 10.0)
        )

    found = asyncio.run(race([variant("dear"), variant("cheap")], DEV, measure))
    assert found.winner.name == "cheap"
    assert found.entries[0].variant.name == "dear"


def test_a_cheaper_one_that_is_clearly_behind_does_not_win() -> None:
    found, _ = run({"dear": 0.9, "cheap": 0.6}, {"dear": 100.0, "cheap": 10.0})
    assert found.winner.name == "dear"


def test_a_candidate_without_any_score_never_wins() -> None:
    async def measure(one: Variant, cases: Sequence[Case]) -> Measured:
        num = np.full(len(cases), np.nan if one.name == "broken" else 0.1)
        return Measured(num=num, den=np.where(np.isnan(num), np.nan, 1.0), cost_usd=0.0, weight=(0.0, 1.0))

    found = asyncio.run(race([variant("broken"), variant("works")], DEV, measure))
    assert found.winner.name == "works"
