"""The adoption rule, and its error rate over whole ladders."""

from __future__ import annotations

import numpy as np
import pytest

from tuneworthy.ladder.adopt import AdoptionEvidence, decide_adoption
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.stats.paired import compare, non_inferior
from tuneworthy.types import RungStatus

MARGIN = 0.05


def evidence(gains: int, losses: int, n: int = 300, alpha: float = 0.008, **more: object) -> AdoptionEvidence:
    """Evidence of a binary comparison with so many gains and losses over a baseline of one half."""
    a = np.array([1.0] * losses + [0.0] * gains + [1.0, 0.0] * ((n - gains - losses) // 2))
    b = np.array([0.0] * losses + [1.0] * gains + [1.0, 0.0] * ((n - gains - losses) // 2))
    ones = np.ones(len(a))
    return AdoptionEvidence(
        gain=compare(a, ones, b, ones, alpha=alpha),
        no_creep=non_inferior(a, ones, b, ones, margin=MARGIN, alpha=alpha),
        **more,  # type: ignore[arg-type]
    )


def test_a_clear_gain_is_adopted() -> None:
    found = decide_adoption(evidence(40, 10), MARGIN)
    assert (found.status, found.reason_code) == (RungStatus.ADOPTED, "better")


def test_a_gain_of_the_margin_that_is_excluded_is_rejected() -> None:
    found = decide_adoption(evidence(5, 15), MARGIN)
    assert (found.status, found.reason_code) == (RungStatus.NO_GAIN, "no_gain")


def test_what_is_neither_shown_nor_excluded_is_inconclusive() -> None:
    found = decide_adoption(evidence(30, 20), MARGIN)
    assert (found.status, found.reason_code) == (RungStatus.INCONCLUSIVE, "unresolved")


def test_no_worse_and_cheaper_is_adopted_and_no_worse_alone_is_not() -> None:
    assert decide_adoption(evidence(2, 2, cost_ratio=0.5), MARGIN).reason_code == "cheaper"
    assert decide_adoption(evidence(2, 2, cost_ratio=0.9), MARGIN).status is not RungStatus.ADOPTED


def test_no_worse_and_faster_needs_the_upper_bound_below_one() -> None:
    assert decide_adoption(evidence(2, 2, time_ratio=(0.7, 0.9)), MARGIN).reason_code == "cheaper"
    assert decide_adoption(evidence(2, 2, time_ratio=(0.7, 1.1)), MARGIN).status is not RungStatus.ADOPTED


def test_cheaper_but_perhaps_worse_by_the_margin_is_not_adopted() -> None:
    assert decide_adoption(evidence(10, 25, cost_ratio=0.1), MARGIN).status is not RungStatus.ADOPTED


def test_a_cheaper_variant_that_loses_a_target_that_was_met_is_not_adopted() -> None:
    lost = decide_adoption(evidence(2, 2, cost_ratio=0.5, loses_target=True), MARGIN)
    assert (lost.status, lost.reason_code) == (RungStatus.NO_GAIN, "loses_target")
    assert decide_adoption(evidence(40, 10, loses_target=True), MARGIN).reason_code == "better"


def test_too_many_unscored_answers_bar_adoption() -> None:
    assert decide_adoption(evidence(40, 10, unscored_share=0.03), MARGIN).reason_code == "unscored"
    assert decide_adoption(evidence(40, 10, unscored_share=0.01), MARGIN).reason_code == "better"


def test_a_sign_that_the_unscored_could_flip_bars_adoption() -> None:
    assert decide_adoption(evidence(40, 10, sign_flips=True), MARGIN).reason_code == "unscored_flip"


def test_a_broken_constraint_comes_before_everything() -> None:
    found = decide_adoption(evidence(40, 10, violated="p95 is 900 ms"), MARGIN)
    assert (found.status, found.reason_code) == (RungStatus.VIOLATES_CONSTRAINT, "constraint")


def adopting_ladders(alpha: float | None, ladders: int = 1000, comparisons: int = 8, n: int = 300) -> int:
    """Count ladders without any true difference that adopt something; correlated answers, accuracy .2 to .9."""
    rng = np.random.default_rng(20261124)
    names = [f"rung{i}" for i in range(comparisons)]
    plan = ComparisonPlan().plan(names)
    ones = np.ones(n)
    adopted = 0
    for _ in range(ladders):
        ability, spread = rng.uniform(0.2, 0.9), rng.uniform(1.0, 8.0)
        p = rng.beta(ability * spread, (1 - ability) * spread, n)  # how hard each case is, for all variants alike
        best = (rng.random(n) < p).astype(float)
        for name in names:
            trial = (rng.random(n) < p).astype(float)
            level = plan.alpha_for(name) if alpha is None else alpha
            gain = compare(best, ones, trial, ones, alpha=level)
            no_creep = non_inferior(best, ones, trial, ones, margin=MARGIN, alpha=level)
            found = decide_adoption(AdoptionEvidence(gain=gain, no_creep=no_creep, cost_ratio=1.0), MARGIN)
            if found.status is RungStatus.ADOPTED:
                adopted += 1
                break
    return adopted


def test_of_a_thousand_ladders_without_a_difference_at_most_38_adopt_anything() -> None:
    assert adopting_ladders(None) <= 38


def test_without_sharing_alpha_over_the_looks_far_more_would() -> None:
    assert adopting_ladders(0.05, ladders=300) > 38 * 0.3 * 2


@pytest.mark.slow
def test_the_share_of_false_ladders_stays_below_half_of_alpha() -> None:
    assert adopting_ladders(None, ladders=5000) <= 5000 * 0.025


def test_too_few_sources_neither_adopt_nor_exclude() -> None:
    for gains, losses in ((40, 10), (5, 15)):
        found = decide_adoption(evidence(gains, losses, few_groups="12 sources", cost_ratio=0.1), MARGIN)
        assert (found.status, found.reason_code) == (RungStatus.INCONCLUSIVE, "few_groups")


def test_what_was_shown_before_cases_were_added_stays_shown_while_it_is_ahead() -> None:
    before = evidence(40, 10).gain
    assert before.better
    ahead = decide_adoption(evidence(34, 20, alpha=0.0008, shown_before=before), MARGIN)
    assert (ahead.status, ahead.reason_code) == (RungStatus.ADOPTED, "better")
    assert "first 300 cases" in ahead.reason
    assert decide_adoption(evidence(34, 20, alpha=0.0008), MARGIN).status is RungStatus.INCONCLUSIVE
    behind = decide_adoption(evidence(20, 22, alpha=0.0008, shown_before=before), MARGIN)
    assert behind.status is not RungStatus.ADOPTED
