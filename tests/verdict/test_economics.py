"""Break-even by hand, what the money is compared with, and the properties that the sum must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.ladder.simulations import write_simulation
from tests.report.report_records import named
from tests.report.report_records import record as run_record

from tuneworthy.config import load
from tuneworthy.config.ladder import Constraints, Economics
from tuneworthy.errors import ConfigError
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.providers.prices import Price, TokenRates
from tuneworthy.types import RungStatus
from tuneworthy.verdict.base import EconomicsResult, Target
from tuneworthy.verdict.economics import Bills, Option, bills_of, economics

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROUND: dict[str, Any] = {
    "hours_data": 40,
    "hours_engineering": 20,
    "usd_per_hour": 100,
    "train_hours": 0,
    "serve_usd_per_month": 300,
    "serve_capacity_per_month": 1_000_000,
    "upkeep_usd_per_month": 200,
    "horizon_months": 12,
}
"""One-off $6,000, which is $500 a month of the horizon; $500 a month to serve and keep."""


def option(name: str = "best", usd: float | None = 10.0, *, target: Target = "missed", **fields: Any) -> Option:
    return Option(name=name, model=name, billed=bool(usd), usd_per_1k=usd, target=target, **fields)


def pays(usd: float | None, traffic: float | None, bills: Bills | None = None, **changed: Any) -> EconomicsResult:
    """The result for an upstream variant that costs `usd` a thousand answers."""
    best = option(usd=usd)
    evidence = bills or Bills(upstream=best, options=[best])
    return economics(evidence, Economics(requests_per_month=traffic, **(ROUND | changed)))


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
    assert found.usd_per_1k["tuned_served"] == pytest.approx(2.5)


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
    assert found.one_off_usd == 6600
    assert found.break_even_requests_per_month == pytest.approx(105_000)


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
    best = option(usd=6.5, input_tokens=2000, output_tokens=200, price=PRICED)
    bills = Bills(upstream=best, options=[best])
    found = economics(bills, Economics(cached_share=cached, batch_share=batch))
    assert found.usd_per_1k["best_upstream"] == pytest.approx(usd)
    assert found.usd_per_1k["best_upstream_discounted"] == pytest.approx(1.2)


def test_without_told_tokens_the_measured_cost_stands() -> None:
    best = option(usd=6.5, price=PRICED)
    found = economics(Bills(upstream=best, options=[best]), Economics(cached_share=0.5))
    assert found.usd_per_1k["best_upstream"] == 6.5


def test_the_rival_is_the_cheapest_hosted_model_that_meets_the_target() -> None:
    best = option("best", 10.0, target="met")
    others = [option("cheap", 1.0), option("middle", 4.0, target="met"), option("dear", 5.0, target="met")]
    found = economics(Bills(upstream=best, options=[best, *others]), Economics(**ROUND))
    assert found.usd_per_1k["cheapest_hosted"] == 4.0
    assert found.assumptions["compared_with"].value == "cheapest_hosted"
    assert found.break_even_requests_per_month == pytest.approx(250_000)  # 1,000 / 0.004


def test_where_no_hosted_model_meets_the_target_the_best_variant_is_compared_and_the_rival_said_not_measured() -> None:
    best = option()
    found = economics(Bills(upstream=best, options=[best], unmeasured=["tiny (not put to test)"]), Economics(**ROUND))
    assert found.usd_per_1k["cheapest_hosted"] is None
    assert found.assumptions["cheapest_hosted"].source == "not measured: tiny (not put to test)"
    assert found.assumptions["compared_with"].value == "best_upstream"


def test_without_traffic_it_is_unknown_and_the_volume_is_told() -> None:
    found = pays(10.0, None)
    assert (found.status, found.break_even_month) == ("unknown", None)
    assert found.break_even_requests_per_month == pytest.approx(100_000)
    assert "requests_per_month" in found.why
    assert found.usd_per_1k["tuned_served"] is None


def test_before_a_run_it_is_unknown() -> None:
    assert economics(Bills(upstream=None), Economics(requests_per_month=1000)).status == "unknown"


def test_a_local_model_has_no_bill_to_save_unless_a_better_answer_is_worth_something() -> None:
    found = pays(None, 100_000)
    assert found.status == "unknown" and "usd_per_wrong_answer" in found.why
    best = option(usd=None)
    valued = Bills(upstream=best, options=[best], gain=0.1)
    # 0.1 more right answers at 10 cents are one cent an answer
    assert pays(None, 100_000, valued, usd_per_wrong_answer=0.1).break_even_month == 12
    assert pays(None, 90_000, valued, usd_per_wrong_answer=0.1).status == "never"
    unmeasured = Bills(upstream=best, options=[best])
    assert pays(None, 100_000, unmeasured, usd_per_wrong_answer=0.1).status == "unknown"


def test_a_loss_of_quality_counts_against_training() -> None:
    best = option()
    worse = Bills(upstream=best, options=[best], gain=-0.05)
    assert pays(10.0, 100_000, worse, usd_per_wrong_answer=0.1).status == "never"


@pytest.mark.parametrize(
    ("bills", "words"),
    [
        (Bills(upstream=option(), options=[option()], limits=Constraints(on_device=True)), "on the device"),
        (
            Bills(upstream=option(), options=[option(p95_ms=900)], limits=Constraints(p95_ms=800)),
            "p95 latency is 900 ms",
        ),
    ],
)
def test_money_does_not_decide_under_a_hard_constraint(bills: Bills, words: str) -> None:
    found = economics(bills, Economics(requests_per_month=10))
    assert found.status == "not_applicable" and words in found.why
    assert found.one_off_usd is not None


def test_a_latency_limit_that_a_hosted_model_keeps_is_no_hard_constraint() -> None:
    fast, slow = option("fast", 10.0, p95_ms=500), option("slow", 1.0, target="met", p95_ms=2000)
    found = economics(
        Bills(upstream=fast, options=[fast, slow], limits=Constraints(p95_ms=800)),
        Economics(requests_per_month=100_000),
    )
    assert found.status in {"pays", "never"}
    assert found.usd_per_1k["cheapest_hosted"] is None  # the one that meets the target is too slow


def test_ownership_is_named_and_is_not_a_price() -> None:
    row = pays(10.0, 1000).assumptions["ownership"]
    assert row.value == "not a price" and "weights" in row.source


def test_every_assumption_has_a_source_a_mark_and_a_date_or_stands_in_the_project_file() -> None:
    for name in Economics.model_fields.keys() - {"requests_per_month", "usd_per_wrong_answer"}:
        row = economics(Bills(upstream=None), Economics()).assumptions[name]
        assert row.source and row.mark in {"published", "computed", "assumed"} and row.date == "2026-11-24", name
        mine = economics(Bills(upstream=None), Economics(**{name: 0.5})).assumptions[name]
        assert (mine.value, mine.source, mine.mark) == (0.5, "project file", "project")


def test_a_mistyped_assumption_is_an_error(tmp_path: Path) -> None:
    root = write_simulation(
        tmp_path, {"m": "answer(request, 1)"}, n_cases=3, n_examples=0, extra="[economics]\nhours = 3\n"
    )
    with pytest.raises(ConfigError, match="economics"):
        load(root)


def test_what_matters_most_stands_first() -> None:
    rows = pays(10.0, 100_000).sensitivity
    names = [row.name for row in rows]
    assert names[0] == "reference_usd_per_1k"  # halved it doubles the volume, doubled it halves it
    price = rows[0]
    assert (price.halved, price.doubled) == (pytest.approx(200_000), pytest.approx(50_000))
    upkeep = next(row for row in rows if row.name == "upkeep_usd_per_month")
    assert (upkeep.halved, upkeep.doubled) == (pytest.approx(90_000), pytest.approx(120_000))
    assert "gpu_usd_per_hour" not in names  # no training hours: it changes nothing


def test_an_assumption_that_can_make_training_never_pay_outweighs_all_others() -> None:
    rows = pays(10.0, 100_000, serve_capacity_per_month=50_000).sensitivity
    assert rows[0].halved is None or rows[0].doubled is None


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
    "baseline": {"model": "weak", "score": 0.6, "bounds95": (0.5, 0.7), "usd_per_1k": 0.0},
    "model": {
        "model": "strong",
        "score": 0.93,
        "bounds95": (0.88, 0.96),
        "usd_per_1k": 3.0,
        "input_tokens": 250.0,
        "output_tokens": 50.0,
        "latency_p95_ms": 700.0,
    },
}


def test_a_run_is_read_with_what_was_not_measured(tmp_path: Path) -> None:
    project = load(_priced(tmp_path))
    bills = bills_of(project, _record(**{name: dict(row) for name, row in ROWS.items()}))
    assert [option.target for option in bills.options] == ["missed", "met"]
    assert bills.upstream is not None and not bills.upstream.billed
    found = economics(bills, project.economics)
    assert found.usd_per_1k["cheapest_hosted"] == pytest.approx(3.0)
    source = economics(Bills(upstream=bills.upstream, unmeasured=bills.unmeasured)).assumptions["cheapest_hosted"]
    assert "idle (in the project file, but not compared on the test set)" in source.source
    assert "in the price table of" in source.source


def test_a_classical_baseline_is_no_hosted_rival_but_may_be_the_upstream_one(tmp_path: Path) -> None:
    project = load(_priced(tmp_path))
    rows = {name: dict(row) for name, row in ROWS.items()} | {
        "classical": {"model": "classical:linear", "score": 0.95, "bounds95": (0.92, 0.97), "usd_per_1k": 0.0}
    }
    record = _record("classical", **rows)
    bills = bills_of(project, record)
    assert bills.upstream is not None and bills.upstream.name == "classical/x"
    assert all(option.model != "classical:linear" for option in bills.options)


def test_a_quick_run_has_no_test_scores_and_so_no_bill(tmp_path: Path) -> None:
    project = load(_priced(tmp_path))
    record = _record(None, baseline={"model": "weak", "score": None})
    assert bills_of(project, record).upstream is None


def test_constraints_of_the_project_decide(tmp_path: Path) -> None:
    project = load(_priced(tmp_path, "[constraints]\np95_ms = 500\n"))
    bills = bills_of(project, _record(**{name: dict(row) for name, row in ROWS.items()}))
    assert economics(bills, project.economics).status == "not_applicable"
