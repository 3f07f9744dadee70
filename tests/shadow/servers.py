"""A scripted API over bare sockets, and the proxy in front of it, in the loop of a test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.shadow.copies import Copies, CopyHead
from tuneworthy.shadow.http_server import server_of
from tuneworthy.shadow.proxy import ShadowProxy

CHAT = "/v1/chat/completions"


@dataclass
class Call:
    """What a server got: the first line, the headers as they came, the body; `cut` is set once the client left."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    cut: asyncio.Event = field(default_factory=asyncio.Event)


# What a server sends: parts of the raw answer, or numbers of seconds to wait; it closes the connection at its end.
Script = Sequence[bytes | float]


def raw(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer with its length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def read_call(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2])]
    found = dict(headers)
    body = b""
    if "chunked" in found.get("transfer-encoding", ""):
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif length := int(found.get("content-length", 0)):
        body = await reader.readexactly(length)
    return Call(head[0], headers, body)


@asynccontextmanager
async def upstream(script: Callable[[Call], Script]) -> AsyncIterator[tuple[str, list[Call]]]:
    """Serve what `script` says; yield the address and what came."""
    calls: list[Call] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                call = await read_call(reader)
                calls.append(call)
                end = asyncio.ensure_future(reader.read(1))
                end.add_done_callback(lambda _, call=call: call.cut.set())
                for part in script(call):
                    if isinstance(part, bytes):
                        writer.write(part)
                        await writer.drain()
                    else:
                        await asyncio.wait([end], timeout=part)
                return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls
    finally:
        server.close()


class NotedCopies(Copies):
    """Copies that go nowhere, and are noted."""

    def __init__(self) -> None:
        super().__init__(lambda _: [], most=10**9, log=Path("/dev/null"))
        self.ready = True
        self.noted: list[tuple[CopyHead, bytes, bytes]] = []

    def offer(self, head: CopyHead, request: bytes, answer: bytes) -> None:
        self.noted.append((head, request, answer))

    def start(self) -> None: ...


@asynccontextmanager
async def served(address: str, copies: Copies | None = None, *, share: float = 1.0) -> AsyncIterator[tuple[str, Any]]:
    """Run the proxy in front of `address`; yield its own address and the server, whose app it is."""
    app = ShadowProxy(address, copies or NotedCopies(), share=share, seed=7, header=b"x-session-id")
    door = socket.create_server(("127.0.0.1", 0))
    server = server_of(app)
    server.config.timeout_graceful_shutdown = 1
    task = asyncio.create_task(server.serve(sockets=[door]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}", server
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def proxied(address: str, copies: Copies | None = None, **options: Any) -> AsyncIterator[tuple[str, ShadowProxy]]:
    """Run the proxy in front of `address`; yield its own address and the app."""
    async with served(address, copies, **options) as (proxy, server):
        yield proxy, server.config.app


async def said(address: str, request: bytes, *, wait_s: float = 5.0) -> bytes:
    """Send raw bytes to an address and return all that comes back until the server closes."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), wait_s)
    finally:
        writer.close()


def post(body: bytes | dict[str, Any], path: str = CHAT, *headers: str) -> bytes:
    """Return a raw request after which the connection closes."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"POST {path} HTTP/1.1", "Host: proxy", "Connection: close", *headers, f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def parts(answer: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the status line, the sorted headers that are not of one connection, and the body of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = sorted((name.lower(), value.strip()) for name, _, value in (one.partition(":") for one in rest))
    if ("transfer-encoding", "chunked") in headers:
        whole, body = body, b""
        while whole:
            size, _, whole = whole.partition(b"\r\n")
            body, whole = body + whole[: int(size, 16)], whole[int(size, 16) + 2 :]
    return line, [one for one in headers if one[0] not in {"connection", "transfer-encoding", "keep-alive"}], body


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test that is a coroutine, within a minute."""
    asyncio.run(asyncio.wait_for(work(), 60))  # type: ignore[arg-type]
