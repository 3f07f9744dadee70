"""The proxy in front of an API at a URL with a prefix: it stays up, and nothing leaves the prefix."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from scripts.fuzz import raw_http

from tuneworthy.shadow.copies import Copies, CopyHead
from tuneworthy.shadow.http_server import LIMIT_S, server_of
from tuneworthy.shadow.proxy import ShadowProxy

PREFIX: Final = "/tenant-a"
CLEAN: Final = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
INPUTS = raw_http.INPUTS
# Inputs between two checks of memory and service.
BATCH: Final = 40
faults: list[Any] = []
state: dict[str, int] = {"n": 0, "port": 0, "memory": 0}


class NoCopies(Copies):
    """Copies that go nowhere."""

    def __init__(self) -> None:
        super().__init__(lambda _: [], most=1, log=Path("/dev/null"))

    def start(self) -> None: ...

    def offer(self, head: CopyHead, request: bytes, answer: bytes) -> None: ...


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, whatever it is, and note a path that is not below the prefix."""
    try:
        line = (await reader.readuntil(b"\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:  # the user left before the proxy had sent anything
        writer.close()
        return
    path = line.split(" ")[1].partition("?")[0]
    if not path.startswith(f"{PREFIX}/") or ".." in unquote(unquote(path)).split("/"):
        faults.append(line)
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    await writer.drain()
    writer.close()


async def serve(door: socket.socket, ready: threading.Event) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    api = await asyncio.start_server(upstream, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{api.sockets[0].getsockname()[1]}{PREFIX}"
    server = server_of(ShadowProxy(address, NoCopies(), share=1.0, seed=1, header=b"x-session-id"))
    server.install_signal_handlers = lambda: None
    loop.call_later(0.5, ready.set)
    await server._serve(sockets=[door])


def prepare() -> None:
    """Start the proxy in a thread."""
    LIMIT_S.update(head=0.5, body=0.5, answer=0.5)
    door, ready = socket.create_server(("127.0.0.1", 0)), threading.Event()
    threading.Thread(target=lambda: asyncio.run(serve(door, ready)), daemon=True).start()
    ready.wait()
    state.update(port=door.getsockname()[1], memory=raw_http.memory())


def use(drawn: Sequence[bytes]) -> None:
    """Send an input, and check the proxy after each batch."""
    raw_http.talk(state["port"], drawn, 0.02)
    state["n"] += 1
    if state["n"] % BATCH == 0:
        raw_http.check(state["port"], CLEAN, state["memory"])
    found, faults[:] = [*faults], []
    assert not found, found
