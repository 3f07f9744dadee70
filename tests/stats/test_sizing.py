"""What n can show, and what a margin needs."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneworthy.stats.power import cases_for_margin, shows

UNHURRIED = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(("n", "detectable"), [(50, 0.208), (100, 0.131), (200, 0.083), (400, 0.054)])
def test_detectable_differences_are_those_of_the_one_sided_test(n: int, detectable: float) -> None:
    assert shows(n, 0.025).numbers["detectable"] == pytest.approx(detectable, abs=0.001)


def test_a_smaller_alpha_and_shared_sources_hide_more() -> None:
    plain = shows(200, 0.05).numbers["detectable"]
    assert shows(200, 0.0067).numbers["detectable"] > plain
    assert shows(200, 0.05, design_effect=2).numbers["detectable"] == pytest.approx(
        shows(100, 0.05).numbers["detectable"]
    )


def test_too_few_cases_show_nothing_at_all() -> None:
    found = shows(5, 0.01)
    assert found.numbers["detectable"] is None and "no difference can be significant" in found.sentence


@pytest.mark.parametrize(("discordance", "n"), [(0.05, 124), (0.10, 248), (0.20, 495)])
def test_non_inferiority_sizes_are_those_of_facts_md(discordance: float, n: int) -> None:
    found = cases_for_margin(0.05, 0.05, loss=discordance / 2, gain=discordance / 2)
    assert found.numbers["n_non_inferior"] == n and found.numbers["observed"]


def test_without_an_observation_the_discordance_is_said_to_be_assumed() -> None:
    found = cases_for_margin(0.05, 0.05)
    assert not found.numbers["observed"] and "an assumption" in found.sentence
    assert found.numbers["n_non_inferior"] == 248


@UNHURRIED
@given(st.floats(0.03, 0.2), st.floats(0, 0.2), st.floats(0.01, 0.2))
@pytest.mark.slow
def test_a_larger_margin_never_needs_more_cases(margin: float, loss: float, gain: float) -> None:
    small = cases_for_margin(margin, 0.05, loss=loss, gain=gain).numbers
    large = cases_for_margin(margin * 1.5, 0.05, loss=loss, gain=gain).numbers
    assert large["n_non_inferior"] <= small["n_non_inferior"]
    assert large["n_gain"] <= small["n_gain"]
