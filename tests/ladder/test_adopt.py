"""The adoption rule; its error rate over whole ladders is in test_familywise."""

from __future__ import annotations

import numpy as np
import pytest

from tuneworthy.ladder.adopt import AdoptionEvidence, decide_adoption
from tuneworthy.money import serving
from tuneworthy.money.serving import RunningCost, Way
from tuneworthy.stats.paired import compare, non_inferior
from tuneworthy.types import RungStatus
from tuneworthy.verdict import options
from tuneworthy.verdict.options import Option, is_saving

MARGIN = 0.05
SERVER = Way(usd_per_month=500.0, capacity=1e6)


def costs(mine: float, theirs: float = 1.0, *servers: Way | None) -> tuple[RunningCost, RunningCost]:
    """Costs of the candidate and of the best so far by the answer, and their servers."""
    own, other = ((server,) if server else () for server in servers or (None, None))
    return RunningCost(usd_per_1k=mine, ways=own), RunningCost(usd_per_1k=theirs, ways=other)


def evidence(gains: int, losses: int, n: int = 300, alpha: float | None = 0.008, **more: object) -> AdoptionEvidence:
    """Evidence of a binary comparison with so many gains and losses over a baseline of one half."""
    a = np.array([1.0] * losses + [0.0] * gains + [1.0, 0.0] * ((n - gains - losses) // 2))
    b = np.array([0.0] * losses + [1.0] * gains + [1.0, 0.0] * ((n - gains - losses) // 2))
    ones = np.ones(len(a))
    return AdoptionEvidence(
        gain=compare(a, ones, b, ones, alpha=alpha),
        no_creep=non_inferior(a, ones, b, ones, margin=MARGIN),
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


def test_what_does_not_lead_on_dev_is_not_compared_and_only_described() -> None:
    found = decide_adoption(evidence(40, 10, alpha=None), MARGIN)
    assert (found.status, found.reason_code) == (RungStatus.INCONCLUSIVE, "not_compared")
    assert "no significance test because it is not ahead on dev" in found.reason and "p =" not in found.reason
    assert decide_adoption(evidence(2, 2, alpha=None, costs=costs(0.5)), MARGIN).reason_code == "cheaper"
    assert decide_adoption(evidence(5, 15, alpha=None), MARGIN).reason_code == "no_gain"


def test_a_gain_is_tested_one_sided_at_the_alpha_of_the_comparison_whatever_the_interval() -> None:
    shown, not_shown = (decide_adoption(evidence(25, 12, alpha=alpha), MARGIN) for alpha in (0.02, 0.01))
    assert (shown.reason_code, not_shown.reason_code) == ("better", "unresolved")
    assert "one-sided p = 0.0168 at alpha 0.02" in shown.reason


def test_no_worse_and_cheaper_is_adopted_and_no_worse_alone_is_not() -> None:
    assert decide_adoption(evidence(2, 2, costs=costs(0.5)), MARGIN).reason_code == "cheaper"
    assert decide_adoption(evidence(2, 2, costs=costs(0.9)), MARGIN).status is not RungStatus.ADOPTED


def test_a_lower_price_per_answer_does_not_hide_the_server() -> None:
    reason = decide_adoption(evidence(2, 2, costs=costs(0.0, 1.0, SERVER, None)), MARGIN).reason
    assert "server is not counted" in reason and "100" not in reason
    assert "50.0% lower cost" in decide_adoption(evidence(2, 2, costs=costs(0.5)), MARGIN).reason


def test_where_the_traffic_is_known_costs_are_those_of_a_month_with_the_server() -> None:
    served = costs(0.0, 1.0, SERVER, None)  # $500 against $1 per 1,000 answers
    rare = decide_adoption(evidence(2, 2, costs=served, requests=10_000.0), MARGIN)
    assert rare.status is not RungStatus.ADOPTED
    often = decide_adoption(evidence(2, 2, costs=served, requests=900_000.0), MARGIN)
    assert often.reason_code == "cheaper" and "$500.00 instead of $900.00 a month" in often.reason


def test_what_needs_no_server_saves_that_of_another_and_a_server_each_saves_nothing() -> None:
    free = decide_adoption(evidence(2, 2, costs=costs(0.0, 0.0, None, SERVER)), MARGIN)
    assert free.reason_code == "cheaper" and "it needs no server" in free.reason
    for pair in ((SERVER, SERVER), (SERVER, None), (None, None)):
        found = decide_adoption(evidence(2, 2, costs=costs(0.0, 0.0, *pair)), MARGIN)
        assert found.status is not RungStatus.ADOPTED


def test_speed_counts_only_where_the_latency_is_limited_and_the_bound_shows_a_fifth() -> None:
    fast = decide_adoption(evidence(2, 2, time_ratio=(0.7, 0.79), limited=True), MARGIN)
    assert fast.reason_code == "cheaper" and "30.0% lower latency (lower confidence limit: 21.0%)" in fast.reason
    for ratio, limited in (((0.7, 0.9), True), ((0.7, 1.1), True), ((0.1, 0.2), False)):
        found = decide_adoption(evidence(2, 2, time_ratio=ratio, limited=limited), MARGIN)
        assert found.status is not RungStatus.ADOPTED


def test_an_option_whose_every_answer_is_wrong_is_never_adopted() -> None:
    saving: dict[str, object] = {"time_ratio": (0.1, 0.2), "limited": True, "costs": costs(0.01)}
    assert decide_adoption(evidence(0, 0, **saving), MARGIN).reason_code == "cheaper"
    found = decide_adoption(evidence(0, 0, all_wrong=True, **saving), MARGIN)
    assert (found.status, found.reason_code) == (RungStatus.NO_GAIN, "no_gain")


def test_the_rule_and_the_verdict_ask_the_same_comparison_of_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (
        Option(option=name, rung=name, kind="variant", running=cost)
        for name, cost in zip(("small", "large"), costs(0.5), strict=True)
    )
    assert (
        is_saving(small, large) and decide_adoption(evidence(2, 2, costs=costs(0.5)), MARGIN).reason_code == "cheaper"
    )
    for module in (serving, options):
        monkeypatch.setattr(module, "saves", lambda *_, **__: False)
    assert not is_saving(small, large)
    assert decide_adoption(evidence(2, 2, costs=costs(0.5)), MARGIN).status is not RungStatus.ADOPTED


def test_cheaper_but_perhaps_worse_by_the_margin_is_not_adopted() -> None:
    assert decide_adoption(evidence(10, 25, costs=costs(0.1)), MARGIN).status is not RungStatus.ADOPTED


def test_a_cheaper_variant_that_loses_a_target_that_was_met_is_not_adopted() -> None:
    lost = decide_adoption(evidence(2, 2, costs=costs(0.5), loses_target=True), MARGIN)
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


def test_too_few_sources_neither_adopt_nor_exclude() -> None:
    for gains, losses in ((40, 10), (5, 15)):
        found = decide_adoption(evidence(gains, losses, few_groups="12 sources", costs=costs(0.1)), MARGIN)
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
