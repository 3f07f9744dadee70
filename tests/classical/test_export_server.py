"""The server of an exported classifier under clients that do not complete their requests, and its streamed answers."""

from __future__ import annotations

import errno
import json
import runpy
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.classical.export import SERVER

CLASSIFIER = "def predict(text):\n    return text\n\nanswer = predict\n"
HALF_HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
HALF_BODY = HALF_HEAD + b"Content-Length: 4000\r\n\r\n{"


def post(path: str, document: Any) -> bytes:
    body = json.dumps(document).encode()
    lines = [b"POST %s HTTP/1.1" % path.encode(), b"Host: localhost", b"Connection: close"]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that runs in a thread, with limits that a test may lower."""
    (tmp_path / "classifier.py").write_text(CLASSIFIER)
    (tmp_path / "server.py").write_bytes(SERVER.read_bytes())
    monkeypatch.setattr(sys, "path", [*sys.path])  # the server removes the first entry
    module = runpy.run_path(str(tmp_path / "server.py"), run_name="server")
    with module["Server"](("127.0.0.1", 0), module["Handler"]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(server: Any, clients: ExitStack, content: bytes) -> socket.socket:
    connection = clients.enter_context(socket.create_connection(server.server_address, timeout=5))
    connection.sendall(content)
    return connection


def read(connection: socket.socket) -> bytes:
    """Return the bytes until the server closes the connection."""
    parts = []
    with suppress(ConnectionError):
        parts += iter(lambda: connection.recv(2**16), b"")
    return b"".join(parts)


def ask(server: Any, clients: ExitStack) -> bytes:
    return read(connect(server, clients, post("/predict", {"text": "a"})))


def wait_until_open(server: Any, n: int) -> None:
    end = time.monotonic() + 5
    while len(server.RequestHandlerClass.requests) != n:
        assert time.monotonic() < end, server.RequestHandlerClass.requests
        time.sleep(0.01)


KEPT = post("/predict", {"text": "a"}).replace(b"close", b"keep-alive")
STARTS = {"nothing": b"", "line": b"P", "head": HALF_HEAD, "body": HALF_BODY, "between two requests": KEPT}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_request_has_a_deadline_however_it_drips(server: Any, clients: ExitStack, start: bytes) -> None:
    server.limit_s = 0.3
    connection, begin = connect(server, clients, start), time.monotonic()
    if start in {HALF_HEAD, HALF_BODY}:
        with suppress(ConnectionError):
            while time.monotonic() < begin + 1.5:
                connection.sendall(b"X")
                time.sleep(0.02)
    read(connection)
    assert 0.2 < time.monotonic() - begin < 1.5
    wait_until_open(server, 0)
    assert ask(server, clients).startswith(b"HTTP/1.1 200")


def test_an_answer_has_no_deadline(server: Any, clients: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    server.limit_s, server.max_connections, server.max_bytes = 0.1, 1, 10
    classifier = server.RequestHandlerClass.do_POST.__globals__["classifier"]
    monkeypatch.setattr(classifier, "predict", lambda text: time.sleep(0.4) or text)
    assert ask(server, clients).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("start", [b"P", HALF_HEAD, HALF_BODY], ids=["line", "head", "body"])
def test_the_oldest_incomplete_requests_make_room_for_new_clients(
    server: Any, clients: ExitStack, start: bytes
) -> None:
    server.max_connections = 5
    old = [connect(server, clients, start) for _ in range(5)]
    wait_until_open(server, 5)
    time.sleep(0.12)
    new = [connect(server, clients, start) for _ in range(3)]
    assert not any(read(connection).startswith(b"HTTP/1.1 200") for connection in old[:3])
    wait_until_open(server, 5)
    for connection in (old[-1], *new):
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
    assert ask(server, clients).startswith(b"HTTP/1.1 200")


def test_the_cap_applies_to_connections_that_are_answered(
    server: Any, clients: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.max_connections, end = 2, threading.Event()
    classifier = server.RequestHandlerClass.do_POST.__globals__["classifier"]
    monkeypatch.setattr(classifier, "predict", lambda text: str(end.wait(5)))
    answers = []
    for n in range(4):
        answers.append(connect(server, clients, post("/predict", {"text": "a"})))
        wait_until_open(server, n + 1)
    assert read(connect(server, clients, post("/predict", {"text": "a"}))) == b""
    end.set()
    assert all(read(connection).startswith(b"HTTP/1.1 200") for connection in answers)


def test_the_cap_is_a_share_of_the_descriptors(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for n_files, n in ((8, 4), (64, 16), (10**6, 256)):
        monkeypatch.setattr("os.sysconf", lambda _, n_files=n_files: n_files)
        path = str(Path(server.RequestHandlerClass.do_POST.__code__.co_filename))
        assert runpy.run_path(path, run_name="server")["Server"].max_connections == n


def test_bodies_have_a_memory_limit_and_the_oldest_are_closed(server: Any, clients: ExitStack) -> None:
    server.max_bytes = 10_000
    head = connect(server, clients, HALF_HEAD)
    wait_until_open(server, 1)
    old = connect(server, clients, HALF_BODY)
    wait_until_open(server, 2)
    new = [connect(server, clients, HALF_BODY) for _ in range(2)]
    assert not read(old).startswith(b"HTTP/1.1 200")
    wait_until_open(server, 3)
    rest = b'"text": "a"}'.ljust(3999)
    for connection in new:
        connection.sendall(rest + b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert read(connection).startswith(b"HTTP/1.1 200")
    head.sendall(b"Connection: close\r\nContent-Length: 13\r\n\r\n" + b'{"text": "a"}')
    assert read(head).startswith(b"HTTP/1.1 200")


def test_a_head_has_a_memory_limit(server: Any, clients: ExitStack) -> None:
    lines = [b"X: " + b"a" * 30_000] * 3
    content = post("/predict", {"text": "a"}).replace(b"Host:", b"\r\n".join([*lines, b"Host:"]))
    assert not read(connect(server, clients, content)).startswith(b"HTTP/1.1 200")


def test_an_error_in_accepting_is_not_repeated_without_a_pause(
    server: Any, clients: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def accept() -> Any:
        calls.append(1)
        raise OSError(errno.EMFILE, "Too many open files")

    door = server.socket
    server.socket = type("Door", (), {"accept": staticmethod(accept), "close": door.close})()
    waiting = connect(server, clients, post("/predict", {"text": "a"}))
    time.sleep(0.4)
    server.socket = door
    assert 1 <= len(calls) <= 6
    assert read(waiting).startswith(b"HTTP/1.1 200")


def test_a_streamed_answer_is_one_chunk_and_the_end(server: Any, clients: ExitStack) -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "Bo \N{HOT BEVERAGE}"}]}
    head, _, body = read(connect(server, clients, post("/v1/chat/completions", chat | {"stream": True}))).partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 200") and b"Content-Type: text/event-stream" in head
    chunk, end, rest = body.split(b"\n\n")
    assert (end, rest) == (b"data: [DONE]", b"")
    document = json.loads(chunk.removeprefix(b"data: "))
    assert document["object"] == "chat.completion.chunk"
    delta = {"role": "assistant", "content": "Bo \N{HOT BEVERAGE}"}
    assert document["choices"] == [{"index": 0, "delta": delta, "finish_reason": "stop"}]


@pytest.mark.parametrize(("more", "status"), [({"n": 3}, 400), ({"n": 0}, 400), ({"n": [1]}, 400), ({"n": 1}, 200),
                                              ({"n": None, "stream": False}, 200)])  # fmt: skip
def test_only_one_answer_to_a_question_is_given(
    server: Any, clients: ExitStack, more: dict[str, Any], status: int
) -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "Bo"}]} | more
    reply = read(connect(server, clients, post("/v1/chat/completions", chat)))
    assert reply.startswith(b"HTTP/1.1 %d" % status)
    assert b"Content-Type: application/json" in reply


def test_answers_of_a_reused_connection_are_sent_at_once(server: Any) -> None:
    accepted: list[socket.socket] = []
    server.shutdown_request, close = accepted.append, server.shutdown_request
    with closing(HTTPConnection(*server.server_address, timeout=5)) as client:
        for _ in range(3):
            client.request("POST", "/predict", '{"text": "a"}')
            assert client.getresponse().read()
    while not accepted:
        time.sleep(0.01)
    assert accepted[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    close(accepted[0])
