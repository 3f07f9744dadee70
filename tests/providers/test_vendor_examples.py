"""The vendors' own examples: our requests are valid for their schemas, and their answers and errors mean what they say.

vendor_examples.json names the source of each example and schema. No endpoint is called.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fault_server import KEY, Server, answer_json, error
from test_capabilities import ALL, EXAMPLES

from tuneworthy.cases.formats.logs import assembled, events_of
from tuneworthy.cases.readers.faults import Dropped
from tuneworthy.config.models import Anthropic, OpenAI
from tuneworthy.engine.models import OpenModel
from tuneworthy.errors import ProviderError
from tuneworthy.providers import open_provider
from tuneworthy.providers.anthropic import AnthropicProvider, read_message
from tuneworthy.providers.capabilities import capabilities_for, capabilities_of, for_responses
from tuneworthy.providers.http_client import endpoint
from tuneworthy.providers.keys import Key
from tuneworthy.providers.openai import OpenAIProvider, read_answer, read_response
from tuneworthy.providers.prices import Price, TokenRates
from tuneworthy.shadow.protocols import answer_of
from tuneworthy.types import OutputFormat, Request, Response

_DOCUMENT = json.loads(Path(__file__).with_name("vendor_examples.json").read_bytes())
VENDOR = _DOCUMENT["examples"]
VALIDATORS = {api: jsonschema.Draft202012Validator(schema) for api, schema in _DOCUMENT["schemas"].items()}
OPENAI_HOST = "api.openai.com"
# US dollars a million tokens: input 1, output 10, cached 0.1, written 1.25.
PRICE = Price(rates=TokenRates(input=1.0, output=10.0, cached_input=0.1, cache_write=1.25))
WEATHER = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": WEATHER}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"location": "Paris"}'}}
CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
CHATS: dict[str, tuple[dict[str, Any], ...]] = {
    "question": ({"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello!"}),
    "tools": (
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "mild"},
        {"role": "tool", "tool_call_id": "call_2", "content": "cold"},
        {"role": "assistant", "content": "Mild."},
        {"role": "user", "content": "And now?"},
    ),
}
OUTPUTS = {
    "free": OutputFormat(),
    "choice": OutputFormat(kind="choice", choices=("yes", "no")),
    "schema": OutputFormat(kind="json_schema", schema=CLOSED),
}


def asks(text: str = "Hello!", **more: Any) -> Request:
    return Request(messages=({"role": "user", "content": text},), **{"max_tokens": 4096, **more})


def make(api: str, model: str = "", url: str = "http://127.0.0.1:9") -> OpenAIProvider | AnthropicProvider:
    """The provider that speaks `api` (a key of `VALIDATORS`), as for the vendor's own host."""
    if api == "messages":
        model = model or "claude-opus-4-5"
        caps = capabilities_of("anthropic", model)
        return AnthropicProvider(base_url=url, model=model, api_key=Key(KEY), identity={}, capabilities=caps)
    model = model or {"chat": "gpt-4o", "responses": "o3-pro"}[api]
    caps = capabilities_of("openai", model, OPENAI_HOST)
    return OpenAIProvider(base_url=f"{url}/v1", model=model, api_key=KEY, identity={}, capabilities=caps)


def exchange(api: str, request: Request, play: Any, model: str = "") -> tuple[Response | ProviderError, Server]:
    async def run() -> tuple[Response | ProviderError, Server]:
        async with Server(play) as server:
            provider = make(api, model, server.url)
            try:
                return await provider.complete(request), server
            except ProviderError as fault:
                return fault, server
            finally:
                await provider.close()

    return asyncio.run(run())


def answered(api: str, request: Request, play: Any, model: str = "") -> Response:
    response, _ = exchange(api, request, play, model)
    assert isinstance(response, Response), response
    return response


def failed(api: str, play: Any) -> ProviderError:
    fault, _ = exchange(api, asks(), play)
    assert isinstance(fault, ProviderError), fault
    return fault


def check(body: Mapping[str, Any], api: str = "") -> None:
    """Check a request against the schema of its API; of OpenAI's two, the one that its text belongs to."""
    VALIDATORS[api or ("responses" if "input" in body else "chat")].validate(json.loads(json.dumps(body)))


# Requests


@pytest.mark.parametrize("api", VALIDATORS)
def test_a_schema_refuses_an_unknown_field_a_missing_field_and_another_type(api: str) -> None:
    body, _ = make(api).body(asks())
    check(body, api)
    text = "input" if api == "responses" else "messages"
    for fault in ({**body, "top_n": 3}, {**body, "temperature": "hot"}, {**body, text: [{"role": "user"}]}):
        with pytest.raises(jsonschema.ValidationError):
            check(fault, api)


VENDOR_ROWS = [
    name
    for name, (provider, _, host) in EXAMPLES.items()
    if host in {OPENAI_HOST, "api.anthropic.com", "generativelanguage.googleapis.com"} and name != "openai-search"
]


@pytest.mark.parametrize("family", VENDOR_ROWS)
@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_every_request_to_a_vendor_is_valid(family: str, chat: str, output: str) -> None:
    provider, model, host = EXAMPLES[family]
    caps = capabilities_of(provider, model, host)
    for tools in ((), (TOOL,)):
        for decoding in ({}, ALL, *({"effort": effort, "temperature": 1} for effort in caps.efforts)):
            request = Request(messages=CHATS[chat], output=OUTPUTS[output], tools=tools, decoding=decoding,
                              logprobs=3, max_tokens=5)  # fmt: skip
            if provider == "anthropic":
                body, _ = make("messages", model).body(request)
                check(body, "messages")
            else:
                body, _ = OpenAIProvider(base_url="http://h/v1", model=model, identity={}, capabilities=caps).body(
                    request
                )
                api = "responses" if "input" in body else "chat"
                check(body, api)


def test_the_published_requests_are_sent_as_they_are() -> None:
    for name, api in (("chat tools", "chat"), ("responses tools", "responses")):
        published = VENDOR[name]["request"]
        function = {key: value for key, value in published["tools"][0].get("function", published["tools"][0]).items()
                    if key != "type"}  # fmt: skip
        tool = {"type": "function", "function": function}
        request = asks("What is the weather like in Boston today?", tools=(tool,))
        body, _ = make(api).body(request)
        sent = body["tools"][0]
        assert {key: sent[key] for key in published["tools"][0]} == published["tools"][0]
    body = json.loads(json.dumps(make("chat").body(asks(logprobs=2))[0]))
    published = VENDOR["chat logprobs"]["request"]
    assert {key: body[key] for key in published if key != "model"} == {
        key: value for key, value in published.items() if key != "model"
    }
    published = VENDOR["responses reasoning"]["request"]
    body, _ = make("responses").body(asks(published["input"], decoding={"effort": "high"}))
    assert body["reasoning"] == published["reasoning"]
    assert body["input"] == [{"role": "user", "content": published["input"]}]
    published = VENDOR["messages structured"]["request"]
    schema = published["output_config"]["format"]["schema"]
    text = published["messages"][0]["content"]
    body, _ = make("messages").body(asks(text, output=OutputFormat(kind="json_schema", schema=schema), max_tokens=1024))
    assert {**body, "model": published["model"]} == published


def test_a_round_of_tools_goes_to_anthropic_as_its_sdk_sends_it() -> None:
    published = VENDOR["messages tool results"]["request"]
    asked = VENDOR["messages tools"]
    tool = {"type": "function", "function": {**asked["request"]["tools"][0]}}
    tool["function"]["parameters"] = tool["function"].pop("input_schema")
    question = asked["request"]["messages"][0]
    first = answered("messages", Request(messages=(question,), tools=(tool,), max_tokens=1024), asked["response"])
    result = published["messages"][2]["content"][0]["content"]
    turns = (
        question,
        {"role": "assistant", "content": first.text, "tool_calls": list(first.tool_calls)},
        {"role": "tool", "tool_call_id": first.tool_calls[0]["id"], "content": result},
    )
    body, _ = make("messages").body(Request(messages=turns, tools=(tool,), max_tokens=1024))
    check(body, "messages")
    assert body["tools"] == published["tools"]
    for ours, theirs in zip(body["messages"], published["messages"], strict=True):
        assert ours["role"] == theirs["role"]
        for block, wanted in zip(ours["content"], theirs["content"], strict=True):
            assert block == wanted or {key: wanted[key] for key in block} == block


# Answers: text that they contain, finish reason, tokens of input, output, cache and those written, names of calls


@pytest.mark.parametrize(
    ("name", "text", "finish", "tokens", "calls"),
    [
        ("chat text", "Hello! How can I assist", "stop", (19, 10, 0, None), ()),
        ("chat tools", "", "tool_calls", (82, 17, None, None), ("get_current_weather",)),
        ("chat logprobs", "Hello! How can I assist", "stop", (9, 9, None, None), ()),
        ("chat structured", '"San Francisco"', "stop", (79, 14, None, None), ()),
        ("chat refusal", "I'm very sorry", "refusal", (79, 12, None, None), ()),
        ("chat length", '{"', "length", (79, 1, None, None), ()),
        ("responses text", "Lumina", "stop", (36, 87, 0, 0), ()),
        ("responses tools", "", "tool_calls", (291, 23, None, None), ("get_current_weather",)),
        ("responses reasoning", "tongue twister", "stop", (81, 1035, 0, 0), ()),
        ("messages structured", "Green Tea", "stop", (406, 50, 0, 0), ()),
        ("messages tools", "", "tool_calls", (656, 74, 0, 0), ("get_weather",)),
        ("messages tool results", "San Francisco", "stop", (760, 63, 0, 0), ()),
    ],
)
def test_a_published_answer_is_read_as_its_page_says(
    name: str, text: str, finish: str, tokens: tuple[int | None, ...], calls: tuple[str, ...]
) -> None:
    api = name.split(maxsplit=1)[0]
    request = asks("x" * 100, tools=(TOOL,))  # so many bytes that the counts of the page can be true
    response = answered(api, request, VENDOR[name]["response"])
    assert text in response.text
    assert bool(text) == bool(response.text)
    assert response.finish_reason == finish
    assert (response.input_tokens, response.output_tokens, response.cached_tokens, response.written_tokens) == tokens
    assert tuple(call["function"]["name"] for call in response.tool_calls) == calls
    assert all(
        isinstance(json.loads(call["function"]["arguments"]), dict) and call["id"] for call in response.tool_calls
    )
    assert response.model == VENDOR[name]["response"]["model"]
    model = OpenModel("m", make(api), PRICE, True, 1, 1.0, 0)
    settled, cost = model.settled(request, response)
    assert settled == response
    assert cost == pytest.approx((tokens[0] * 1 + tokens[1] * 10) / 1e6)  # type: ignore[operator]


def test_published_log_probabilities_are_read() -> None:
    response = answered("chat", asks(logprobs=2), VENDOR["chat logprobs"]["response"])
    assert response.logprobs is not None
    assert response.logprobs[0] == {
        "token": "Hello", "logprob": -0.31725305, "top": [["Hello", -0.31725305], ["Hi", -1.3190403]]
    }  # fmt: skip
    told = VENDOR["chat logprobs"]["response"]["choices"][0]["logprobs"]["content"]
    answer = responses_answer({"type": "output_text", "text": "Hello!", "annotations": [], "logprobs": told})
    assert answered("responses", asks(logprobs=2), answer).logprobs == response.logprobs
    assert answered("responses", asks(), answer).logprobs is None
    provider = OpenAIProvider(
        base_url="http://h", model="m", identity={}, capabilities=for_responses(make("chat").capabilities)
    )
    body, dropped = provider.body(asks(logprobs=2))
    check(body, "responses")
    assert (body["include"], body["top_logprobs"], dropped) == (["message.output_text.logprobs"], 2, ())


@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
def test_tokens_of_the_cache_cost_what_the_page_of_prices_says(api: str) -> None:
    usage: dict[str, Any] = {
        "chat": {"prompt_tokens": 2000, "completion_tokens": 100, "total_tokens": 2100,
                 "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 600}},
        "responses": {"input_tokens": 2000, "output_tokens": 100, "total_tokens": 2100,
                      "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 600}},
        "messages": {"input_tokens": 400, "output_tokens": 100, "cache_read_input_tokens": 1000,
                     "cache_creation_input_tokens": 600},
    }[api]  # fmt: skip
    example = {"chat": "chat text", "responses": "responses text", "messages": "messages structured"}[api]
    request = asks("x" * 4000)
    response = answered(api, request, VENDOR[example]["response"] | {"usage": usage})
    assert (response.input_tokens, response.cached_tokens, response.written_tokens) == (2000, 1000, 600)
    _, cost = OpenModel("m", make(api), PRICE, True, 1, 1.0, 0).settled(request, response)
    assert cost == pytest.approx((400 * 1 + 1000 * 0.1 + 600 * 1.25 + 100 * 10) / 1e6)
    impossible = replace(response, written_tokens=1500)  # with the cached tokens more than the prompt
    settled, _ = OpenModel("m", make(api), PRICE, True, 1, 1.0, 0).settled(request, impossible)
    assert (settled.cached_tokens, settled.written_tokens) == (None, None)


# The Responses API


def responses_answer(*parts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    whole = json.loads(json.dumps(VENDOR["responses text"]["response"]))
    whole["output"][0]["content"] = list(parts)
    return {**whole, **changes}  # type: ignore[no-any-return]


TEXT = {"type": "output_text", "text": "42", "annotations": [], "logprobs": []}


def test_the_responses_api_is_called_without_state() -> None:
    response, server = exchange(
        "responses", asks(max_tokens=3, decoding={"seed": 1, "stop": "X"}), responses_answer(TEXT)
    )
    assert isinstance(response, Response)
    assert server.paths == ["/v1/responses"]
    assert server.bodies[0]["store"] is False
    assert server.bodies[0]["max_output_tokens"] == 16
    assert [line.split(":")[0] for line in response.dropped] == ["seed", "stop"]
    model = OpenModel("m", make("responses"), PRICE, True, 1, 1.0, 0)
    assert model.ceiling_usd(asks(max_tokens=3)) == model.ceiling_usd(asks(max_tokens=16))
    chat = OpenModel("m", make("chat"), PRICE, True, 1, 1.0, 0)
    assert chat.ceiling_usd(asks(max_tokens=3)) < chat.ceiling_usd(asks(max_tokens=16))


def test_a_conversation_with_tools_becomes_items() -> None:
    body, _ = make("responses").body(Request(messages=CHATS["tools"], tools=(TOOL,)))
    assert [item.get("type", item.get("role")) for item in body["input"]] == [
        "user", "function_call", "function_call", "function_call_output", "function_call_output", "assistant", "user",
    ]  # fmt: skip
    assert body["input"][1] == {"type": "function_call", "call_id": "call_1", **CALL["function"]}  # type: ignore[dict-item]
    assert body["input"][3] == {"type": "function_call_output", "call_id": "call_1", "output": "mild"}
    assert body["tools"][0]["strict"] is False  # true is the default there, and false in chat completions
    strict = {**TOOL, "function": {**TOOL["function"], "strict": True}}  # type: ignore[dict-item]
    assert make("responses").body(asks(tools=(strict,)))[0]["tools"][0]["strict"] is True


def test_structured_output_refusals_and_cut_answers_of_the_responses_api() -> None:
    request = asks(output=OUTPUTS["choice"])
    response, server = exchange("responses", request, responses_answer({**TEXT, "text": '{"label": "no"}'}))
    assert isinstance(response, Response)
    assert response.text == "no"
    form = server.bodies[0]["text"]["format"]
    assert (form["type"], form["name"], form["strict"]) == ("json_schema", "choice", True)
    refused = answered("responses", request, responses_answer({"type": "refusal", "refusal": "I can't."}))
    assert (refused.text, refused.finish_reason) == ("I can't.", "refusal")
    for reason, finish in (("max_output_tokens", "length"), ("content_filter", "content_filter"), ("new", "new")):
        cut = responses_answer(TEXT, status="incomplete", incomplete_details={"reason": reason})
        assert answered("responses", asks(), cut).finish_reason == finish
    thinking = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    cut = responses_answer(status="incomplete", incomplete_details={"reason": "max_output_tokens"}, output=[thinking])
    only_thought = answered("responses", asks(), cut)
    assert (only_thought.text, only_thought.finish_reason, only_thought.output_tokens) == ("", "length", 87)
    assert answered("responses", asks(), responses_answer(TEXT, status="cancelled")).finish_reason == "cancelled"


@pytest.mark.parametrize("broken", [{}, {"output": None}, {"output": [{"type": "message"}]},
                                    {"output": [{"type": "function_call", "call_id": "c"}]},
                                    responses_answer({"type": "output_text", "text": 3})])  # fmt: skip
def test_an_answer_of_another_shape_is_malformed(broken: Any) -> None:
    fault = failed("responses", broken)
    assert (fault.code, fault.retryable) == ("malformed", True)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("server_error", ("server", True)), ("rate_limit_exceeded", ("rate_limit", True)),
     ("invalid_prompt", ("bad_request", False)), ("something_new", ("server", True))],
)  # fmt: skip
def test_a_response_that_failed_is_an_error_of_its_code(code: str, expected: tuple[str, bool]) -> None:
    answer = responses_answer(TEXT, status="failed", error={"code": code, "message": "It broke."}, output=[])
    fault = failed("responses", answer)
    assert (fault.code, fault.retryable) == expected
    assert "It broke." in str(fault)


# Source: https://github.com/openai/openai-openapi/issues/541 and https://github.com/BerriAI/litellm/pull/34569
@pytest.mark.parametrize(
    ("model", "host", "tools", "effort", "path"),
    [
        ("gpt-5.4", OPENAI_HOST, True, "low", "responses"),
        ("gpt-5.4", OPENAI_HOST, True, None, "chat/completions"),  # it does not think unless it is asked to
        ("gpt-5.6", OPENAI_HOST, True, None, "responses"),
        ("gpt-5.6", OPENAI_HOST, True, "none", "chat/completions"),
        ("gpt-5.6", OPENAI_HOST, False, "low", "chat/completions"),
        ("gpt-5.6", "gateway.example.com", True, "low", "chat/completions"),
        ("gpt-5-mini", OPENAI_HOST, True, "low", "chat/completions"),
        ("gpt-4o", OPENAI_HOST, True, None, "chat/completions"),
        ("gpt-5-pro", OPENAI_HOST, False, None, "responses"),
        ("gpt-5.5-pro-2026-04-23", OPENAI_HOST, False, None, "responses"),
        ("gpt-5-codex", OPENAI_HOST, False, None, "responses"),
        ("openai/gpt-5-pro", "openrouter.ai", False, None, "chat/completions"),
    ],
)
def test_the_api_that_the_model_needs_is_called(
    model: str, host: str, tools: bool, effort: str | None, path: str
) -> None:
    async def run() -> list[str]:
        async with Server(responses_answer(TEXT) if path == "responses" else VENDOR["chat text"]["response"]) as server:
            caps = capabilities_of("openai", model, host)
            provider = OpenAIProvider(base_url=f"{server.url}/v1", model=model, identity={}, capabilities=caps)
            await provider.complete(
                asks(tools=(TOOL,) if tools else (), decoding={"effort": effort}, output=OUTPUTS["schema"])
            )
            await provider.close()
            check(server.bodies[0], "responses" if path == "responses" else "chat")
            return server.paths

    assert asyncio.run(run()) == [f"/v1/{path}"]


def test_one_variant_may_use_both_apis() -> None:
    provider = make("chat", "gpt-5.6")
    for tools in ((), (TOOL,), ()):  # the form of the output is cached between requests
        body, _ = provider.body(asks(tools=tools, output=OUTPUTS["schema"]))
        assert ("response_format" in body, "text" in body) == (not tools, bool(tools))


def test_an_address_that_ends_in_responses_calls_that_api() -> None:
    async def run(path: str, play: Any) -> Server:
        async with Server(play) as server:
            config = OpenAI(provider="openai", model="m", base_url=f"{server.url}{path}", api_key_env=None)
            provider = open_provider("a", config, Path())
            await provider.complete(asks())
            await provider.close()
            return server

    server = asyncio.run(run("/v1/responses/?api-version=1", responses_answer(TEXT)))
    assert server.paths == ["/v1/responses?api-version=1"]
    check(server.bodies[0], "responses")
    assert asyncio.run(run("/v1", VENDOR["chat text"]["response"])).paths == ["/v1/chat/completions"]
    assert asyncio.run(run("/v1/chat/completions", VENDOR["chat text"]["response"])).paths == ["/v1/chat/completions"]
    assert endpoint("http://h/v1/responses", "models") == "http://h/v1/models"
    named = OpenAI(provider="openai", model="gpt-4o", base_url="http://h/v1/responses")
    assert "seed" not in capabilities_for(named).supports
    assert (
        capabilities_for(Anthropic(provider="anthropic", model="m", base_url="http://h/responses")).responses == "never"
    )


# Streams: what the shadow proxy and imported logs make of them is what the provider reads without streaming

READERS = {"chat": read_answer, "responses": read_response, "messages": read_message}
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
CALLS = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": f'{{"n": {n}}}'}} for n in (1, 2)]
# Source of its form: https://github.com/noho/dayu-agent/issues/45 (Gemini numbers no calls)
GEMINI_STREAM = "\n\n".join(
    "data: " + json.dumps({"object": "chat.completion.chunk", "model": "gemini-3-flash", "choices": [choice]})
    for choice in ({"index": 0, "delta": {"role": "assistant", "tool_calls": CALLS}},
                   {"index": 0, "delta": {"role": "assistant"}, "finish_reason": "tool_calls"})
)  # fmt: skip


def stream(name: str) -> str:
    events: str = VENDOR[name]["events"]
    return events if "data:" in events else "\n\n".join(f"data: {line}" for line in events.split("\n") if line.strip())


@pytest.mark.parametrize(
    ("name", "text", "finish", "tokens"),
    [
        ("chat stream", "Hello", "stop", (None, None)),
        ("responses stream", "Hi there! How can I assist you today?", "stop", (37, 11)),
        ("messages stream basic", "Hello there!", "stop", (11, 6)),
        ("messages stream refusal", "", "refusal", (20, 0)),
        ("messages stream tool_use", "I'll check the current weather in Paris for you.", "tool_calls", (377, 65)),
    ],
)
def test_a_published_stream_is_read_like_the_answer_without_streaming(
    name: str, text: str, finish: str, tokens: tuple[int | None, int | None]
) -> None:
    api = name.split(maxsplit=1)[0]
    whole = answer_of(PATHS[api], stream(name).encode(), streamed=True)
    response = READERS[api](whole, asks())
    assert (response.text, response.finish_reason) == (text, finish)
    assert (response.input_tokens, response.output_tokens) == tokens
    logged = assembled(events_of(stream(name)))
    if api != "responses":
        content = logged["choices"][0]["message"]["content"]
        assert "".join(part.get("text", "") for part in content) == text
        assert [json.loads(part["input"]) for part in content if part["type"] == "tool_use"] == [
            json.loads(call["function"]["arguments"]) for call in response.tool_calls
        ]


def test_calls_that_gemini_streams_without_numbers_stay_apart() -> None:
    whole = answer_of(PATHS["chat"], GEMINI_STREAM.encode(), streamed=True)
    assert read_answer(whole, asks()).tool_calls == tuple(CALLS)
    content = assembled(events_of(GEMINI_STREAM))["choices"][0]["message"]["content"]
    assert [(part["id"], json.loads(part["input"])) for part in content] == [("c1", {"n": 1}), ("c2", {"n": 2})]


# Sources: anthropic-sdk-python 009b0353, tests/test_streaming.py; openai-openapi f85dbe22, ResponseErrorEvent
STREAM_ERRORS: dict[str, dict[str, Any]] = {
    "chat": {"error": {"message": "The server had an error", "type": "server_error", "code": None}},
    "responses": {"type": "error", "code": "ERR_SOMETHING", "message": "Something went wrong", "param": None},
    "messages": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
}


@pytest.mark.parametrize("api", STREAM_ERRORS)
def test_a_stream_that_ends_in_an_error_is_no_answer(api: str) -> None:
    name = {"chat": "chat stream", "responses": "responses stream", "messages": "messages stream basic"}[api]
    lines = [line for line in stream(name).split("\n") if line.startswith("data:")][:2]
    lines.append(f"data: {json.dumps(STREAM_ERRORS[api])}")
    with pytest.raises(ValueError, match=r"no finish_reason|no stop_reason|IndexError"):
        answer_of(PATHS[api], "\n\n".join(lines).encode(), streamed=True)
    with pytest.raises(Dropped):
        assembled([json.loads(line[5:]) for line in lines])


# Errors: the body that the vendor documents, or that its users report (sources below)

ANTHROPIC_IDS = {"type": "error", "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def openai_error(message: str, kind: str, code: str | None) -> dict[str, Any]:
    """Source: openai-openapi f85dbe22, Error; https://platform.openai.com/docs/guides/error-codes."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    """Source: anthropic-sdk-python 009b0353, src/anthropic/types/shared/error_response.py and error_type.py."""
    return {**ANTHROPIC_IDS, "error": {"type": kind, "message": message}}


def gemini_error(code: int, message: str, status: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    """Sources: https://github.com/continuedev/continue/issues/8516 (a list); python-genai 66807187, errors.py."""
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


INVALID_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
# Source: https://github.com/RooCodeInc/Roo-Code/issues/3883
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26s"}
ERRORS: list[tuple[str, int, Any, dict[str, str], tuple[str, bool, float | None]]] = [
    ("chat", 400, openai_error("Too long", "invalid_request_error", "context_length_exceeded"), {},
     ("bad_request", False, None)),
    ("chat", 401, openai_error("Bad key", "invalid_request_error", "invalid_api_key"), {}, ("auth", False, None)),
    ("chat", 404, openai_error("No model", "invalid_request_error", "model_not_found"), {}, ("refused", False, None)),
    ("chat", 408, openai_error("Timeout", "timeout", None), {}, ("timeout", True, None)),
    ("chat", 409, openai_error("Conflict", "conflict", None), {}, ("server", True, None)),
    ("chat", 422, openai_error("Unprocessable", "invalid_request_error", None), {}, ("bad_request", False, None)),
    ("chat", 429, openai_error("Rate limit", "requests", "rate_limit_exceeded"), {"retry-after-ms": "1500"},
     ("rate_limit", True, 1.5)),
    ("chat", 429, openai_error("Rate limit", "requests", "rate_limit_exceeded"), {}, ("rate_limit", True, None)),
    ("chat", 429, openai_error("Quota", "insufficient_quota", "insufficient_quota"), {}, ("rate_limit", False, None)),
    ("chat", 500, openai_error("Server", "server_error", None), {}, ("server", True, None)),
    ("chat", 503, openai_error("Slow down", "server_error", None), {"retry-after": "2"}, ("server", True, 2.0)),
    ("messages", 400, anthropic_error("invalid_request_error", "messages: empty"), {}, ("bad_request", False, None)),
    # Source: https://github.com/anthropics/claude-code/issues/66314
    ("messages", 400, anthropic_error("invalid_request_error", "Your credit balance is too low to access the API."), {},
     ("rate_limit", False, None)),
    ("messages", 401, anthropic_error("authentication_error", "invalid x-api-key"), {}, ("auth", False, None)),
    ("messages", 402, anthropic_error("billing_error", "Payment"), {}, ("rate_limit", False, None)),
    ("messages", 403, anthropic_error("permission_error", "No permission"), {}, ("refused", False, None)),
    ("messages", 404, anthropic_error("not_found_error", "model: x"), {}, ("refused", False, None)),
    ("messages", 413, anthropic_error("request_too_large", "32 MB"), {}, ("bad_request", False, None)),
    ("messages", 429, anthropic_error("rate_limit_error", "Rate"), {"retry-after": "12"}, ("rate_limit", True, 12.0)),
    ("messages", 500, anthropic_error("api_error", "Internal server error"), {}, ("server", True, None)),
    ("messages", 504, anthropic_error("timeout_error", "Timeout"), {}, ("server", True, None)),
    ("messages", 529, anthropic_error("overloaded_error", "Overloaded"), {}, ("rate_limit", True, None)),
    ("chat", 400, gemini_error(400, 'Unknown name "seed": Cannot find field.', "INVALID_ARGUMENT"), {},
     ("bad_request", False, None)),
    ("chat", 400, gemini_error(400, "API key not valid.", "INVALID_ARGUMENT", INVALID_KEY), {}, ("auth", False, None)),
    ("chat", 404, gemini_error(404, "models/x is not found", "NOT_FOUND"), {}, ("refused", False, None)),
    ("chat", 429, gemini_error(429, "You exceeded your current quota", "RESOURCE_EXHAUSTED", RETRY), {},
     ("rate_limit", True, 26.0)),
    ("chat", 503, gemini_error(503, "The model is overloaded.", "UNAVAILABLE"), {}, ("server", True, None)),
]  # fmt: skip


@pytest.mark.parametrize(("api", "status", "body", "headers", "expected"), ERRORS)
def test_each_published_error_has_its_class(
    api: str, status: int, body: Any, headers: dict[str, str], expected: tuple[str, bool, float | None]
) -> None:
    fault = failed(api, lambda _: answer_json(body, status, headers))
    assert (fault.code, fault.retryable, fault.retry_after_s) == expected
    told = body[0] if isinstance(body, list) else body
    assert str(fault) == f"127.0.0.1: {status} {told['error']['message']}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [(anthropic_error("overloaded_error", "Overloaded"), ("rate_limit", True)),
     (anthropic_error("invalid_request_error", "no"), ("bad_request", False)),
     (anthropic_error("authentication_error", "no"), ("auth", False)),
     (openai_error("slow", "requests", "rate_limit_exceeded"), ("rate_limit", True)),
     (gemini_error(429, "slow", "RESOURCE_EXHAUSTED")[0], ("rate_limit", True)),
     ({"error": {"code": 200, "message": "odd"}}, ("server", True)), ({"error": "odd"}, ("server", True))],
)  # fmt: skip
def test_an_error_that_a_gateway_passes_on_under_status_200_keeps_its_class(
    body: Any, expected: tuple[str, bool]
) -> None:
    fault = failed("chat", body)
    assert (fault.code, fault.retryable) == expected


def test_a_word_of_an_error_in_an_answer_changes_nothing() -> None:
    fault = failed("chat", error(429, {"error": {"message": "retryDelay API_KEY_INVALID"}}))
    assert (fault.code, fault.retryable, fault.retry_after_s) == ("rate_limit", True, None)


# Gemini through its OpenAI-compatible address


def test_gemini_gets_only_parameters_that_it_knows_and_room_to_think() -> None:
    caps = capabilities_of("openai", "gemini-3-flash", "generativelanguage.googleapis.com")
    provider = OpenAIProvider(base_url="http://h/v1beta/openai/", model="m", identity={}, capabilities=caps)
    body, dropped = provider.body(asks(decoding=ALL, logprobs=2))
    assert not body.keys() & {"seed", "frequency_penalty", "presence_penalty", "top_k", "logprobs"}
    assert {"temperature", "top_p", "stop", "reasoning_effort"} <= set(body)
    assert {"seed", "frequency_penalty", "logprobs"} <= {line.split(":")[0] for line in dropped}
    assert caps.thinking_tokens() > 0
    flash = capabilities_of("openai", "models/gemini-2.5-flash", "generativelanguage.googleapis.com")
    assert flash.thinking_tokens("none") == 0
    assert "none" not in caps.efforts
    assert capabilities_of("openai", "google/gemini-3-pro", "openrouter.ai").thinking_tokens() > 0
    assert endpoint("https://h/v1beta/openai/", "chat/completions") == "https://h/v1beta/openai/chat/completions"


def test_hidden_thoughts_of_gemini_are_paid_as_output_and_a_blocked_answer_keeps_its_reason() -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 125}
    whole = VENDOR["chat text"]["response"] | {"usage": usage}
    assert answered("chat", asks(), whole).output_tokens == 105
    signed = {**CALL, "extra_content": {"google": {"thought_signature": "abc"}}}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [signed]}}
    assert answered("chat", asks(), whole | {"choices": [choice]}).tool_calls == (signed,)
    for reason in ("content_filter", "content_filter: PROHIBITED_CONTENT", "SAFETY", "PROHIBITED_CONTENT"):
        blocked = {"index": 0, "finish_reason": reason, "message": {"role": "assistant"}}
        assert answered("chat", asks(), whole | {"choices": [blocked]}).finish_reason == "content_filter"
