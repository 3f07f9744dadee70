"""Guards of the server of `ui`: an ASGI middleware that refuses a request before any view sees it.

The page and its scripts contain no data and need no token. Everything under `api/` needs it, for reads as for writes.
A refusal gives its reason and the option that fixes it, as JSON or, for a person who opens the page, as a page.

Invariants: no answer has a CORS header; no header of a proxy (`X-Forwarded-*`, `Forwarded`) is trusted; a request that
passes addresses one of the names of `Access`, so a rebound DNS name reaches nothing.

Sources: Fetch Metadata Request Headers (W3C); Content Security Policy Level 3 (W3C); RFC 9110 section 7.2 (Host).
"""

import asyncio
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from json import loads
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuneworthy.types import frozen
from tuneworthy.web.state import Role

MAX_BODY = 2**20
# Of the target and all headers; cookies of other servers on the same host are among them.
MAX_HEAD = 2**15
# Largest number in a query or a body.
MAX_NUMBER = 10**9
# Fields of a body that are no text: their types, in words as well.
FIELDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "seconds": ((int, float), f"a number from 0 to {MAX_NUMBER:,}"),
    "disputed": ((bool,), "true or false"),
}
# Time in which a body must arrive, seconds.
BODY_S = 20.0
# Each field decides who asks or how the body is read, so a second value would be read by one program only.
SINGLE = ("host", "origin", "authorization", "content-type", "content-length", "sec-fetch-site")
PATH = re.compile(r"/(static/[a-z_]+\.(js|css)|api/[a-z0-9]+([_/-][a-z0-9]+)*)?")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?)(:\d{1,5})?")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
# Of the role `expert`: the queue, and the name of the project.
EXPERT = re.compile(r"project|queues?([_/-].*)?")
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@frozen
class Access:
    """Who may use the server, and under which address.

    Attributes:
        token: Needed for everything under `api/`.
        role: `expert` gets the queue only.
        host: The address that the server listens on.
        port: Its port.
        tls: Whether it speaks TLS.
        origin: An address under which a browser reaches it through a proxy, such as `https://name.example`; or "".
    """

    token: str
    role: Role
    host: str
    port: int
    tls: bool = False
    origin: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Host names that a request may address; 0.0.0.0 is not a name of any server."""
        own = f"[{self.host}]" if ":" in self.host else self.host.lower()
        proxy = urlsplit(self.origin).netloc.lower()
        return LOOPBACK | ({own, re.sub(r":\d+$", "", proxy)} - {"0.0.0.0", "[::]", ""})


@dataclass(slots=True)
class Arrival:
    """A request before it is accepted: its head and, for the last guards, its body."""

    method: str
    path: str
    headers: Mapping[str, Sequence[str]]
    size: int
    body: bytes = b""

    @classmethod
    def read(cls, scope: Scope) -> "Arrival":
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
        size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(map(len, chain(*scope["headers"])))
        return cls(scope["method"], scope["raw_path"].decode("latin-1"), headers, size)

    @property
    def api(self) -> str:
        """The name of a view's read or write; "" for the page and its scripts."""
        return self.path.removeprefix("/api/") if self.path.startswith("/api/") else ""

    def header(self, name: str) -> str:
        return self.headers.get(name, ("",))[0]


class RequestRefused(Exception):
    """A request that a guard refuses, with the status and what a person can do."""

    def __init__(self, status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.headers = status, message, hint, headers

    def response(self, *, as_page: bool) -> Response:
        if as_page:
            text = f"<h1>{escape(self.message)}</h1><p>{escape(self.hint)}</p>"
            head = '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>tuneworthy</title>'
            return HTMLResponse(f"{head}<main>{text}</main></html>", self.status, self.headers)
        return JSONResponse({"error": self.message, "hint": self.hint}, self.status, self.headers)


Guard = Callable[[Access, Arrival], None]


def check_form(access: Access, request: Arrival) -> None:
    """Accept plain requests for known kinds of paths; encoded characters and absolute addresses are not known."""
    if request.size > MAX_HEAD:
        raise RequestRefused(431, f"The headers have more than {MAX_HEAD:,} bytes.")
    if not PATH.fullmatch(request.path):
        raise RequestRefused(404, "No such page.", "Open the address that `tuneworthy ui` printed.")
    if repeated := [name for name in SINGLE if len(request.headers.get(name, ())) > 1]:
        raise RequestRefused(400, f"The header {repeated[0]} is repeated.")
    if request.headers.get("upgrade"):
        raise RequestRefused(400, "This server does not change the protocol.")
    if {"content-length", "transfer-encoding"} <= request.headers.keys():
        raise RequestRefused(400, "The length of the body is stated twice.", headers={"Connection": "close"})


def check_method(access: Access, request: Arrival) -> None:
    allowed = ("GET", "POST") if request.api else ("GET",)
    if request.method not in allowed:
        raise RequestRefused(
            405, f"Only {' and '.join(allowed)} are possible here.", headers={"Allow": ", ".join(allowed)}
        )


def check_host(access: Access, request: Arrival) -> None:
    """Refuse other names for this server: DNS can lead any name to a loopback address."""
    host = request.header("host").lower()
    parts = HOST.fullmatch(host)
    if not parts or parts[1] not in access.names:
        scheme = "https" if access.tls or "https" in request.header("x-forwarded-proto") else "http"
        raise RequestRefused(
            403, f"This server does not answer to the address {host[:100]!r}.", _restart(f"{scheme}://{host}")
        )


def check_origin(access: Access, request: Arrival) -> None:
    """Refuse requests from pages of other origins, and writes of unknown origin."""
    origin, host = request.header("origin").lower(), request.header("host").lower()
    if not origin and request.method == "GET":
        return
    scheme = origin.partition("://")[0]
    own = [access.origin.lower(), f"{scheme}://{host}", *(f"{scheme}://{name}:{access.port}" for name in LOOPBACK)]
    if scheme not in {"http", "https"} or _place(origin) not in map(_place, own):
        shown = repr(origin[:100]) if origin else "an unknown origin"
        raise RequestRefused(403, f"This request comes from {shown}, which is not this page.", _restart(origin))


def check_site(access: Access, request: Arrival) -> None:
    """Refuse requests that another page caused; only the page itself can be opened from anywhere, in a tab."""
    site = request.header("sec-fetch-site")
    is_opened = request.header("sec-fetch-mode") == "navigate" and request.header("sec-fetch-dest") == "document"
    if site not in {"", "same-origin"} and not (request.path == "/" and is_opened):
        raise RequestRefused(
            403,
            "Another page caused this request.",
            "Open the address that `tuneworthy ui` printed in a tab of its own; no other page can show or call it.",
        )


def check_token(access: Access, request: Arrival) -> None:
    scheme, _, token = request.header("authorization").partition(" ")
    # Compared as bytes in constant time: the time must not show how many characters are right.
    is_right = hmac.compare_digest(token.encode(), access.token.encode()) and scheme.lower() == "bearer"
    if request.api and not is_right:
        raise RequestRefused(
            401,
            "The token is missing or belongs to another start of `tuneworthy ui`.",
            "Open the address that `tuneworthy ui` printed last, or paste it here.",
            {"WWW-Authenticate": "Bearer"},
        )


def check_role(access: Access, request: Arrival) -> None:
    if access.role == "expert" and request.api and not EXPERT.fullmatch(request.api):
        raise RequestRefused(
            403, "This page is for labelling only.", "For all views, run `tuneworthy ui` without --role."
        )


def check_type(access: Access, request: Arrival) -> None:
    """Accept JSON writes only: a form of another page can send neither this type nor a token."""
    if request.method == "POST" and request.header("content-type").lower() != "application/json":
        raise RequestRefused(415, "A write must have the content type application/json.")
    if request.headers.get("content-encoding"):
        raise RequestRefused(415, "A body must not be compressed.")


def check_json(access: Access, request: Arrival) -> None:
    """Accept one flat JSON object without repeated keys, numbers beyond JSON, or text that no file can contain."""
    if request.method != "POST":
        return
    try:
        orjson.loads(request.body)
        value = loads(request.body, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise RequestRefused(400, "The body is not a JSON object.")
    for name, one in value.items():
        types, words = FIELDS.get(name, ((str,), "a text"))
        if type(one) not in types or (isinstance(one, int | float) and not 0 <= one <= MAX_NUMBER):
            raise RequestRefused(400, f"`{name[:40]}` in the body must be {words}.")


HEAD_GUARDS: tuple[Guard, ...] = (
    check_form, check_method, check_host, check_origin, check_site, check_token, check_role, check_type,
)  # fmt: skip
BODY_GUARDS: tuple[Guard, ...] = (check_json,)


def number_of(query: Mapping[str, Any], name: str) -> int:
    """Return a place in a list; 0 without one.

    Raises:
        RequestRefused: It is no whole number up to `MAX_NUMBER`.
    """
    word = query.get(name) or "0"
    if not word.isdecimal() or len(word) > len(str(MAX_NUMBER)) or int(word) > MAX_NUMBER:
        raise RequestRefused(400, f"`{name}` must be a whole number from 0 to {MAX_NUMBER:,}.")
    return int(word)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key is repeated")
    return found


def _place(address: str) -> tuple[str, int | None]:
    """Return host and port of an address; of one that is not valid, a place that equals no other."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return f"?{address}", None
    return parts.netloc.rpartition(":")[0] if parts.port else parts.netloc, port


def _restart(address: str) -> str:
    scheme, _, place = address.partition("://")
    name = address if scheme in {"http", "https"} and HOST.fullmatch(place) else "https://NAME"
    return f"If you opened this page under this address, run `tuneworthy ui --origin {name}`."


async def _body(receive: Receive, max_body: int) -> bytes | None:
    """Return the body; None if the client left."""
    body, more = bytearray(), True
    async with asyncio.timeout(BODY_S):
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > max_body:
                raise RequestRefused(
                    413, f"The body has more than {max_body:,} bytes.", headers={"Connection": "close"}
                )
    return bytes(body)


class Gate:
    """The application behind all guards.

    Args:
        app: The application.
        access: Who may use it.
        guards: Run before the body is read, in this order.
        body_guards: Run after.
        max_body: Bytes.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        *,
        guards: Iterable[Guard] = HEAD_GUARDS,
        body_guards: Iterable[Guard] = BODY_GUARDS,
        max_body: int = MAX_BODY,
    ) -> None:
        self.app, self.access, self.max_body = app, access, max_body
        self.guards, self.body_guards = tuple(guards), tuple(body_guards)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a websocket is closed before it opens
            raise RuntimeError(f"{scope['type']} is not served")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        request = Arrival.read(scope)
        try:
            for guard in self.guards:
                guard(self.access, request)
            if request.method == "POST":
                body = await _body(receive, self.max_body)
                if body is None:
                    return
                request.body = body
            for guard in self.body_guards:
                guard(self.access, request)
        except (RequestRefused, TimeoutError) as error:
            refusal = (
                error if isinstance(error, RequestRefused) else RequestRefused(408, "The body did not arrive in time.")
            )
            as_page = not request.api and "text/html" in request.header("accept")
            await refusal.response(as_page=as_page)(scope, receive, guarded)
            return
        unread = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self.app(scope, replay if request.method == "POST" else receive, guarded)
