"""The rules on pairs: each metric, stop before pass, labels, strata, and what bars a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tuneworthy.shadow.days import Blocks
from tuneworthy.shadow.pairs import AnswerPair, Scores
from tuneworthy.shadow.recording import RecordedTurn, TrafficSession
from tuneworthy.shadow.verdict import (
    ALPHA,
    COMPARED,
    MetricResult,
    ShadowRules,
    ShadowVerdict,
    corrected,
    interval,
)
from tuneworthy.shadow.verdict import judged as judged_by_day
from tuneworthy.types import Case, Failure, Response, Trace

KNOWN = ShadowRules(margin=0.05, turns=1, complete=True)
FINE: dict[str, Scores] = {"format": (1.0, 1.0), "refusal": (1.0, 1.0), "agreement": (1.0, 1.0)}


def pair(
    name: str, truth: Scores | None, *, stratum: str = "", judge: Scores | None = None, **scores: Scores
) -> AnswerPair:
    case = Case(id=name, input=name)
    turn = RecordedTurn(case, Response(text="a"), "log:1")
    trace = Trace(case_id=name, variant_id="v", repeat=0, messages=(), response=Response(text="a"))
    return AnswerPair(TrafficSession(name, stratum, (turn,), name), turn, trace, trace, FINE | scores, judge, truth)


def pairs(n: int, lose: float, gain: float, *, start: int = 0, **more: object) -> list[AnswerPair]:
    """Pairs of which a candidate loses and gains shares, evenly spread."""
    rng = np.random.default_rng(n + start)
    draws = rng.random(n)
    truths = [(1.0, 0.0) if u < lose else (0.0, 1.0) if u < lose + gain else (1.0, 1.0) for u in draws]
    return [pair(f"s{start + i}", truth, **more) for i, truth in enumerate(truths)]  # type: ignore[arg-type]


def judged(pairs: Sequence[AnswerPair], rules: ShadowRules) -> ShadowVerdict:
    """Judge pairs of one period: each session is a block."""
    return judged_by_day(pairs, replace(rules, days=dict.fromkeys((one.session.day for one in pairs), 1)))


def result(verdict: ShadowVerdict, metric: str, stratum: str = "") -> MetricResult:
    return next(one for one in verdict.results if (one.metric, one.stratum) == (metric, stratum))


def test_a_candidate_that_is_equal_passes_and_one_that_is_worse_is_stopped() -> None:
    equal, worse = judged(pairs(1500, 0.05, 0.05), KNOWN), judged(pairs(1500, 0.15, 0.02), KNOWN)
    assert equal.status == "pass" and not equal.below and "at most 5.0 points worse" in equal.detail
    assert worse.status == "fail" and worse.detail.startswith("Quality is worse by more than 5.0 points")
    assert result(worse, "quality").stopped_at is not None and result(worse, "quality").passed_at is None


def test_few_sessions_show_nothing_and_say_what_is_needed() -> None:
    found = judged(pairs(60, 0.05, 0.05), KNOWN)
    assert found.status == "unknown" and "may be more than" in found.detail and "more traffic" in found.fix
    assert judged([], KNOWN).status == "unknown"


def test_where_labels_are_few_the_advice_is_more_labels() -> None:
    rules = replace(KNOWN, complete=False, label_share=0.2)
    for n in (60, 5):
        found = judged(pairs(n, 0.05, 0.05), rules)
        assert found.status == "unknown" and "`shadow.label_share`" in found.fix and "label shadow" in found.fix
        assert "label" not in judged(pairs(n, 0.05, 0.05), KNOWN).fix


def test_a_share_without_an_interval_shows_none() -> None:
    found = MetricResult(metric="agreement", n=3, estimate=-0.2)
    assert found.is_open and "80.0%" in (text := interval(found)) and "0.0%, 100.0%" not in text
    assert "[70.0%, 90.0%]" in interval(replace(found, low=-0.3, high=-0.1))


def test_harm_from_missing_answers_names_them() -> None:
    lost = [
        replace(one, candidate=replace(one.candidate, response=None), scores=FINE | {"format": (1.0, 0.0)})
        for one in pairs(300, 0.0, 0.0)
    ]
    found = judged(lost, KNOWN)
    assert found.status == "fail" and "no answer to 300 of 300" in found.detail and "errors" in found.fix


def test_below_production_within_the_margin_passes_and_is_said() -> None:
    found = judged(pairs(4000, 0.03, 0.0), KNOWN)
    assert found.status == "pass" and found.below and "lower than in production" in found.detail


@pytest.mark.parametrize("metric", ["format", "refusal"])
def test_a_break_of_form_or_many_refusals_stop_a_candidate_of_good_quality(metric: str) -> None:
    broken = pairs(300, 0.0, 0.05, **{metric: (1.0, 0.0)})
    found = judged([*pairs(600, 0.0, 0.05, start=1000), *broken], KNOWN)
    assert found.status == "fail" and result(found, metric).stopped_at is not None
    assert result(found, "quality").stopped_at is None


def test_a_limit_that_is_missed_stops_and_one_that_is_kept_does_not() -> None:
    limited = replace(KNOWN, limits={"cost": 1.0})
    assert judged(pairs(400, 0.0, 0.0, cost=(0.0, -0.5)), limited).status == "fail"
    assert judged(pairs(1500, 0.02, 0.02, cost=(0.0, 0.4)), limited).status == "pass"


def test_a_break_in_one_stratum_alone_is_found_there_and_stops_before_a_pass() -> None:
    rest = pairs(2000, 0.02, 0.02)
    broken = pairs(60, 0.0, 0.0, start=5000, stratum="t7", format=(1.0, 0.0))
    rules = replace(KNOWN, strata=["t1", "t7"])
    found = judged([*rest, *broken], rules)
    assert found.status == "fail" and "in t7" in found.detail and result(found, "format").stopped_at is None
    assert judged([*rest, *broken], KNOWN).status == "pass"  # what a look at all traffic alone would say


def test_the_errors_of_all_stop_rules_together_are_the_stated_one() -> None:
    for strata, limits in (((), {}), (("a", "b", "c"), {"cost": 1.0})):
        rules = replace(KNOWN, strata=strata, limits=limits)
        total = rules.overall_alpha * (len(COMPARED) + len(limits))
        total += rules.stratum_alpha * len(COMPARED) * len(strata) if strata else 0.0
        assert total == pytest.approx(ALPHA)


@pytest.mark.slow
def test_a_verdict_does_not_depend_on_how_often_it_was_looked_at() -> None:
    many = pairs(1500, 0.15, 0.02)
    final = judged(many, KNOWN)
    looks = [judged(many[:n], KNOWN) for n in range(25, 1500, 25)]
    first = next(n for n, look in zip(range(25, 1500, 25), looks, strict=True) if look.status == "fail")
    stopped = result(final, "quality").stopped_at
    assert stopped is not None and stopped <= first < stopped + 25
    assert {look.status for look in looks[looks.index(next(one for one in looks if one.status == "fail")) :]} == {
        "fail"
    }


def test_without_right_answers_a_candidate_can_fail_and_never_pass() -> None:
    rules = replace(KNOWN, complete=False, label_share=0.2)
    unlabelled = [replace(one, truth=None) for one in pairs(2000, 0.0, 0.0)]
    found = judged(unlabelled, rules)
    assert found.status == "unknown" and "can fail but cannot pass" in found.detail and "label shadow" in found.fix
    assert (
        judged([replace(one, scores=FINE | {"format": (1.0, 0.0)}) for one in unlabelled[:300]], rules).status == "fail"
    )


def test_people_label_a_share_that_a_hash_chooses_and_the_sequence_waits_for_them() -> None:
    rules = replace(KNOWN, complete=False, label_share=0.5)
    many = pairs(3000, 0.03, 0.03)
    due = [one for one in many if rules.is_due(one.session.name)]
    assert 0.45 < len(due) / len(many) < 0.55
    labelled = [one if rules.is_due(one.session.name) else replace(one, truth=None) for one in many]
    found = judged(labelled, rules)
    assert found.status == "pass" and result(found, "quality").n == len(due)
    hole = labelled.index(due[100])
    cut = judged([*labelled[:hole], replace(due[100], truth=None), *labelled[hole + 1 :]], rules)
    assert cut.status == "unknown" and result(cut, "quality").n == 100 and result(cut, "quality").waiting == 1


def test_labels_beside_the_draw_count_for_nothing() -> None:
    """A labeller who only answers where production errs must not move the verdict."""
    rules = replace(KNOWN, complete=False, label_share=0.1)
    many = pairs(2000, 0.03, 0.03)
    honest = [one if rules.is_due(one.session.name) else replace(one, truth=None) for one in many]
    chosen = [one if one.truth else replace(one, truth=(0.0, 1.0)) for one in honest]
    assert result(judged(honest, rules), "quality") == result(judged(chosen, rules), "quality")


def biased(lose: float, share: float) -> list[AnswerPair]:
    """A judge that says that both are good, of a candidate that loses; people saw a share."""
    rules = ShadowRules(margin=0.05, turns=1, label_share=share, judge=True)
    return [
        replace(one, judged=(1.0, 1.0), truth=one.truth if rules.is_due(one.session.name) else None)
        for one in pairs(3000, lose, 0.0)
    ]


def test_a_judge_that_is_blind_to_the_loss_is_corrected_by_people() -> None:
    rules = ShadowRules(margin=0.05, turns=1, label_share=0.5, judge=True)
    assert judged(biased(0.3, 0.5), rules).status == "fail"
    found = result(judged(biased(0.3, 0.5), rules), "quality")
    assert found.n == 3000 or found.stopped_at is not None
    assert found.estimate == pytest.approx(-0.3, abs=0.06)


def test_the_correction_is_unbiased_whatever_the_judge_does_and_stays_in_its_reach() -> None:
    rng = np.random.default_rng(4)
    people = rng.choice([-1.0, 0.0, 1.0], p=[0.12, 0.82, 0.06], size=(400, 500))
    for judge in (people, np.ones_like(people), -people, rng.choice([-1.0, 1.0], size=people.shape)):
        known = rng.random(people.shape) < 0.2
        stream = corrected(judge, people, known, np.ones_like(people), 0.2)
        assert abs(stream.values.mean() + 0.06) < 4 * stream.values.std() / np.sqrt(stream.values.size)
        assert np.abs(stream.values).max() <= stream.reach + 1e-12
        blocks = Blocks.of(stream.values, stream.weights, np.arange(500), stream.reach)
        assert (blocks.ends(0.05)[0] > -0.06).any(axis=-1).mean() <= 0.05


def test_a_good_judge_makes_the_sequence_shorter() -> None:
    rng = np.random.default_rng(5)
    people = rng.choice([-1.0, 0.0, 1.0], p=[0.06, 0.88, 0.06], size=20000)
    known = rng.random(20000) < 0.2
    alone = corrected(np.zeros(20000), people, known, np.ones(20000), 0.2)
    helped = corrected(people, people, known, np.ones(20000), 0.2)
    assert helped.values.std() < 0.6 * alone.values.std()


def test_missing_answers_of_the_candidate_bar_a_pass() -> None:
    many = pairs(2000, 0.03, 0.03)
    failed = Trace(
        case_id="x", variant_id="v", repeat=0, messages=(), response=None, error=Failure(code="timeout", message="late")
    )
    lost = [replace(one, candidate=failed, scores={}, truth=None) for one in pairs(60, 0, 0, start=9000)]
    assert judged([*many, *lost[:20]], KNOWN).status == "pass"
    found = judged([*many, *lost], KNOWN)
    assert found.status == "unknown" and "gave no answer" in found.detail


def test_turns_of_one_session_are_one_bet() -> None:
    """500 sessions whose four turns go alike say as much as 500 answers, and not as 2,000."""
    one = pairs(500, 0.12, 0.03)
    four: Sequence[AnswerPair] = [copy for each in one for copy in [each] * 4]
    single = result(judged(one, KNOWN), "quality")
    repeated = result(judged(four, replace(KNOWN, turns=4)), "quality")
    assert repeated.n == single.n == 500 and (repeated.low, repeated.high) == (single.low, single.high)


def test_turns_count_alike_and_not_sessions() -> None:
    long: list[AnswerPair] = [copy for each in pairs(100, 1.0, 0.0) for copy in [each] * 4]
    found = result(judged([*long, *pairs(100, 0.0, 0.0, start=500)], replace(KNOWN, turns=4)), "quality")
    assert found.n == 200 and found.estimate == pytest.approx(-400 / 500)


def test_how_far_the_judge_is_trusted_does_not_depend_on_the_session_that_it_is_trusted_in() -> None:
    rng = np.random.default_rng(6)
    people, known = rng.choice([-1.0, 0.0, 1.0], size=50), np.ones(50, dtype=bool)
    judge, other = people.copy(), people.copy()
    other[-1] = people[-1] - 1.0 if people[-1] > -1 else 0.0
    one, two = (corrected(judge, h, known, np.ones(50), 0.2).values for h in (people, other))
    assert (one[:-1] == two[:-1]).all() and one[-1] - two[-1] == pytest.approx((people[-1] - other[-1]) / 0.2)
