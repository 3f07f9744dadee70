"""A canary in the loop of a test: proxy, worker, production and candidate; 62 candidates and 37 clients."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from tests.shadow.servers import CHAT, Call, Script, chunk, parts, post, proxied, raw, said, upstream
from tests.shadow.traffic import write_traffic_project
from tuneworthy.config import load
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.shadow.canary import CanaryState, LiveCanary, is_chat_answer
from tuneworthy.shadow.copies import Copies, CopyHead, WorkerReport
from tuneworthy.shadow.proxy import ShadowProxy
from tuneworthy.shadow.worker import Worker, WorkerOrder

KEY = "Authorization: Bearer good"
JSON, EVENTS = "Content-Type: application/json", "Content-Type: text/event-stream"
HEAD = f"HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
STREAM = f"HTTP/1.1 200 OK\r\n{EVENTS}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def completion(message: Any, ending: Any = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": ending}
    return orjson.dumps({"id": "x", "choices": [choice if ending else {"message": message}], **more})


def spoken(text: Any, ending: Any = "stop", **more: Any) -> bytes:
    return completion({"role": "assistant", "content": text}, ending, **more)


def event(**choice: Any) -> bytes:
    return chunk(b"data: " + orjson.dumps({"choices": [{"index": 0, **choice}]}) + b"\n\n")


FIRST, LAST = event(delta={"role": "assistant", "content": "red"}), event(delta={}, finish_reason="stop")
PACKED = gzip.compress(spoken("red"))
FINE = raw(spoken("red"), JSON)
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
# Candidates whose answer is valid, as far as it can be read: users may get it.
VALID: dict[str, Script] = {
    "good": [FINE],
    "wrong id and role": [raw(completion({"role": "user", "content": "red"}, id=7, object=[]), JSON)],
    "no finish reason": [raw(spoken("red", None), JSON)],
    "wrong content type": [raw(spoken("red"), "Content-Type: text/html")],
    "bytes after the end": [FINE + b"HTTP/1.1 200 OK\r\n\r\nmore"],
    "trailers": [HEAD + chunk(spoken("red")) + b"0\r\nX-Evil: 1\r\n\r\n"],
    "headers of an account": [raw(spoken("red"), JSON, "Set-Cookie: a=b", "X-Key: sk-secret")],
    "two choices": [
        raw(orjson.dumps({"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}] * 2}), JSON)
    ],
    "gzip": [raw(PACKED, JSON, "Content-Encoding: gzip")],
    "NUL bytes in a text": [raw(spoken("red\x00"), JSON)],
}
INVALID: dict[str, Script] = {
    "error in 200": [raw(b'{"error": {"message": "no"}}', JSON)],
    "error and choices": [raw(spoken("red", error={"message": "no"}), JSON)],
    "HTML": [raw(b"<html>no</html>", "Content-Type: text/html")],
    "empty body": [raw(b"", JSON)],
    "no content": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "no choices": [raw(b'{"choices": []}', JSON)],
    "null choices": [raw(b'{"choices": null}', JSON)],
    "null message": [raw(completion(None), JSON)],
    "null content": [raw(spoken(None), JSON)],
    "empty content": [raw(spoken("  "), JSON)],
    "nothing to be seen": [raw(spoken("\u200b\u2060 \u00ad"), JSON)],
    "deep JSON": [raw(b"[" * 100_000, JSON)],
    "drip": [HEAD, *[chunk(b" "), 0.1] * 100],
    "flood": [HEAD, *[chunk(b" " * 65536)] * 1000],
    "hang": [60.0],
    "hang in the body": [HEAD, chunk(b'{"choices'), 60.0],
    "closes at once": [],
    "dies in the body": [FINE[:-9]],
    "redirect": [raw(b"", "Location: /elsewhere", status="302 Found")],
    **{f"status {n}": [raw(spoken("red"), JSON, status=f"{n} X")] for n in (400, 401, 404, 429, 500, 503)},
    "gzip bomb": [raw(gzip.compress(b" " * 50_000_000), JSON, "Content-Encoding: gzip")],
    "wrong encoding": [raw(spoken("red"), JSON, "Content-Encoding: gzip")],
    "unknown encoding": [raw(b"\x8b\x00\x80red\x03", JSON, "Content-Encoding: br")],
    "truncated gzip": [raw(PACKED[:-20], JSON, "Content-Encoding: gzip")],
    "two lengths": [FINE.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1)],
    "NUL bytes": [raw(b"\x00" * 99, JSON)],
    "no UTF-8": [raw(spoken("red").replace(b"red", b"\xff\xfe"), JSON)],
    "content a number": [raw(spoken(7), JSON)],
    "content a list": [raw(spoken([1, None]), JSON)],
    "tool_calls a dict": [raw(completion({"role": "assistant", "tool_calls": CALL}), JSON)],
    "a call of no tool": [raw(completion({"role": "assistant", "tool_calls": [CALL]}, "tool_calls"), JSON)],
    "finish error": [raw(spoken("red", "error"), JSON)],
    "finish content_filter": [raw(spoken("red", "content_filter"), JSON)],
    "finish length": [raw(spoken("red", "length"), JSON)],
    "more tokens than allowed": [raw(spoken("red " * 90_000), JSON)],
    "JSON twice": [raw(spoken("red") * 2, JSON)],
    "not HTTP": [b"SSH-2.0\r\n\r\n"],
    "1xx flood": [*[b"HTTP/1.1 102 Processing\r\n\r\n"] * 2000, 60.0],
    "huge header": [b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 10**6 + b"\r\n\r\n"],
    "events for JSON": [STREAM, FIRST, LAST, chunk(b"data: [DONE]\n\n"), chunk(b"")],
    "events, error first": [STREAM, chunk(b'data: {"error": {"message": "no"}}\n\n'), chunk(b"")],
    "events, error inside": [STREAM, FIRST, chunk(b'data: {"error": {}}\n\n'), chunk(b"")],
    "events without end": [STREAM, FIRST, 60.0],
    "endless events": [STREAM, *[FIRST] * 20_000],
    "huge event": [STREAM, event(delta={"content": "a" * 5_000_000}), chunk(b"")],
    "comments only": [STREAM, *[chunk(b": ping\n\n"), 0.05] * 200],
    "slow start": [5.0, FINE],
    "slow drip": [HEAD, *[part for byte in spoken("red") for part in (chunk(bytes([byte])), 0.05)], chunk(b"")],
}
BEHAVIOURS: Mapping[str, Script] = VALID | INVALID


def production(call: Call) -> Script:
    """An API that answers those who have its key, streamed or not."""
    if ("authorization", "Bearer good") not in call.headers:
        return [raw(b'{"error": {"message": "no"}}', JSON, status="401 Unauthorized")]
    if orjson.loads(call.body).get("stream"):
        return [STREAM, event(delta={"content": "blue"}), LAST, chunk(b"data: [DONE]\n\n"), chunk(b"")]
    return [raw(spoken("blue"), JSON)]


class WorkerHere(Copies):
    """Copies whose worker is in this process."""

    def __init__(self) -> None:
        super().__init__(lambda _: [], most=1000, log=Path("/dev/null"))
        self.ready, self.worker, self.tasks = True, None, set[asyncio.Task[None]]()

    def start(self) -> None: ...

    def begin(self, worker: Worker) -> None:
        self.worker = worker
        worker._report = lambda **report: self._note(WorkerReport(**report))  # type: ignore[method-assign]

        class Pipe:
            def write(_, data: bytes) -> None:
                start, _, rest = data[8:].partition(b"\n")
                head = CopyHead(**orjson.loads(start))
                task = asyncio.create_task(worker._answer(head, rest[: head.n], rest[head.n :]))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

            transport = type("Transport", (), {"get_write_buffer_size": staticmethod(lambda: 0)})

        self._process = type("Process", (), {"stdin": Pipe(), "returncode": 0})()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()


@dataclass
class Bench:
    """A running canary.

    Attributes:
        address: Of the proxy.
        app: The proxy.
        copies: Its copies.
        worker: Asks the candidate.
        asked: Calls of the candidate.
        calls: Calls of production.
        candidate: Answers of the candidate.
        production: Answers of production.
    """

    address: str
    app: ShadowProxy
    copies: WorkerHere
    worker: Worker
    asked: list[Call]
    calls: list[Call]
    scripts: dict[str, Callable[[Call], Script]]
    numbers: Any = field(default_factory=count)

    def renew(self, share: float | None, wait_s: float = 8.0) -> None:
        """Begin a new canary at a share; None for shadow mode."""
        self.asked.clear()
        self.calls.clear()
        self.copies.on_verdict = str
        self.app.share = 1.0 if share is None else 0.0
        state = CanaryState(variant=self.worker.candidate.id, share=share or 0.0)
        folder = self.worker.session.folder
        self.app.canary = LiveCanary(folder, state, self.copies, session_header=b"x-session-id") if share else None
        if self.app.canary:
            self.app.canary.wait_s = wait_s

    @property
    def canary(self) -> LiveCanary:
        assert self.app.canary
        return self.app.canary

    async def ask(
        self, *headers: str, session: str = "", path: str = CHAT, text: str = "", wait_s: float = 20.0, **fields: Any
    ) -> bytes:
        """Return the raw answer to a user's question, which is a new one."""
        number = next(self.numbers)
        question = {"model": "m", "messages": [{"role": "user", "content": text or f"item {number} thing"}], **fields}
        session = f"X-Session-Id: {session or number}"
        return await said(self.address, post(question, path, session, *(headers or (KEY,))), wait_s=wait_s)


def is_whole(answer: bytes, *, streamed: bool = False) -> bool:
    """Whether a user got a complete and valid answer."""
    line, _, body = parts(answer)
    return line.startswith("HTTP/1.1 200") and is_chat_answer(body, "", streamed=streamed) is True


def of_candidate(answer: bytes) -> bool:
    return b'"red' in answer


@asynccontextmanager
async def bench(root: Path, *, timeout_s: float = 4.0) -> AsyncIterator[Bench]:
    """Start all four; `scripts` says how candidate and production answer."""
    scripts: dict[str, Callable[[Call], Script]] = {"candidate": lambda _: VALID["good"], "production": production}
    write_traffic_project(root, "equal")
    path = root / "tuneworthy.toml"
    async with (
        upstream(lambda call: [*scripts["candidate"](call)]) as (address, asked),
        upstream(lambda call: [*scripts["production"](call)]) as (main, calls),
    ):
        model = f'provider = "openai"\nmodel = "m"\nbase_url = "{address}/v1"\ntimeout_s = {timeout_s}\nretries = 0\n'
        text = path.read_text().replace('provider = "scripted"\nfunction = "world.py:equal"', model, 1)
        assert model in text
        path.write_text(text.replace(model, model + 'api_key_env = ""\n'))
        copies = WorkerHere()
        async with open_session(load(root), beside=True) as session, proxied(main, copies) as (proxy, app):
            candidate = resolve(session, "current")
            worker = Worker(session, candidate, WorkerOrder(str(root), "current", 1e9, canary=True), 1)
            copies.begin(worker)
            yield Bench(proxy, app, copies, worker, asked, calls, scripts)


@dataclass(frozen=True)
class Request:
    """A user's request: headers, path, and fields of the body."""

    headers: tuple[str, ...] = (KEY,)
    path: str = CHAT
    fields: Mapping[str, Any] = field(default_factory=dict)
    session: str = "s"


def strict(call: Call) -> tuple[Any, ...]:
    """All that an API may look at, except the session and the messages."""
    own = {"content-length", "x-session-id", "x-request-id", "host", "connection"}
    body = orjson.loads(call.body)
    body.pop("messages")
    return call.line, sorted(one for one in call.headers if one[0] not in own), body


BASIC = "Authorization: Basic Z29vZA=="
# What production accepted, and what it refuses.
REFUSED: dict[str, tuple[Request, Request]] = {
    name: (Request(tuple(before)), Request(tuple(after)))
    for name, before, after in [
        ("no key", [KEY], ["X-A: 1"]),
        ("another key", [KEY], ["Authorization: Bearer other"]),
        ("the key in another header", [KEY], ["X-Api-Key: good"]),
        ("the key in a third header", [KEY], ["Api-Key: good"]),
        ("the scheme in lower case", [KEY], ["Authorization: bearer good"]),
        ("the scheme in upper case", [KEY], ["Authorization: BEARER good"]),
        ("the key in upper case", [KEY], ["Authorization: Bearer GOOD"]),
        ("two spaces", [KEY], ["Authorization: Bearer  good"]),
        ("another scheme", [KEY], [BASIC]),
        ("an empty key", [KEY], ["Authorization:"]),
        ("a blank key", [KEY], ["Authorization:   "]),
        ("a scheme without key", [KEY], ["Authorization: Bearer"]),
        ("the key and more", [KEY], [f"{KEY}2"]),
        ("a second key behind", [KEY], [KEY, "Authorization: Bearer other"]),
        ("a second key before", [KEY], ["Authorization: Bearer other", KEY]),
        ("a second kind of key", [KEY], [KEY, "Api-Key: other"]),
        ("one of two keys", [KEY, "Api-Key: a"], [KEY]),
        ("keys exchanged", [KEY, "Api-Key: a"], ["Authorization: a", "Api-Key: Bearer good"]),
        ("a cookie less", ["Cookie: a=1"], ["X-A: 1"]),
        ("another cookie", ["Cookie: a=1"], ["Cookie: a=2"]),
        ("another organisation", [KEY, "OpenAI-Organization: a"], [KEY, "OpenAI-Organization: b"]),
        ("another project", [KEY, "OpenAI-Project: a"], [KEY, "OpenAI-Project: b"]),
        ("a header of a gateway", [KEY, "Ocp-Apim-Subscription-Key: a"], [KEY, "Ocp-Apim-Subscription-Key: b"]),
        ("another address", [KEY, "X-Forwarded-For: 10.0.0.1"], [KEY, "X-Forwarded-For: 8.8.8.8"]),
        ("another origin", [KEY, "Origin: https://a"], [KEY, "Origin: https://b"]),
        ("another program", [KEY, "User-Agent: a"], [KEY, "User-Agent: b"]),
        ("a key for one connection", [KEY], ["Proxy-Authorization: Bearer good"]),
        ("a key that Connection names", [KEY], [KEY, "Connection: Authorization"]),
    ]
}
REFUSED |= {
    name: (Request((KEY,), **before), Request((KEY,), **after))
    for name, before, after in [
        ("another key in the query", {"path": f"{CHAT}?key=a"}, {"path": f"{CHAT}?key=b"}),
        ("no key in the query", {"path": f"{CHAT}?key=a"}, {}),
        ("another version", {"path": f"{CHAT}?v=1"}, {"path": f"{CHAT}?v=2"}),
        ("another model", {"fields": {"model": "cheap"}}, {"fields": {"model": "dear"}}),
        ("another user", {"fields": {"user": "a"}}, {"fields": {"user": "b"}}),
        ("a key in the body", {"fields": {"api_key": "a"}}, {"fields": {"api_key": "b"}}),
        ("another tag", {"fields": {"metadata": {"t": 1}}}, {"fields": {"metadata": {"t": 2}}}),
        ("a temperature out of range", {"fields": {"temperature": 1}}, {"fields": {"temperature": 9}}),
        ("another path", {"path": "/v1/responses"}, {}),
    ]
}
# Answers of production that admit nobody.
NOT_ADMITTING: dict[str, Script] = {
    **{f"status {n}": [raw(spoken("blue"), JSON, status=f"{n} X")] for n in (201, 302, 400, 401, 402, 403, 429, 500)},
    **{name: INVALID[name] for name in ("error in 200", "error and choices", "HTML", "empty body", "empty content")},
    **{
        name: INVALID[name]
        for name in ("closes at once", "dies in the body", "unknown encoding", "events, error first")
    },
}
