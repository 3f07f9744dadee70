"""The price table: golden values, ceilings that hold, dates that warn, and no price where none is known."""

from __future__ import annotations

import json
from datetime import date
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneworthy.config.models import Anthropic, Http, OpenAI, Python
from tuneworthy.providers import prices
from tuneworthy.providers.prices import FREE, Price, TokenRates, price_for, price_of

DOCUMENT = json.loads((Path(prices.__file__).parent / "prices.json").read_bytes())
ROWS = DOCUMENT["prices"]
NAMES = {"provider", "models", "rates", "batch_factor", "context", "max_output", "retires", "tiers", "mark",
         "retires_mark", "retires_from", "previous", "requests_per_minute"}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["models"][0])
def test_each_row_is_well_formed(row: dict[str, Any]) -> None:
    assert set(row) <= NAMES
    assert row["provider"] in {"openai", "anthropic"}
    assert row["mark"] in {"V", "V2", "K"}
    for rates in (row["rates"], *(rates for _, rates in row.get("tiers", ()))):
        assert 0 < rates["input"] <= rates["output"]
        assert rates.get("cached_input", 0) < rates["input"] <= rates.get("cache_write", rates["input"])
    assert row.get("batch_factor", 0.5) == 0.5
    assert row["max_output"] <= row["context"]
    if "retires" in row:
        assert date.fromisoformat(row["retires"]) > date(2026, 11, 24)
        assert row["retires_mark"] in {"V", "V2"}
    days = [date.fromisoformat(day) for day, _ in row.get("previous", ())]
    assert days == sorted(days) and all(day <= prices.table_date() for day in days)
    assert all(rates.keys() >= {"input", "output"} and rates != row["rates"] for _, rates in row.get("previous", ()))
    entry, highest = row.get("requests_per_minute", (1, 1))
    assert 0 < entry <= highest
    assert not {"retires", "retires_from"} <= set(row)
    assert all(pattern == pattern.lower() for pattern in row["models"])


def test_no_name_is_matched_by_two_rows() -> None:
    for one, other in combinations(ROWS, 2):
        for name in one["models"]:
            assert not any(fnmatchcase(name.replace("[0-9]", "1").replace("*", "x"), p) for p in other["models"]), name


def test_the_table_names_its_day_and_its_sources() -> None:
    assert prices.table_date() == date(2026, 11, 24)
    assert DOCUMENT["sources"]


@pytest.mark.parametrize(
    ("provider", "model", "input_rate", "output_rate", "retires"),
    [
        ("anthropic", "claude-opus-4-7", 5, 25, None),
        ("anthropic", "claude-haiku-4-5-20251001", 1, 5, None),
        ("anthropic", "claude-haiku-5-5", 0.1, 0.5, None),
        ("anthropic", "claude-sonnet-4-5", 3, 15, date(2026, 11, 30)),
        ("anthropic", "claude-opus-4-5", 5, 25, date(2027, 1, 22)),
        ("openai", "gpt-6-sol", 2, 10, None),
        ("openai", "gpt-6-luna", 0.1, 0.5, None),
        ("openai", "gpt-5-mini-2025-08-07", 0.25, 2, date(2026, 12, 11)),
        ("openai", "gpt-4o-2024-11-20", 2.5, 10, date(2027, 1, 14)),
        ("openai", "ft:gpt-4o-mini-2024-07-18:org::id", 0.3, 1.2, date(2027, 1, 14)),
    ],
)
def test_golden_prices(provider: str, model: str, input_rate: float, output_rate: float, retires: date | None) -> None:
    price = price_of(provider, model)
    assert price is not None
    assert (price.rates.input, price.rates.output, price.retires) == (input_rate, output_rate, retires)
    assert price.source == "table"


def test_golden_history_and_limits() -> None:
    luna, sonnet = price_of("openai", "gpt-5.6-luna"), price_of("anthropic", "claude-sonnet-5")
    assert luna and luna.previous and luna.previous[0][0] == date(2026, 7, 30) and not luna.last_rise
    assert sonnet and (sonnet.previous, sonnet.requests_per_minute) == ((), (1000, 4000))
    new = price_of("openai", "gpt-6-sol")
    sol = price_of("openai", "gpt-5.6-sol")
    assert sol and sol.previous and (sol.previous[0][1].input, sol.previous[0][1].output) == (5.0, 30.0)
    assert new and (new.previous, new.requests_per_minute) == (None, None)


def test_costs_by_hand() -> None:
    haiku = price_of("anthropic", "claude-haiku-4-5")
    assert haiku is not None
    assert haiku.cost(1_000_000, 0) == pytest.approx(1.0)
    assert haiku.cost(1000, 100) == pytest.approx(0.0015)
    assert haiku.cost(1000, 100, 800) == pytest.approx((200 * 1 + 800 * 0.1 + 100 * 5) / 1e6)
    assert haiku.cost(1000, 0, 0, written_tokens=1000) == pytest.approx(1.25e-3)
    assert haiku.cost(10, 0, 999) == pytest.approx(10 * 0.1 / 1e6)  # a server that counts wrongly


def test_a_long_prompt_costs_the_higher_tier_as_a_whole() -> None:
    haiku = price_of("anthropic", "claude-haiku-5-5")
    assert haiku is not None
    assert haiku.cost(100_000, 0) == pytest.approx(0.01)
    assert haiku.cost(100_001, 10) == pytest.approx((100_001 * 0.5 + 10 * 2.5) / 1e6)


@given(
    row=st.sampled_from(ROWS), prompt=st.integers(0, 1_000_000), output=st.integers(0, 4096),
    cached=st.integers(0, 10**6), written=st.integers(0, 10**6),
)  # fmt: skip
def test_a_ceiling_is_never_exceeded(row: dict[str, Any], prompt: int, output: int, cached: int, written: int) -> None:
    price = price_of(row["provider"], row["models"][0])
    assert price is not None
    assert price.cost(prompt, output, cached, written_tokens=written) <= price.ceiling(prompt, output) + 1e-12
    assert price.ceiling(prompt, output) < price.ceiling(prompt, output, features=True)


def test_a_retirement_is_seen_in_time() -> None:
    mini = price_of("openai", "gpt-5-mini")
    assert mini is not None
    today = date(2026, 11, 24)
    assert mini.retires_within(17, today)
    assert not mini.retires_within(16, today)
    assert mini.retires_within(0, date(2027, 3, 1))
    assert not FREE.retires_within(10_000)


def test_the_project_files_price_wins() -> None:
    both = price_of("openai", "anything", 1.0, 2.0)
    assert both == Price(rates=TokenRates(input=1.0, output=2.0), source="project file", mark="V")
    one = price_of("openai", "gpt-6-sol", 7.0)
    assert one is not None
    assert (one.rates, one.tiers) == (TokenRates(input=7.0, output=10.0), ())
    assert price_of("openai", "anything", 1.0) is None
    free = price_of("openai", "anything", 0.0, 0.0)
    assert free is not None
    assert free.free


def test_an_unknown_hosted_model_has_no_price_and_a_local_one_is_free() -> None:
    assert price_of("openai", "gpt-99") is None
    assert price_of("local", "anything") is FREE
    assert FREE.free
    assert FREE.cost(10**9, 10**9) == 0
    local = price_of("local", "x", new_output=2.0)
    assert local is not None
    assert not local.free


def test_the_table_holds_at_the_vendor_only() -> None:
    assert price_for(OpenAI(provider="openai", model="gpt-6-sol")) == price_of("openai", "gpt-6-sol")
    assert price_for(Anthropic(provider="anthropic", model="claude-opus-5")) == price_of("anthropic", "claude-opus-5")
    gateway = OpenAI(provider="openai", model="gpt-6-sol", base_url="https://gateway.example/v1")
    assert price_for(gateway) is None
    assert price_for(OpenAI(provider="openai", model="gpt-6-sol", base_url="http://127.0.0.1:8000/v1")) is FREE
    assert price_for(Http(provider="http", url="https://example.com")) is None
    priced = Http(provider="http", url="https://example.com", input_usd_per_mtok=0, output_usd_per_mtok=0)
    paid = price_for(priced)
    assert paid is not None
    assert paid.free
    assert price_for(Python(provider="python", function="f.py:f")) is FREE


def test_the_data_files_are_in_the_package() -> None:
    folder = Path(prices.__file__).parent
    assert (folder / "prices.json").is_file()
    assert (folder / "capabilities.json").is_file()
