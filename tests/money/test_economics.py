"""Break-even by hand, what the money is compared with, and the properties that the sum must keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.ladder.simulations import write_simulation
from tests.report.report_records import named
from tests.report.report_records import record as run_record

from tuneworthy.config import load
from tuneworthy.config.ladder import DEFAULT_RANGES, Economics
from tuneworthy.errors import ConfigError
from tuneworthy.ladder.bills import bills_of, known_usd
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.money.economics import Money, can_pay, cost_is_a_reason, economics, monthly_saving, worth_from
from tuneworthy.money.serving import Bill, RunningCost, Way
from tuneworthy.money.sources import EconomicsResult
from tuneworthy.providers.prices import FREE, Price, TokenRates
from tuneworthy.train.gpus import FORMS, HEADROOM, OwnedMachine, owned_machines
from tuneworthy.types import Cascade, RungStatus
from tuneworthy.verdict.evidence import rungs_of

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROUND: dict[str, Any] = {
    "hours_data": 40,
    "hours_engineering": 20,
    "usd_per_hour": 100,
    "train_hours": 0,
    "serve_usd_per_month": 300,
    "serve_capacity_per_month": 1_000_000,
    "upkeep_usd_per_month": 200,
    "hours_retrain": 0,
    "horizon_months": 12,
    "ranges": {"costs": (1, 1), "capacity": (1, 1), "success": (1, 1)},
}
"""One-off $6,000, which is $500 a month of the horizon; $500 a month to serve and keep; nothing is a range."""


def pays(usd: float | None, traffic: float | None, gain: float | None = None, **changed: Any) -> EconomicsResult:
    """The result against an option that costs `usd` a thousand answers."""
    return economics(
        Bill(name="best", usd_per_1k=usd),
        Economics(requests_per_month=traffic, **(ROUND | changed)),
        None if gain is None else (gain, gain),
    )


def test_break_even_by_hand() -> None:
    # (500 + 200 + 300) dollars a month at one cent an answer
    found = pays(10.0, 100_000)
    assert found.break_even_requests_per_month == pytest.approx(100_000)
    assert (found.status, found.break_even_month) == ("pays", 12)
    assert found.one_off_usd == 6000 and found.monthly_usd == 500


def test_double_traffic_pays_back_in_the_fourth_month() -> None:
    # 2,000 saved - 500 = 1,500 a month; 6,000 / 1,500 = 4
    found = pays(10.0, 200_000)
    assert (found.status, found.break_even_month) == ("pays", 4)
    assert found.usd_per_1k.tuned_served == pytest.approx(2.5)


def test_one_request_too_few_never_pays_within_the_horizon_and_says_when_it_would() -> None:
    found = pays(10.0, 99_999)
    assert (found.status, found.break_even_month) == ("never", None)
    assert found.assumptions["payback_month"].value == 13
    assert found.break_even_requests_per_month == pytest.approx(100_000)


def test_more_than_one_server_by_hand() -> None:
    # 700 / (0.01 - 300 / 50,000) = 175,000; there 1,750 = 500 + 200 + 3.5 servers
    found = pays(10.0, 175_000, serve_capacity_per_month=50_000)
    assert found.break_even_requests_per_month == pytest.approx(175_000)
    assert (found.status, found.monthly_usd) == ("pays", pytest.approx(1250))


def test_an_answer_that_costs_less_than_serving_it_never_pays() -> None:
    # half a cent an answer against 300 / 50,000 = 0.6 cents
    found = pays(5.0, 10_000_000, serve_capacity_per_month=50_000)
    assert (found.status, found.break_even_requests_per_month) == ("never", None)
    assert "No traffic volume" in found.why


def test_serving_that_is_paid_by_the_answer_by_hand() -> None:
    # 700 / (0.01 - 0.003) = 100,000 without a server
    found = pays(10.0, 100_000, serve_usd_per_month=0, serve_usd_per_1k=3)
    assert found.break_even_requests_per_month == pytest.approx(100_000)
    assert found.monthly_usd == pytest.approx(500)


def test_training_costs_count() -> None:
    found = pays(10.0, 100_000, train_hours=100, gpu_usd_per_hour=6)
    # $600 more once, which is $50 of each month, and $600 again every six months: 1,150 / 0.01
    assert found.one_off_usd == 6600
    assert found.break_even_requests_per_month == pytest.approx(115_000)


PRICED = Price(rates=TokenRates(input=2.0, output=10.0, cached_input=0.2), batch_factor=0.5)


@pytest.mark.parametrize(
    ("cached", "batch", "usd"),
    [
        (0.0, 0.0, 6.0),  # 2,000 * 2 + 200 * 10 millionths
        (0.5, 0.0, 4.2),  # 1,000 * 2 + 1,000 * 0.2 + 2,000
        (0.5, 0.5, 3.15),  # half of it at half the price
        (1.0, 1.0, 1.2),
    ],
)
def test_cache_and_batch_prices_by_hand(cached: float, batch: float, usd: float) -> None:
    best = Bill(name="best", usd_per_1k=6.5, input_tokens=2000, output_tokens=200, price=PRICED)
    found = economics(best, Economics(cached_share=cached, batch_share=batch))
    assert found.usd_per_1k.reference == pytest.approx(usd)


@pytest.mark.parametrize(
    ("cached", "settings_", "usd"),
    [
        (0.0, {}, 6.0),
        (1000.0, {}, 4.2),  # as in the run
        (1000.0, {"requests_per_month": 1e7}, 4.2),  # 3.8 requests a second keep the cache warm
        (1000.0, {"requests_per_month": 8760}, 4.8620),  # 1 every 5 minutes: 1 - 1/e of the prompts find it
        (1000.0, {"requests_per_month": 1}, 6.0),
        (1000.0, {"cached_share": 0.0}, 6.0),  # the project file decides
        (1000.0, {"cached_share": 1.0}, 2.4),
    ],
)
def test_cached_tokens_of_the_run_are_billed_as_far_as_the_traffic_keeps_the_cache_warm(
    cached: float, settings_: dict[str, float], usd: float
) -> None:
    best = Bill(name="best", usd_per_1k=6.5, input_tokens=2000, output_tokens=200, cached_tokens=cached, price=PRICED)
    assert best.usd_with(Economics(**settings_)) == pytest.approx(usd, abs=1e-3)
    unpriced = replace(best, price=replace(PRICED, rates=replace(PRICED.rates, cached_input=None)))
    assert unpriced.usd_with(Economics(**settings_)) == pytest.approx(6.0), "no price for cached tokens"


@pytest.mark.parametrize(
    ("settings_", "usd"),
    [
        ({}, 4.2),  # as warm as in the run
        ({"requests_per_month": 1e7}, 4.2),
        ({"requests_per_month": 1}, 6.5),  # 1,000 * 2 + 1,000 * 2.5 to write the cache + 2,000
        ({"cached_share": 0.0}, 6.0),
    ],
)
def test_a_cold_cache_is_written_at_the_rate_of_writes(settings_: dict[str, float], usd: float) -> None:
    price = replace(PRICED, rates=replace(PRICED.rates, cache_write=2.5))
    best = Bill(name="best", usd_per_1k=6.5, input_tokens=2000, output_tokens=200, cached_tokens=1000, price=price)
    assert best.usd_with(Economics(**settings_)) == pytest.approx(usd, abs=1e-3)


def test_without_told_tokens_the_measured_cost_stands() -> None:
    found = economics(Bill(name="best", usd_per_1k=6.5, price=PRICED), Economics(cached_share=0.5))
    assert found.usd_per_1k.reference == 6.5


def test_where_some_answers_have_no_tokens_the_measured_upper_limit_stands() -> None:
    bill = Bill(name="best", usd_per_1k=40.0, input_tokens=2000, output_tokens=200, price=PRICED, unreported=0.5)
    assert economics(bill, Economics()).usd_per_1k.reference == 40.0  # the half that is known costs $6


def test_without_traffic_it_is_unknown_and_the_volume_is_told() -> None:
    found = pays(10.0, None)
    assert (found.status, found.break_even_month) == ("unknown", None)
    assert found.break_even_requests_per_month == pytest.approx(100_000)
    assert "requests_per_month" in found.why
    assert found.usd_per_1k.tuned_served is None


def test_before_a_run_it_is_unknown() -> None:
    assert economics(None, Economics(requests_per_month=1000)).status == "unknown"


def test_a_local_model_has_no_bill_to_save_unless_a_better_answer_is_worth_something() -> None:
    found = pays(0.0, 100_000)
    assert found.status == "unknown" and "usd_per_wrong_answer" in found.why
    # 0.1 more right answers at 10 cents are one cent an answer
    assert pays(0.0, 100_000, 0.1, usd_per_wrong_answer=0.1).break_even_month == 12
    assert pays(0.0, 90_000, 0.1, usd_per_wrong_answer=0.1).status == "never"
    assert pays(0.0, 100_000, usd_per_wrong_answer=0.1).status == "unknown"


def test_a_loss_of_quality_counts_against_training() -> None:
    assert pays(10.0, 100_000, -0.05, usd_per_wrong_answer=0.1).status == "never"


BUSY = Economics(requests_per_month=20_000_000, serve_hardware="l4")


def costs(usd: float | None) -> Bill:
    return Bill(name="best", usd_per_1k=usd)


def test_a_large_bill_is_a_reason_where_a_smaller_model_was_measured() -> None:
    # A bill of 20,511.00. An L4 takes 1,439,945.66 requests of 600 and 60 tokens, so 13.889413 of them at $584 are
    # 8,111.42: at 0.7 of the capacity 11,587.74, at 1.4 of it 5,793.87. Upkeep 195 + 745.06 / 6 = 319.18, of which
    # the project gives nothing, so that every hour counts 1.25 and 0.75 times.
    # worst: one-off 64 h * 1.25 * 90 + 17.5 h * 1.79 = 7,231.325, twice, a twelfth of it 1,205.22;
    #        upkeep 243.75 + (10 h * 90 + 31.325) / 6 = 398.97
    # best:  one-off 0.75 * 5,785.06 = 4,338.795, a twelfth 361.57; upkeep 146.25 + (540 + 18.795) / 6 = 239.38
    low, high = monthly_saving(costs(1.02555), BUSY) or (0.0, 0.0)
    assert low == pytest.approx(20_511 - 11_587.74 - 1_205.22 - 398.97, abs=0.01)
    assert high == pytest.approx(20_511 - 5_793.87 - 361.57 - 239.38, abs=0.01)
    assert cost_is_a_reason(costs(1.02555), 1.02555, BUSY, 0.05) is True
    assert cost_is_a_reason(costs(1.02555), 1.02555, BUSY, None) is None
    assert cost_is_a_reason(costs(1.02555), None, BUSY, 0.05) is None
    assert cost_is_a_reason(costs(1.02555), 1.02555, BUSY, 1.0) is None


def test_a_saving_below_a_fifth_of_what_is_paid_today_is_no_reason() -> None:
    assert cost_is_a_reason(costs(0.1), 1.0, BUSY, 0.01) is False
    assert cost_is_a_reason(costs(0.0), 0.0, BUSY, 0.0) is False


def test_without_traffic_only_a_break_even_that_nobody_reaches_refutes_the_cost() -> None:
    assert cost_is_a_reason(costs(1.0), 1.0, Economics(), 0.05) is None
    assert cost_is_a_reason(costs(0.01), 0.01, Economics(), 0.001) is False
    assert cost_is_a_reason(costs(None), 1.0, BUSY, 0.05) is None


def test_money_decides_only_where_a_wrong_answer_has_a_price() -> None:
    free, gain = costs(0.0), (0.0, 0.3)
    assert can_pay(free, gain, Economics(requests_per_month=10)) is True
    valued = Economics(requests_per_month=1000, usd_per_wrong_answer=0.01)
    assert can_pay(free, gain, valued) is False and can_pay(Bill(name="", usd_per_1k=None), gain, valued) is None
    assert can_pay(free, gain, Economics(usd_per_wrong_answer=0.01)) is None
    assert can_pay(free, gain, valued.model_copy(update={"usd_per_wrong_answer": 100.0})) is True


def test_the_value_of_a_wrong_answer_from_which_it_pays_by_hand() -> None:
    # (500 + 500) dollars a month over 10,000 better answers
    settings_ = Economics(requests_per_month=100_000, **ROUND)
    assert worth_from(costs(0.0), 0.1, settings_) == pytest.approx(0.1)
    assert worth_from(costs(0.0), 0.1, Economics()) is None
    assert worth_from(costs(None), 0.1, settings_) is None  # the bill that training would replace is not known


def owned(kind: Any, gib: float, **more: Any) -> OwnedMachine:
    return OwnedMachine(name="m", kind=kind, gib=gib, source="", **more)


@pytest.mark.parametrize("kind", ["card", "apple", "cpu"])
@pytest.mark.parametrize("form", FORMS)
def test_the_widest_form_that_just_fits_serves(kind: str, form: str) -> None:
    machine = owned(kind, 24)
    most = machine.serving_gib * 2**30 * 8 / (HEADROOM * FORMS[form] * 1e9)
    forms = [*FORMS, None]
    assert machine.form(most * (1 - 1e-9)) == form
    assert machine.form(most * (1 + 1e-9)) == forms[forms.index(form) + 1]


@pytest.mark.parametrize(
    ("kind", "gib", "usable"),
    [
        ("card", 8, 8),
        ("card", 24, 24),
        ("apple", 16, 32 / 3),
        ("apple", 32, 64 / 3),
        ("apple", 36, 27),
        ("cpu", 16, 14),
    ],
)
def test_a_model_may_use_a_part_of_the_memory(kind: str, gib: float, usable: float) -> None:
    # 10,922.67 MiB of 16 GiB and 21,845.34 MiB of 32 GiB, as llama.cpp printed them on a Mac
    assert owned(kind, gib).serving_gib == pytest.approx(usable)


def test_the_speed_of_an_own_machine_is_a_bound_from_its_bandwidth_or_unknown() -> None:
    machine = owned("card", 24, gb_per_s=1000)
    assert machine.most_tokens_per_s(8.0, "f16") == pytest.approx(62.5)  # 1000 GB/s over 16 GB
    assert machine.most_tokens_per_s(8.0, "q4_k_m") == pytest.approx(62.5 * 16 / 4.8944)
    assert owned("cpu", 16).most_tokens_per_s(8.0, "f16") is None


def test_the_machines_that_people_own_have_sources_and_are_an_assumption_without_a_price() -> None:
    table = owned_machines()
    assert {one.gib for one in table if one.kind == "card"} == {8, 12, 16, 24}
    assert {one.kind for one in table} == {"card", "apple", "cpu"}
    assert all("http" in one.source or "whitepaper" in one.source for one in table if one.gb_per_s)
    fact = economics(None, Economics(serve_params_b=8.0)).assumptions["own_machines"]
    assert "RTX 4060, 8 GB: q4_k_m; RTX 3060, 12 GB: q8_0" in str(fact.value) and fact.date
    assert "too small" in str(economics(None, Economics(serve_params_b=70.0)).assumptions["own_machines"].value)


def test_ownership_is_named_and_is_not_a_price() -> None:
    row = pays(10.0, 1000).assumptions["ownership"]
    assert row.value == "not a price" and "weights" in row.source


def test_every_assumption_has_a_source_a_mark_and_a_date_or_stands_in_the_project_file() -> None:
    for name in Economics.model_fields.keys() - {"requests_per_month", "usd_per_wrong_answer", "ranges"}:
        row = economics(None, Economics()).assumptions[name]
        dates = {"2026-11-24", "2026-12-01"}
        assert row.source and row.mark in {"published", "computed", "assumed"} and row.date in dates, name
        own: Any = {"serve_capacity_per_month": 1.0, "serve_hardware": "h100"}.get(name, 0.5)
        mine = economics(None, Economics(**{name: own})).assumptions[name]
        assert (mine.value, mine.source, mine.mark) == (own, "project file", "project")


def test_every_range_says_what_its_two_numbers_are() -> None:
    facts = pays(10.0, 1000, ranges={"traffic": (0.5, 2)}).assumptions
    ranges = {name: fact for name, fact in facts.items() if name.startswith("range_")}
    assert ranges.keys() == {f"range_{name}" for name in DEFAULT_RANGES}
    assert len({fact.source for fact in ranges.values()}) == len(ranges)
    assert all(fact.source.startswith("lowest and highest ") for fact in ranges.values())
    assert (facts["range_traffic"].value, facts["range_traffic"].mark) == ("[0.5, 2]", "project")


def test_a_mistyped_assumption_is_an_error(tmp_path: Path) -> None:
    root = write_simulation(
        tmp_path, {"m": "answer(request, 1)"}, n_cases=3, n_examples=0, extra="[economics]\nhours = 3\n"
    )
    with pytest.raises(ConfigError, match="economics"):
        load(root)


USD = st.floats(0.01, 100)
TRAFFIC = st.floats(1, 1e8)
CAPACITY = st.floats(1e3, 1e8)


@UNHURRIED
@given(USD, TRAFFIC, st.floats(1, 100), CAPACITY)
def test_more_traffic_never_makes_pays_into_never(usd: float, traffic: float, factor: float, capacity: float) -> None:
    before = pays(usd, traffic, serve_capacity_per_month=capacity)
    assume(before.status == "pays")
    after = pays(usd, traffic * factor, serve_capacity_per_month=capacity)
    assert after.status == "pays"
    assert after.break_even_month is not None and before.break_even_month is not None
    assert after.break_even_month <= before.break_even_month


LITTLE: dict[str, Any] = {"hours_retrain": 0, "upkeep_usd_per_month": 0, "train_hours": 0.1}
LITTLE |= {"hours_data": 1, "hours_engineering": 1}


def own_server(params_b: float, trained_b: float, output_tokens: float) -> Bill:
    return Bill(
        name="own",
        usd_per_1k=0.0,
        input_tokens=4000,
        output_tokens=output_tokens,
        own_server=True,
        params_b=params_b,
        trained_b=trained_b,
    )


def test_training_that_pays_at_a_part_of_a_range_of_traffic_neither_pays_nor_never_does() -> None:
    # A better answer saves more than serving costs up to the capacity of a machine, and beyond it less.
    bill, worth = own_server(0.9, 8, 60), {"usd_per_wrong_answer": 0.0005, **LITTLE}

    def never(requests: float, traffic: tuple[float, float]) -> tuple[bool | None, str, str]:
        valued = Economics(requests_per_month=requests, ranges={"traffic": traffic}, **worth)
        found = economics(bill, valued, None, most=0.3)
        return can_pay(bill, (0.0, 0.3), valued), found.status, found.why

    assert never(500_000, (1, 1))[:2] == (True, "unknown")
    assert never(2_500_000, (1, 1))[:2] == (False, "never")
    assert never(2_500_000, (1, 1))[2].endswith("At the project's traffic, it does not.")
    assert never(2_500_000, (0.2, 1))[:2] == never(2_500_000, (0.1, 1))[:2] == (True, "unknown")

    def pays_at(requests: float, high: float) -> str:
        valued = Economics(
            requests_per_month=requests, usd_per_wrong_answer=0.0001, ranges={"traffic": (1, high)}, **LITTLE
        )
        return economics(own_server(8, 1.5, 300), valued, (0.1, 0.3), most=0.3).status

    assert (pays_at(10_000, 1), pays_at(100_000, 1), pays_at(10_000, 10)) == ("pays", "never", "unknown")


def test_a_gain_that_is_highest_where_a_machine_is_full_or_another_way_to_serve_gets_cheaper_is_found() -> None:
    def sums(before: RunningCost, tuned: RunningCost, month: float, worth: float) -> Money:
        return Money(before=before, tuned=tuned, one_off_usd=month, worth=worth, required=0.0, horizon_months=1.0)

    # $0.50 more a thousand up to 1.5 million, where the machine is full: 750 + 1000 - 1500 = $250; beyond, $0.50 less
    flat = RunningCost(usd_per_1k=0.0, ways=[Way(usd_per_month=1000)])
    machine = RunningCost(usd_per_1k=0.0, ways=[Way(usd_per_month=1500, capacity=1_500_000)])
    full = sums(flat, machine, 240, 0.0005)
    # $0.50 saved a thousand up to 1.5 million: $750; beyond it, the large machine of $1,500 serves and saves ever less
    two = RunningCost(usd_per_1k=0.0, ways=[Way(usd_per_month=100, capacity=100_000), Way(usd_per_month=1500)])
    changes = sums(two, RunningCost(usd_per_1k=0.5), 600, 0.0)
    for one, volume in ((full, 1_480_000), (changes, 1_200_000)):
        assert one.break_even_volume() == pytest.approx(volume)
        assert any(map(one.pays, one.volumes(1e6, 4e6))) and not one.pays(1e6) and not one.pays(4e6)


@settings(UNHURRIED, max_examples=50)
@given(
    st.builds(own_server, *[st.sampled_from([0.1, 0.9, 1.5, 3, 8, 30])] * 2, st.sampled_from([1, 60, 300])),
    st.sampled_from([0.0001, 0.0005, 0.001, 0.01]),
    st.floats(1e3, 1e8),
    st.floats(1, 30),
)
def test_an_answer_for_a_range_of_traffic_applies_to_all_traffic_within(
    bill: Bill, wrong: float, low: float, high: float
) -> None:
    def status(requests: float, traffic: tuple[float, float]) -> str:
        valued = Economics(
            requests_per_month=requests, usd_per_wrong_answer=wrong, ranges={"traffic": traffic}, **LITTLE
        )
        return economics(bill, valued, (0.1, 0.3), most=0.3).status

    whole = status(low, (1.0, high))
    assume(whole != "unknown")
    assert {status(low * high**part, (1.0, 1.0)) for part in (0.0, 0.3, 0.5, 0.8, 1.0)} == {whole}


@UNHURRIED
@given(USD, st.floats(1.01, 10), CAPACITY)
def test_a_dearer_api_lowers_the_break_even_volume(usd: float, factor: float, capacity: float) -> None:
    cheap = pays(usd, None, serve_capacity_per_month=capacity).break_even_requests_per_month
    dear = pays(usd * factor, None, serve_capacity_per_month=capacity).break_even_requests_per_month
    assume(cheap is not None)
    assert dear is not None and cheap is not None and dear < cheap


@UNHURRIED
@given(USD, TRAFFIC, CAPACITY)
def test_volume_and_status_agree(usd: float, traffic: float, capacity: float) -> None:
    found = pays(usd, traffic, serve_capacity_per_month=capacity)
    volume = found.break_even_requests_per_month
    if volume is None or traffic < volume * (1 - 1e-6):
        assert found.status == "never"
    elif traffic > volume * (1 + 1e-6):
        assert found.status == "pays"


def _record(best: str | None = "baseline", **rows: dict[str, Any]) -> RunRecord:
    rungs = [
        RungRecord(
            rung=name,
            status=RungStatus.REFERENCE,
            variant=f"id-{name}",
            name=f"{name}/x",
            **{key: value for key, value in row.items() if key != "model"},
        )
        for name, row in rows.items()
    ]
    variants = {f"id-{name}": named(name, row["model"], {}) for name, row in rows.items()}
    return run_record(*rungs, best=best, variants=variants)


def _priced(root: Path, extra: str = "") -> Path:
    write_simulation(root, {"weak": "'red'", "strong": "'red'", "idle": "'red'"}, n_cases=3, n_examples=0, extra=extra)
    file = root / "tuneworthy.toml"
    text = file.read_text()
    for name, price in (("strong", 10), ("idle", 1)):
        line = f'function = "world.py:{name}"'
        text = text.replace(line, f"{line}\ninput_usd_per_mtok = {price}\noutput_usd_per_mtok = {price}")
    file.write_text(text)
    return root


ROWS: dict[str, dict[str, Any]] = {
    "baseline": {"model": "weak", "score": 0.6, "usd_per_1k": 0.0},
    "model": {
        "model": "strong",
        "score": 0.93,
        "usd_per_1k": 3.0,
        "input_tokens": 250.0,
        "output_tokens": 50.0,
        "latency_p95_ms": 700.0,
    },
}


def test_a_run_is_read_with_prices_that_are_known(tmp_path: Path) -> None:
    project = load(_priced(tmp_path))
    rows = {name: dict(row) for name, row in ROWS.items()} | {
        "classical": {"model": "classical:linear", "score": 0.95, "usd_per_1k": None}
    }
    bills = bills_of(project, _record("classical", **rows))
    assert {name: bill.usd_per_1k for name, bill in bills.items()} == {"baseline": 0.0, "model": 3.0, "classical": 0.0}


@pytest.mark.parametrize(("hosted", "rates"), [((), []), (("weak",), [2.0]), (("weak", "strong"), [10.0, 2.0])])
def test_the_bill_of_a_cascade_has_the_prices_of_all_its_hosted_models(
    tmp_path: Path, hosted: tuple[str, ...], rates: list[float]
) -> None:
    file = _priced(tmp_path) / "tuneworthy.toml"
    text = file.read_text().replace(
        '"world.py:weak"', '"world.py:weak"\ninput_usd_per_mtok = 2\noutput_usd_per_mtok = 2'
    )
    for name in hosted:
        text = text.replace(f'"world.py:{name}"', f'"world.py:{name}"\nplays_hosted = true')
    file.write_text(text)
    record = _record("model", **ROWS)
    cascade = replace(record.variants["id-model"], cascade=Cascade(first=record.variants["id-baseline"], threshold=0.9))
    record = replace(record, variants={**record.variants, "id-model": cascade})
    found = bills_of(load(tmp_path), record)["model"].hosted
    assert [price.rates.input for price in found if price] == rates


def test_a_hosted_model_without_a_price_costs_what_nobody_knows(tmp_path: Path) -> None:
    root = _priced(tmp_path)
    file = root / "tuneworthy.toml"
    file.write_text(
        file.read_text().replace('function = "world.py:weak"', 'function = "world.py:weak"\nplays_hosted = true')
    )
    row = RungRecord(rung="baseline", status=RungStatus.REFERENCE, usd_per_1k=0.0)
    assert known_usd(row, "weak", load(root)) is None


@pytest.mark.parametrize(("unreported", "usd"), [(0, 3.0), (1, None)])
def test_a_price_that_is_set_after_the_run_applies_to_its_tokens(
    tmp_path: Path, unreported: int, usd: float | None
) -> None:
    project = load(_priced(tmp_path, "[constraints]\nusd_per_1k = 2\n"))
    free = ROWS["model"] | {"usd_per_1k": 0.0, "unreported": unreported}
    record = _record("model", baseline=ROWS["baseline"], model=free)
    assert bills_of(project, record)["model"].usd_per_1k == usd
    rung = rungs_of(record, project)["model"]
    assert rung.usd_per_1k == usd
    assert bool(rung.violated) == (usd is not None)


@pytest.mark.parametrize("measured", [0.0, 0.05, 9.0])
def test_answers_cost_what_their_tokens_cost_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: float
) -> None:
    row = ROWS["model"] | {"usd_per_1k": measured, "input_tokens": 20.4, "output_tokens": 1.4}
    record = _record("model", baseline=ROWS["baseline"], model=row)

    def judged(price: Price | None, extra: str = "") -> tuple[float | None, bool]:
        monkeypatch.setattr("tuneworthy.ladder.bills.price_for", lambda _: price)
        project = load(_priced(tmp_path, f"[constraints]\nusd_per_1k = 0.03\n{extra}"))
        assert bills_of(project, record)["model"].usd_per_1k == known_usd(record.rungs[1], "strong", project)
        rung = rungs_of(record, project)["model"]
        return rung.usd_per_1k, bool(rung.violated)

    price = Price(rates=TokenRates(input=1.0, output=10.0), batch_factor=0.5)
    assert judged(price) == (pytest.approx(0.0344), True)
    assert judged(price, "[economics]\nbatch_share = 1.0\n") == (pytest.approx(0.0344), False)
    assert judged(FREE) == (0.0, False)
    assert judged(None) == (None, False)


def test_an_answer_is_not_priced_again_without_its_tokens_or_its_model(tmp_path: Path) -> None:
    project = load(_priced(tmp_path))
    tokens: dict[str, Any] = {"usd_per_1k": 0.5, "input_tokens": 9.0, "output_tokens": 9.0}
    for row in ({"unreported": 1}, {"input_tokens": None}):
        record = RungRecord(rung="model", status=RungStatus.REFERENCE, **(tokens | row))
        assert known_usd(record, "strong", project) == 0.5
    record = RungRecord(rung="model", status=RungStatus.REFERENCE, **tokens)
    assert known_usd(record, "gone", project) == 0.5


def test_a_quick_run_has_no_test_scores_and_so_no_bill(tmp_path: Path) -> None:
    project = load(_priced(tmp_path))
    assert bills_of(project, _record(None, baseline={"model": "weak", "score": None})) == {}
