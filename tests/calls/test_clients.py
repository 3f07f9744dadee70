"""Calls of the real OpenAI and Anthropic clients are recorded whole, and the program sees no difference."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import tuneworthy
from tests.calls.servers import ARGUMENTS, TEXT, Api, api, reasons, written
from tuneworthy.calls.clients import record_http
from tuneworthy.calls.recorder import CallSource, recorder_of
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS
from tuneworthy.cases.readers.faults import Rejects
from tuneworthy.errors import UserError

QUESTION = [{"role": "user", "content": "Where is my order?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
TOOLS: dict[str, list[Any]] = {
    "chat": CHAT_TOOLS,
    "responses": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}],
    "messages": [{"name": "weather", "input_schema": SCHEMA}],
}
# Clients without a loop that the tests made; those with one are closed in it.
OPEN: list[Any] = []
KEY = "sk-of-the-tests-4711"


@pytest.fixture
def server() -> Iterator[Api]:
    with api() as found:
        yield found
    for client in OPEN:
        client.close()
    OPEN.clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def client_of(kind: str, address: str, *, is_async: bool = False, **options: Any) -> Any:
    modules: dict[bool, Any] = {True: anthropic, False: openai}
    name = "Anthropic" if kind == "messages" else "OpenAI"
    make = getattr(modules[kind == "messages"], f"Async{name}" if is_async else name)
    base = address if kind == "messages" else f"{address}/v1"
    client = make(api_key=KEY, base_url=base, max_retries=0, **options)
    if not is_async:
        OPEN.append(client)
    return client


def ask(client: Any, kind: str, *, tools: bool = False, model: str = "m", **options: Any) -> Any:
    more = {"tools": TOOLS[kind]} if tools else {}
    if kind == "chat":
        return client.chat.completions.create(model=model, messages=QUESTION, temperature=0.2, **more, **options)
    if kind == "responses":
        return client.responses.create(model=model, input=QUESTION, temperature=0.2, **more, **options)
    # `extra_body`: the client of today has no parameter for the temperature of some models
    return client.messages.create(model=model, messages=QUESTION, max_tokens=50, **more, **options)


def text_in(row: dict[str, Any]) -> str:
    answer = row["response"]
    if "choices" in answer:
        return str(answer["choices"][0]["message"]["content"])
    blocks = answer["output"][0]["content"] if "output" in answer else answer["content"]
    return str(blocks[0]["text"])


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tools", [False, True])
def test_a_call_is_recorded_as_it_was_asked_and_answered(  # noqa: PLR0917
    server: Api, path: Path, kind: str, is_async: bool, stream: bool, tools: bool
) -> None:
    client = client_of(kind, server.address, is_async=is_async)
    assert tuneworthy.record(client, name="orders", to=path) is client

    def plain() -> list[Any]:
        with client:
            answer = ask(client, kind, tools=tools, stream=stream)
            return list(answer) if stream else [answer]

    async def awaited() -> list[Any]:
        async with client:
            answer = await ask(client, kind, tools=tools, stream=stream)
            return [event async for event in answer] if stream else [answer]

    events = asyncio.run(awaited()) if is_async else plain()
    assert len(events) >= 3 if stream else events
    (row,) = written(path)
    assert row["name"] == "orders" and row["model"] == "m" and row["streamed"] is stream
    assert row["provider"] == ("anthropic" if kind == "messages" else "openai")
    assert row["base_url"] == server.address + "/v1" and 0 < row["seconds"] < 10 and row["written"] > 1.7e9
    request = row["request"]
    assert request["input" if kind == "responses" else "messages"] == QUESTION
    assert request.get("max_tokens") == 50 if kind == "messages" else request["temperature"] == 0.2
    assert "stream" not in request and KEY not in path.read_text()
    assert row["response"]["usage"]
    convert = EXAMPLE_FORMATS.get("openai_log").convert
    turn = convert(row, Rejects(path.with_suffix(".rejects")))["messages"][-1]  # type: ignore[typeddict-item]
    if tools:
        assert turn["tool_calls"][0]["function"]["name"] == "weather"
        assert ARGUMENTS["city"] in str(turn["tool_calls"])
    else:
        assert text_in(row) == TEXT == turn["content"]


@pytest.mark.parametrize("is_async", [False, True])
def test_helpers_and_copies_of_a_client_are_recorded_once_each(server: Api, path: Path, is_async: bool) -> None:
    chat = tuneworthy.record(client_of("chat", server.address, is_async=is_async), to=path)
    claude = tuneworthy.record(client_of("messages", server.address, is_async=is_async), to=path)
    raw = dict[str, Any](model="m", messages=QUESTION)

    def plain() -> None:
        assert chat.with_options(timeout=9).chat.completions.create(**raw).choices[0].message.content == TEXT
        assert chat.chat.completions.with_raw_response.create(**raw).parse().choices[0].message.content == TEXT
        with chat.chat.completions.with_streaming_response.create(**raw) as answer:
            assert TEXT in answer.read().decode()
        with chat.chat.completions.with_streaming_response.create(**raw, stream=True) as answer:
            assert len([*answer.iter_lines()]) > 3
        with chat.chat.completions.stream(**raw) as stream:
            assert stream.get_final_completion().choices[0].message.content == TEXT
        with chat.responses.stream(model="m", input=QUESTION) as stream:
            assert stream.get_final_response().output_text == TEXT
        with claude.messages.stream(**raw, max_tokens=9) as stream:
            assert stream.get_final_text() == TEXT

    async def awaited() -> None:
        answer = await chat.with_options(timeout=9).chat.completions.create(**raw)
        assert answer.choices[0].message.content == TEXT
        answer = await chat.chat.completions.with_raw_response.create(**raw)
        assert answer.parse().choices[0].message.content == TEXT
        async with chat.chat.completions.with_streaming_response.create(**raw) as answer:
            assert TEXT in (await answer.read()).decode()
        async with chat.chat.completions.with_streaming_response.create(**raw, stream=True) as answer:
            assert len([line async for line in answer.iter_lines()]) > 3
        async with chat.chat.completions.stream(**raw) as stream:
            assert (await stream.get_final_completion()).choices[0].message.content == TEXT
        async with chat.responses.stream(model="m", input=QUESTION) as stream:
            assert (await stream.get_final_response()).output_text == TEXT
        async with claude.messages.stream(**raw, max_tokens=9) as stream:
            assert await stream.get_final_text() == TEXT
        await chat.close()
        await claude.close()

    asyncio.run(awaited()) if is_async else plain()
    rows = written(path)
    assert [row.get("skipped") for row in rows] == [None] * 7
    assert [text_in(row) for row in rows] == [TEXT] * 7
    assert [row["streamed"] for row in rows] == [False] * 3 + [True] * 4


def test_an_http_client_of_the_user_stays_the_users(server: Api, path: Path) -> None:
    def hook(response: httpx2.Response) -> None:
        response.read()  # before the client does

    with httpx2.Client(headers={"x-own": "1"}, event_hooks={"response": [hook]}) as own:
        client = tuneworthy.record(client_of("chat", server.address, http_client=own), to=path)
        tuneworthy.record(client, name="last", to=path)  # the last one counts, once
        assert ask(client, "chat").choices[0].message.content == TEXT
        assert "".join(c.choices[0].delta.content or "" for c in ask(client, "chat", stream=True) if c.choices) == TEXT
        assert own.get(server.address).status_code == 200
        assert own is client._client and server.heads[0]["x-own"] == "1"
    rows = written(path)
    assert [row["name"] for row in rows] == ["last"] * 3
    assert sorted(row.get("skipped", "") for row in rows) == ["", "", "other path"]


def test_retries_failures_and_other_paths_are_skipped_with_a_reason(server: Api, path: Path) -> None:
    client = tuneworthy.record(client_of("chat", server.address), to=path)
    with pytest.raises(openai.AuthenticationError, match="Wrong key"):
        ask(client, "chat", model="status-401")
    with pytest.raises(openai.InternalServerError):
        ask(client.with_options(max_retries=1), "chat", model="status-500")
    client.embeddings.create(model="e", input="a")
    client.models.list()
    with pytest.raises(openai.APIConnectionError):
        ask(tuneworthy.record(client_of("chat", "http://127.0.0.1:9"), to=path), "chat")
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.05), "chat", model="slow")
    client.responses.create(model="m", input="b", previous_response_id="r0")
    client.responses.create(model="m", input="b", tools=[{"type": "web_search"}])
    assert sorted(reasons(path)) == [
        "failed: ConnectError", "failed: ReadTimeout", "other path", "other path",
        "part of the question is stored at the API", "status 401", "status 500", "status 500", "tools of the API",
    ]  # fmt: skip
    assert len(written(path)) == 9 and KEY not in path.read_text()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_breaks_off_or_is_left_is_no_answer(server: Api, path: Path, is_async: bool) -> None:
    client = tuneworthy.record(client_of("chat", server.address, is_async=is_async), to=path)

    def plain() -> None:
        with pytest.raises((httpx2.RemoteProtocolError, openai.APIConnectionError)):
            list(ask(client, "chat", model="cut", stream=True))
        stream = ask(client, "chat", stream=True)
        next(stream)
        stream.close()
        with ask(client, "chat", stream=True):  # nothing of it is read
            pass
        client.close()

    async def awaited() -> None:
        with pytest.raises((httpx2.RemoteProtocolError, openai.APIConnectionError)):
            _ = [one async for one in await ask(client, "chat", model="cut", stream=True)]
        stream = await ask(client, "chat", stream=True)
        await anext(stream)
        await stream.close()
        async with await ask(client, "chat", stream=True):
            pass
        await client.close()

    asyncio.run(awaited()) if is_async else plain()
    gc.collect()
    found = reasons(path)
    assert len(found) == len(written(path)) == 3 and found.count("unfinished answer") == 2
    assert any(one.startswith("failed: RemoteProtocolError") for one in found)


def test_a_cancelled_task_stays_cancelled(server: Api, path: Path) -> None:
    client = tuneworthy.record(client_of("chat", server.address, is_async=True), to=path)

    async def work() -> None:
        task = asyncio.create_task(ask(client, "chat", model="slow"))
        while not server.bodies:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.release.set()
        await client.close()

    asyncio.run(work())
    assert reasons(path) == ["cancelled"]


def test_threads_share_a_client(server: Api, path: Path) -> None:
    client = tuneworthy.record(client_of("chat", server.address), to=path)
    threads = [threading.Thread(target=lambda: [ask(client, "chat") for _ in range(10)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text_in(row) for row in written(path)] == [TEXT] * 80


def test_a_share_of_the_calls_is_recorded_and_says_so(server: Api, path: Path) -> None:
    client = tuneworthy.record(client_of("chat", server.address), to=path, share=0.3)
    none = tuneworthy.record(client_of("chat", server.address), to=path, share=0)
    for _ in range(60):
        ask(client, "chat")
        ask(none, "chat")
    rows = written(path)
    assert 5 <= len(rows) <= 35 and {row["share"] for row in rows} == {0.3}


def test_a_recorded_http_client_and_its_responses_are_freed_without_the_garbage_collector(
    server: Api, path: Path
) -> None:
    gc.disable()
    try:
        client = httpx2.Client()
        record_http(client, CallSource(recorder=recorder_of(path)))
        request = client.build_request("POST", f"{server.address}/v1/chat/completions", json={"messages": QUESTION})
        response = client.send(request, stream=True)
        assert response.read()
        pickle.dumps(response)
        found = weakref.ref(client), weakref.ref(response)
        client.close()
        del response, client, request
        assert [one() for one in found] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(("target", "share"), [(object(), 1), (print, 1), (openai, 1), ("a", 2), ("a", -0.1)])
def test_a_wrong_use_is_a_plain_error(target: Any, share: float, path: Path) -> None:
    with pytest.raises(UserError):
        tuneworthy.record(target, to=path, share=share)
    assert not path.exists()
