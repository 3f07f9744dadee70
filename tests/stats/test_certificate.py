"""The bound of a certificate, in simulated worlds whose true difference is known."""

from collections.abc import Callable

import numpy as np
import pytest

from tuneworthy.arrays import Floats
from tuneworthy.stats.certificate import FEWEST_KEPT, CalibrationUnits, Certified, certify, p_value

WORLDS = 120
# Allowed error of one certificate, and two standard errors of its estimate.
ALPHA = 0.1
LIMIT = ALPHA + 2 * (ALPHA * (1 - ALPHA) / WORLDS) ** 0.5

Draw = Callable[[int], tuple[CalibrationUnits, Floats]]


def one_world(kind: str, rng: np.random.Generator) -> Draw:
    """Return a source of prompts: their confidence, whether the answer differs, their traffic; and the true rates."""
    shape, middle, slope = (rng.uniform(1.5, 4), rng.uniform(0.6, 2)), rng.uniform(0.25, 0.6), rng.uniform(8, 16)
    least = rng.uniform(0.001, 0.01)

    def rate(sure: Floats) -> Floats:
        return least + (1 - least) * 0.7 / (1 + np.exp(slope * (sure - middle)))

    often = rng.beta(*shape, 5)
    often_differs, often_share = rng.random(5) < rate(often), rng.uniform(0.02, 0.1, 5)

    def draw(n: int) -> tuple[CalibrationUnits, Floats]:
        sure = rng.beta(*shape, n)
        if kind == "ties":
            sure = sure.round(1)
        rates, weights = rate(sure), np.ones(n)
        if kind == "unequal labels":
            rates = np.where(rng.random(n) < 0.1, np.minimum(1, 6 * rates), 0.7 * rates)
        elif kind == "confidently wrong":
            rates = np.where(sure > 0.97, 0.15, rates)
        elif kind == "repeated prompts":
            weights = np.minimum(rng.zipf(2.2, n), 5).astype(float)
        elif kind == "repeated prompts differ more":
            weights = rng.choice([1.0, 2.0, 6.0], n, p=[0.75, 0.15, 0.1])
            rates = np.where(weights > 2, np.minimum(1, 3 * rates), 0.8 * rates)
        differs = (rng.random(n) < rates).astype(float)
        if kind == "few prompts in most calls":  # the same ones in each period
            sure, differs = np.append(sure, often), np.append(differs, often_differs)
            weights, rates = np.append(weights, often_share * n), np.append(rates, often_differs)
        return CalibrationUnits(sure, differs, weights), rates

    return draw


def share_and_rate(units: CalibrationUnits, rates: Floats, found: Certified | None) -> tuple[float, float]:
    if found is None:
        return 0.0, 0.0
    kept = units.sure >= found.threshold
    weights = units.weights[kept]
    return weights.sum() / units.weights.sum(), weights @ rates[kept] / max(weights.sum(), 1e-9)


KINDS = ["plain", "ties", "unequal labels", "confidently wrong", "repeated prompts", "repeated prompts differ more",
         "few prompts in most calls", "small"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_at_most_a_tenth_of_the_certificates_is_broken(kind):
    rng, broken, n_found = np.random.default_rng(11), 0, 0
    n, n_dev = (150, 60) if kind == "small" else (780, 250)
    for _ in range(WORLDS):
        draw = one_world(kind, rng)
        found = certify(draw(n)[0], draw(n_dev)[0], alpha=ALPHA)
        _, rate = share_and_rate(*draw(6_000), found)
        broken += rate > 0.05
        n_found += found is not None
    assert broken / WORLDS <= LIMIT
    assert n_found > WORLDS / 10  # it is not kept by refusing


def test_a_threshold_that_the_calibration_units_choose_freely_is_broken_too_often():
    """The fault that the fixed order prevents: the units themselves choose among all thresholds."""
    rng, broken = np.random.default_rng(12), 0
    for _ in range(WORLDS):
        draw = one_world("plain", rng)
        units, _ = draw(780)
        steps = [step for step in np.unique(units.sure) if units.kept(step).difference <= 0.05]
        kept = draw(6_000)
        if steps:
            chosen = Certified(float(min(steps)), 0, 0, 0, 0)
            broken += share_and_rate(*kept, chosen)[1] > 0.05
    assert broken / WORLDS > LIMIT


def test_repeated_prompts_do_not_count_as_more_units():
    sure, differs = np.full(30, 0.9), np.zeros(30)
    assert certify(*[CalibrationUnits(sure, differs, np.full(30, 50.0))] * 2) is None  # 1,500 calls of 30 prompts


def test_fewer_kept_units_than_the_smallest_number_give_no_certificate():
    units = [CalibrationUnits(np.full(n, 0.9), np.zeros(n), np.ones(n)) for n in (FEWEST_KEPT - 1, FEWEST_KEPT)]
    assert [certify(one, one) is not None for one in units] == [False, True]


def test_a_prompt_with_much_traffic_that_differs_is_counted_with_its_traffic():
    sure, differs, weights = np.full(400, 0.9), np.zeros(400), np.ones(400)
    differs[0], weights[0] = 1, 40.0  # a tenth of the calls
    units = CalibrationUnits(sure, differs, weights)
    assert p_value(units, 0.05) == 1.0
    assert certify(units, units) is None


def test_equal_units_are_tested_exactly():
    """59 units without a difference exclude 5% at level 0.05, 58 do not (0.95**59 = 0.0485)."""
    for n, rejected in ((59, True), (58, False)):
        p = 0.95**n
        assert (p <= 0.05) is rejected
    units = CalibrationUnits(np.full(59, 0.9), np.zeros(59), np.full(59, 3.0))
    assert p_value(units, 0.05) == pytest.approx(0.95**59)


def test_the_stated_upper_bound_is_the_smallest_that_the_units_show():
    sure, differs = np.full(600, 0.9), np.zeros(600)
    differs[:6] = 1
    found = certify(*[CalibrationUnits(sure, differs, np.ones(600))] * 2, alpha=0.1)
    assert found is not None and found.difference == pytest.approx(0.01)
    assert 0.015 < found.upper < 0.02  # Clopper-Pearson at 90%: 1.75%
