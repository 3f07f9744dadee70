"""What is sent to Anthropic's messages API, and what is read from its answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import KEY, QUESTION, Server, message

from tuneworthy.config.models import Anthropic
from tuneworthy.errors import AuthError, ProviderError
from tuneworthy.providers import open_provider
from tuneworthy.providers.anthropic import AnthropicProvider, split_system
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.keys import Key
from tuneworthy.types import OutputFormat, Request, Response

TEXT = {"type": "text", "text": "42"}


def make(url: str = "http://127.0.0.1:9", model: str = "claude-opus-4-7") -> AnthropicProvider:
    return AnthropicProvider(base_url=url, model=model, api_key=Key(KEY), identity={"model": model},
                             capabilities=capabilities_of("anthropic", model))  # fmt: skip


def exchange(request: Request, answer: Any, **more: Any) -> tuple[Response, Server]:
    async def run() -> tuple[Response, Server]:
        async with Server(answer) as server:
            provider = make(server.url, **more)
            try:
                return await provider.complete(request), server
            finally:
                await provider.close()

    return asyncio.run(run())


def test_a_question_is_sent_with_the_system_apart_and_no_sampling() -> None:
    request = replace(QUESTION, decoding={"temperature": 0, "top_p": 0.9, "top_k": 5, "effort": "low", "stop": "END"})
    response, server = exchange(request, message(TEXT))
    assert server.paths == ["/v1/messages"]
    assert server.headers[0]["x-api-key"] == KEY
    assert server.headers[0]["anthropic-version"] == "2023-06-01"
    assert server.bodies == [
        {
            "model": "claude-opus-4-7",
            "max_tokens": 256,
            "messages": [{"role": "user", "content": "6 * 7?"}],
            "system": [{"type": "text", "text": "Be short."}],
            "output_config": {"effort": "low"},
            "stop_sequences": ["END"],
        }
    ]
    assert [line.split(":")[0] for line in response.dropped] == ["temperature", "top_p", "top_k"]
    assert (response.text, response.finish_reason, response.model) == ("42", "stop", "m-1")


def test_older_models_take_temperature_but_not_beside_top_p() -> None:
    body, dropped = make(model="claude-sonnet-4-5").body(replace(QUESTION, decoding={"temperature": 0, "top_p": 0.9}))
    assert body["temperature"] == 0
    assert "top_p" not in body
    assert dropped == ("top_p: not accepted beside temperature (claude-4.5)",)
    body, dropped = make(model="claude-sonnet-4-5").body(replace(QUESTION, decoding={"top_p": 0.9}))
    assert body["top_p"] == 0.9
    assert not dropped


def test_thinking_blocks_are_skipped() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "x"}
    response, _ = exchange(QUESTION, message(thinking, {"type": "text", "text": "4"}, {"type": "text", "text": "2"}))
    assert response.text == "42"
    empty, _ = exchange(QUESTION, message(thinking, stop="max_tokens"))
    assert (empty.text, empty.finish_reason) == ("", "length")


@pytest.mark.parametrize(
    ("stop", "finish"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("refusal", "refusal"),
     ("model_context_window_exceeded", "length"), ("pause_turn", "pause_turn"), ("new", "new")],
)  # fmt: skip
def test_each_stop_reason_has_our_word(stop: str, finish: str) -> None:
    assert exchange(QUESTION, message(TEXT, stop=stop))[0].finish_reason == finish


def test_tool_calls_go_and_come_in_the_openai_shape() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    block = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
    response, server = exchange(replace(QUESTION, tools=(tool,)), message(block, stop="tool_use"))
    assert server.bodies[0]["tools"] == [{"name": "f", "description": "d", "input_schema": {"type": "object"}}]
    assert response.finish_reason == "tool_calls"
    assert response.tool_calls == ({"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},)


def test_a_conversation_with_tools_is_written_in_blocks() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    chat = (
        {"role": "system", "content": "A"},
        {"role": "developer", "content": "B"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call, {**call, "id": "t2"}]},
        {"role": "tool", "tool_call_id": "t1", "content": "one"},
        {"role": "tool", "tool_call_id": "t2", "content": "two"},
    )
    system, turns = split_system(chat)
    assert system == "A\n\nB"
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"][0] == {"type": "text", "text": "Let me see."}
    assert turns[1]["content"][1] == {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
    assert [block["tool_use_id"] for block in turns[2]["content"]] == ["t1", "t2"]


def test_broken_arguments_in_a_conversation_are_an_error_of_this_call() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x":'}}
    with pytest.raises(ProviderError, match="arguments of the tool f"):
        split_system(({"role": "assistant", "content": None, "tool_calls": [call]},))


def test_the_cache_counts_into_the_prompt() -> None:
    response, _ = exchange(QUESTION, message(TEXT, cache_read_input_tokens=100, cache_creation_input_tokens=20))
    assert (response.input_tokens, response.cached_tokens, response.output_tokens) == (132, 100, 1)


def test_only_a_long_system_message_asks_for_the_cache() -> None:
    short, _ = make().body(QUESTION)
    assert "cache_control" not in short["system"][0]
    long, _ = make().body(replace(QUESTION, messages=({"role": "system", "content": "x" * 9000}, QUESTION.messages[1])))
    assert long["system"][0]["cache_control"] == {"type": "ephemeral"}
    none, _ = make().body(replace(QUESTION, messages=QUESTION.messages[1:]))
    assert "system" not in none


def test_structured_output_stands_beside_the_effort() -> None:
    request = replace(QUESTION, output=OutputFormat(kind="choice", choices=("a", "b")), decoding={"effort": "max"})
    response, server = exchange(request, message({"type": "text", "text": '{"label":"b"}'}))
    config = server.bodies[0]["output_config"]
    assert config["effort"] == "max"
    assert config["format"]["type"] == "json_schema"
    assert config["format"]["schema"]["properties"]["label"]["enum"] == ["a", "b"]
    assert response.text == "b"
    again, _ = make().body(replace(request, decoding={}))
    assert "effort" not in again["output_config"]


def test_what_it_cannot_do_is_reported() -> None:
    body, dropped = make().body(replace(QUESTION, logprobs=5, decoding={"seed": 1, "effort": "none"}))
    assert [line.split(":")[0] for line in dropped] == ["seed", "effort", "logprobs"]
    assert set(body) == {"model", "max_tokens", "messages", "system"}
    _, dropped = make(model="claude-3-haiku-20240307").body(
        replace(QUESTION, output=OutputFormat(kind="json_schema", schema={"type": "object"}))
    )
    assert dropped == ("output: json_schema is not enforced (claude-old)",)


@pytest.mark.parametrize(
    "broken", [{}, *({"content": content, "stop_reason": "end_turn"} for content in (None, [{}], ["x"]))]
)
def test_a_message_of_another_shape_is_malformed(broken: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        exchange(QUESTION, broken)
    assert (caught.value.code, caught.value.retryable) == ("malformed", True)


def test_a_missing_key_is_named_before_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(AuthError, match="ANTHROPIC_API_KEY"):
        open_provider("strong", Anthropic(provider="anthropic", model="claude-opus-4-7"), Path())


def test_the_version_in_the_address_is_not_doubled() -> None:
    async def run() -> list[str]:
        async with Server(message(TEXT)) as server:
            provider = make(server.url + "/v1/")
            await provider.complete(QUESTION)
            await provider.close()
            return server.paths

    assert asyncio.run(run()) == ["/v1/messages"]
