"""`shadow proxy`: an ASGI app between users and a model's API, which copies a share of the sessions to a candidate.

Requests and answers go through as bytes, streamed or not; only headers that concern one connection are left out. Where
an answer is read, production is asked for a coding that can be read. A copy is handed over once the user has the whole
answer, or it is dropped (`shadow.copies`).

Invariants: a user's answer never waits for a copy and never fails because of one; no header of a request is sent to the
candidate or stored; an answer that the upstream breaks off is broken off for the user too, and never looks complete.

Source: RFC 9110 section 7.6.1 (headers of one connection), RFC 9112 section 6 (length of a message).
"""

import asyncio
import ipaddress
import re
import secrets
import time
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import unquote

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from tuneworthy.cases.stratified import is_drawn
from tuneworthy.errors import UserError
from tuneworthy.providers.address import check_address
from tuneworthy.providers.http_client import proxy_for, relay_session
from tuneworthy.redaction import keys_in
from tuneworthy.shadow import messages
from tuneworthy.shadow.canary import CHAT, LiveCanary, Visit, is_chat_answer
from tuneworthy.shadow.copies import LARGE, MARK, MOST_BYTES, OUTCOMES, CopyHead, CopySink
from tuneworthy.shadow.protocols import STREAMS, session_name
from tuneworthy.types import Texts, positional

HEALTH, METRICS = b"/-/health", b"/-/metrics"
# Total bytes of request and answer bodies that are kept for copies; further bodies are passed on as they come.
MAX_KEPT = 128 * 2**20
# Of all headers of a request together, bytes.
MAX_HEADERS = 64 * 2**10
# Of the path and the query of a request, bytes.
MOST_TARGET = 16 * 2**10
# How long the upstream may send nothing, seconds.
IDLE_S = 600.0
# Whether a user leaves is watched only while an answer takes longer than this, seconds.
_WATCH_S = 0.05
_ONE_CONNECTION = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade expect http2-settings".split()
)
_MARK = next(iter(MARK)).lower().encode()
_COUNTED = (b"content-length", b"transfer-encoding", b"host")
# Unlikely depth of percent-encoding in a path.
_MAX_DECODINGS = 4
# A decoded path that some server could take for one outside its folder: two dots at an end of a name, as `..;`.
_CLIMBS = re.compile(r"[\x00-\x1f\x7f]|%u|(?<!\w)\.\.|\.\.(?!\w)", re.IGNORECASE)
# Codings of an answer that can be read here (`unpacked`), with their weights.
_READABLE = re.compile(
    rb"(?:^|,)\s*((?:gzip|deflate|identity)(?:\s*;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[\d.]+)?)\s*(?=,|$)", re.IGNORECASE
)
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})

Headers = Sequence[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _Refused(Exception):
    """A request that is answered here, by a status and a sentence."""

    def __init__(self, status: int, name: str, **values: Any) -> None:
        self.status, self.message = status, messages.say(name, **values)


# What can go wrong between the proxy and a server.
_FAULTS = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, TimeoutError, OSError)


def _refusal(error: Exception, where: URL) -> _Refused:
    status, name = (504, "upstream_late") if isinstance(error, TimeoutError) else (502, "upstream_down")
    return _Refused(status, name, host=where.host, error=type(error).__name__)


class _Gone(Exception):
    """The user closed the connection."""


class _BrokenOff(_Gone):
    """The upstream closed the connection within an answer."""


@positional
class UserRequest:
    """Head of a request.

    Attributes:
        method: Of HTTP.
        path: Undecoded.
        query: Without `?`.
        headers: Names in lower case.
        length: Of the body, bytes; None if it is not stated.
    """

    method: str
    path: bytes
    query: bytes
    headers: Headers
    length: int | None

    @property
    def target(self) -> str:
        return (self.path + (b"?" + self.query if self.query else b"")).decode("latin-1")

    @property
    def copied_path(self) -> str:
        """The path if its requests are copied, else ""; a copy that came back here is not copied again."""
        name = self.path.decode("latin-1")
        is_ours = any(header == _MARK for header, _ in self.headers)
        return name if self.method == "POST" and name in STREAMS and not is_ours else ""


class ShadowProxy:
    """The app.

    Args:
        upstream: Address of the API in use; what users ask for is appended to it.
        copies: Takes the copies.
        share: Of the sessions that are copied.
        seed: Of the draw.
        header: Name of the header that names a session, lower case.
        canary: Decides which requests the candidate answers; None if production answers all.

    Attributes:
        fault: Why it did not start; None if it did.

    Raises:
        UserError: The address is not an http or https address, has more than a path, or contains a secret.
    """

    def __init__(
        self,
        upstream: str,
        copies: CopySink,
        *,
        share: float,
        seed: int,
        header: bytes,
        canary: LiveCanary | None = None,
    ) -> None:
        parts = check_address(upstream)
        if parts.query or parts.fragment:
            raise UserError(
                f"The address of the API at {parts.hostname} has a query or a fragment.",
                hint="Pass the address without what follows ? or #.",
            )
        self.fault: Exception | None = None
        self.upstream = upstream.rstrip("/").removesuffix("/v1")
        self.has_prefix = bool(parts.path.strip("/").removesuffix("v1"))
        self.pseudonym = b"tuneworthy-" + secrets.token_hex(8).encode()  # in `Via`: a request that has it came back
        self.copies, self.canary, self.share, self.seed, self.header = copies, canary, share, seed, header
        self.requests: Counter[str] = Counter()
        self.open_requests = 0
        self.upstream_s = 0.0
        self._client: aiohttp.ClientSession
        self._proxy_for = lru_cache(proxy_for)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            self.open_requests += 1
            try:
                await self._serve(scope, receive, send)
            except _Refused as refusal:
                await self._answer(
                    send,
                    refusal.status,
                    b"application/json",
                    orjson.dumps(
                        {"error": {"message": refusal.message, "type": "tuneworthy_proxy", "code": refusal.status}}
                    ),
                )
            except _Gone:  # the server closes the connection of an answer that was not completed
                pass
            finally:
                self.open_requests -= 1

    async def _live(self, receive: Receive, send: Send) -> None:
        event = (await receive())["type"]
        try:
            self.copies.start()
        except Exception as error:
            self.fault = error
            await send({"type": f"{event}.failed"})
            return
        self._client = relay_session(idle_s=IDLE_S)
        await send({"type": f"{event}.complete"})
        event = (await receive())["type"]
        await self.copies.close()
        await self._client.close()
        await send({"type": f"{event}.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        if path in {HEALTH, METRICS} and not ipaddress.ip_address(scope["client"][0]).is_loopback:
            raise _Refused(404, "no_such_path")
        if path == HEALTH:
            copies = self.copies.enough or ("ready" if self.copies.ready else "starting")
            why = self.canary and self.canary.state.rolled_back
            shift = self.canary and (
                messages.say("rolled_back", why=why, by=self.canary.state.production)
                if why
                else f"{self.canary.share:.0%}"
            )
            await self._answer(
                send,
                200,
                b"application/json",
                orjson.dumps({"status": "ok", "copies": copies, "verdict": self.copies.verdict, "canary": shift}),
            )
        elif path == METRICS:
            await self._answer(send, 200, b"text/plain; version=0.0.4", self._metrics().encode())
        else:
            with _Kept() as kept:
                await self._pass_on(_checked(path, scope), receive, send, kept)

    async def _pass_on(self, request: UserRequest, receive: Receive, send: Send, kept: "_Kept") -> None:
        """Pass a request on, and hand a copy over if its session is one of those that are copied."""
        if self.has_prefix and climbs(request.path):
            raise _Refused(400, "path_climbs")
        if any(name == b"via" and self.pseudonym in value for name, value in request.headers):
            raise _Refused(508, "loop")
        length, body = request.length, None
        if (request.copied_path or length is not None) and (length or 0) <= MOST_BYTES:
            body, receive = await _read(receive, kept)
        where = URL(self.upstream + request.target, encoded=True)
        headers = [*_end_to_end(request.headers, with_length=body is None), (b"via", b"1.1 " + self.pseudonym)]
        if tee := self._tee(request, headers, body, kept):
            headers = [
                (name, (name == b"accept-encoding" and b", ".join(_READABLE.findall(value))) or value)
                for name, value in headers
            ]
        try:
            await self._relay(request.method, where, headers, body, receive=receive, send=send, tee=tee)
        except (_BrokenOff, _Refused):
            self._pass_by(tee, "failed upstream")
            raise
        except _Gone:  # some clients leave at the last event of a stream: the child sees it
            if not tee or not tee.streamed:
                self._pass_by(tee, "left early")
                raise
        if tee:
            tee.hand_over(self.copies)

    def _pass_by(self, tee: "_Tee | None", why: str) -> None:
        if tee and tee.copied:
            self.copies.pass_by(why)

    def _tee(self, request: UserRequest, headers: Headers, body: bytes | None, kept: "_Kept") -> "_Tee | None":
        """Return how the answer is kept, for a copy or for the canary; None if neither needs it."""
        path, visit = request.copied_path, None
        if body is None or not path or len(body) > MOST_BYTES:
            self.copies.pass_by(LARGE if path else "other path")
            return None
        session = session_name(
            next((value for name, value in request.headers if name == self.header), b"").decode("latin-1"), body
        )
        if self.canary and path == CHAT:
            visit = self.canary.visit(session, request.target, headers, body)
        copied = is_drawn(self.seed, f"copy {session}", self.share)
        if not copied and not visit:
            return None
        tee = _Tee(path, session, body, kept, visit, copied=copied)
        if self.copies.redacts:
            headers_read = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
            tee.keys = keys_in(headers_read, request.target)
        return tee

    async def _relay(
        self,
        method: str,
        where: URL,
        headers: Headers,
        body: bytes | None,
        *,
        receive: Receive,
        send: Send,
        tee: "_Tee | None" = None,
    ) -> None:
        """Send a request to `where`, and the answer to the user, part by part.

        Args:
            method: Of the request.
            where: Address that is called.
            headers: Those that are sent.
            body: None if it is passed on as it comes.
            receive: Receives the user's request.
            send: Sends to the user.
            tee: Gets the answer too.

        Raises:
            _Refused: There is no answer.
            _Gone: The user left; the upstream is told by a closed connection.
        """
        has_begun = False
        watch = _Watch(receive)
        data = _parts_of(receive, watch.start) if body is None else body or None
        if body is not None:
            watch.start()
        try:
            if tee and await self._answer_by_candidate(tee, send):
                return
            # without an answer it may still have been acted on: the session sends it again only if its method is
            # idempotent (RFC 9110 section 9.2.2)
            started, sent = time.perf_counter(), _as_sent(headers)
            async with self._client.request(
                method,
                where,
                headers=sent,
                data=data,
                allow_redirects=False,
                proxy=self._proxy_for(where.scheme, where.host or ""),
            ) as answer:
                self.upstream_s += time.perf_counter() - started
                self.requests[f"{answer.status // 100}xx"] += 1
                await send(
                    {
                        "type": "http.response.start",
                        "status": answer.status,
                        "headers": _end_to_end(answer.raw_headers, with_length=True),
                    }
                )
                has_begun = True
                if tee:
                    tee.begin(answer)
                await _send_body(answer, send, tee, watch)
        except asyncio.CancelledError:
            if not watch.is_gone:
                raise
            watch.task.uncancel()
            self.requests["gone"] += 1
            raise _Gone from None
        except _FAULTS as error:
            self.requests["broken" if has_begun else "unreachable"] += 1
            raise (_BrokenOff() if has_begun else _refusal(error, where)) from None
        finally:
            watch.end()
            if tee and tee.visit and self.canary:
                valid = tee.is_valid()
                if watch.is_gone:  # it is not known how the answer would have ended
                    valid = valid or None
                self.canary.note(tee.visit, tee.status, time.monotonic() - tee.started, valid=valid)

    async def _answer_by_candidate(self, tee: "_Tee", send: Send) -> bool:
        """Return whether the candidate answered; otherwise nothing was sent, and production has to answer."""
        visit = tee.visit
        if not self.canary or not visit or tee.copied or not (answer := await self.canary.answer(visit, tee.body)):
            return False
        tee.visit = None
        self.requests["candidate"] += 1
        await self._answer(
            send, 200, b"text/event-stream" if answer.startswith(b"data:") else b"application/json", answer
        )
        return True

    async def _answer(self, send: Send, status: int, kind: bytes, body: bytes) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", kind), (b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def _metrics(self) -> str:
        copies = self.copies
        names = dict.fromkeys((*OUTCOMES, *copies.counts))
        figures: list[tuple[str, str, Iterable[tuple[str, float]]]] = [
            (
                "proxy_requests_total",
                "counter",
                ((f'{{result="{name}"}}', n) for name, n in sorted(self.requests.items())),
            ),
            ("proxy_open_requests", "gauge", [("", self.open_requests)]),
            ("proxy_upstream_seconds_total", "counter", [("", self.upstream_s)]),
            (
                "shadow_copies_total",
                "counter",
                ((f'{{outcome="{name}"}}', copies.counts[name]) for name in names),
            ),
            ("shadow_copies_in_flight", "gauge", [("", copies.in_flight)]),
            ("shadow_confidence_alert", "gauge", [("", int(copies.alert))]),
            ("shadow_cost_usd_total", "counter", [("", copies.usd)]),
            ("canary_share", "gauge", [("", self.canary.share if self.canary else 0.0)]),
            ("canary_rolled_back", "gauge", [("", int(bool(self.canary and self.canary.state.rolled_back)))]),
        ]
        lines = []
        for name, kind, rows in figures:
            lines += [f"# TYPE tuneworthy_{name} {kind}", *(f"tuneworthy_{name}{labels} {n}" for labels, n in rows)]
        return "\n".join(lines) + "\n"


class _Watch:
    """Cancels the task that answers a user once the user leaves; an answer that is fast is not watched."""

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task
        self.task, self.receive, self.is_gone = task, receive, False
        self._leaving: asyncio.Future[MutableMapping[str, Any]] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_WATCH_S, self._begin)

    def _begin(self) -> None:
        self._leaving = asyncio.ensure_future(self.receive())
        self._leaving.add_done_callback(self._leave)

    def _leave(self, _: object) -> None:
        self.is_gone = True
        self.task.cancel()

    def end(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._leaving:
            self._leaving.remove_done_callback(self._leave)
            self._leaving.cancel()


class _Kept(AbstractContextManager["_Kept"]):
    """Bytes of a request and its answer that are kept for a copy, and of all requests.

    Attributes:
        size: Of this request and its answer, bytes.
        total: Of all requests, bytes.
    """

    total: ClassVar[int] = 0

    def __init__(self) -> None:
        self.size = 0

    def add(self, part: bytes) -> bool:
        """Count a part, and return whether all parts are within `MAX_KEPT`."""
        self.size += len(part)
        _Kept.total += len(part)
        return _Kept.total <= MAX_KEPT

    def __exit__(self, *_: object) -> None:
        _Kept.total -= self.size


class _Tee:
    """Keeps an answer of production, as far as it may be copied; `visit` is for the canary that sees it."""

    def __init__(self, path: str, session: str, body: bytes, kept: _Kept, visit: Visit | None, *, copied: bool) -> None:
        self.path, self.session, self.body, self.kept, self.is_whole = path, session, body, kept, True
        self.visit, self.copied, self.started = visit, copied, time.monotonic()
        self.status, self.size, self.streamed, self.encoding = 0, 0, False, ""
        self.parts: list[bytes] = []
        self.keys: Texts = ()

    def begin(self, answer: aiohttp.ClientResponse) -> None:
        self.status = answer.status
        self.streamed = answer.headers.get("Content-Type", "").startswith("text/event-stream")
        self.encoding = answer.headers.get("Content-Encoding", "").strip().lower()

    def add(self, part: bytes) -> None:
        self.size += len(part)
        self.is_whole = self.is_whole and self.size <= MOST_BYTES and self.kept.add(part)
        if self.is_whole:
            self.parts.append(part)
        else:
            self.parts.clear()

    def hand_over(self, copies: CopySink) -> None:
        """Hand the request and its answer over, if the session is copied and the answer is whole."""
        if self.copied and not self.is_whole:
            copies.count(LARGE)
        elif self.copied and self.status != 200:
            copies.pass_by(f"status {self.status}")
        elif self.copied:
            head = CopyHead(
                path=self.path, session=self.session, streamed=self.streamed, encoding=self.encoding,
                seconds=time.monotonic() - self.started, keys=self.keys,
            )  # fmt: skip
            copies.offer(head, self.body, b"".join(self.parts))

    def is_valid(self) -> bool | None:
        """Whether it is a whole answer of a chat API; None if this cannot be seen."""
        if self.status == 200 and not self.is_whole:
            return None
        return self.status == 200 and is_chat_answer(b"".join(self.parts), self.encoding, streamed=self.streamed)


async def _send_body(answer: aiohttp.ClientResponse, send: Send, tee: _Tee | None, watch: _Watch) -> None:
    """Send the parts of an answer as they come; the last one ends it, if it is known to be the last."""
    more = True
    async for part in answer.content.iter_any():
        if not (more := not answer.content.at_eof()):
            watch.end()
        await send({"type": "http.response.body", "body": part, "more_body": more})
        if tee:
            tee.add(part)
    if more:
        watch.end()
        await send({"type": "http.response.body", "body": b""})


async def _read(receive: Receive, kept: _Kept) -> tuple[bytes | None, Receive]:
    """Return the body of a request, None if it is too large to be kept; and a function that receives the remainder.

    Raises:
        _Gone: The user left.
    """
    events = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Gone
        events.append(event)
        has_room = kept.add(event.get("body", b"")) and kept.size <= MOST_BYTES
        if not event.get("more_body", False):
            return b"".join(one.get("body", b"") for one in events), receive
        if not has_room:
            break

    async def receive_all() -> MutableMapping[str, Any]:
        return events.pop(0) if events else await receive()

    return None, receive_all


async def _parts_of(receive: Receive, end: Callable[[], None]) -> AsyncIterator[bytes]:
    """Yield the parts of a request's body, and call `end` after the last one.

    Raises:
        _Gone: The user left.
    """
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Gone
        yield event.get("body", b"")
        more = event.get("more_body", False)
    end()


def climbs(path: bytes) -> bool:
    """Whether some server could read a path as one outside its folder, however it decodes and normalises it."""
    try:
        text, before = path.decode(), ""
        for _ in range(_MAX_DECODINGS):
            text, before = unquote(text, errors="strict"), text
    except UnicodeDecodeError:  # as the overlong %c0%ae, a dot to some servers
        return True
    return text != before or bool(_CLIMBS.search(unicodedata.normalize("NFKC", text)))


def _checked(path: bytes, scope: Scope) -> UserRequest:
    """Return the head of a request.

    Raises:
        _Refused: The request may not be passed on.
    """
    headers: Headers = scope["headers"]
    method, version, query = scope["method"], scope["http_version"], scope["query_string"]
    lengths, codings, hosts = ([value for name, value in headers if name == counted] for counted in _COUNTED)
    refusals = (
        (method in _REFUSED_METHODS, 405, "method_refused"),
        (version not in {"1.0", "1.1"}, 505, "bad_version"),
        (not path.startswith(b"/"), 400, "bad_path"),
        (len(path) + len(query) > MOST_TARGET, 414, "target_too_long"),
        (sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS, 431, "headers_too_large"),
        (len(lengths) + len(codings) > 1 or not all(map(bytes.isdigit, lengths)), 400, "bad_length"),
        (len(hosts) > 1 or (not hosts and version == "1.1"), 400, "bad_host"),
    )
    for applies, status, name in refusals:
        if applies:
            raise _Refused(status, name, method=method, version=version, target=MOST_TARGET, headers=MAX_HEADERS)
    return UserRequest(method, path, query, headers, int(lengths[0]) if lengths else None if codings else 0)


def _as_sent(headers: Headers) -> CIMultiDict[str]:
    """Return headers as aiohttp takes them: it sends UTF-8, so that UTF-8 bytes stay unchanged."""
    fields: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("latin-1")
        fields.add(name.decode("latin-1"), text)
    return fields


def _end_to_end(headers: Iterable[tuple[bytes, bytes]], *, with_length: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that do not concern one connection, names in lower case.

    Args:
        headers: Of a request or an answer.
        with_length: Whether the length of the body is passed on; else whoever sends the body says it.
    """
    lower = [(name.lower(), value) for name, value in headers]
    named = {part.strip().lower() for name, value in lower if name == b"connection" for part in value.split(b",")}
    left_out = _ONE_CONNECTION | named | {b"host"} | (set() if with_length else {b"content-length"})
    return [(name, value) for name, value in lower if name not in left_out]
