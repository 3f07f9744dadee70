"""What n can show, what a margin needs, and which review plan is fixed before the first row."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneworthy.stats import most_bad, operating_characteristic
from tuneworthy.stats.sizing import cases_for_margin, review_plan, shows

UNHURRIED = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(("n", "detectable"), [(50, 0.23), (100, 0.145), (200, 0.09), (400, 0.06)])
def test_detectable_differences_are_those_of_facts_md(n: int, detectable: float) -> None:
    assert shows(n, 0.05).numbers["detectable"] == pytest.approx(detectable, abs=0.005)


def test_a_smaller_alpha_and_shared_sources_hide_more() -> None:
    plain = shows(200, 0.05).numbers["detectable"]
    assert shows(200, 0.0067).numbers["detectable"] > plain
    assert shows(200, 0.05, design_effect=2).numbers["detectable"] == pytest.approx(
        shows(100, 0.05).numbers["detectable"]
    )


def test_too_few_cases_show_nothing_at_all() -> None:
    found = shows(5, 0.01)
    assert found.numbers["detectable"] is None and "cannot show any" in found.sentence


@pytest.mark.parametrize(("discordance", "n"), [(0.05, 124), (0.10, 248), (0.20, 495)])
def test_non_inferiority_sizes_are_those_of_facts_md(discordance: float, n: int) -> None:
    found = cases_for_margin(0.05, 0.05, loss=discordance / 2, gain=discordance / 2)
    assert found.numbers["n_non_inferior"] == n and found.numbers["observed"]


def test_without_an_observation_the_discordance_is_said_to_be_assumed() -> None:
    found = cases_for_margin(0.05, 0.05)
    assert not found.numbers["observed"] and "assumed" in found.sentence
    assert found.numbers["n_non_inferior"] == 248


@UNHURRIED
@given(st.floats(0.03, 0.2), st.floats(0, 0.2), st.floats(0.01, 0.2))
def test_a_larger_margin_never_needs_more_cases(margin: float, loss: float, gain: float) -> None:
    small = cases_for_margin(margin, 0.05, loss=loss, gain=gain).numbers
    large = cases_for_margin(margin * 1.5, 0.05, loss=loss, gain=gain).numbers
    assert large["n_non_inferior"] <= small["n_non_inferior"]
    assert large["n_gain"] <= small["n_gain"]


@pytest.mark.parametrize(
    ("chance", "plan"), [(0.5, (59, 0)), (0.75, (93, 1)), (0.85, (124, 2)), (0.92, (153, 3)), (0.95, (181, 4))]
)
def test_plans_for_many_rows_are_those_of_facts_md(chance: float, plan: tuple[int, int]) -> None:
    found = review_plan(10_000_000, chance=chance).numbers
    assert (found["n"], found["c"]) == plan


@UNHURRIED
@given(st.integers(1, 5000), st.sampled_from([0.9, 0.95, 0.98]))
def test_a_plan_proves_its_bound_and_with_one_row_less_it_would_not(n_rows: int, bound: float) -> None:
    plan = review_plan(n_rows, bound, expected=0.995)
    n, c = plan.numbers["n"], plan.numbers["c"]
    allowed = int(n_rows * (1 - bound) + 1e-9)
    assert n <= n_rows and most_bad(n_rows, n, c) <= allowed
    if n < n_rows:
        assert most_bad(n_rows, n - 1, c) > allowed
        assert plan.numbers["accepted_if_expected"] == operating_characteristic(n, n - c, 0.995) >= 0.8
    else:
        assert "all" in plan.sentence and c == allowed


def test_a_small_dataset_needs_fewer_rows_as_none_is_drawn_twice() -> None:
    found = review_plan(20).numbers  # with 2 bad of 20, 16 rows hold none with 4 * 3 / (20 * 19) = 3 %, 15 with 5.3 %
    assert (found["n"], found["c"]) == (16, 0)


def test_a_tiny_dataset_is_reviewed_whole() -> None:
    found = review_plan(5)
    assert (found.numbers["n"], found.numbers["c"]) == (5, 0) and "all 5 rows" in found.sentence


def test_a_plan_that_cannot_tell_good_data_from_bad_is_refused() -> None:
    with pytest.raises(ValueError, match="expected rows"):
        review_plan(100, 0.95, expected=0.95)
