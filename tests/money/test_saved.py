"""What an answer of the tuned model saves is counted on test, and priced only where the model of today has a price."""

from __future__ import annotations

from typing import Any

import pytest
from tests.report.report_records import named
from tests.report.report_records import record as run_record

from tuneworthy.config import Project
from tuneworthy.ladder.bills import bills_of
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.money.results import Savings, TokenSaving, savings_of, savings_sentence
from tuneworthy.types import RungStatus


def project(**price: float) -> Project:
    openai = {"provider": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", **price}
    return Project.model_validate(
        {
            "task": {"name": "a", "target": 0.9},
            "graders": [{"type": "exact"}],
            "models": {"today": openai},
            "ladder": {"baseline": "today"},
        }
    )


def row(rung: str, read: float | None, wrote: float | None, **more: Any) -> RungRecord:
    fields: dict[str, Any] = {"status": RungStatus.REFERENCE, "score": 0.8} | more
    return RungRecord(
        rung=rung, variant=f"id-{rung}", name=f"{rung}/x", input_tokens=read, output_tokens=wrote, **fields
    )


def record(*rows: RungRecord) -> RunRecord:
    variants = {
        f"id-{one.rung}": named(one.rung, "tuned:1" if one.rung == "fine_tune" else "today", {}) for one in rows
    }
    return run_record(*rows, best=rows[-1].rung, variants=variants)


def found(one: Project, *rows: RungRecord, against: str = "few_shot") -> Savings | None:
    bills = bills_of(one, record(*rows))
    return savings_of(bills.get(against), bills.get("fine_tune"))


TODAY = row("few_shot", 400.0, 10.0, usd_per_1k=0.5, status=RungStatus.ADOPTED)
TUNED = row("fine_tune", 100.0, 5.0)


def test_tokens_are_counted_and_money_is_that_of_the_same_price() -> None:
    told = found(project(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0), row("baseline", 50.0, 9.0), TODAY, TUNED)
    assert told is not None and told.against == "few_shot/x"
    assert told.input_tokens == TokenSaving(before=400.0, tuned=100.0)
    assert (told.usd_per_1k, told.usd_with_tuned_tokens) == (0.5, pytest.approx(0.15))
    words = savings_sentence(told)
    assert (
        "has 100 tokens per answer, against 400 for few_shot/x" in words and "cost $0.1500 instead of $0.5000" in words
    )


def test_a_model_without_a_price_saves_tokens_and_no_money() -> None:
    told = found(project(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0), TODAY, TUNED)
    assert told is not None and told.usd_with_tuned_tokens is None and "$" not in savings_sentence(told)


def test_nothing_is_told_before_a_tuned_variant_was_put_to_test_or_where_tokens_are_not_known() -> None:
    assert found(project(), TODAY) is None and savings_sentence(None) == ""
    assert found(project(), TODAY, row("fine_tune", 100.0, 5.0, score=None)) is None
    assert found(project(), TODAY, row("fine_tune", None, None)) == Savings(against="few_shot/x")


def test_what_is_saved_is_told_against_the_option_that_would_be_replaced() -> None:
    told = found(project(), row("baseline", 50.0, 9.0), TODAY, TUNED, against="baseline")
    assert told is not None and (told.against, told.input_tokens) == (
        "baseline/x",
        TokenSaving(before=50.0, tuned=100.0),
    )
