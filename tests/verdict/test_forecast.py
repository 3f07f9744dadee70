"""The lower bound of a forecast covers a held-out larger training, and is unknown where a pilot is too small."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts.simulations.forecasts import FAMILIES, NOISES, coverage
from tests.real_data import REAL_DATA, needs_real_data

from tuneworthy.classical.base import fit
from tuneworthy.config.ladder import Economics
from tuneworthy.train.duration import Duration
from tuneworthy.train.memory import Device
from tuneworthy.train.plan import Expected
from tuneworthy.types import Case, Example
from tuneworthy.verdict.forecast import PilotPoint, built_against_raw, forecast, pilot_cost, pilot_sizes

UNHURRIED = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
BANKING = REAL_DATA / "banking77"
CURVES = 150


@pytest.mark.slow
def test_the_lower_bound_covers_on_every_family_of_curves_and_stays_close_on_power_laws() -> None:
    for family in FAMILIES:
        for draw, noise in NOISES:
            share, width, _, _ = coverage(family, draw, noise, seed=17, curves=CURVES)
            assert share >= 0.9, (family, draw, noise, share)
            assert family != "power law" or width <= 0.15, (draw, noise, width)


def test_no_upper_bound_is_claimed_while_the_curve_rises_and_one_is_once_it_has_flattened() -> None:
    rising = forecast(points_of((200, 400, 800, 1600), (0, 1)), 3200, 0.5)
    assert rising.ci95 is not None and rising.ci95[1] is None
    level = [replace(point, score=0.7 + 0.001 * point.seed) for point in points_of((200, 400, 800, 1600), (0, 1))]
    flat = forecast(level, 3200, 0.5)
    assert flat.ci95 is not None and flat.ci95[1] is not None and flat.ci95[1] < 0.25


def test_a_curve_that_bends_down_claims_less_than_its_last_point() -> None:
    scores = dict(zip((100, 200, 400, 800), (0.5, 0.6, 0.62, 0.56), strict=True))
    falling = [replace(point, score=scores[point.size]) for point in points_of(list(scores), (0, 1))]
    found = forecast(falling, 1600, 0.0)
    assert found.gain is not None and found.gain < 0.5


def test_a_step_is_claimed_only_after_it_was_observed() -> None:
    def stepped(at: int) -> float:
        points = [replace(p, score=0.8 if p.size >= at else 0.4) for p in points_of((100, 200, 400, 800), (0, 1))]
        found = forecast(points, 1600, 0.0)
        assert found.ci95 is not None
        return found.ci95[0]

    assert stepped(800) == pytest.approx(0.8) and stepped(1600) == pytest.approx(0.4)


def test_seeds_that_differ_as_a_whole_count_as_few() -> None:
    def low(spread: Callable[[PilotPoint], float]) -> float:
        points = [replace(p, score=0.7 + spread(p)) for p in points_of((100, 200, 400, 800), (0, 1))]
        found = forecast(points, 1600, 0.0)
        assert found.ci95 is not None
        return found.ci95[0]

    signs = {100: 1, 200: -1, 400: 1, 800: -1}
    assert low(lambda p: 0.02 * p.seed) < low(
        lambda p: 0.02 * p.seed * signs[p.size] if p.size < 800 else 0.02 * p.seed
    )


LABELS = ("red", "green", "blue", "black")


def colours(n: int, seed: int) -> list[tuple[str, str]]:
    """Questions whose words point to their label, weakly: more examples help."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        label = int(rng.integers(len(LABELS)))
        words = [f"w{label * 40 + rng.integers(40) if rng.random() < 0.35 else rng.integers(400)}" for _ in range(8)]
        rows.append((" ".join(words), LABELS[label]))
    return rows


def examples_of(rows: Sequence[tuple[str, str]]) -> list[Example]:
    return [
        Example(
            messages=({"role": "user", "content": text}, {"role": "assistant", "content": label}), id=f"{i}", source=""
        )
        for i, (text, label) in enumerate(rows)
    ]


def cases_of(rows: Sequence[tuple[str, str]]) -> list[Case]:
    return [Case(id=f"{i}", input=text, expected=label) for i, (text, label) in enumerate(rows)]


def accuracy(cases: Sequence[Case], answers: Sequence[str]) -> float:
    return sum(case.expected == answer for case, answer in zip(cases, answers, strict=True)) / len(cases)


def check_classical_curve(
    classical: str, train: Sequence[tuple[str, str]], held: Sequence[tuple[str, str]], n: int
) -> tuple[float, float]:
    """Forecast the classical baseline's score at `n` from a pilot, and return the lower bound and the truth."""
    examples, cases = examples_of(train), cases_of(held)

    def score(size: int, seed: int) -> float:
        drawn = random.Random(seed).sample(examples, len(examples))[:size]
        return accuracy(cases, fit(classical, drawn, seed).predict([case.text for case in cases]))

    points = [PilotPoint(size=size, seed=seed, score=score(size, seed)) for size in pilot_sizes(n) for seed in (0, 1)]
    found, truth = forecast(points, n, baseline=0.25), score(n, 7)
    assert found.ci95 is not None and found.n_examples == n
    return found.ci95[0] + 0.25, truth


@pytest.mark.parametrize("classical", ["nearest", "linear"])
def test_the_learning_curve_of_a_classical_baseline_is_forecast(classical: str) -> None:
    low, truth = check_classical_curve(classical, colours(900, 1), colours(400, 2), 800)
    assert truth - 0.25 < low <= truth


@needs_real_data
@pytest.mark.slow
def test_the_learning_curve_on_banking77_is_forecast() -> None:
    def read(name: str) -> list[tuple[str, str]]:
        with (BANKING / name).open(encoding="utf-8", newline="") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file)]

    rng = np.random.default_rng(3)
    train, held = read("train.csv"), read("test.csv")
    train = [train[i] for i in rng.permutation(len(train))[:1700]]
    held = [held[i] for i in rng.permutation(len(held))[:400]]
    low, truth = check_classical_curve("linear", train, held, 1600)
    assert truth - 0.25 < low <= truth


def points_of(sizes: Sequence[int], seeds: Sequence[int]) -> list[PilotPoint]:
    return [
        PilotPoint(size=size, seed=seed, score=0.5 + 0.05 * float(np.log(size)) + 0.001 * seed)
        for size in sizes
        for seed in seeds
    ]


def test_before_a_pilot_the_gain_is_unknown_and_the_cost_of_one_is_told() -> None:
    found = forecast([], 1000, 0.5)
    assert (found.status, found.gain, found.ci95, found.n_examples) == ("unknown", None, None, None)
    assert "10 short training runs" in found.cost and "$" in found.cost


@pytest.mark.parametrize(("sizes", "seeds"), [((50, 100, 200), (0, 1, 2)), ((50, 100, 200, 400), (0,))])
def test_a_pilot_with_too_few_sizes_or_seeds_forecasts_nothing(sizes: Sequence[int], seeds: Sequence[int]) -> None:
    found = forecast(points_of(sizes, seeds), 400, 0.5)
    assert found.status == "unknown" and found.gain is None
    assert len(found.points) == len(sizes) * len(seeds)


def test_a_size_is_forecast_at_most_twice_the_largest_pilot() -> None:
    found = forecast(points_of((50, 100, 200, 400), (0, 1)), 100_000, 0.5)
    assert found.n_examples == 800


def test_raw_points_do_not_enter_the_curve() -> None:
    built = points_of((50, 100, 200, 400), (0, 1))
    raw = [PilotPoint(size=p.size, seed=p.seed, score=0.0, data="raw") for p in built]
    assert forecast([*built, *raw], 800, 0.5) == forecast(built, 800, 0.5)
    assert forecast(raw, 800, 0.5).status == "unknown"


def test_raw_and_built_are_compared_at_equal_steps_only() -> None:
    def point(data: str, seed: int, score: float, steps: int) -> PilotPoint:
        return PilotPoint(size=400, seed=seed, score=score, data=data, steps=steps)  # type: ignore[arg-type]

    pairs = [point("built", 0, 0.8, 100), point("raw", 0, 0.7, 100), point("built", 1, 0.84, 100)]
    assert built_against_raw([*pairs, point("raw", 1, 0.7, 50)]) is None
    found = built_against_raw([*pairs, point("raw", 1, 0.72, 100)])
    assert found is not None
    gain, ci95 = found
    assert gain == pytest.approx(0.11)
    assert ci95[0] == pytest.approx(0.11 - 12.706 * 0.01, abs=1e-3)  # t with 1 df times 0.01414 / sqrt 2


@UNHURRIED
@given(st.lists(st.floats(0, 1), min_size=8, max_size=8), st.floats(0, 1), st.integers(1, 10_000))
def test_any_pilot_gives_an_interval_around_the_gain_within_what_scores_allow(
    scores: list[float], baseline: float, n_examples: int
) -> None:
    cells = [(size, seed) for size in (50, 100, 200, 400) for seed in (0, 1)]
    points = [PilotPoint(size=n, seed=s, score=score) for (n, s), score in zip(cells, scores, strict=True)]
    found = forecast(points, n_examples, baseline)
    assert found.gain is not None and found.ci95 is not None
    high = 1 - baseline if found.ci95[1] is None else found.ci95[1]
    assert -baseline - 1e-9 <= found.ci95[0] <= found.gain <= high + 1e-9 <= 1 - baseline + 2e-9
    assert found == forecast(points[::-1], n_examples, baseline)


def test_a_dearer_gpu_makes_the_pilot_dearer() -> None:
    assert "$0.00" in pilot_cost(1000, Economics(gpu_usd_per_hour=0))
    assert pilot_cost(1000, Economics(gpu_usd_per_hour=10)) != pilot_cost(1000)


def test_a_pilot_costs_what_the_base_of_the_project_takes_and_an_8b_model_is_assumed_only_where_that_is_not_known() -> (
    None
):
    def cost(device: Device, seconds: float) -> str:
        duration = Duration(seconds / 2, seconds, 1e15, 1e12, "the machine")
        return pilot_cost(1000, Economics(gpu_usd_per_hour=2), lambda rows: Expected("a base", device, duration))

    assert "Estimate: 10 min to 20 min on the machine for a base" in cost("cpu", 1200)
    assert "Estimate: 30 min to 1 h on the machine, at most $2.00, for a base" in cost("cuda", 3600)
    assert "8B" not in cost("cpu", 1200)
    assert "for an 8B model; the speed of this base model is unknown" in pilot_cost(1000)
    asked: list[int] = []
    pilot_cost(1000, expect=asked.append)
    assert asked == [2 * (62 + 125 + 250 + 500 + 500)]
    few = forecast(points_of((50, 100), (0, 1)), 400, 0.5, cost=lambda n: f"cost for {n}")
    assert few.cost == "cost for 400. Sizes measured with 2 seeds so far: 2 of 4."
