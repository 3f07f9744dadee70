"""HTTP server of `shadow proxy`: uvicorn with bounds on what one connection may take.

Source: RFC 9112 section 6 (length of a message).
"""

import gc
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from tuneworthy.errors import UserError

# Of all headers of a request together, bytes.
MOST_HEADERS: Final = 64 * 2**10
BACKLOG: Final = 2048
# Idle connections are closed after that, seconds; clients close theirs sooner.
KEEP_ALIVE_S: Final = 75
# How long open answers may take once the proxy is stopped, seconds.
GRACE_S: Final = 30

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class App(Protocol):
    """ASGI app.

    Attributes:
        fault: Why it did not start; None if it did.
    """

    fault: Exception | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: It cannot.
    """
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        reason = (error.strerror or "").partition(" (while")[0]  # Python repeats the address there
        raise UserError(
            f"The proxy cannot listen on {f'{host}:{port}'}: {reason}.", hint="Choose another --host or --port."
        ) from None


def server_of(app: App) -> Any:
    """Return the server that runs the app, a `uvicorn.Server`; it adds no header and logs nothing.

    Headers behind a chunked body (trailers) are dropped, and the bytes between two parts of requests are bounded.
    """
    import uvicorn  # of the extra `proxy`
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Connection(HttpToolsProtocol):  # type: ignore[misc, unused-ignore]
        unfinished = 0  # read since the last part of a request that was whole, bytes

        def data_received(self, data: bytes) -> None:
            self.unfinished += len(data)
            super().data_received(data)
            if self.unfinished > 2 * MOST_HEADERS and not self.transport.is_closing():
                self.send_400_response("")

        def on_headers_complete(self) -> None:
            self.unfinished = 0
            super().on_headers_complete()
            self.headers = []  # uvicorn would add trailers to the headers of the request

        def on_body(self, body: bytes) -> None:
            self.unfinished = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self.unfinished = 0
            super().on_message_complete()

    config = uvicorn.Config(
        app,
        http=Connection,
        lifespan="on",
        ws="none",
        log_level="critical",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)


def serve(app: App, door: socket.socket) -> None:
    """Run the app until the process is stopped; what keeps it from starting is raised."""
    gc.freeze()  # loaded objects stay: collecting them again and again takes a quarter of the time of a request
    try:
        server_of(app).run(sockets=[door])
    finally:
        if app.fault:
            raise app.fault from None
