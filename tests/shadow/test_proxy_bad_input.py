"""Malformed requests: each gets the right status, none reaches the upstream in a form that it could misread."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest

pytest.importorskip("uvicorn")

from tests.shadow.servers import CHAT, Call, Script, chunk, parts, post, proxied, raw, run, said, upstream

OK = b'{"model":"m","messages":[{"role":"user","content":"a"}]}'
Row = tuple[str, bytes, int]


def head(*lines: str, line: str = f"POST {CHAT} HTTP/1.1", host: bool = True) -> bytes:
    return "\r\n".join([line, *(["Host: x"] if host else []), "Connection: close", *lines, "", ""]).encode("latin-1")


LENGTH = f"Content-Length: {len(OK)}"
CHUNKED = "Transfer-Encoding: chunked"
# The server or the proxy answers these: nothing of them may reach the upstream.
REFUSED: list[Row] = [
    ("length and chunked", head(LENGTH, CHUNKED) + chunk(OK) + chunk(b""), 400),
    ("chunked and length", head(CHUNKED, LENGTH) + chunk(OK) + chunk(b""), 400),
    ("two lengths", head(LENGTH, "Content-Length: 1") + OK, 400),
    ("two equal lengths", head(LENGTH, LENGTH) + OK, 400),
    ("list of lengths", head(f"{LENGTH}, {len(OK)}") + OK, 400),
    ("plus length", head("Content-Length: +5") + OK, 400),
    ("negative length", head("Content-Length: -1") + OK, 400),
    ("hexadecimal length", head("Content-Length: 0x10") + OK, 400),
    ("length with a space", head("Content-Length: 5 6") + OK, 400),
    ("empty length", head("Content-Length:") + OK, 400),
    ("length beyond 64 bits", head("Content-Length: 99999999999999999999999") + OK, 400),
    ("unknown coding", head("Transfer-Encoding: xchunked") + OK, 400),
    ("chunked is not last", head("Transfer-Encoding: chunked, identity") + chunk(OK) + chunk(b""), 400),
    ("two codings", head(CHUNKED, CHUNKED) + chunk(OK) + chunk(b""), 400),
    ("gzip coding", head("Transfer-Encoding: gzip, chunked", CHUNKED) + chunk(OK) + chunk(b""), 400),
    ("space before the colon", head(f"Content-Length : {len(OK)}") + OK, 400),
    ("folded header", head("X-A: 1\r\n 2", LENGTH) + OK, 400),
    ("NUL in a header", head("X-A: 1\x00", LENGTH) + OK, 400),
    ("carriage return in a header", head("X-A: 1\r2", LENGTH) + OK, 400),
    ("bad name of a header", head("Con(tent: 1", LENGTH) + OK, 400),
    ("header without a colon", head("Content", LENGTH) + OK, 400),
    ("empty name of a header", head(": 1", LENGTH) + OK, 400),
    ("bad size of a chunk", head(CHUNKED) + b"zz\r\nabc\r\n0\r\n\r\n", 400),
    ("size of a chunk beyond 64 bits", head(CHUNKED) + b"fffffffffffffffffff\r\nabc\r\n", 400),
    ("chunk longer than it says", head(CHUNKED) + b"1\r\nabc\r\n0\r\n\r\n", 400),
    ("negative chunk", head(CHUNKED) + b"-1\r\nabc\r\n0\r\n\r\n", 400),
    ("no host", head(LENGTH, host=False) + OK, 400),
    ("two hosts", head("Host: y", LENGTH) + OK, 400),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, 400),
    ("HTTP/0.9", b"GET /\r\n\r\n", 505),
    ("HTTP/9.9", head(LENGTH, line=f"POST {CHAT} HTTP/9.9") + OK, 400),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("method in lower case", head(LENGTH, line=f"post {CHAT} HTTP/1.1") + OK, 400),
    ("unknown method", head(LENGTH, line=f"BREW {CHAT} HTTP/1.1") + OK, 400),
    ("space in the path", head(LENGTH, line="POST /v1/chat completions HTTP/1.1") + OK, 400),
    ("TRACE", head(line="TRACE /v1/models HTTP/1.1"), 405),
    ("CONNECT", head(line="CONNECT example.org:443 HTTP/1.1"), 400),
    ("OPTIONS of the server", head(line="OPTIONS * HTTP/1.1"), 400),
    ("long path", head(line=f"GET /{'a' * 20_000} HTTP/1.1"), 414),
    ("long query", head(line=f"GET /?{'a' * 20_000} HTTP/1.1"), 414),
    ("one large header", head("X-A: " + "a" * 70_000, LENGTH) + OK, 431),
    ("many headers", head(*[f"X-{n}: {'a' * 20}" for n in range(4000)], LENGTH) + OK, 431),
]
# What the upstream says of these is what the user gets.
ANSWERED: list[tuple[str, bytes]] = [
    *[
        (f"body {n}", post(body))
        for n, body in enumerate(
            [
                b"",
                b"{",
                b"[]",
                b"null",
                b"NaN",
                b"\xff\xfe",
                b"\xef\xbb\xbf" + OK,
                b"[" * 1500,
                b'{"messages": ' + b"[" * 400 + b"]" * 400 + b"}",
                b'{"messages": "a"}',
                b'{"messages": [1, null]}',
                b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
                b'{"messages": [], "messages": [{"role": "user"}], "user": ["u"]}',
                b'{"messages": [{"role": "user", "content": "a"}], "metadata": [1], "user": 1e400}',
                OK + b"trailing",
            ]
        )
    ],
    *[(f"method {one}", head(line=f"{one} {CHAT} HTTP/1.1")) for one in ("GET", "PUT", "PATCH")],
    ("path that climbs", head(line="GET /../../etc/passwd HTTP/1.1")),
    ("path with NUL", head(line="GET /%00%0d%0aX: HTTP/1.1")),
]


def strict(call: Call) -> Script:
    """An API that answers 405, 404 and 400 as APIs do."""
    if not call.line.split()[1].startswith(CHAT):
        return [raw(b"{}", status="404 Not Found")]
    if not call.line.startswith("POST"):
        return [raw(b"{}", status="405 Method Not Allowed")]
    try:
        fine = isinstance(orjson.loads(call.body)["messages"][0]["content"], str)
    except (ValueError, TypeError, KeyError, IndexError):
        fine = False
    return [raw(b"{}", status="200 OK" if fine else "400 Bad Request")]


def test_there_are_sixty_of_them() -> None:
    assert len(REFUSED) + len(ANSWERED) >= 60


def test_each_malformed_request_gets_the_right_status_and_nothing_crashes() -> None:
    async def work() -> None:
        async with upstream(strict) as (address, calls), proxied(address) as (proxy, app):
            wrong: list[Any] = []
            for name, request, status in REFUSED:
                try:
                    answer = await said(proxy, request, wait_s=2)
                except (TimeoutError, ConnectionError) as error:
                    answer = repr(error).encode()
                if answer.split()[1:2] != [b"%d" % status] or calls:
                    wrong.append((name, answer[:60], len(calls)))
                calls.clear()
            for name, request in ANSWERED:
                direct, through = [parts(await said(one, request)) for one in (address, proxy)]
                if direct != through or calls[0].body != calls[-1].body or len(calls) != 2:
                    wrong.append((name, direct, through))
                calls.clear()
            assert wrong == [] and app.open_requests == 0
            assert (await said(proxy, post(OK))).startswith(b"HTTP/1.1 200")

    run(work)


def test_trailers_do_not_become_headers() -> None:
    async def work() -> None:
        trailers = b"X-Evil: 1\r\nAuthorization: Bearer other\r\nHost: y\r\n\r\n"
        for path in (CHAT, f"{CHAT}/files"):
            async with upstream(strict) as (address, calls), proxied(address) as (proxy, _):
                request = head(CHUNKED, line=f"POST {path} HTTP/1.1") + chunk(OK)[:-2] + b"\r\n0\r\n" + trailers
                await said(proxy, request)
                assert calls[0].body == OK
                assert not {"x-evil", "authorization"} & {name for name, _ in calls[0].headers}

    run(work)


ENDLESS: dict[str, bytes] = {
    "header": b"X-A: " + b"a" * 2**20,
    "headers": b"X-A: a\r\n" * 2**17,
    "trailers": f"{CHUNKED}\r\n\r\n".encode() + chunk(OK) + b"0\r\n" + b"X-A: a\r\n" * 2**17,
    "extension of a chunk": f"{CHUNKED}\r\n\r\n5;a=".encode() + b"a" * 2**20,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_not_collected(name: str) -> None:
    async def work() -> None:
        async with upstream(strict) as (address, calls), proxied(address) as (proxy, _):
            request = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\n".encode() + ENDLESS[name]
            with suppress(ConnectionError):
                assert (await said(proxy, request, wait_s=2)).split()[1] == b"400"
            assert not calls and (await said(proxy, post(OK))).startswith(b"HTTP/1.1 200")

    run(work)


@pytest.mark.parametrize("n", [1, 20, 70, 130])
def test_a_request_that_breaks_off_is_never_passed_on(n: int) -> None:
    async def work() -> None:
        async with upstream(strict) as (address, calls), proxied(address) as (proxy, app):
            with pytest.raises(TimeoutError):
                await said(proxy, post(OK)[:n], wait_s=0.2)
            assert not calls and (await said(proxy, post(OK))).startswith(b"HTTP/1.1 200")
            assert app.open_requests == 0

    run(work)
