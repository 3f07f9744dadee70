"""Clients that people use, through the proxy and directly: the same bytes go out, and the same bytes come back."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

pytest.importorskip("uvicorn")

from tests.shadow.servers import CHAT, Call, Script, chunk, proxied, raw, run, upstream

FUNCTION = {
    "name": "find",
    "description": "Find.",
    "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
HEAD = b"\r\n".join(
    [b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream", b"X-Request-Id: r1", b"Connection: close",
     b"Transfer-Encoding: chunked", b"", b""]
)  # fmt: skip
ABOUT = {"id": "c1", "created": 1, "model": "m"}


def events(*values: dict[str, Any], done: bool = True, named: bool = False) -> Script:
    names = [b"event: " + value["type"].encode() + b"\n" if named else b"" for value in values]
    lines = [name + b"data: " + orjson.dumps(value) + b"\n\n" for name, value in zip(names, values, strict=True)]
    return [
        HEAD,
        *[one for line in [*lines, *([b"data: [DONE]\n\n"] if done else [])] for one in (chunk(line), 0.01)],
        chunk(b""),
    ]


def chat_chunk(delta: dict[str, Any], ending: str | None = None) -> dict[str, Any]:
    return {
        **ABOUT,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": ending}],
    }


def response(status: str, output: list[Any]) -> dict[str, Any]:
    return {"id": "r1", "object": "response", "created_at": 1, "model": "m", "status": status, "output": output,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip


OUTPUT = [
    {
        "type": "function_call",
        "id": "f1",
        "call_id": "call_1",
        "name": "find",
        "arguments": '{"n": 1}',
        "status": "completed",
    }
]
MESSAGE = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
USE = {"type": "tool_use", "id": "t1", "name": "find", "input": {"n": 1}}


def api(call: Call) -> Script:
    """The three APIs: a text and a call of a tool, as a whole and in parts."""
    body = orjson.loads(call.body)
    path, streamed = call.line.split()[1].split("?")[0], body.get("stream")
    if path == CHAT and streamed:
        halves = [{**CALL, "function": {"name": "find", "arguments": '{"n"'}}, {"function": {"arguments": ": 1}"}}]
        calls = [chat_chunk({"tool_calls": [{"index": 0, **half}]}) for half in halves]
        return events(chat_chunk({"role": "assistant", "content": "café"}), *calls, chat_chunk({}, "tool_calls"))
    if path == CHAT:
        message = {"role": "assistant", "content": "café", "tool_calls": [CALL]}
        document = {
            **ABOUT,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        }
    elif path == "/v1/responses" and streamed:
        numbered = [
            {"type": "response.created", "response": response("in_progress", [])},
            {"type": "response.output_item.added", "output_index": 0, "item": {**OUTPUT[0], "arguments": ""}},
            {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "f1", "delta": '{"n": 1}'},
            {"type": "response.completed", "response": response("completed", OUTPUT)},
        ]
        return events(*({**one, "sequence_number": n} for n, one in enumerate(numbered)), done=False, named=True)
    elif path == "/v1/responses":
        document = response("completed", OUTPUT)
    elif streamed:
        return events(
            {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "café"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {**USE, "input": {}}},
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": '{"n": 1}'},
            },
            {"type": "content_block_stop", "index": 1},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                "usage": {"output_tokens": 2},
            },
            {"type": "message_stop"},
            done=False,
            named=True,
        )
    else:
        document = {**MESSAGE, "content": [{"type": "text", "text": "café"}, USE], "stop_reason": "tool_use"}
    return [raw(orjson.dumps(document), "Content-Type: application/json", "X-Request-Id: r1", "Connection: close")]


def same_through_the_proxy(ask: Callable[[str], Any], n: int) -> None:
    """Run a client directly and through the proxy; its requests and what it returns must be the same."""

    async def work() -> None:
        async with upstream(api) as (address, calls), proxied(address) as (proxy, app):
            direct, through = [await asyncio.to_thread(ask, one) for one in (address, proxy)]
            assert through == direct and direct
            first, second = calls[:n], calls[n:]
            assert len(first) == len(second) == n
            for a, b in zip(first, second, strict=True):
                own = {"host", "connection", "via"}
                assert (a.line, a.body) == (b.line, b.body)
                assert sorted(x for x in a.headers if x[0] not in own) == sorted(
                    x for x in b.headers if x[0] not in own
                )
            for _ in range(100):  # a client may be done with a stream before the proxy is
                if len(app.copies.noted) == n:  # type: ignore[attr-defined]
                    break
                await asyncio.sleep(0.01)
            assert len(app.copies.noted) == n, "each of them could be copied"  # type: ignore[attr-defined]

    run(work)


def raw_answers(create: Any, arguments: dict[str, Any]) -> Iterator[bytes]:
    """Yield the bytes of an answer as a whole, and of one in parts."""
    yield create.with_raw_response.create(**arguments).http_response.content
    with create.with_streaming_response.create(**arguments, stream=True) as answer:
        yield b"".join(answer.iter_bytes())


IMAGE = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]


def test_the_openai_sdk() -> None:
    openai = pytest.importorskip("openai")

    def ask(address: str) -> list[Any]:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="k", max_retries=0, timeout=10)
        turns = [{"role": "user", "content": IMAGE}]
        chat = {"model": "m", "messages": turns, "tools": [{"type": "function", "function": FUNCTION}]}
        answers: list[Any] = [*raw_answers(client.chat.completions, chat)]
        answers.append([one.model_dump() for one in client.chat.completions.create(**chat, stream=True)])
        plain = {"model": "m", "input": "a", "tools": [{"type": "function", **FUNCTION, "strict": None}]}
        answers += raw_answers(client.responses, plain)
        answers.append([one.model_dump() for one in client.responses.create(**plain, stream=True)])
        client.close()
        return answers

    same_through_the_proxy(ask, 6)


def test_the_anthropic_sdk() -> None:
    anthropic = pytest.importorskip("anthropic")

    def ask(address: str) -> list[Any]:
        client = anthropic.Anthropic(base_url=address, api_key="k", max_retries=0, timeout=10)
        tool = {"name": "find", "input_schema": FUNCTION["parameters"]}
        chat = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}], "tools": [tool]}
        answers: list[Any] = [*raw_answers(client.messages, chat)]
        with client.messages.stream(**chat) as stream:
            answers.append(stream.get_final_message().model_dump())
        client.close()
        return answers

    same_through_the_proxy(ask, 3)


def test_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm")

    def ask(address: str) -> list[Any]:
        tools = [{"type": "function", "function": FUNCTION}]
        chat = {"model": "openai/m", "api_base": f"{address}/v1", "api_key": "k", "tools": tools, "max_retries": 0,
                "messages": [{"role": "user", "content": IMAGE}]}  # fmt: skip
        whole = litellm.completion(**chat)
        parts = list(litellm.completion(**chat, stream=True))
        drop = {"created", "_response_ms", "id"}
        return [{k: v for k, v in one.model_dump().items() if k not in drop} for one in (whole, *parts)]

    same_through_the_proxy(ask, 2)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl() -> None:
    def ask(address: str) -> list[bytes]:
        answers = []
        for streamed in (False, True):
            body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": streamed})
            words = [
                "curl",
                "-sS",
                "-N",
                "-D",
                "-",
                "-H",
                "Content-Type: application/json",
                "-H",
                "Authorization: Bearer k",
            ]
            done = subprocess.run(
                [*words, "--data-binary", "@-", address + CHAT], input=body, capture_output=True, check=True
            )
            head, _, rest = done.stdout.partition(b"\r\n\r\n")
            lines = sorted(line for line in head.lower().split(b"\r\n") if not line.startswith(b"connection"))
            answers += [*lines, rest]
        return answers

    same_through_the_proxy(ask, 2)
