"""What an option costs a month, what training costs and when it pays: scenarios computed by hand, within a cent.

The hand's numbers: a month has 730 hours, 2,628,000 seconds, of which a server answers a fifth at full load: 525,600.
The defaults cost (40 + 24) h x $90 + 14 h x $1.79 = $5,785.06 once, $482.0883 a month of a year; upkeep is
$195 + (8 h x $90 + $25.06) / 6 = $319.1767 a month.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.verdict.planted import PROMISING, RUNGS, differences, project, rung, trained, worth_it

from tuneworthy.config.ladder import Constraints, HardwareName
from tuneworthy.config.ladder import Economics as EconomicsSection
from tuneworthy.money.economics import economics, money
from tuneworthy.money.serving import Bill, hardware_table
from tuneworthy.money.sources import EconomicsResult
from tuneworthy.providers.prices import Price, TokenRates
from tuneworthy.verdict.answer import Verdict, serving_sentence
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.options import Option

CENT = 0.01
# These amounts are of an L4 that is rented by the hour; the other ways are below, and in test_ten_bills.py.
Economics = partial(EconomicsSection, serve_hardware="l4")
PRICED = Price(rates=TokenRates(input=2.0, output=10.0, cached_input=0.2), batch_factor=0.5)
API = Bill(name="api", usd_per_1k=6.0, input_tokens=2000, output_tokens=200, price=PRICED)
OWN = Bill(name="own", usd_per_1k=0.0, input_tokens=600, output_tokens=60, own_server=True)
TUNED = replace(OWN, name="tuned", tuned=True)
LARGE: dict[str, Any] = {"serve_hardware": "h100", "serve_params_b": 70}
SMALL: dict[str, Any] = {"serve_hardware": "cpu", "serve_params_b": 0.5}
BY_TOKEN: dict[str, Any] = {"serve_usd_per_month": 0, "serve_usd_per_1k": 0.2}


@pytest.mark.parametrize(
    ("bill", "requests", "settings", "usd"),
    [
        # 1. an API by the answer: 2,000 x $2 + 200 x $10 a million = $6 a thousand; 200 thousand
        (API, 200_000, {}, 1_200.00),
        # 2. half of the prompt from the cache: 1,000 x $2 + 1,000 x $0.20 + $2,000 = $4.20
        (API, 200_000, {"cached_share": 0.5}, 840.00),
        # 3. and half of the requests in batches at half the price: $4.20 x 0.75 = $3.15
        (API, 200_000, {"cached_share": 0.5, "batch_share": 0.5}, 630.00),
        # 4. a classical baseline inside the application
        (Bill(name="classical", usd_per_1k=0.0), 200_000, {}, 0.00),
        # 5. an 8B model on one L4: 730 h x $0.80
        (OWN, 200_000, {}, 584.00),
        # 6. beyond one L4: an answer takes 8 x (600 / 24,200 + 60 / 2,880) = 0.3650138 s, so one answers 1,439,945.66
        #    a month; 3,000,000 / 1,439,945.66 = 2.083412 of them
        (OWN, 3_000_000, {}, 1_216.71),
        # 7. a 70B model weighs 140 GB, with a fifth for answers 168: three H100 of 80 GB at $3.95
        (OWN, 200_000, LARGE, 8_650.50),
        # 8. a 0.5B model without a GPU: 0.5 x (600 / 782 + 60 / 164) = 0.5665586 s, 927,706.7 a month for $231.045;
        #    2,000,000 / 927,706.7 = 2.155854
        (OWN, 2_000_000, SMALL, 498.10),
        # 9. an 8B model on a consumer card: 730 h x $0.756
        (OWN, 200_000, {"serve_hardware": "consumer"}, 551.88),
        # 10. a tuned model on one L4: and the upkeep
        (TUNED, 200_000, {}, 584.00 + 319.18),
        # 11. a price and a capacity of one's own: 5 servers at $100
        (OWN, 500_000, {"serve_usd_per_month": 100, "serve_capacity_per_month": 100_000}, 500.00),
        # 12. steady traffic at 80% of full load: four times the answers, so 3,000,000 need one server
        (OWN, 3_000_000, {"serve_load": 0.8}, 584.00),
    ],
)
def test_a_month_of_an_option_by_hand(bill: Bill, requests: float, settings: dict[str, Any], usd: float) -> None:
    assert bill.running(Economics(**settings)).monthly_usd(requests) == pytest.approx(usd, abs=CENT)


def found(bill: Bill, requests: float | None = None, gain: float | None = None, **settings: Any) -> EconomicsResult:
    pair = None if gain is None else (gain, gain)
    return economics(bill, Economics(requests_per_month=requests, **settings), pair)


def test_training_paid_by_the_token_by_hand() -> None:
    # 200 x $0.20 + $319.18
    assert found(API, 200_000, **BY_TOKEN).monthly_usd == pytest.approx(359.18, abs=CENT)
    assert found(API).one_off_usd == pytest.approx(5_785.06, abs=CENT)


def test_the_break_even_is_a_band_by_hand() -> None:
    # $10 a thousand is one cent an answer; all three volumes fit one L4.
    # estimate: 584 + 319.1767 + 482.0883 = 1,385.2650
    # best:  hours and GPU at 0.75: once 4,338.795, a month 361.5663; upkeep 146.25 + 558.795 / 6 = 239.3825: 1,184.9488
    # worst: at 1.25, and trained twice: once 14,462.65, a month 1,205.2208; upkeep 243.75 + 931.325 / 6 = 398.9708;
    #        with 584 that is 2,188.1917
    answer = Bill(name="api", usd_per_1k=10.0)
    result = found(answer)
    assert result.break_even_requests_per_month == pytest.approx(138_526.50, abs=1)
    assert result.break_even_band == (pytest.approx(118_494.88, abs=1), pytest.approx(218_819.17, abs=1))
    assert [found(answer, n).status for n in (118_000, 119_000, 218_000, 219_000)] == [
        "never",
        "unknown",
        "unknown",
        "pays",
    ]
    assert "120,000" in result.why and "220,000" in result.why


def test_ranges_of_traffic_and_price_and_of_a_wrong_answer_by_hand() -> None:
    answer, exact = Bill(name="api", usd_per_1k=10.0), {"costs": (1, 1), "success": (1, 1)}
    # at 0.8 of the price, 1,385.2650 / 0.008
    falling = found(answer, ranges=exact | {"price": (0.8, 1)})
    assert falling.break_even_band == (pytest.approx(138_526.50, abs=1), pytest.approx(173_158.13, abs=1))
    # 140,000 pays, and 0.9 of it does not
    assert found(answer, 140_000, ranges=exact).status == "pays"
    assert found(answer, 140_000, ranges=exact | {"traffic": (0.9, 1.1)}).status == "unknown"
    # a tenth of the answers gets right: $0.01 an answer at $0.10, $0.005 at half of that; 1,385.2650 / 0.015
    worth = {"usd_per_wrong_answer": 0.1, "ranges": exact | {"wrong_answer": (0.5, 1)}}
    assert found(answer, None, 0.1, **worth).break_even_band == (
        pytest.approx(69_263.25, abs=1),
        pytest.approx(92_351.00, abs=1),
    )


def test_on_a_server_that_runs_anyway_only_the_gain_pays_by_hand() -> None:
    # 50,000 x 0.1 x $0.50 = 2,500, less the upkeep of 319.1767: 2,180.8233 a month; 5,785.06 / 2,180.8233 = 2.65
    sums = money(OWN, Economics(usd_per_wrong_answer=0.5), (0.1, 0.1))
    assert sums.net_usd(50_000) == pytest.approx(2_180.82, abs=CENT)
    assert sums.payback_months(50_000) == pytest.approx(2.6527, abs=0.001)
    assert found(OWN, 50_000).status == "unknown"  # no bill that could fall


def test_the_scenario_of_the_article_by_hand() -> None:
    # Distillation: "$15/M tokens to $0.2/M". An answer of 1,000 tokens costs 1.5 cents and then 0.02 cents: 75 times
    # less. (482.0883 + 319.1767) / 0.0148 = 54,139.53 requests a month pay for it within the year.
    before, after = Bill(name="large", usd_per_1k=15.0), Economics(**BY_TOKEN)
    assert before.usd_per_1k == pytest.approx(75 * after.serve_usd_per_1k)
    assert found(before, **BY_TOKEN).break_even_requests_per_month == pytest.approx(54_139.53, abs=1)
    # At today's price of a small hosted model ($0.10 in, $0.50 out), 800 and 200 tokens cost $0.18: less than $0.20.
    hosted = Price(rates=TokenRates(input=0.1, output=0.5))
    small = Bill(name="small", usd_per_1k=0.18, input_tokens=800, output_tokens=200, price=hosted)
    assert small.usd_with(after) == pytest.approx(0.18)
    never = found(small, 100_000_000, **BY_TOKEN)
    assert (never.status, never.break_even_band) == ("never", (None, None))


BUSY = Economics(requests_per_month=20_000_000)


def with_api(score: float = 0.97, **more: Any) -> Evidence:
    """A project whose hosted model is paid by the answer, and whose others miss the target."""
    hosted = rung("model", "model/api", score, status="adopted", usd_per_1k=1.02555, hosted=True)
    rest = [one for one in RUNGS if one.rung != "model"]
    return project(*rest, hosted, **more)


def row(verdict: Verdict, name: str) -> Option:
    return next(one for one in verdict.options if one.option == name)


def test_each_option_says_what_it_costs_at_any_traffic() -> None:
    # 50,000,000 requests: the API 50,000 x $1.02555; training 50,000,000 / 1,439,945.66 = 34.723532 L4, and the upkeep
    verdict = decide(with_api(economics=BUSY))
    costs = {option.option: option.running for option in verdict.options}
    assert all(costs.values())
    for name, usd in (("model/api", 51_277.50), ("fine_tune", 20_278.54 + 319.18)):
        running = costs[name]
        assert running is not None and running.monthly_usd(50_000_000) == pytest.approx(usd, abs=CENT)
    for option in verdict.options:
        assert option.running and option.running.monthly_usd(20_000_000) == option.usd_per_month


def test_the_bill_and_the_gain_are_both_of_the_recommended_option() -> None:
    # The cheap option that meets the target is recommended, the dear one was adopted last and is what the pilot beat
    # by 0.02: a tuned model of 0.97 gains 0.07 on the recommended option, which costs $1, and not 0.02 on one of $10.
    cheap = rung("prompt", "prompt/xml", 0.90, usd_per_1k=1.0)
    dear = rung("model", "model/strong", 0.95, status="adopted", usd_per_1k=10.0)
    forecast = replace(PROMISING, baseline=0.95, gain=0.02, ci95=(0.02, 0.03))
    evidence = project(*RUNGS[:2], cheap, dear, target=0.8, forecast=forecast, economics=BUSY)
    verdict = decide(evidence)
    result = verdict.economics
    assert verdict.recommendation == result.reference == "prompt/xml"
    assert result.usd_per_1k.reference == 1.0
    assert result.assumptions["gain"].value == pytest.approx(0.07)


def test_after_training_the_gain_is_the_measured_one() -> None:
    evidence = trained()
    verdict = decide(evidence)
    reference = next(one for one in evidence.rungs.values() if one.name == verdict.economics.reference)
    difference = evidence.difference(reference, evidence.tuned)
    assert difference is not None
    assert verdict.economics.assumptions["gain"].value == difference.ci95[0]


def cost_in_question(traffic: float | None, *, today: float = 0.93, small: float = 0.74, **more: Any) -> Verdict:
    """Today's option costs $2.60 a thousand and meets 0.88; a small one costs $0.129."""
    large = rung("baseline", "baseline/large", today, status="reference", usd_per_1k=2.6, hosted=True)
    rest = [replace(one, score=0.74, usd_per_1k=2.6) for one in RUNGS if one.rung in {"prompt", "few_shot", "decoding"}]
    little = rung("model", "model/small", small, usd_per_1k=0.129, hosted=True)
    rungs = [replace(one, status="no_gain") for one in rest]
    money = Economics(requests_per_month=traffic, **more.pop("economics", {}))
    return decide(project(RUNGS[0], large, rungs[0], little, *rungs[1:], economics=money, **({"target": 0.88} | more)))


def gate(verdict: Verdict, name: str = "economics") -> str:
    return next(one.status for one in verdict.gates if one.gate == name)


# A fifth of $2.60 is $0.52: 1,184.9488 / 0.00208 = 569,686.9 at best. At worst an L4 answers 0.7 x 1,439,945.66 =
# 1,007,961.96, and a request more costs $0.00057939: (398.9708 + 1,205.2208) / (0.00208 - 0.00057939) = 1,069,024.2.
@pytest.mark.parametrize(
    ("traffic", "outcome", "status", "passed"),
    [
        (460_000, "do_not_fine_tune", "never", "fail"),
        (569_600, "do_not_fine_tune", "never", "fail"),
        (569_800, "undecided", "unknown", "unknown"),
        (900_000, "undecided", "unknown", "unknown"),
        (1_069_000, "undecided", "unknown", "unknown"),
        (1_069_100, "fine_tune", "pays", "pass"),
    ],
)
def test_where_cost_is_the_question_there_is_one_break_even(
    traffic: float, outcome: str, status: str, passed: str
) -> None:
    verdict = cost_in_question(traffic)
    money = verdict.economics
    assert (verdict.outcome, money.status, gate(verdict)) == (outcome, status, passed)
    assert money.break_even_band == (pytest.approx(569_686.9, abs=1), pytest.approx(1_069_024.2, abs=1))
    # estimate: 1,385.2650 / 0.00208
    assert money.break_even_requests_per_month == pytest.approx(665_992.8, abs=1)
    assert money.required_usd_per_1k == pytest.approx(0.52)
    assert "570,000" in money.why and "beyond the required 20% of the bill" in money.why
    if outcome == "undecided":
        assert "At least 20% of the bill is required" in verdict.reasons[0]
    if status == "pays":
        # 1,069.1 x $2.08 = 2,223.73 less 903.1767: 1,320.55 a month; 5,785.06 / 1,320.55 = 4.4
        assert money.break_even_month == 5


def test_amounts_are_written_with_their_sign_first_and_without_powers_of_ten() -> None:
    found = decide(with_api(economics=Economics(requests_per_month=1_500_000), smaller_usd=0.01))
    cost = next(one.evidence for one in found.training.reasons if one.reason == "cost")
    assert "would save -$935 to $353 a month" in cost
    # 5e13 / 1,439,945.66 = 3.47e7 servers
    many = decide(worth_it(economics=Economics(requests_per_month=5e13)))
    assert "it needs 34,700,000 at this traffic" in serving_sentence(many)


def test_a_saving_below_a_fifth_says_so_and_what_would_change_it() -> None:
    # 560 x $2.60 = 1,456 less 1,184.9488 at best
    verdict = cost_in_question(560_000)
    why = "Training would save at most $271 a month, less than the required 20% of the bill ($1,456)."
    assert verdict.outcome == "do_not_fine_tune" and verdict.reasons[0].endswith(why)
    assert any("570,000" in one and "costs" in one for one in verdict.would_change)
    # 20 x $2.60 saves nothing, which nobody asks about
    assert "save" not in cost_in_question(20_000).reasons[0]
    assert cost_in_question(560_000, motivation="cost").reasons[0].count("at most") == 0


def test_without_traffic_both_volumes_are_named() -> None:
    verdict = cost_in_question(None)
    assert (verdict.outcome, verdict.economics.status) == ("undecided", "unknown")
    # 1,184.9488 / 0.0026 = 455,749.5
    assert "below about 460,000 requests" in verdict.reasons[0] and "above 570,000" in verdict.reasons[0]


def test_a_dearer_option_of_today_sets_what_must_be_saved() -> None:
    # The small one meets the target at $0.129 a thousand: no model of one's own saves $0.52 of that.
    verdict = cost_in_question(3_000_000, small=0.93)
    assert (verdict.recommendation, verdict.outcome) == ("model/small", "do_not_fine_tune")
    assert (verdict.economics.status, verdict.economics.break_even_band) == ("never", (None, None))
    assert "20% of today's bill" in verdict.economics.why
    assert not any("costs" in one for one in verdict.would_change)


def test_where_the_target_is_met_the_value_of_a_better_answer_does_not_count() -> None:
    verdict = cost_in_question(3_000_000, small=0.87, today=0.95, target=0.85, economics={"usd_per_wrong_answer": 0.1})
    assert (verdict.recommendation, verdict.economics.status) == ("model/small", "never")
    assert "the value of better answers does not count" in verdict.economics.why


def none_meets(traffic: float, value: float | None, **more: Any) -> Verdict:
    """A project where nothing meets the target, whose best option costs $2.60 a thousand and gets 35% wrong."""
    rungs = [replace(one, score=0.6, status="no_gain", usd_per_1k=2.6, hosted=True) for one in RUNGS]
    rungs[0] = replace(rungs[0], score=0.3, usd_per_1k=0.0, status="reference")
    rungs[1] = replace(rungs[1], score=0.65, status="reference")
    money = Economics(requests_per_month=traffic, usd_per_wrong_answer=value)
    return decide(project(*rungs, target=0.85, economics=money, **more))


@pytest.mark.parametrize(
    ("traffic", "value", "outcome", "status"),
    [
        # at best 1,184.9488 / (0.0026 + 0.02 x 0.35) = 123,432.2
        (100_000, 0.02, "do_not_fine_tune", "never"),
        (123_400, 0.02, "do_not_fine_tune", "never"),
        (123_500, 0.02, "fine_tune", "unknown"),
        (100_000, 1.0, "fine_tune", "unknown"),
        # the bill alone pays, at worst from 2,188.1917 / 0.0026 = 841,612.2
        (842_000, 0.02, "fine_tune", "pays"),
    ],
)
def test_before_a_pilot_the_value_of_a_wrong_answer_is_a_range(
    traffic: float, value: float, outcome: str, status: str
) -> None:
    verdict = none_meets(traffic, value)
    assert (verdict.outcome, verdict.economics.status) == (outcome, status)
    assert verdict.economics.break_even_band == (
        pytest.approx(1_184.9488 / (0.0026 + 0.35 * value), rel=1e-4),
        pytest.approx(841_612.2, abs=1),
    )
    assert "The best case assumes a score of 100.0%." in verdict.economics.why
    if outcome == "do_not_fine_tune":
        assert verdict.reasons[0].startswith("Training does not break even within 12 months at")


def test_after_a_pilot_the_range_ends_at_its_bounds() -> None:
    # it forecasts 0.10 to 0.20 more than 0.65
    forecast = replace(PROMISING, baseline=0.65, gain=0.1, ci95=(0.1, 0.2))
    verdict = none_meets(100_000, 1.0, forecast=forecast)
    assert verdict.economics.break_even_band == (
        pytest.approx(1_184.9488 / 0.2026, rel=1e-4),
        pytest.approx(2_188.1917 / 0.1026, rel=1e-4),
    )
    assert "a score of 85.0%" in verdict.economics.why and verdict.economics.status == "pays"
    flat = none_meets(100_000, 0.02, forecast=replace(PROMISING, gain=-0.1, ci95=(-0.2, -0.1)))
    assert (flat.outcome, flat.economics.status) == ("do_not_fine_tune", "never")


def test_a_model_without_a_bill_whose_gain_is_worth_too_little_never_pays() -> None:
    verdict = decide(worth_it(economics=Economics(requests_per_month=1000, usd_per_wrong_answer=0.01)))
    assert (verdict.reason_code, verdict.economics.status, gate(verdict)) == ("economics", "never", "fail")


def test_the_value_from_which_training_pays_names_the_score_that_it_assumes() -> None:
    # (1,385.2650 - 260) / 35,000 = $0.0322
    why = none_meets(100_000, None).economics.why
    assert "Training that reaches a score of 100.0% pays off if a wrong answer costs at least $0.03." in why


@pytest.mark.parametrize("value", [None, 0.1])
def test_where_a_constraint_decides_money_is_not_in_question(value: float | None) -> None:
    slow = {"latency_p95_ms": 900.0, "status": "violates_constraint", "reason": "p95 is 900 ms"}
    large = rung("baseline", "baseline/large", 0.93, usd_per_1k=2.6, hosted=True, **slow)
    rest = [replace(one, score=0.74, status="no_gain") for one in RUNGS[2:]]
    money = Economics(requests_per_month=3_000_000, usd_per_wrong_answer=value)
    limits = Constraints(p95_ms=500)
    verdict = decide(project(RUNGS[0], large, *rest, target=0.88, limits=limits, economics=money))
    assert (verdict.outcome, verdict.reason_code) == ("fine_tune", "constraint")
    assert (verdict.economics.status, gate(verdict)) == ("not_applicable", "not_applicable")
    assert (verdict.economics.why, verdict.economics.break_even_band) == ("", (None, None))
    assert verdict.economics.monthly_usd is not None


def own(evidence: Evidence, *names: str) -> Evidence:
    """The same with these rungs on servers of one's own."""
    changed = {name: replace(evidence.bills[name], own_server=True) for name in names}
    return replace(evidence, bills={**evidence.bills, **changed})


def test_of_two_that_meet_the_target_the_cheaper_one_at_this_traffic_is_recommended() -> None:
    local = rung("baseline", "baseline/local", 0.97, status="reference")
    api = rung("model", "model/api", 0.97, status="adopted", usd_per_1k=1.0, hosted=True)

    def recommended(requests: float | None) -> str | None:
        evidence = project(RUNGS[0], local, api, economics=Economics(requests_per_month=requests))
        verdict = decide(own(evidence, "baseline"))
        assert verdict.outcome == "do_not_fine_tune"
        return verdict.recommendation

    # an L4 costs as much as 584,000 answers
    assert recommended(100_000) == "model/api"
    assert recommended(1_000_000) == recommended(None) == "baseline/local"


def test_without_any_traffic_the_cheaper_answer_comes_first_though_every_month_costs_nothing() -> None:
    dear = rung("model", "model/dear", 0.97, status="adopted", usd_per_1k=15.0, hosted=True, latency_p95_ms=100.0)
    cheap = rung("prompt", "prompt/cheap", 0.97, status="adopted", usd_per_1k=0.1, hosted=True, latency_p95_ms=900.0)
    rest = [one for one in RUNGS if one.rung in {"classical", "baseline"}]
    verdict = decide(project(*rest, cheap, dear, economics=Economics(requests_per_month=0)))
    assert verdict.recommendation == "prompt/cheap"


def test_without_the_traffic_a_server_has_no_price_and_the_next_step_asks_for_it() -> None:
    local = rung("baseline", "baseline/local", 0.90, status="reference")
    api = rung("model", "model/api", 0.97, status="adopted", usd_per_1k=1.0, hosted=True)
    verdict = decide(own(project(RUNGS[0], local, api, target=0.85, economics=Economics()), "baseline"))
    assert (verdict.recommendation, row(verdict, "baseline/local").usd_per_1k) == ("baseline/local", None)
    why = verdict.next_action.why
    assert why.startswith("Set `economics.requests_per_month`") and "At low traffic, model/api" in why
    assert "depending on the traffic" in verdict.reasons[0] and "$" not in verdict.reasons[0]
    assert "costs nothing" not in str(verdict.training) and "no cost per call" not in verdict.economics.why


def test_a_model_on_a_server_that_meets_the_target_leaves_no_bill_to_cut_at_any_traffic() -> None:
    # 10,000,000 requests: 6.944706 L4 are $4,055.71, the API $4,461. At 1.4 of the capacity a tuned model might save a
    # fifth of that, but no more than the untuned one on the same servers, so the traffic leaves nothing open.
    api = rung("baseline", "baseline/api", 0.97, status="reference", usd_per_1k=0.4461, hosted=True)
    local = rung("model", "model/local", 0.97, status="adopted")
    for requests in (None, 10_000_000):
        evidence = own(project(RUNGS[0], api, local, economics=Economics(requests_per_month=requests)), "model")
        assert decide(evidence).outcome == "do_not_fine_tune"


def test_a_tuned_model_on_a_server_is_no_saving_against_an_api_that_costs_less() -> None:
    evidence = trained()
    api = replace(evidence.rungs["model"], usd_per_1k=1.0, hosted=True)
    tuned = replace(evidence.rungs["fine_tune"], score=0.7, delta=0.0, reason_code="no_worse")
    rungs = {**evidence.rungs, "model": api, "fine_tune": tuned}
    bills = {**evidence.bills, "model": replace(evidence.bills["model"], usd_per_1k=1.0)}
    bills["fine_tune"] = replace(evidence.bills["fine_tune"], own_server=True, tuned=True)
    same = replace(evidence, rungs=rungs, bills=bills, differences=differences(rungs.values(), 0.08), margin=0.08)

    def improvement(requests: float | None) -> tuple[str, str]:
        verdict = decide(replace(same, economics=Economics(requests_per_month=requests)))
        gate = next(one for one in verdict.gates if one.gate == "improvement")
        return gate.status, gate.detail

    # $50 a month against $903: nothing is saved. $5,000 against $3,120: it is.
    assert improvement(50_000)[0] != "pass"
    assert improvement(5_000_000)[0] == "pass" and "20% cheaper" in improvement(5_000_000)[1]
    status, detail = improvement(None)
    assert status == "unknown" and "requests_per_month" in detail


def test_the_prices_of_the_project_file_are_named_as_such() -> None:
    given = replace(API, price=replace(PRICED, source="project file"))
    sources = [economics(bill, BUSY).assumptions["reference_usd_per_1k"].source for bill in (API, given)]
    assert "at the prices of 20" in sources[0] and sources[1].endswith("at the prices in the project file")


def test_what_serving_is_taken_to_need_is_said() -> None:
    def said(requests: float | None = 3_000_000, **settings: Any) -> str:
        economics = Economics(requests_per_month=requests, **settings)
        return serving_sentence(decide(served_locally(economics)))

    # 3,000,000 / 1,439,945.66 = 2.083412 servers, as in row 6 above
    assert "8B parameters" in said() and "1 L4, by the hour, $584 a month" in said() and "needs 2.08 at" in said()
    assert "without token counts" in said() and said().endswith("`economics.serve_params_b`.")
    assert "3 H100, by the hour, $8,651 a month" in said(20_000, **LARGE)
    assert "To change this" not in said(**LARGE) and "at this traffic" not in said(None)
    assert "1 L4, by the hour, $100 a month" in said(serve_usd_per_month=100)
    assert said(serve_usd_per_month=0) == ""


def test_the_size_that_the_files_show_sets_the_servers_unless_the_project_sets_it() -> None:
    evidence = served_locally(Economics(requests_per_month=3_000_000))
    read = replace(evidence.bills["baseline"], params_b=4.0, trained_b=2.0, input_tokens=600.0, output_tokens=60.0)
    verdict = decide(replace(evidence, bills={**evidence.bills, "baseline": read}))
    # half the size, half the servers: 3,000,000 / (2 x 1,439,945.66) = 1.041706
    assert "4B parameters" in serving_sentence(verdict) and "needs 1.04 at this traffic" in serving_sentence(verdict)
    size = verdict.economics.assumptions["serve_params_b"]
    assert (size.value, size.mark) == (2.0, "measured")
    assert verdict.economics.monthly_usd == pytest.approx(584.0 + 319.18, abs=1)  # the tuned one: one server
    set_by_hand = decide(
        replace(served_locally(Economics(requests_per_month=3_000_000, serve_params_b=8)), bills={"baseline": read})
    )
    assert "8B parameters" in serving_sentence(set_by_hand)
    assert set_by_hand.economics.assumptions["serve_params_b"].mark == "project"


def served_locally(economics: EconomicsSection) -> Evidence:
    local = rung("baseline", "baseline/local", 0.97, status="reference")
    return own(project(RUNGS[0], local, economics=economics), "baseline")


def test_the_page_on_money_has_the_rates_of_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "costs.md").read_text()
    for name in get_args(HardwareName):
        row = hardware_table().hardware[name]
        cells = next(line for line in page.splitlines() if line.startswith(f"| `{name}`")).split("|")[2:6]
        shown = [float(cell.strip().removesuffix(" GB").replace(",", "")) for cell in cells]
        assert shown == [row.usd_per_hour, row.prompt_tokens_per_s, row.answer_tokens_per_s, row.memory_gb]
        assert row.rates_source and row.price_source


@pytest.mark.parametrize(
    ("name", "teraflops", "gigabytes_per_s"), [("consumer", 165, 1008), ("l4", 121, 300), ("h100", 989, 3350)]
)
def test_the_rates_follow_from_the_data_sheets(name: str, teraflops: float, gigabytes_per_s: float) -> None:
    row = hardware_table().hardware[name]
    assert row.prompt_tokens_per_s == pytest.approx(0.4 * teraflops * 1e12 / 2e9, rel=1e-3)
    assert row.answer_tokens_per_s == pytest.approx(32 * 0.6 * gigabytes_per_s * 1e9 / 2e9, rel=1e-3)


def test_the_tokens_of_the_tuned_model_set_its_capacity_once_they_are_measured() -> None:
    short = replace(TUNED, input_tokens=60, output_tokens=60)
    result = economics(API, Economics(requests_per_month=3_000_000), None, short)
    # 8 x (60 / 24,200 + 60 / 2,880) = 0.1865014 s, 2,818,210.5 a month; 1.064505 L4, and the upkeep
    assert result.monthly_usd == pytest.approx(621.67 + 319.18, abs=CENT)
    tokens = replace(API, input_tokens=60, output_tokens=60)
    assert tokens.trained(Economics()).monthly_usd(3_000_000) == pytest.approx(621.67 + 319.18, abs=CENT)
