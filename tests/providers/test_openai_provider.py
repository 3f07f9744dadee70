"""What is sent to an OpenAI-compatible server, and what is read from its answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import KEY, QUESTION, Server, completion

from tuneworthy.config.models import OpenAI
from tuneworthy.errors import AuthError
from tuneworthy.providers import open_provider
from tuneworthy.providers.capabilities import capabilities_of
from tuneworthy.providers.constraints import choice_schema, is_strict, unwrap
from tuneworthy.providers.openai import OpenAIProvider, with_instructions
from tuneworthy.types import OutputFormat, Request, Response

CHOICE = OutputFormat(kind="choice", choices=("card lost", 'say "hi"'))
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def make(
    url: str = "http://127.0.0.1:9", provider: str = "openai", model: str = "gpt-4o", **more: Any
) -> OpenAIProvider:
    caps = capabilities_of(provider, model, "api.openai.com")
    return OpenAIProvider(base_url=f"{url}/v1", model=model, api_key=KEY, identity={}, capabilities=caps, **more)


def exchange(request: Request, answer: Any, **more: Any) -> tuple[Response, Server]:
    async def run() -> tuple[Response, Server]:
        async with Server(answer) as server:
            provider = make(server.url, **more)
            try:
                return await provider.complete(request), server
            finally:
                await provider.close()

    return asyncio.run(run())


def test_a_question_is_sent_as_the_protocol_says() -> None:
    request = replace(QUESTION, max_tokens=7, decoding={"temperature": 0, "seed": 3})
    response, server = exchange(request, completion())
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["Content-Type"] == "application/json"
    assert server.bodies == [
        {
            "model": "gpt-4o",
            "messages": list(QUESTION.messages),
            "max_completion_tokens": 7,
            "temperature": 0,
            "seed": 3,
        }
    ]
    assert (response.text, response.finish_reason, response.model) == ("42", "stop", "m-1")
    assert (response.input_tokens, response.output_tokens, response.cached_tokens) == (12, 1, None)
    assert response.seconds > 0
    assert response.dropped == ()


def test_cached_and_reasoning_tokens_are_counted() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 50}}
    usage = {"prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160, **details}
    response, _ = exchange(QUESTION, completion(usage=usage))
    assert (response.input_tokens, response.output_tokens, response.cached_tokens) == (100, 60, 64)
    apart = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 160}  # reasoning in the total only
    assert exchange(QUESTION, completion(usage=apart))[0].output_tokens == 60
    other = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}
    assert exchange(QUESTION, completion(usage=other))[0].cached_tokens == 8
    bare = exchange(QUESTION, completion(usage=None))[0]
    assert (bare.input_tokens, bare.output_tokens, bare.cached_tokens) == (None, None, None)


def test_tool_calls_are_kept_in_the_protocols_shape() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    answer = completion(None, message={"tool_calls": [call]}, choice={"finish_reason": "tool_calls"})
    response, server = exchange(replace(QUESTION, tools=(tool,)), answer)
    assert server.bodies[0]["tools"] == [tool]
    assert (response.text, response.finish_reason, response.tool_calls) == ("", "tool_calls", (call,))


def test_the_closing_step_offers_tools_only_where_the_answer_is_free() -> None:
    """A gateway refuses a chat with calls that defines no tools; servers refuse tools with a constraint."""
    tool = {"type": "function", "function": {"name": "tool", "parameters": {"type": "object"}}}
    asked = replace(QUESTION, tools=(tool,))
    closing = replace(asked, tool_choice="none")
    for request, sent in (
        (asked, {"tools": (tool,)}),
        (closing, {"tools": (tool,), "tool_choice": "none"}),
        (replace(closing, output=CHOICE), {}),
    ):
        body, dropped = make().body(request)
        assert {key: body[key] for key in ("tools", "tool_choice") if key in body} == sent and not dropped


def test_a_refusal_a_filter_and_a_cut_keep_their_reason() -> None:
    refused, _ = exchange(QUESTION, completion(None, message={"refusal": "I can't."}))
    assert (refused.text, refused.finish_reason) == ("I can't.", "refusal")
    for word in ("length", "content_filter", "something_new"):
        assert exchange(QUESTION, completion("x", choice={"finish_reason": word}))[0].finish_reason == word
    assert exchange(QUESTION, completion("x", choice={"finish_reason": None}))[0].finish_reason == "stop"


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "4"}, {"type": "text", "text": "2"}]
    assert exchange(QUESTION, completion(message={"content": parts}))[0].text == "42"
    assert exchange(QUESTION, completion(None))[0].text == ""


def test_log_probabilities_come_in_our_shape() -> None:
    four = {"token": "4", "logprob": -0.1}
    first = {**four, "bytes": [52], "top_logprobs": [four, {"token": "5", "logprob": -3.0}]}
    told = {"content": [first, {"token": "2", "logprob": 0.0}]}
    response, server = exchange(replace(QUESTION, logprobs=30), completion(choice={"logprobs": told}))
    assert server.bodies[0]["logprobs"] is True
    assert server.bodies[0]["top_logprobs"] == 20
    assert response.dropped == ("logprobs: at most 20 alternatives, not 30 (openai-chat)",)
    assert response.logprobs == (
        {"token": "4", "logprob": -0.1, "top": [["4", -0.1], ["5", -3.0]]},
        {"token": "2", "logprob": 0.0, "top": []},
    )
    body, _ = make().body(replace(QUESTION, logprobs=0))
    assert body["logprobs"] is True
    assert "top_logprobs" not in body
    assert "logprobs" not in make().body(QUESTION)[0]


def test_a_choice_takes_each_servers_own_form_and_is_unwrapped() -> None:
    request = replace(QUESTION, output=CHOICE)
    response, server = exchange(request, completion('{"label": "say \\"hi\\""}'))
    form = server.bodies[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["name"] == "choice"
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"]["properties"]["label"]["enum"] == list(CHOICE.choices)
    assert response.text == 'say "hi"'
    body, dropped = make(provider="vllm").body(request)
    assert body["structured_outputs"] == {"choice": list(CHOICE.choices)}
    assert not dropped
    body, dropped = make(provider="llama_cpp").body(request)
    assert body["grammar"].startswith("root ::= ")
    assert '\\"hi\\"' in body["grammar"]
    assert not dropped
    plain, _ = exchange(request, completion("card lost"), provider="llama_cpp")
    assert plain.text == "card lost"


def test_a_schema_is_sent_with_a_name_and_strict_only_where_it_may_be() -> None:
    body, _ = make().body(replace(QUESTION, output=OutputFormat(kind="json_schema", schema=SCHEMA)))
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    loose = {**SCHEMA, "required": []}
    body, _ = make().body(replace(QUESTION, output=OutputFormat(kind="json_schema", schema=loose)))
    assert body["response_format"]["json_schema"]["strict"] is False


def test_strictness_looks_into_nested_objects_but_not_into_values() -> None:
    assert is_strict(choice_schema(("a",)))
    assert is_strict({"type": "array", "items": SCHEMA})
    assert not is_strict({"type": "array", "items": {"type": "object", "properties": {"a": {}}}})
    assert not is_strict({"anyOf": [SCHEMA, {"type": "object"}]})
    assert is_strict({"enum": [{"type": "object"}]})


def test_a_wrapped_choice_that_was_cut_off_stays_as_it_came() -> None:
    assert unwrap('{"label": "card') == '{"label": "card'
    assert unwrap("[1]") == "[1]"
    assert unwrap('{"label": 3}') == '{"label": 3}'
    assert unwrap('{"label": "x"}') == "x"


def test_the_constraint_follows_a_change_of_the_output_format() -> None:
    provider = make()
    for choices in (("a", "b"), ("c", "d"), ("a", "b")):
        body, _ = provider.body(replace(QUESTION, output=OutputFormat(kind="choice", choices=choices)))
        assert body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == list(choices)
    assert "response_format" not in provider.body(QUESTION)[0]


def test_instructions_go_where_the_model_takes_them() -> None:
    messages = ({"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"})
    assert with_instructions(messages, "system") is messages
    assert with_instructions(messages, "developer")[0]["role"] == "developer"
    assert with_instructions(messages, "none") == [{"role": "user", "content": "Be short.\n\nHi"}]
    assert with_instructions(messages[:1], "none") == [{"role": "user", "content": "Be short."}]
    assert messages[1]["content"] == "Hi"


def test_a_missing_key_is_named_before_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TW_TEST_KEY", raising=False)
    hosted = OpenAI(provider="openai", model="m", base_url="https://example.invalid/v1", api_key_env="TW_TEST_KEY")
    with pytest.raises(AuthError, match="TW_TEST_KEY"):
        open_provider("strong", hosted, Path())
    local = hosted.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
    assert open_provider("here", local, Path()).identity["model"] == "m"


def test_the_key_reaches_the_server_and_not_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TW_TEST_KEY", KEY)

    async def run() -> tuple[Server, Any]:
        async with Server(completion()) as server:
            config = OpenAI(provider="openai", model="m", base_url=f"{server.url}/v1?v=1", api_key_env="TW_TEST_KEY")
            provider = open_provider("a", config, Path())
            await provider.complete(QUESTION)
            await provider.close()
            return server, provider

    server, provider = asyncio.run(run())
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert server.paths == ["/v1/chat/completions?v=1"]
    assert KEY not in repr(provider) + str(provider.identity)
