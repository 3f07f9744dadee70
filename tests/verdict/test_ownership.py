"""Ownership as a reason to train: retirement, rate limit and price history of the recommended hosted option."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.verdict.planted import project, rung, worth_it

from tuneworthy.config.ladder import Economics
from tuneworthy.money.serving import Bill
from tuneworthy.providers.prices import Price, TokenRates, price_of
from tuneworthy.verdict import training_reasons
from tuneworthy.verdict.base import TrainingReason
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence

NOW = TokenRates(input=2.0, output=10.0)
CHEAPER, DEARER = TokenRates(input=1.0, output=10.0), TokenRates(input=3.0, output=10.0)
TRAFFIC = 720_000  # at most 100 requests per minute
SAFE = Price(rates=NOW, retires=date(2099, 1, 1), previous=(), requests_per_minute=(1000, 4000))


def in_days(n: int) -> date:
    return datetime.now(UTC).date() + timedelta(days=n)


def ago(days: int) -> str:
    return str(in_days(-days))


def on(*steps: tuple[str, TokenRates]) -> Any:
    return tuple((date.fromisoformat(day), rates) for day, rates in steps)


def planted(price: Price | None = SAFE, traffic: int | None = TRAFFIC, *, hosted: bool = True, **more: Any) -> Evidence:
    """Today's hosted model meets the target and is recommended."""
    name = "baseline/small"
    today = rung("baseline", name, 0.97, status="reference", usd_per_1k=1.0, hosted=hosted, model="small")
    bills = {"baseline": Bill(name=name, usd_per_1k=1.0, price=price)}
    settings: dict[str, Any] = {"serve_hardware": "l4", "requests_per_month": traffic} | more
    return project(today, target=0.8, bills=bills, economics=Economics(**settings))


def reason(evidence: Evidence) -> TrainingReason:
    return next(row for row in decide(evidence, dict).training.reasons if row.reason == "ownership")


def in_cascade(*prices: Price | None, hosted: bool = True) -> Evidence:
    """The recommended option is a cascade; `hosted` is its large model, and two prices make no single price."""
    found = planted(None, hosted=hosted)
    return replace(found, bills={"baseline": replace(found.bills["baseline"], hosted=prices)})


CASES: dict[str, tuple[Evidence, str, str]] = {
    "no fact is against it": (planted(), "refuted", "has not risen"),
    "retires within a year": (planted(replace(SAFE, retires=in_days(360))), "measured", str(in_days(360))),
    "retired already": (planted(replace(SAFE, retires=in_days(-1))), "measured", f"{in_days(-1)}, is in"),
    "retires after a year": (planted(replace(SAFE, retires=in_days(370))), "refuted", "after the horizon"),
    "kept beyond a year": (planted(replace(SAFE, retires=None, retires_from=in_days(370))), "refuted", "has not risen"),
    "kept for less than a year": (
        planted(replace(SAFE, retires=None, retires_from=in_days(360))),
        "unknown",
        str(in_days(360)),
    ),
    "every tier below the peak": (planted(replace(SAFE, requests_per_minute=(50, 99))), "measured", "99 in its"),
    "the tier decides": (planted(replace(SAFE, requests_per_minute=(99, 100))), "unknown", "99 requests per minute"),
    "limit at the peak": (planted(replace(SAFE, requests_per_minute=(100, 400))), "refuted", "about 100"),
    "price rose": (planted(replace(SAFE, previous=on((ago(200), CHEAPER)))), "measured", f"rose on {ago(200)}"),
    "price rose before the horizon": (planted(replace(SAFE, previous=on((ago(400), CHEAPER)))), "refuted", ago(400)),
    "price fell": (planted(replace(SAFE, previous=on((ago(200), DEARER)))), "refuted", "has not risen"),
    "price fell and rose": (
        planted(replace(SAFE, previous=on((ago(500), DEARER), (ago(200), CHEAPER)))),
        "measured",
        ago(200),
    ),
    "no retirement date": (planted(replace(SAFE, retires=None)), "unknown", "retirement date"),
    "no limit": (planted(replace(SAFE, requests_per_minute=None)), "unknown", "rate limit"),
    "no history": (planted(replace(SAFE, previous=None)), "unknown", "history"),
    "no traffic": (planted(traffic=None), "unknown", "requests_per_month"),
    "no price": (planted(None), "unknown", "price table"),
    "not hosted": (planted(hosted=False), "refuted", "not hosted"),
    "both models of a cascade are safe": (in_cascade(SAFE, SAFE), "refuted", "has not risen"),
    "the first model of a cascade retires": (
        in_cascade(replace(SAFE, retires=in_days(30)), SAFE, hosted=False),
        "measured",
        str(in_days(30)),
    ),
    "a model of a cascade has no price": (in_cascade(SAFE, None), "unknown", "price table"),
    "a cascade on this machine": (in_cascade(hosted=False), "refuted", "not hosted"),
    "one fact is enough": (planted(Price(rates=NOW, retires=in_days(30))), "measured", str(in_days(30))),
}
REMOVED: dict[str, Any] = {
    "retirement": {"retires": None, "retires_from": None},
    "limit": {"requests_per_minute": None},
    "history": {"previous": None},
}


def without(evidence: Evidence, fact: str) -> Evidence:
    if fact == "traffic":
        return replace(evidence, economics=evidence.economics.model_copy(update={"requests_per_month": None}))
    bill = evidence.bills["baseline"]
    price = replace(bill.price, **REMOVED[fact]) if bill.price and fact in REMOVED else None
    return replace(evidence, bills={"baseline": replace(bill, price=price)})


@pytest.mark.parametrize("name", CASES)
def test_the_facts_of_the_provider_decide_the_status(name: str) -> None:
    evidence, status, words = CASES[name]
    found = reason(evidence)
    assert found.status == status and words in found.evidence, found


@pytest.mark.parametrize("fact", [*REMOVED, "traffic", "price"])
@pytest.mark.parametrize("name", CASES)
def test_removing_a_fact_gives_the_same_or_unknown(name: str, fact: str) -> None:
    evidence, status, _ = CASES[name]
    assert reason(without(evidence, fact)).status in {status, "unknown"}


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("_retirement", "retires within a year"),
        ("_rate_limit", "every tier below the peak"),
        ("_history", "price rose"),
    ],
)
def test_a_part_that_is_switched_off_changes_the_status(part: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_reasons, part, lambda *_: (False, "Off."))
    assert reason(CASES[name][0]).status == "refuted"


def test_the_horizon_is_that_of_the_economics() -> None:
    soon = replace(SAFE, retires=in_days(200))
    assert [reason(planted(soon, horizon_months=months)).status for months in (6, 12)] == ["refuted", "measured"]
    rose = replace(SAFE, previous=on((ago(200), CHEAPER)))
    assert [reason(planted(rose, horizon_months=months)).status for months in (6, 12)] == ["refuted", "measured"]


@pytest.mark.parametrize(
    ("provider", "model", "status"),
    [
        ("anthropic", "claude-sonnet-5", "refuted"),
        ("openai", "gpt-5.6-luna", "refuted"),
        ("openai", "gpt-5-mini", "measured"),  # retires soon
        ("anthropic", "claude-haiku-4-5", "unknown"),  # may retire any day
        ("openai", "gpt-6-sol", "unknown"),  # no limit and no history in the table
    ],
)
def test_models_of_the_table_have_the_facts(
    provider: str, model: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Then:
            return cls(2026, 12, 1, tzinfo=tz)

    monkeypatch.setattr(training_reasons, "datetime", Then)
    assert reason(planted(price_of(provider, model), 100_000, horizon_months=5)).status == status


@pytest.mark.parametrize("value", [True, False, None])
@pytest.mark.parametrize("evidence", [worth_it(), worth_it(target=0.6), CASES["no traffic"][0], planted()])
def test_ownership_decides_nothing(evidence: Evidence, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = decide(evidence, dict)
    monkeypatch.setitem(training_reasons.REASONS, "ownership", lambda *_: (value, "Planted."))  # type: ignore[arg-type]
    found = decide(evidence, dict)
    assert reason(evidence).status == training_reasons.STATUS[value]
    assert (found.outcome, found.reason_code, found.reasons) == (before.outcome, before.reason_code, before.reasons)
    assert (found.next_action, found.options) == (before.next_action, before.options)
    assert [(gate.gate, gate.status) for gate in found.gates] == [(gate.gate, gate.status) for gate in before.gates]


def test_the_team_may_have_ownership_in_mind() -> None:
    found = decide(replace(CASES["price rose"][0], motivation="ownership"), dict)
    assert found.training.reasons[0].reason == "ownership" and "(ownership)" in " ".join(found.reasons)


def test_without_a_recommendation_it_is_unknown() -> None:
    assert reason(worth_it(rungs={}, bills={})).status == "unknown"


def test_a_price_of_the_project_file_has_the_retirement_of_the_table_and_no_history() -> None:
    own = price_of("openai", "gpt-4o", 9.0, 9.0)
    assert own and own.retires and own.previous is None
    assert not own.last_rise
