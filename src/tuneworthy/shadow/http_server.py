"""HTTP server of `shadow proxy`: uvicorn with bounds on the time, the memory and the connections of its clients.

A client that is late with a request, or does not read its answer, loses its connection. Where connections are scarce,
the incomplete requests that wait longest are closed first, so half-open requests keep no user out.

Invariants: the body of a request that asks for another protocol (`Upgrade`) is read like any other; an answer that has
begun is completed or broken off, and never followed by another status.

Sources: RFC 9110 section 7.8 (a server may ignore Upgrade), RFC 9112 section 6 (length of a message).
"""

import asyncio
import gc
import math
import resource
import socket
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import httptools  # of the extra `proxy`
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tuneworthy.errors import UserError
from tuneworthy.shadow.proxy import MAX_HEADERS, App, ShadowProxy

BACKLOG = 2048
# Idle connections are closed after that, seconds; clients close theirs sooner.
KEEP_ALIVE_S = 75
# How long open answers may take once the proxy is stopped, seconds.
GRACE_S = 30
# Time for all headers of a request; and for `MIN_RATE` in its body, or in an answer that waits to be read; seconds.
LIMIT_S = {"head": 10.0, "body": 20.0, "answer": 60.0}
# Bytes a second.
MIN_RATE = 500
# Connections of users; one address may have half as many.
MAX_CONNECTIONS = 4096
# Files of the process that are no connections of users or to the upstream.
RESERVED_FILES = 96
# Requests of one connection that wait for the answer before theirs.
MAX_PIPELINED = 32


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: It cannot.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
        )
    except OSError as error:
        reason = (error.strerror or "").partition(" (while")[0]  # Python repeats the address there
        raise UserError(
            f"The proxy cannot listen on {f'{host}:{port}'}: {reason}.", hint="Choose another --bind."
        ) from None


def exposed(door: socket.socket) -> list[str]:
    """Return the warning about a socket that other machines reach; empty for a loopback address."""
    host, port, *_ = door.getsockname()
    if ip_address(host).is_loopback:
        return []
    return [
        f"Anyone who reaches port {port} of this machine can now use the API through it: the proxy checks no key. Let "
        "a firewall admit your application only."
    ]


def max_connections() -> int:
    """Return how many connections of users may be open: each may need a second one to the upstream."""
    return min(MAX_CONNECTIONS, max(8, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_FILES) // 2))


class Connection(HttpToolsProtocol):  # type: ignore[misc, unused-ignore]
    connections: Any
    part = "head"  # of a request that is being read, in `LIMIT_S`; "" between two requests
    n_read = n_whole = 0  # bytes: all, and those up to the last part of a request that was whole
    since, before = 0.0, 0.0  # start of the measurement of a rate, and bytes read less bytes unsent at that time

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override, unused-ignore]
        super().connection_made(transport)
        self.since, everyone, most = self.loop.time(), self.connections, max_connections()
        if len(everyone) > most // 2:
            own = [one for one in everyone if (one.client or "")[:1] == (self.client or "")[:1]]
            crowd = own if len(own) > most // 2 else everyone if len(everyone) > most else ()
            if crowd:
                idle = [one for one in crowd if not one.is_served and not one.transport.is_closing()]
                min(idle, key=lambda one: one.since).refuse(503)

    @property
    def is_running(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_served(self) -> bool:
        """Whether the client waits for the server."""
        cycle = self.cycle
        waits = self.pipeline or self.flow.read_paused or (cycle and cycle.waiting_for_100_continue)
        return self.is_running and bool(waits or not cycle.more_body)

    def refuse(self, status: int) -> None:
        """Close the connection, with a status if a request but no answer has begun."""
        has_begun = self.transport.is_closing() or (self.is_running and self.cycle.response_started)
        if self.is_running:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if has_begun or self.pipeline or not self.part:
            self.transport.abort()
        else:
            self.transport.write(STATUS_LINE[status] + b"connection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    def check(self) -> None:
        """Close the connection if the client is too slow with the part of a request, or with an answer."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        late = "" if self.is_served else self.part
        if unsent and (self.flow.write_paused or not self.is_running):
            late = "answer"
        amount, seconds = self.n_read - unsent, now - self.since
        is_slow = late == "head" or amount - self.before < MIN_RATE * seconds
        if late and seconds > LIMIT_S[late] and is_slow:
            self.refuse(408)
        elif not late or seconds > LIMIT_S[late]:
            self.since, self.before = now, amount

    def resume_writing(self) -> None:
        super().resume_writing()
        self.before = -math.inf

    def data_received(self, data: bytes) -> None:
        self.n_read += len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:  # the parser takes the body for the other protocol
                self.cycle.keep_alive = False
                head = [one for one in self.scope["headers"] if one[0] in {b"content-length", b"transfer-encoding"}]
                self.parser = httptools.HttpRequestParser(
                    SimpleNamespace(on_body=self.on_body, on_message_complete=self.on_message_complete)
                )
                self.parser.feed_data(
                    b"\r\n".join([b"POST / HTTP/1.1", *map(b": ".join, head), b"", data[upgrade.args[0] :]])
                )
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self.part or not self.is_running or self.cycle.keep_alive:  # else it is behind the last request
                self.refuse(400)
        if self.n_read - self.n_whole > 2 * MAX_HEADERS and not self.transport.is_closing():
            self.refuse(400)

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()
        if len(self.pipeline) > MAX_PIPELINED:
            raise ValueError("too many requests at once")  # the parser passes it on as a `HttpParserError`
        self.part, self.since = "head", self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.part, self.n_whole = "body", self.n_read
        super().on_headers_complete()
        self.headers = []  # uvicorn would add trailers to the headers of the request

    def on_body(self, body: bytes) -> None:
        self.n_whole = self.n_read
        if self.part:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.part and not self.parser.should_upgrade():
            self.part, self.n_whole = "", self.n_read
            super().on_message_complete()


def server_of(app: App) -> Any:
    """Return the server that runs the app, a `uvicorn.Server`; it adds no header and logs nothing.

    Headers behind a chunked body (trailers) are dropped, and the bytes between two parts of requests are bounded.
    """

    async def check() -> None:
        everyone: Any = server.server_state.connections
        for one in [*everyone]:
            one.check()

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=Connection,
            lifespan="on",
            ws="none",
            log_level="critical",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=min(BACKLOG, max_connections() // 4),  # accepted at once, before any connection makes room
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            callback_notify=check,
            timeout_notify=0,
        )
    )
    return server


def serve(app: ShadowProxy, door: socket.socket) -> None:
    """Run the app until the process is stopped; what keeps it from starting is raised."""
    gc.freeze()  # loaded objects stay: collecting them again and again takes a quarter of the time of a request
    gc.set_threshold(10_000, 20, 100)  # and a request leaves hardly any cycle
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * MAX_CONNECTIONS + RESERVED_FILES), hard))
    try:
        server_of(app).run(sockets=[door])
    finally:
        if app.fault:
            raise app.fault from None
