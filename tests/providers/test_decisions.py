"""Decision models behind HTTP: what is sent is as documented, and an answer is believed only as far as it fits."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from fault_server import KEY, Server
from pydantic import ValidationError

from tuneworthy.config.models import OpenAIDecisions, SystemOne
from tuneworthy.errors import ProviderError
from tuneworthy.evaluate.models import open_model
from tuneworthy.providers import open_provider
from tuneworthy.types import Message, Request, Response

CRITERIA = {"card_arrival": "a new card is on its way", "top_up": ""}
SYSTEM: Message = {"role": "system", "content": "Which queue?"}
USER: Message = {"role": "user", "content": "Where is my card?"}
SYSTEM_ONE = {
    "model": "jev-1.13.0",
    "answers": {
        "label": {
            "type": "choice", "choice": "card_arrival", "confidence": 0.8,
            "probabilities": {"card_arrival": 0.9, "top_up": 0.1},
        },
    },
    "usage": {"input_tokens": 31, "output_tokens": 0},
}  # fmt: skip
OPENAI = {
    "model": "gpt-6-luna",
    "answers": [
        {
            "type": "choice", "name": "label", "choice": "card_arrival", "confidence": 0.8,
            "probabilities": [{"value": "card_arrival", "probability": 0.9}, {"value": "top_up", "probability": 0.1}],
        },
    ],
    "usage": {
        "input_tokens": 31, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}, "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 31,
    },
}  # fmt: skip


def ask(kind: str, play: Any, *turns: Message, **more: Any) -> tuple[Response | ProviderError, Server]:
    async def run() -> tuple[Response | ProviderError, Server]:
        async with Server(play) as server:
            section = {"systemone": SystemOne, "openai_decisions": OpenAIDecisions}[kind]
            config = section(
                provider=kind, model="m", base_url=f"{server.url}/v1", api_key_env="A_KEY", criteria=CRITERIA, **more
            )
            provider = open_provider("mine", config, Path())
            try:
                return await provider.complete(Request(messages=turns or (SYSTEM, USER))), server
            except ProviderError as caught:
                return caught, server
            finally:
                await provider.close()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)


def test_system_one_gets_one_typed_question_about_a_state() -> None:
    response, server = ask("systemone", SYSTEM_ONE)
    assert isinstance(response, Response)
    assert server.paths == ["/v1/systemone"]
    assert server.bodies == [
        {
            "model": "m",
            "state": "Where is my card?",
            "questions": {"label": {"type": "choice", "instructions": "Which queue?", "criteria": CRITERIA}},
        }
    ]
    assert (response.text, response.input_tokens, response.output_tokens) == ("card_arrival", 31, 0)
    assert response.label_logprobs == pytest.approx({"card_arrival": math.log(0.9), "top_up": math.log(0.1)})


def test_openai_gets_one_typed_question_about_an_input() -> None:
    response, server = ask("openai_decisions", OPENAI)
    assert isinstance(response, Response)
    assert server.paths == ["/v1/decisions"]
    choices = [{"value": "card_arrival", "description": "a new card is on its way"}, {"value": "top_up"}]
    question = {"type": "choice", "name": "label", "instructions": "Which queue?", "choices": choices}
    assert server.bodies == [{"model": "m", "input": "Where is my card?", "questions": [question]}]
    assert (response.text, response.cached_tokens, response.model) == ("card_arrival", 4, "gpt-6-luna")
    assert response.label_logprobs == pytest.approx({"card_arrival": math.log(0.9), "top_up": math.log(0.1)})


@pytest.mark.parametrize(
    ("kind", "play", "field"), [("systemone", SYSTEM_ONE, "state"), ("openai_decisions", OPENAI, "input")]
)
def test_a_chat_of_several_turns_is_sent_as_such_and_the_question_has_a_default(
    kind: str, play: Any, field: str
) -> None:
    turns: list[Message] = [
        USER,
        {"role": "assistant", "content": "Which one?"},
        {"role": "user", "content": "The new one"},
    ]
    _, server = ask(kind, play, *turns)
    assert server.bodies[0][field] == turns
    assert "Which label fits the text?" in str(server.bodies[0]["questions"])


def test_a_refusal_is_an_answer_without_a_label() -> None:
    response, _ = ask("openai_decisions", {**OPENAI, "answers": [{"type": "refusal", "name": "label"}]})
    assert isinstance(response, Response)
    assert (response.text, response.finish_reason, response.label_logprobs) == ("", "refusal", None)


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("systemone", {}),
        ("systemone", {"label": {"choice": "elsewhere", "probabilities": {}}}),
        ("systemone", {"label": {"choice": "top_up", "probabilities": {"elsewhere": 1.0}}}),
        ("systemone", {"label": {"choice": "top_up", "probabilities": {"top_up": "much"}}}),
        ("systemone", {"label": {"choice": "top_up", "probabilities": {"top_up": "nan"}}}),
        ("systemone", {"label": {"choice": "top_up", "probabilities": {"top_up": 97}}}),
        ("systemone", {"label": {"choice": "top_up", "probabilities": {"top_up": -0.5}}}),
        ("openai_decisions", []),
        ("openai_decisions", [{"type": "predicate", "probability": 0.4}]),
        ("openai_decisions", [{"type": "choice", "choice": True, "probabilities": []}]),
    ],
)
def test_another_shape_or_another_label_is_malformed(kind: str, answers: Any) -> None:
    error, _ = ask(kind, {"model": "m", "answers": answers})
    assert isinstance(error, ProviderError)
    assert error.code == "malformed"


@pytest.mark.parametrize("kind", ["systemone", "openai_decisions"])
def test_the_budget_counts_what_every_request_says_of_the_labels(kind: str) -> None:
    """A label may come with pages of text, all of which is paid for with every case."""
    criteria = {"card_arrival": "a new card is on its way, " * 1000, "top_up": ""}
    section = {"systemone": SystemOne, "openai_decisions": OpenAIDecisions}[kind]
    config = section(
        provider=kind, model="m", base_url="https://x.example/v1", api_key_env="A_KEY", criteria=criteria,
        input_usd_per_mtok=10.0, output_usd_per_mtok=0.0,
    )  # fmt: skip
    model = open_model("mine", config, Path())
    request = Request(messages=(SYSTEM, USER))
    tokens = len(criteria["card_arrival"]) // 4
    _, cost = model.settled(request, Response(text="top_up", input_tokens=tokens, output_tokens=1))
    assert cost == pytest.approx(tokens * 1e-5) and model.ceiling_usd(request) > cost
    model.provider.added_bytes = 0  # type: ignore[attr-defined]  # the guard is off: such usage is not believed
    assert model.settled(request, Response(text="top_up", input_tokens=tokens, output_tokens=1))[1] < cost / 2


def test_two_labels_are_needed() -> None:
    with pytest.raises(ValidationError):
        SystemOne(provider="systemone", model="m", criteria={"only": ""})


def test_criteria_and_question_are_part_of_the_identity() -> None:
    def identity(**more: Any) -> Any:
        settings = {"criteria": CRITERIA, "api_key_env": None, "base_url": "http://127.0.0.1:9/v1"} | more
        return open_provider("mine", SystemOne(provider="systemone", model="m", **settings), Path()).identity

    assert identity() == identity()
    assert identity() != identity(question="Which one?")
    assert identity() != identity(criteria={**CRITERIA, "top_up": "money is added"})
