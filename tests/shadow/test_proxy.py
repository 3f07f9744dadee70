"""What goes through the proxy is what a direct call gets, byte by byte; copies never show."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any
from unittest.mock import Mock

import orjson
import pytest

pytest.importorskip("uvicorn")

from tests.shadow.servers import (
    CHAT,
    Call,
    NotedCopies,
    Script,
    chunk,
    parts,
    post,
    proxied,
    raw,
    read_call,
    run,
    said,
    upstream,
)
from tuneworthy.errors import UserError
from tuneworthy.shadow.http_server import listen, serve
from tuneworthy.shadow.protocols import STREAMS, answer_of, session_name
from tuneworthy.shadow.proxy import ShadowProxy

TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
ODD = (
    b'{ "model" : "m",\n "messages":[{"role":"user","content":['
    + orjson.dumps(IMAGE)
    + b']}], "tools":['
    + orjson.dumps(TOOL)
    + b"] }"
)
JSON_ANSWER = b'{"choices":  [{"message": {"role":"assistant","content":"caf\xc3\xa9"},"finish_reason":"stop"}]}\n'
SSE = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b": ping\n\n",
       b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"]  # fmt: skip
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def plain(call: Call) -> Script:
    answer = raw(JSON_ANSWER, "Content-Type: application/json")
    return [answer.removesuffix(JSON_ANSWER) if call.line.startswith("HEAD") else answer]


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize(
    "answer",
    [
        [raw(JSON_ANSWER, "Content-Type: application/json", "X-Odd: a", "Set-Cookie: a=1", "Set-Cookie: b=2")],
        [raw(gzip.compress(JSON_ANSWER, mtime=0), "Content-Type: application/json", "Content-Encoding: gzip")],
        [STREAM_HEAD, *map(chunk, SSE), chunk(b"")],
        [raw(b'{"error": {"message": "slow down"}}', "Retry-After: 3", status="429 Too Many Requests")],
        [raw(b"", status="302 Found").replace(b"\r\n\r\n", b"\r\nLocation: /elsewhere\r\n\r\n")],
    ],
    ids=["json", "gzip", "stream", "error", "redirect"],
)
def test_requests_and_answers_are_those_of_a_direct_call(path: str, answer: Script) -> None:
    async def work() -> None:
        async with upstream(lambda call: answer) as (address, calls), proxied(address) as (proxy, _):
            request = post(ODD, f"{path}?a=%2f&b", "Authorization: Bearer secret", "X-Odd: 1", "X-Odd: 2")
            direct, through = [parts(await said(one, request)) for one in (address, proxy)]
            assert through == direct
            a, b = calls
            assert (a.line, a.body) == (b.line, b.body)
            own = {"connection", "host", "keep-alive", "via"}
            assert sorted(one for one in a.headers if one[0] not in own) == sorted(
                one for one in b.headers if one[0] not in own
            )

    run(work)


def test_headers_that_are_long_or_not_ascii_stay_what_they_are() -> None:
    long = "a" * 20_000

    async def work() -> None:
        answer = raw(JSON_ANSWER, f"X-Long: {long}", "X-Name: café")
        async with upstream(lambda call: [answer]) as (address, calls), proxied(address) as (proxy, _):
            request = post(question("a"), CHAT, "X-Name: café", f"X-Long: {long}")
            direct, through = [parts(await said(one, request)) for one in (address, proxy)]
            assert direct == through
            names = [[value for name, value in call.headers if name in {"x-name", "x-long"}] for call in calls]
            assert names[0] == names[1]

    run(work)


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ("gzip, deflate, br, zstd", "gzip, deflate"),
        ("br;q=1.0, GZIP;q=0.8, *;q=0.1", "GZIP;q=0.8"),
        ("br", "br"),
        ("identity;q=0, br", "identity;q=0, br"),
        ("gzip;q=0.0,deflate;q=0.5", "deflate;q=0.5"),
        ("br;gzip=1, gzip", "gzip"),
        ("x-gzip, identity", "identity"),
    ],
)
def test_an_answer_that_is_copied_is_asked_for_in_a_coding_that_can_be_read(asked: str, passed: str) -> None:
    async def work() -> None:
        async with upstream(plain) as (address, calls), proxied(address) as (proxy, _):
            for path in (CHAT, "/v1/files"):
                await said(proxy, post(question("a"), path, f"Accept-Encoding: {asked}"))
            assert [dict(call.headers)["accept-encoding"] for call in calls] == [passed, asked]

    run(work)


@pytest.mark.parametrize(
    "line", ["GET /v1/models?x=1", "DELETE /v1/files/a", "HEAD /v1/models", "OPTIONS /", "GET //double", "GET /a/../b"]
)
def test_any_other_path_is_passed_through_and_never_copied(line: str) -> None:
    async def work() -> None:
        async with upstream(plain) as (address, calls), proxied(address) as (proxy, app):
            request = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            direct, through = [await said(one, request) for one in (address, proxy)]
            assert parts(through) == parts(direct) and calls[0].line == calls[1].line == f"{line} HTTP/1.1"
            assert not app.copies.noted  # type: ignore[attr-defined]

    run(work)


def test_an_upload_of_unknown_length_is_passed_on_as_it_comes() -> None:
    async def work() -> None:
        async with upstream(plain) as (address, calls), proxied(address) as (proxy, _):
            head = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            await said(proxy, head + chunk(b"a" * 50) + chunk(b"b" * 50) + chunk(b""))
            assert calls[0].body == b"a" * 50 + b"b" * 50

    run(work)


def test_each_part_of_a_stream_is_passed_on_when_it_comes() -> None:
    async def work() -> None:
        script: Script = [STREAM_HEAD, chunk(SSE[0]), 30.0]
        async with upstream(lambda call: script) as (address, calls), proxied(address) as (proxy, app):
            host, port = proxy.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(post(question("a", stream=True)))
            await asyncio.wait_for(reader.readuntil(SSE[0]), 5)
            assert app.open_requests == 1
            writer.close()
            await asyncio.wait_for(calls[0].cut.wait(), 5)
            await asyncio.sleep(0.05)
            assert app.open_requests == 0, "a user who leaves ends the call"
            ((_, _, answer),) = app.copies.noted  # type: ignore[attr-defined]
            with pytest.raises(ValueError):  # noqa: PT011
                answer_of(CHAT, answer, streamed=True)

    run(work)


def test_a_user_who_leaves_before_the_answer_ends_the_call() -> None:
    async def work() -> None:
        async with upstream(lambda call: [30.0]) as (address, calls), proxied(address) as (proxy, app):
            with pytest.raises(TimeoutError):
                await said(proxy, post(question("a")), wait_s=0.3)
            await asyncio.wait_for(calls[0].cut.wait(), 5)
            assert app.requests["gone"] == 1

    run(work)


@pytest.mark.parametrize("n", [0, 1])
def test_an_answer_that_breaks_off_does_not_look_complete_and_is_not_copied(n: int) -> None:
    short = raw(JSON_ANSWER, "Content-Type: application/json")[:-5]
    script: Script = [[short], [STREAM_HEAD, chunk(SSE[0])]][n]

    async def work() -> None:
        async with upstream(lambda call: script) as (address, _), proxied(address) as (proxy, app):
            answer = await said(proxy, post(question("a")))
            assert b"0\r\n\r\n" not in answer[-5:] and not answer.endswith(JSON_ANSWER)
            assert app.requests["broken"] == 1 and not app.copies.noted  # type: ignore[attr-defined]

    run(work)


def test_an_upstream_that_is_down_or_no_http_is_a_bad_gateway() -> None:
    async def work() -> None:
        async with proxied("http://127.0.0.1:9") as (proxy, app):
            line, _, body = parts(await said(proxy, post(question("a"))))
            assert line.split()[1] == "502" and b"cannot be reached" in body and app.requests["unreachable"] == 1
        async with upstream(lambda call: [b"SSH-2.0\r\n\r\n"]) as (address, _), proxied(address) as (proxy, _):
            assert (await said(proxy, post(question("a")))).split()[1] == b"502"

    run(work)


def test_a_connection_that_the_server_closed_while_it_was_kept_open_costs_no_user_an_answer() -> None:
    async def work() -> None:
        async with upstream(plain) as (address, _), proxied(address) as (proxy, app):
            for _ in range(10):
                answers = await asyncio.gather(*(said(proxy, post(question("a"))) for _ in range(20)))
                assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
            assert app.requests == {"2xx": 200}

    run(work)


@asynccontextmanager
async def kept_open(wait_s: float) -> AsyncIterator[tuple[str, list[int]]]:
    """Serve one answer a connection, which is kept open and closed `wait_s` after the next request, seconds."""
    calls: list[int] = []
    n_connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_connections
        n_connections += 1
        number = n_connections
        await read_call(reader)
        calls.append(number)
        writer.write(raw(JSON_ANSWER))
        with suppress(asyncio.IncompleteReadError):
            await read_call(reader)
            calls.append(number)
            await asyncio.sleep(wait_s)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls
    finally:
        server.close()


SENT_AGAIN = {"GET": [1, 1, 2], "DELETE": [1, 1, 2], "PUT": [1, 1, 2], "POST": [1, 1], "PATCH": [1, 1]}


@pytest.mark.parametrize("method", SENT_AGAIN)
def test_only_an_idempotent_request_that_met_the_end_of_an_old_connection_is_sent_again(method: str) -> None:
    async def work() -> None:
        async with kept_open(0.0) as (address, found), proxied(address) as (proxy, _):
            request = post(question("a")).replace(b"POST", method.encode())
            first, second = [(await said(proxy, request)).split()[1] for _ in range(2)]
            assert found == SENT_AGAIN[method]
            assert (first, second) == (b"200", b"200" if len(found) == 3 else b"502")

    run(work)


def test_a_request_over_a_new_connection_is_never_sent_again() -> None:
    async def work() -> None:
        async with upstream(lambda call: []) as (address, calls), proxied(address) as (proxy, _):
            assert (await said(proxy, post(question("a")))).split()[1] == b"502" and len(calls) == 1

    run(work)


def test_a_copy_is_handed_over_behind_the_answer_and_holds_no_header() -> None:
    async def work() -> None:
        async with upstream(plain) as (address, _), proxied(address) as (proxy, app):
            request = post(question("a"), CHAT, "Authorization: Bearer secret-1", "X-Session-Id: ada@example.org")
            await said(proxy, request)
            ((noted, body, answer),) = app.copies.noted  # type: ignore[attr-defined]
            assert (body, answer) == (orjson.dumps(question("a")), JSON_ANSWER)
            head = asdict(noted)
            assert head == {
                "path": CHAT,
                "session": head["session"],
                "streamed": False,
                "encoding": "",
                "n": 0,
                "number": 0,
                "seconds": head["seconds"],
                "keys": (),
            }
            assert 0 < head["seconds"] < 5
            assert re.fullmatch("[0-9a-f]{16}", head["session"])

    run(work)


def test_a_copy_that_comes_back_is_not_copied_again() -> None:
    async def work() -> None:
        async with upstream(plain) as (address, calls), proxied(address) as (proxy, app):
            await said(proxy, post(question("a"), CHAT, "X-Tuneworthy-Shadow: 1"))
            assert len(calls) == 1 and not app.copies.noted  # type: ignore[attr-defined]

    run(work)


def test_a_start_that_fails_is_seen_and_nothing_is_served() -> None:
    copies = NotedCopies()
    copies.start = Mock(side_effect=OSError("no space left"))  # type: ignore[method-assign]
    app = ShadowProxy("http://127.0.0.1:9", copies, share=1.0, seed=1, header=b"x")
    with listen("127.0.0.1", 0) as door, pytest.raises(OSError, match="no space left"):
        serve(app, door)


def test_sessions_are_copied_as_a_whole_in_the_share_that_is_set() -> None:
    async def work() -> None:
        async with upstream(plain) as (address, _), proxied(address, share=0.3) as (proxy, app):
            for i in range(100):
                for k in range(2):
                    await said(proxy, post(question(f"q{i} {k}"), CHAT, f"X-Session-Id: s{i}"))
            sessions = [head.session for head, _, _ in app.copies.noted]  # type: ignore[attr-defined]
            assert 15 <= len(set(sessions)) <= 45 and all(sessions.count(one) == 2 for one in sessions)

    run(work)


def test_requests_of_one_session_have_one_name_which_shows_nothing() -> None:
    first = question("hello ada@example.org")
    later = {
        **first,
        "messages": [*first["messages"], {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    }
    names = [session_name("", orjson.dumps(one)) for one in (first, later, question("other"))]
    assert names[0] == names[1] != names[2] and "ada" not in "".join(names)
    for key, more in (("user", {"user": "u"}), ("metadata", {"metadata": {"user_id": "u"}})):
        assert session_name("", orjson.dumps(question("a", **more))) == session_name(
            "", orjson.dumps(question("b", **more))
        ), key
    assert session_name("s", orjson.dumps(first)) == session_name("s", b"{") != session_name("t", b"{")
    deep = b'{"messages": ' + b"[" * 400 + b"]" * 400 + b"}"
    for body in (
        b"",
        b"{",
        b"[1]",
        b"null",
        b'{"messages": 1}',
        b'{"messages": [1]}',
        b'{"input": "a"}',
        b"\xff",
        deep,
    ):
        assert re.fullmatch("[0-9a-f]{16}", session_name("", body))


CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}


def events(*values: Any) -> bytes:
    return b"".join(b"event: x\ndata: " + orjson.dumps(value) + b"\n\n" for value in values) + b"data: [DONE]\n\n"


def test_an_answer_that_came_in_parts_is_the_whole_answer() -> None:
    halves = [
        {"index": 0, "id": "1", "function": {"name": "find", "arguments": '{"n"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    chat = events(
        {
            "choices": [
                {"index": 0, "delta": {"role": "assistant", "content": "a"}},
                {"index": 1, "delta": {"content": "z"}},
            ]
        },
        *({"choices": [{"index": 0, "delta": {"tool_calls": [half]}}]} for half in halves),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {}},
    )
    found = answer_of(CHAT, chat, streamed=True)["choices"][0]
    assert found == {
        "message": {"role": "assistant", "content": "a", "tool_calls": [CALL]},
        "finish_reason": "tool_calls",
    }
    claude = events(
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "1", "name": "find", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"n": 1}'}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    )
    found = answer_of("/v1/messages", claude, streamed=True)
    assert [block.get("text") or block["input"] for block in found["content"]] == ["a", {"n": 1}]
    done = {"type": "response.completed", "response": {"output": []}}
    assert answer_of("/v1/responses", events({"type": "response.created"}, done), streamed=True) == {"output": []}


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize(
    "body",
    [b"", b"data: {\n\n", b"data: []\n\n", b"data: {}\n\n", b'data: {"choices": 1, "type": "content_block_delta"}'],
)
def test_a_stream_that_ends_early_or_lies_is_no_answer(path: str, body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        answer_of(path, body, streamed=True)
    with pytest.raises(ValueError):  # noqa: PT011
        answer_of(path, b"[1]", streamed=False)


def test_health_and_figures_can_be_read() -> None:
    async def work() -> None:
        async with upstream(plain) as (address, _), proxied(address) as (proxy, app):
            await said(proxy, post(question("a")))
            app.copies.counts["busy"] = 3
            texts = []
            for path in ("/-/health", "/-/metrics"):
                get = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
                texts.append(parts(await said(proxy, get))[2].decode())
            assert orjson.loads(texts[0]) == {"status": "ok", "copies": "ready", "verdict": "", "canary": None}
            assert 'tuneworthy_proxy_requests_total{result="2xx"} 1' in texts[1]
            assert 'tuneworthy_shadow_copies_total{outcome="busy"} 3' in texts[1]
            for line in texts[1].splitlines():
                assert re.fullmatch(r'# TYPE \w+ (counter|gauge)|\w+(\{\w+="\w+"\})? [0-9.e+-]+', line), line

    run(work)


def test_a_wrong_address_is_refused_before_anything_listens() -> None:
    for address in ("ftp://x", "http://u:p@x", "x", "http://x/v1?a=b", "http://x/#a"):
        with pytest.raises(UserError):
            ShadowProxy(address, NotedCopies(), share=1.0, seed=1, header=b"x")
    with (
        listen("127.0.0.1", 0) as door,
        pytest.raises(UserError, match=r"cannot listen on [\d.:]+: Address already in use\. Choose"),
    ):
        listen("127.0.0.1", door.getsockname()[1])
