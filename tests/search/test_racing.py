"""Racing: who wins, how much is asked, and that dev alone never decides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from tuneworthy.search.racing import ALPHA, DevScores, Race, cheapest_of_the_best, entry_of, race
from tuneworthy.types import Case, Variant

DEV = [Case(id=str(i), input=str(i), expected="x") for i in range(120)]


def variant(name: str) -> Variant:
    """A variant that differs by its system prompt."""
    return Variant(name=name, model="m", model_identity={}, system=name, user="{{ input }}")


def run(shares: dict[str, float], weights: dict[str, float] | None = None) -> tuple[Race, dict[str, int]]:
    """Race variants that are right for so large a share of the cases."""
    asked: dict[str, int] = {}

    async def measure(one: Variant, cases: Sequence[Case]) -> DevScores:
        asked[one.name] = len(cases)
        draws = np.random.default_rng(5).random(len(DEV))  # the same cases are hard for all
        num = (draws[: len(cases)] < shares[one.name]).astype(float)
        return DevScores(
            num=num, den=np.ones(len(cases)), cost_usd=0.0, weight=(0.0, (weights or {}).get(one.name, 1.0))
        )

    return asyncio.run(race([variant(name) for name in shares], DEV, measure)), asked


def test_the_best_candidate_wins() -> None:
    found, _ = run({"a": 0.2, "b": 0.9, "c": 0.3, "d": 0.1})
    assert found.winner.name == "b"


def test_a_race_takes_at_most_a_third_of_the_calls_of_the_full_grid() -> None:
    for names in ("ab", "abc", "abcdef", "abcdefghijkl"):
        found, asked = run(dict.fromkeys(names, 0.5) | {"b": 0.52})
        assert found.calls == sum(asked.values()) <= len(names) * 40


def test_a_single_candidate_sees_all_of_dev() -> None:
    found, asked = run({"a": 0.5})
    assert asked == {"a": 120} and found.calls == 120


def test_who_is_shown_to_lead_is_not_asked_further() -> None:
    found, asked = run({"a": 0.02, "b": 0.98})
    assert found.winner.name == "b" and asked["b"] < 40
    assert {entry.variant.name: entry.dropped for entry in found.entries} == {"b": "", "a": "bound"}


def test_without_the_bound_the_budget_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.search.racing.ALPHA", 1e-300)
    found, asked = run({"a": 0.02, "b": 0.98})
    assert asked == {"a": 40, "b": 40} and not any(entry.dropped for entry in found.entries)


@pytest.mark.slow
def test_of_two_the_better_one_rarely_leaves_by_the_bound() -> None:
    wrong = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        found = race_of({"a": rng.random(240) < 0.5, "b": rng.random(240) < 0.5})
        wrong += any(entry.dropped == "bound" for entry in found.entries)
    assert wrong <= 2 * ALPHA * 400  # either of two equals may be called behind


def race_of(answers: dict[str, np.ndarray]) -> Race:
    """Race variants whose right and wrong answers are given, `(n_dev,)` of 0/1 each."""
    n = len(next(iter(answers.values())))

    async def measure(one: Variant, cases: Sequence[Case]) -> DevScores:
        num = answers[one.name][: len(cases)].astype(float)
        return DevScores(num=num, den=np.ones(len(cases)), cost_usd=0.0, weight=(0.0, 1.0))

    dev = [Case(id=str(i), input=str(i), expected="x") for i in range(n)]
    return asyncio.run(race([variant(name) for name in answers], dev, measure))


RUNGS = 1000


@pytest.mark.slow
@pytest.mark.parametrize("priced", [False, True])
def test_of_a_thousand_rungs_two_thirds_of_the_calls_are_saved_and_a_point_is_lost_at_most(priced: bool) -> None:
    """Truths: a level uniform in 0.3..0.9, plus a normal spread whose SD is log-uniform in 0.01..0.15; 2 to 12
    candidates; dev of 80, 120 or 200 cases; answers correlated 0.3..0.7 (a shared normal difficulty)."""
    told = np.array([simulated(seed, priced=priced) for seed in range(RUNGS)])
    calls, full, regret = told.sum(axis=0)
    assert calls <= full / 3
    assert regret / RUNGS <= 0.01


def simulated(seed: int, *, priced: bool) -> tuple[float, float, float]:
    """Calls, calls of the full grid, and the regret against its pick, of one simulated rung."""
    rng = np.random.default_rng(seed)
    k, n = int(rng.integers(2, 13)), int(rng.choice([80, 120, 200]))
    spread = np.exp(rng.uniform(np.log(0.01), np.log(0.15)))
    truth = np.clip(rng.uniform(0.3, 0.9) + spread * rng.standard_normal(k), 0.02, 0.98)
    rho = rng.uniform(0.3, 0.7)
    ease = np.sqrt(rho) * rng.standard_normal(n) + np.sqrt(1 - rho) * rng.standard_normal((k, n))
    right = (ease < ndtri(truth)[:, None]).astype(float)
    weights = rng.uniform(1, 10, k) if priced else np.ones(k)
    variants = [variant(str(number)) for number in range(k)]

    async def measure(one: Variant, cases: Sequence[Case]) -> DevScores:
        row = int(one.name)
        num = right[row, : len(cases)]
        return DevScores(num=num, den=np.ones(len(cases)), cost_usd=0.0, weight=(0.0, float(weights[row])))

    async def both() -> tuple[Race, Variant]:
        dev = [Case(id=str(number), input="x", expected="x") for number in range(n)]
        seen = [entry_of(one, await measure(one, dev), dev) for one in variants]
        seen.sort(key=lambda entry: -entry.score)
        return await race(variants, dev, measure), cheapest_of_the_best(seen, n).variant

    found, pick = asyncio.run(both())
    return found.calls, len(variants) * n, truth[int(pick.name)] - truth[int(found.winner.name)]


def test_of_two_that_dev_cannot_tell_apart_the_cheaper_wins() -> None:
    both_right = [1.0] * 60 + [0.0] * 45
    rows = {"dear": [*both_right, *[1.0] * 8, *[0.0] * 7], "cheap": [*both_right, *[0.0] * 8, *[1.0] * 7]}

    async def measure(one: Variant, cases: Sequence[Case]) -> DevScores:
        num = np.array(rows[one.name])[np.random.default_rng(1).permutation(120)][: len(cases)]
        return DevScores(
            num=num, den=np.ones(len(cases)), cost_usd=0.0, weight=(0.0, 100.0 if one.name == "dear" else 10.0)
        )

    found = asyncio.run(race([variant("dear"), variant("cheap")], DEV, measure))
    assert found.winner.name == "cheap"
    assert found.entries[0].variant.name == "dear"


def test_a_cheaper_one_that_is_clearly_behind_does_not_win() -> None:
    found, _ = run({"dear": 0.9, "cheap": 0.6}, {"dear": 100.0, "cheap": 10.0})
    assert found.winner.name == "dear"


def test_a_candidate_without_any_score_never_wins() -> None:
    async def measure(one: Variant, cases: Sequence[Case]) -> DevScores:
        num = np.full(len(cases), np.nan if one.name == "broken" else 0.1)
        return DevScores(num=num, den=np.where(np.isnan(num), np.nan, 1.0), cost_usd=0.0, weight=(0.0, 1.0))

    found = asyncio.run(race([variant("broken"), variant("works")], DEV, measure))
    assert found.winner.name == "works"


def raced(rows: dict[str, np.ndarray]) -> Race:
    """Race variants whose contributions are given, `(n_dev,)` of 0/1 or NaN for unscored."""

    async def measure(one: Variant, cases: Sequence[Case]) -> DevScores:
        num = rows[one.name][: len(cases)]
        return DevScores(num=num, den=np.where(np.isnan(num), np.nan, 1.0), cost_usd=0.0, weight=(0.0, 1.0))

    return asyncio.run(race([variant(name) for name in rows], DEV, measure))


def test_a_candidate_that_fails_on_what_is_hard_leaves_and_says_why() -> None:
    hard = np.arange(120) % 3 == 0
    found = raced({"steady": np.where(hard, 0.0, 1.0), "lucky": np.where(hard, np.nan, 1.0)})
    assert found.winner.name == "steady"
    assert {entry.variant.name: entry.dropped for entry in found.entries} == {"steady": "", "lucky": "unscored"}


def test_the_interval_of_a_candidate_knows_of_cases_that_share_a_source() -> None:
    num = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], 20)
    alone = entry_of(variant("a"), DevScores(num=num, den=np.ones(120), cost_usd=0.0, weight=(0.0, 1.0)), DEV)
    dev = [replace(case, group=str(number // 20)) for number, case in enumerate(DEV)]
    grouped = entry_of(variant("a"), alone.measured, dev)
    assert grouped.score == alone.score and np.diff(grouped.ci) > 2 * np.diff(alone.ci)


def test_candidates_are_ranked_on_the_cases_that_both_have_scored() -> None:
    """One answer of `lucky` is lost, a hard one: that is too little to bar it, and must not put it ahead."""
    right = np.ones(120)
    right[3] = 0.0
    lost = right.copy()
    lost[3] = np.nan
    found = raced({"steady": right, "lucky": lost})
    assert found.entries[0].variant.name == "steady" and not any(entry.dropped for entry in found.entries)


def test_where_answers_of_all_are_lost_the_one_with_the_fewest_goes_on() -> None:
    some, many = np.ones(120), np.ones(120)
    some[::10], many[::2] = np.nan, np.nan
    found = raced({"many": many, "some": some})
    assert found.winner.name == "some" and found.entries[0].unscored > 1
