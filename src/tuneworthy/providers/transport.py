"""JSON over HTTP for all network providers: one session, one POST, every fault a classified `ProviderError`.

Nothing is retried here (the runner does that), redirects are not followed (a key must not travel to another
host), and no message holds the key.

Source: facts.md section E (retry-after-ms, retry-after, x-should-retry as the vendors' own clients read them).
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from yarl import URL

from tuneworthy.errors import ProviderError
from tuneworthy.providers.address import check_address
from tuneworthy.providers.keys import Key

MAX_BODY = 64 * 2**20
"""Largest answer that is read, bytes."""
_CONNECT_S = 15.0
_RETRYABLE = frozenset({408, 409, 425, 429})
_RATE_LIMIT = frozenset({402, 429, 529})  # 529 is Anthropic's "overloaded"; 402 says that no money is left
_BAD_REQUEST = frozenset({400, 413, 422})
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")


class Transport:
    """Posts JSON to one address over kept-alive connections.

    Args:
        url: The address.
        headers: Sent with each request beside the content type.
        key: Cut out of every message.
        timeout_s: Limit of one request from connecting to the last byte, seconds.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str], key: Key, timeout_s: float) -> None:
        parts = check_address(url, key)
        assert parts.hostname
        self.host = parts.hostname
        self._url = URL(url)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        self._key = key
        self._timeout_s = timeout_s
        self._proxy = _proxy_for(parts.scheme, parts.hostname)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, content: Any) -> dict[str, Any]:
        """Send `content` as JSON and return the JSON object that comes back.

        Raises:
            ProviderError: No answer, an answer that says no, or one that is no JSON object.
        """
        try:
            sent = orjson.dumps(content)
        except TypeError as error:  # a lone surrogate, or no JSON at all
            message = f"{self.host}: expected a question that is JSON, got {error}"
            raise ProviderError(message, code="bad_request", retryable=False) from None
        session = self._session
        if session is None or self._loop is not asyncio.get_running_loop():
            session = await self._open()
        try:
            async with session.post(self._url, data=sent, allow_redirects=False) as answer:
                body = await self._read(answer)
                if answer.status // 100 != 2:
                    raise self._refusal(answer.status, answer.headers, body)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._fault(error) from None
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise self.malformed("a JSON object", self.excerpt(body)) from None
        if not isinstance(value, dict):
            raise self.malformed("a JSON object", self.excerpt(body))
        if value.get("error"):  # some gateways answer 200 and an error
            raise self._refusal(_status_of(value["error"]), answer.headers, body)
        return value

    async def close(self) -> None:
        """Close the connections; a later `post` opens new ones."""
        session, self._session = self._session, None
        if session is not None and not session.closed:
            await session.close()

    def malformed(self, expected: str, got: str) -> ProviderError:
        """Return the error for an answer that is not what the protocol says."""
        return ProviderError(f"{self.host}: expected {expected}, got {got}", code="malformed", retryable=True)

    def excerpt(self, body: bytes | str, length: int = 200) -> str:
        """Return the start of `body` as one printable line without the key."""
        text = body[: length * 8].decode("utf-8", "replace") if isinstance(body, bytes) else body
        line = _NOT_PRINTABLE.sub(" ", self._key.redact(text)).strip()
        return (line if len(line) <= length else line[: length - 1] + "…") or "an empty body"

    async def _open(self) -> aiohttp.ClientSession:
        """Open the session of the running event loop (an old loop took its sockets with it)."""
        connector = aiohttp.TCPConnector(
            limit=0, ttl_dns_cache=300, keepalive_timeout=30, timeout_ceil_threshold=math.inf
        )
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(  # aiohttp would round what is above 5 s up to whole seconds
                total=self._timeout_s, sock_connect=min(_CONNECT_S, self._timeout_s), ceil_threshold=math.inf
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._proxy,
        )
        return self._session

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """Read the body, but not more of it than `MAX_BODY` (it may be packed, or have no declared length)."""
        if (answer.content_length or MAX_BODY) < MAX_BODY and "Content-Encoding" not in answer.headers:
            return await answer.read()
        parts, size = [], 0
        async for part in answer.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise ProviderError(f"{self.host}: expected an answer below {MAX_BODY >> 20} MiB, got more",
                                    code="malformed", retryable=False)  # fmt: skip
        return b"".join(parts)

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Classify an answer that says no."""
        told = self.excerpt(_message_of(body), 400)
        retryable = status in _RETRYABLE or status >= 500
        if status == 401:
            code = "auth"
        elif status in _RATE_LIMIT:
            code = "rate_limit"
            retryable = status != 402 and b"insufficient_quota" not in body  # without money waiting does not help
        elif status == 408:
            code = "timeout"
        elif retryable:
            code = "server"
        else:
            code = "bad_request" if status in _BAD_REQUEST else "refused"
        if (wish := headers.get("x-should-retry")) in {"true", "false"}:
            retryable = wish == "true"
        return ProviderError(f"{self.host}: {status} {told}", code=code, retryable=retryable,
                             retry_after_s=retry_after_s(headers) if retryable else None)  # fmt: skip

    def _fault(self, error: Exception) -> ProviderError:
        """Classify an exception of the connection."""
        told = self.excerpt(str(error) or type(error).__name__)
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return ProviderError(f"{self.host}: no connection in time: {told}", code="connection", retryable=True)
        if isinstance(error, TimeoutError):
            return ProviderError(f"{self.host}: expected an answer in {self._timeout_s:g} s, got none; raise timeout_s "
                                 "if it needs longer", code="timeout", retryable=True)  # fmt: skip
        if isinstance(error, aiohttp.ClientHttpProxyError):
            code = "connection" if error.status >= 500 else "refused"
            return ProviderError(f"{self.host}: the proxy says {told}", code=code, retryable=code == "connection")
        if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
            return ProviderError(f"{self.host}: broken answer: {told}", code="malformed", retryable=True)
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL):
            return ProviderError(f"{self.host}: {told}", code="refused", retryable=False)
        return ProviderError(f"{self.host}: {told}", code="connection", retryable=True)


def endpoint(base_url: str, path: str) -> str:
    """Append `path` to `base_url`, before its query.

    >>> endpoint("https://host/v1/?api-version=3", "chat/completions")
    'https://host/v1/chat/completions?api-version=3'
    """
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{path}", parts.query, ""))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read how long a server wants to be left alone: `retry-after-ms`, or `retry-after` as seconds or as a date.

    Args:
        headers: Case-insensitive mapping of an answer's headers.

    Returns:
        Seconds, at least 0; None if it does not say, or says something unreadable.
    """
    try:
        return _finite(float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    told = headers.get("retry-after", "")
    try:
        return _finite(float(told))
    except ValueError:
        pass
    try:
        return _finite(parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _finite(seconds: float) -> float | None:
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _message_of(body: bytes) -> bytes | str:
    """Find the words in an error body: OpenAI's, Anthropic's, FastAPI's, or whatever stands there."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if isinstance(value, dict):
        for name in ("error", "message", "detail"):
            told = value.get(name)
            if isinstance(told, dict):
                told = told.get("message") or told.get("type")
            if isinstance(told, str) and told:
                return told
    return body


def _status_of(error: Any) -> int:
    """Read the status in an error that came with status 200; 500 if there is none."""
    code = error.get("code") or error.get("status") if isinstance(error, dict) else None
    status = int(code) if isinstance(code, int | str) and str(code).isdecimal() else 500
    return status if 400 <= status < 600 else 500


def _proxy_for(scheme: str, host: str) -> str | None:
    """Return the proxy that the environment names for `host`, looked up once instead of at each request."""
    if host in {"localhost", "127.0.0.1", "::1"} or proxy_bypass(host):
        return None
    return getproxies().get(scheme)
