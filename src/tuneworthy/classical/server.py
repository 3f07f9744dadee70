"""Serve the classifier in this folder on 127.0.0.1: `python server.py [PORT] [HOST ...]`, by default on 8000.

POST /predict               {"text": "..."} (several variables: {"text": {"name": "..."}}), answers {"answer": ...}
POST /v1/chat/completions   OpenAI's protocol: the last message is the question, as a filled-in prompt has it
GET  /v1/models             the name of the classifier

A request is refused unless its Host, and its Origin if it has one, is of this machine or a HOST: else a web page could
use the server. So is a request that a gateway in front of the server may read differently.

A client that does not send its request in time, or read its answer, loses its connection. Where connections or memory
are scarce, the oldest incomplete requests are closed first, so that half requests do not keep new clients out.
"""

import sys

if not getattr(sys.flags, "safe_path", sys.flags.isolated):
    del sys.path[0]  # no file of this folder may replace a module of Python or NumPy

import io
import json
import os
import re
import runpy
import socket
import time
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

# From its source: Python would prefer a folder, a library or a compiled file of this name.
classifier = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("classifier.py")), run_name="classifier"))

MOST_BYTES = 4 * 2**20
MOST_HEAD, MOST_HEADERS = 2**16, 100
NAME = "classifier"
HOSTS = {"localhost", "127.0.0.1", "[::1]"}
REQUEST_LINE = re.compile(rb"[A-Z]+ [!-~]+ HTTP/1\.[01]\r?\n")
HEADER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r?\n")
ADDRESS = re.compile(r"(?:https?://)?(\[[^\]]*\]|[^:/@]*)(?::\d+)?")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer of a reused connection waits 40 ms for the client's kernel
    # Of each connection: the start of its request, infinite while it is answered, and the bytes of its body.
    requests: ClassVar[dict[Any, tuple[float, int]]] = {}

    def handle(self) -> None:
        """Answer requests until the client leaves, which is no error."""
        self.requests[self] = time.monotonic(), 0
        with suppress(ConnectionError, TimeoutError), ExitStack() as stack:
            stack.callback(self.requests.pop, self)
            super().handle()

    def parse_request(self) -> bool:
        """Read the head of a request; False if it was refused."""
        lines = [self.raw_requestline]  # type: ignore[attr-defined]
        while lines[-1].strip(b"\r\n") and len(lines) <= MOST_HEADERS and sum(map(len, lines)) < MOST_HEAD:
            lines.append(self.rfile.readline(MOST_HEAD))
        stream, self.rfile = self.rfile, io.BytesIO(b"".join(lines[1:]))
        try:
            if not super().parse_request():
                return False
        finally:
            self.rfile = stream
        if status := self._refusal(lines):
            self.close_connection = True
            self._fail(
                status, f"This server refuses the Host, the Origin, a header or a length above {MOST_BYTES} bytes."
            )
        return not status

    def _refusal(self, lines: list[bytes]) -> int:
        """Return the status of a request that is refused, else 0."""
        lengths, hosts = (self.headers.get_all(name, []) for name in ("Content-Length", "Host"))
        if (
            lines[-1] not in {b"\r\n", b"\n"}
            or not REQUEST_LINE.fullmatch(lines[0])
            or not all(map(HEADER_LINE.fullmatch, lines[1:-1]))
            or "Transfer-Encoding" in self.headers
            or any(not re.fullmatch("[0-9]+", length.strip(" \t")) for length in lengths)
            or (len(lengths) != 1 if self.command == "POST" else lengths not in ([], ["0"]))  # its body stays unread
            or len(hosts) != 1
        ):
            return 400
        if any(len(length.strip()) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES for length in lengths):
            return 413
        names = (ADDRESS.fullmatch(name.strip().lower()) for name in (*hosts, *self.headers.get_all("Origin", [])))
        return 0 if all(name and name[1] in HOSTS for name in names) else 403

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": NAME, "object": "model"}]})
        else:
            self._fail(404, f"There is no {self.path}.")

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.requests[self] = self.requests[self][0], length
        body = self.rfile.read(length)
        self.requests[self] = float("inf"), length
        reply = {"/predict": predict, "/v1/chat/completions": complete}.get(self.path)
        if reply is None:
            self._fail(404, f"There is no {self.path}.")
            return
        try:
            answer = reply(json.loads(body))
        except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
            self._fail(400, f"The request cannot be read: {'it has no ' * isinstance(error, KeyError)}{error}.")
        else:
            self._send(200, answer)

    def _fail(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message}})

    def _send(self, status: int, document: Any) -> None:
        self.requests[self] = time.monotonic(), 0
        content = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if isinstance(document, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Write no log: questions are private."""


class Server(ThreadingHTTPServer):
    """Closes late requests and, where connections or memory are scarce, the oldest incomplete requests."""

    limit_s, max_bytes, request_queue_size = 20.0, 32 * 2**20, 128  # for a request and the pause before it; of bodies
    max_connections = max(4, min(256, os.sysconf("SC_OPEN_MAX") // 4)) if hasattr(os, "sysconf") else 256

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError:
            time.sleep(0.1)  # without free descriptors, the loop would repeat the error without a pause
            raise

    def verify_request(self, *_: Any) -> bool:
        return len(Handler.requests) < 2 * self.max_connections  # so many only if most are being answered

    def service_actions(self) -> None:
        now, total = time.monotonic(), 0
        for place, (handler, (start, n_bytes)) in enumerate(
            sorted(Handler.requests.copy().items(), key=lambda item: item[1], reverse=True)
        ):
            total += n_bytes
            is_excess = place >= self.max_connections and now - start > 0.1  # a new client needs time to send
            if is_excess or now - start > self.limit_s or (n_bytes and total > self.max_bytes and start <= now):
                with suppress(OSError):
                    handler.connection.shutdown(socket.SHUT_RDWR)


def predict(request: Any) -> dict[str, Any]:
    """Return the answer to `text`, with probabilities where the classifier gives them."""
    text = request["text"]
    if not isinstance(text, str | dict):
        raise TypeError("text must be a string, or an object of variables")
    reply = {"answer": classifier.predict(text)}
    return reply | ({"probabilities": classifier.probabilities(text)} if hasattr(classifier, "probabilities") else {})


def complete(request: Any) -> dict[str, Any] | str:
    """Return the answer to the last message, as OpenAI's protocol has it; its events if they are to be streamed."""
    content = request["messages"][-1]["content"]
    if not isinstance(content, str):
        raise TypeError("content must be a string")
    if request.get("n") not in {None, 1}:
        raise ValueError("n must be 1, because the classifier has one answer to a question")
    answer, streamed = classifier.answer(content), request.get("stream") is True
    reply = {
        "id": NAME,
        "object": "chat.completion.chunk" if streamed else "chat.completion",
        "created": 0,
        "model": NAME,
        "choices": [
            {
                "index": 0,
                "delta" if streamed else "message": {
                    "role": "assistant",
                    "content": answer if isinstance(answer, str) else json.dumps(answer),
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    return f"data: {json.dumps(reply)}\n\ndata: [DONE]\n\n" if streamed else reply


if __name__ == "__main__":
    HOSTS |= {name.lower() for name in sys.argv[2:]}
    with Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever(0.1)
