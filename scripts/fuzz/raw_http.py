"""Bytes that are nearly HTTP requests, and how they are sent to a server: in pieces, and left before the end."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hypothesis import strategies as st
from scripts.fuzz.mutations import VALUES, as_json, contents, values

QUESTION: Final = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
METHODS: Final = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PRI", "")
PATHS: Final = (
    "/v1/chat/completions", "/v1/models", "/predict", "/v1/messages", "/", "*", "//x", "/../tenant-b",
    "/%2e%2e/tenant-b",
    "/..%2ftenant-b", "/..;/tenant-b", "/%252e%252e/tenant-b", "/..\\tenant-b", "/.%00./tenant-b", "/%c0%ae%c0%ae/x",
    "/v1/%2E%2e/%2e./tenant-b", "http://other/../tenant-b", "/a#/../tenant-b", "/?../tenant-b", "/-/metrics",
    "/-/health",
    "/..%5ctenant-b", "/%uff0e%uff0e/tenant-b", "/%ef%bc%8e%ef%bc%8e/tenant-b", "/" + "a" * 20_000,
)  # fmt: skip
HEADERS: Final = (
    "Host: 127.0.0.1", "Host: other", "Connection: close", "Connection: keep-alive",
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c", "Upgrade: websocket", "Expect: 100-continue", "Content-Length: 5", "Content-Length: 0",
    "Content-Length: -1", "Content-Length: 99999999", "Content-Length: 5, 5", "Content-Length: \u0665",
    "Content-Length:5 ",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding : chunked",
    "Transfer-Encoding:\tchunked", "X-Session-Id: s", "Via: 1.1 other", "Origin: http://evil", "X-A: " + "b" * 9000,
    "X-Tuneworthy-Shadow: 1", " folded", "A\0: b", ": b", "Content-Encoding: gzip", "Range: bytes=0-",
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Return a request whose length may be right, and whose other parts may not."""
    method, path = draw(st.sampled_from(METHODS)), draw(st.sampled_from(PATHS))
    line = f"{method} {path} HTTP/{draw(st.sampled_from(['1.1', '1.1', '1.1', '1.0', '2.0', '9']))}"
    body = as_json(draw(values([QUESTION, {"text": "a"}, {"text": {"a": "b"}}, *VALUES[:3]])))
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=5))
    kind = draw(st.sampled_from(["length", "length", "chunked", "nothing"]))
    if kind == "length":
        headers.append(f"Content-Length: {len(body)}")
    elif kind == "chunked":
        headers.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    if draw(st.booleans()):
        headers = ["Host: 127.0.0.1", *headers]
    head = "\r\n".join([line, *headers, "", ""]).encode("utf-8", "surrogatepass")
    return draw(contents([head])) + body if draw(st.booleans()) else head + body


# Pieces that are sent one after the other over one connection.
INPUTS: Final = st.lists(requests() | contents([b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"]), min_size=1, max_size=3)


def talk(port: int, pieces: Sequence[bytes], wait_s: float) -> bytes:
    """Send pieces and return what comes back within `wait_s` of silence."""
    answer = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.settimeout(wait_s)
        for piece in pieces:
            connection.sendall(piece)
        while part := connection.recv(2**16):
            answer += part
    return answer


def check(port: int, request: bytes, started: int) -> None:
    """Fail unless a right request is answered, and the process has at most 300 MiB more than `started` bytes."""
    end = time.monotonic() + 20
    while not (answer := talk(port, [request], 10)).startswith(b"HTTP/1.1 200"):
        assert time.monotonic() < end, answer
    assert memory() - started < 300 * 2**20, (memory(), started)


def memory() -> int:
    """Return the resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
