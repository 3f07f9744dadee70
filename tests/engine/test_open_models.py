"""What a call can cost at most, and does cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asking import Played

from tuneworthy.engine.models import OpenModel
from tuneworthy.providers.prices import FEATURE_TOKENS, Price, TokenRates
from tuneworthy.types import OutputFormat, Request, Response

MODEL = OpenModel(
    name="m",
    provider=Played(lambda text, nth: "x"),
    price=Price(rates=TokenRates(input=1.0, output=10.0)),
    hosted=True,
    concurrency=8,
    timeout_s=60.0,
    retries=6,
)
ASKED = Request(messages=({"role": "user", "content": "hi"},), max_tokens=5)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def test_choices_count_towards_the_ceiling() -> None:
    labels = tuple(f"a_rather_long_label_{i}" for i in range(100))
    free = MODEL.ceiling_usd(ASKED)
    chosen = MODEL.ceiling_usd(replace(ASKED, output=OutputFormat(kind="choice", choices=labels)))
    assert chosen - free >= (sum(map(len, labels)) + FEATURE_TOKENS) / 1e6


@pytest.mark.parametrize(
    "asked",
    [replace(ASKED, tools=(TOOL,)), replace(ASKED, output=OutputFormat(kind="json_schema", schema={"type": "object"}))],
)
def test_tools_and_schemas_count_with_the_prompt_that_providers_add_for_them(asked: Request) -> None:
    assert MODEL.ceiling_usd(asked) - MODEL.ceiling_usd(ASKED) >= FEATURE_TOKENS / 1e6


def test_a_longer_question_has_a_higher_ceiling_by_its_bytes() -> None:
    longer = replace(ASKED, messages=({"role": "user", "content": "hi" + "ü" * 1000},))
    assert MODEL.ceiling_usd(longer) - MODEL.ceiling_usd(ASKED) == pytest.approx(2000 / 1e6)


def test_an_answer_without_usage_costs_its_ceiling() -> None:
    assert MODEL.settled(ASKED, Response(text="x")) == (Response(text="x"), MODEL.ceiling_usd(ASKED))
    answer = Response(text="x", input_tokens=10, output_tokens=1)
    assert MODEL.settled(ASKED, answer) == (answer, pytest.approx(20 / 1e6))


def test_a_model_without_a_price_costs_nothing() -> None:
    free = replace(MODEL, price=None)
    assert free.ceiling_usd(ASKED) == free.settled(ASKED, Response(text="x"))[1] == 0.0


def test_all_who_ask_a_model_share_its_slots() -> None:
    assert MODEL.fleet is MODEL.fleet
    assert replace(MODEL, concurrency=3).fleet.endpoints[0].limiter.most == 3
