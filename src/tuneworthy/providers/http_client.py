"""The one HTTP client: JSON to models, encoders, rerankers and served engines; every fault is a `ProviderError`.

Nothing is retried here (the callers do that), redirects are not followed (a key must not travel to another host), no
answer above a size is read, and no message holds the key.

Source: how the vendors' own clients read retry-after-ms, retry-after and x-should-retry
(https://github.com/openai/openai-python/blob/main/src/openai/_base_client.py).
"""

import asyncio
import math
import re
import select
import time
import zlib
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path, PurePath
from typing import IO, Any, ClassVar, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from pydantic import ValidationError
from yarl import URL

from tuneworthy.config.models import ServedModel
from tuneworthy.errors import ProviderError, UserError
from tuneworthy.providers.address import FIX_ADDRESS, check_address
from tuneworthy.providers.base import BaseProvider
from tuneworthy.providers.capabilities import Capabilities, RequestParts, capabilities_for
from tuneworthy.providers.constraints import unwrap
from tuneworthy.providers.keys import Key, read_key
from tuneworthy.providers.usage import cut, mapping, most_bytes
from tuneworthy.redaction import redact_json
from tuneworthy.types import JsonMapping, JsonObject, NamedTexts, Request, Response, TextTuple, positional

# Largest answer that is read unless a client sets its own limit, bytes.
MAX_BODY = 64 * 2**20
_CONNECT_S = 15.0
# Idle connections of a `relay_session` are closed after that, seconds; servers close theirs after 5 or more.
_KEEP_ALIVE_S = 2.0
_RETRYABLE = frozenset({408, 409, 425, 429})
_RATE_LIMIT = frozenset({402, 429, 529})  # 529 is Anthropic's "overloaded"; 402 says that no money is left
_BAD_REQUEST = frozenset({400, 413, 422})
# Errors that have a name and no status, as in a stream or under status 200. Any other is the server's (500).
_STATUSES = {
    **dict.fromkeys(("invalid_request_error", "invalid_prompt", "bio_policy", "data_residency_mismatch"), 400),
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded", "insufficient_quota", "RESOURCE_EXHAUSTED"), 429),
    "overloaded_error": 529,
}
# OpenAI's and Anthropic's words that no money is left.
_NO_MONEY = b"insufficient_quota", b"Your credit balance is too low"
_RETRY_DELAY = re.compile(rb'"retryDelay":\s*"([0-9.]+)s"')
# Exceptions of aiohttp where an answer is not HTTP, breaks off, or is not packed as it says.
_BROKEN = aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError, zlib.error
# Exceptions of the client, the first that fits: its sentence and its code.
_FAULTS: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], str, str]] = (
    (aiohttp.ConnectionTimeoutError, "no connection within {limit_s:g} s: {said}.", "connection"),
    (
        TimeoutError,
        "no response within {limit_s:g} s. If the server needs more time, raise timeout_s.",
        "timeout",
    ),
    (aiohttp.ClientHttpProxyError, "the proxy refused the connection: {said}.", "connection"),
    (_BROKEN, "the response is incomplete or is not valid HTTP: {said}.", "incomplete"),
    (
        (aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL),
        "the connection failed: {said}.",
        "refused",
    ),
    (Exception, "the connection failed: {said}.", "connection"),
)
# Window of zlib that reads both.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")

Method = Literal["GET", "POST"]
Result = TypeVar("Result")
# ``(method, url, headers, body) -> headers`` that are sent in addition, as AWS Signature Version 4 needs.
Sign = Callable[[str, str, NamedTexts, bytes], NamedTexts]


@positional
class HttpAnswer:
    """What came back, whatever its status.

    Attributes:
        status: Of HTTP.
        headers: Case-insensitive mapping.
        body: Bytes, unpacked.
    """

    status: int
    headers: NamedTexts
    body: bytes

    @property
    def accepted(self) -> bool:
        return self.status // 100 == 2


class HttpClient(AbstractAsyncContextManager["HttpClient"]):
    """Sends JSON to one server over kept-alive connections; close it, or use it as a context manager.

    Args:
        base_url: Address that paths are appended to; its query is kept.
        headers: Sent with each request; a bearer token of `key` if None.
        key: Cut out of every message.
        timeout_s: Limit of one request from connecting to the last byte, seconds.
        max_body: Largest answer that is read, bytes.
        sign: Returns the headers that authenticate one request (``method, url, headers, body``); no bearer token then.

    Raises:
        UserError: The address is not an http or https address, holds a secret, or is not the server of `key`.

    Attributes:
        marks: Headers of all requests of this process, such as one that tells a copy from a user's request.
    """

    marks: ClassVar[NamedTexts] = {}

    def __init__(
        self,
        base_url: str,
        *,
        headers: NamedTexts | None = None,
        key: Key | None = None,
        timeout_s: float,
        max_body: int = MAX_BODY,
        sign: Sign | None = None,
    ) -> None:
        self._key, self._sign = key or Key(None), sign
        parts = check_address(base_url, self._key)
        assert parts.hostname
        self.host = parts.hostname
        if headers is None:
            headers = {"Authorization": f"Bearer {self._key.reveal()}"} if self._key and sign is None else {}
        if self._key and self._key.origin not in {None, str(URL(base_url).origin())}:
            raise UserError(f"The API key does not belong to the server {parts.hostname}.", hint=FIX_ADDRESS)
        self._base_url = base_url
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        self._timeout_s, self._max_body = timeout_s, max_body
        self._proxy = proxy_for(parts.scheme, parts.hostname)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(
        self,
        method: Method,
        path: str = "",
        content: Any = None,
        *,
        kind: str = "",
        max_body: int | None = None,
        timeout_s: float | None = None,
        into: IO[bytes] | None = None,
    ) -> HttpAnswer:
        """Send one request and return the answer, whatever its status.

        Args:
            method: Of HTTP.
            path: Appended to the base URL.
            content: Sent as JSON unless None.
            kind: Content type of `content` if that is bytes, sent as they are.
            max_body: Largest answer that is read, bytes; the client's limit if None.
            timeout_s: Limit of this request; the client's if None.
            into: Gets the body of an accepted answer as it comes, keys included; the body of the result is then empty.

        Raises:
            ProviderError: No answer came, or one that is too large.
        """
        try:
            body = content if kind or content is None else orjson.dumps(content)
        except TypeError as error:  # a lone surrogate, or not JSON at all
            raise ProviderError(
                f"{self.host}: the request cannot be encoded as JSON: {error}.", code="bad_request", retryable=False
            ) from None
        url = URL(endpoint(self._base_url, path) if path else self._base_url)
        session = self._session
        if session is None or self._loop is not asyncio.get_running_loop():
            session = await self._open()
        own = {"Content-Type": kind} if kind else {}
        if self._sign:
            own |= self._sign(method, str(url), {**self._headers, **self.marks, **own}, body or b"")
        timeout = self._limit(timeout_s or self._timeout_s)
        try:
            async with session.request(
                method, url, data=body, headers=own, allow_redirects=False, timeout=timeout
            ) as answer:
                return HttpAnswer(answer.status, answer.headers, redact_json(await self._read(answer, max_body, into)))
        except (TimeoutError, aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, zlib.error) as error:
            raise self._fault(error) from None

    async def post(self, content: Any, path: str = "", *, max_body: int | None = None) -> JsonObject:
        """Send `content` as JSON and return the JSON object that comes back.

        Raises:
            ProviderError: No answer came, a refusal, or something else than a JSON object.
        """
        answer = await self.send("POST", path, content, max_body=max_body)
        value = self.read(answer)
        if not isinstance(value, dict):
            raise self.malformed("a JSON object", answer.body)
        if error := value.get("error"):  # some gateways and the Responses API answer 200 and an error
            code = str(next(filter(None, map(mapping(error).get, ("code", "status", "type"))), ""))
            status = int(code) if re.fullmatch("[45][0-9]{2}", code) else _STATUSES.get(code, 500)
            raise self._refusal(status, answer.headers, answer.body)
        return value

    def read(self, answer: HttpAnswer) -> Any:
        """Return the JSON of an answer.

        Raises:
            ProviderError: It is a refusal, or not JSON.
        """
        if not answer.accepted:
            raise self._refusal(answer.status, answer.headers, answer.body)
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            raise self.malformed("a JSON object", answer.body) from None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None and not session.closed:
            await session.close()

    def malformed(self, expected: str, got: bytes | str) -> ProviderError:
        return ProviderError(
            f"{self.host}: expected {expected}, got {self.excerpt(got)}.", code="malformed", retryable=True
        )

    def unreadable(self, expected: str, answer: JsonMapping, error: ValidationError) -> ProviderError:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        return self.malformed(
            expected,
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}, in fields {', '.join(map(str, answer))}",
        )

    def excerpt(self, body: bytes | str, length: int = 200) -> str:
        """Return the start of `body` as one printable line without the key."""
        text = body[: length * 8].decode("utf-8", "replace") if isinstance(body, bytes) else body
        line = _NOT_PRINTABLE.sub(" ", self._key.redact(text)).strip()
        return (line if len(line) <= length else line[: length - 1] + "…") or "an empty response body"

    async def _open(self) -> aiohttp.ClientSession:
        """Open the session of the running event loop (an old loop took its sockets with it)."""
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ttl_dns_cache=300, keepalive_timeout=30, timeout_ceil_threshold=math.inf
            ),
            headers={**self._headers, **self.marks},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # it unpacks without a limit
            proxy=self._proxy,
        )
        return self._session

    @staticmethod
    def _limit(seconds: float) -> aiohttp.ClientTimeout:
        """Return a limit of one request; aiohttp would round times above 5 s up to whole seconds."""
        return aiohttp.ClientTimeout(total=seconds, sock_connect=min(_CONNECT_S, seconds), ceil_threshold=math.inf)

    async def _read(self, answer: aiohttp.ClientResponse, max_body: int | None, into: IO[bytes] | None) -> bytes:
        limit, file = max_body or self._max_body, into if into and answer.ok else BytesIO()
        packed = answer.headers.get("Content-Encoding", "").strip().lower() not in {"", "identity"}
        if (answer.content_length or limit) < limit and not packed and file is not into:
            return await answer.read()
        unpack = zlib.decompressobj(_GZIP_OR_ZLIB) if packed else None
        size = 0
        async for part in answer.content.iter_any():
            size += file.write(unpack.decompress(part, limit + 1 - size) if unpack else part)
            if size > limit:
                raise ProviderError(
                    f"{self.host}: the response is larger than {limit >> 10:,} KiB.", code="malformed", retryable=False
                )
        return file.getvalue() if isinstance(file, BytesIO) else b""

    def _refusal(self, status: int, headers: NamedTexts, body: bytes) -> ProviderError:
        no_money = status == 402 or any(word in body for word in _NO_MONEY)  # waiting does not help
        passes = status in _RETRYABLE or (status >= 500 and status != 501)
        codes = {
            "auth": status == 401 or b'"API_KEY_INVALID"' in body,
            "rate_limit": status in _RATE_LIMIT or no_money,
            "timeout": status == 408,
            "server": passes,
            "bad_request": status in _BAD_REQUEST,
            "refused": True,
        }
        code = next(code for code, applies in codes.items() if applies)
        retryable = not no_money if code == "rate_limit" else passes
        if (wish := headers.get("x-should-retry")) in {"true", "false"}:
            retryable = wish == "true"
        return ProviderError(
            f"{self.host}: {status} {self.excerpt(_message_of(body), 400)}",
            code=code,
            retryable=retryable,
            retry_after_s=retry_after_s(headers, body) if retryable else None,
            status=status,
        )

    def _fault(self, error: Exception) -> ProviderError:
        text, code = next((text, code) for kinds, text, code in _FAULTS if isinstance(error, kinds))
        if isinstance(error, aiohttp.ClientHttpProxyError) and error.status < 500:
            code = "refused"
        said = self.excerpt(str(error) or type(error).__name__).rstrip(".")
        message = f"{self.host}: {text.format(said=said, limit_s=self._timeout_s)}"
        return ProviderError(message, code=code, retryable=code != "refused")


class ChatProtocol(NamedTuple):
    """How a request is answered.

    Attributes:
        path: Below the base URL.
        read: ``(answer, request) -> Response``, which raises a `ValidationError` for another shape.
        expected: The form of an answer, as a noun.
    """

    path: str
    read: Callable[[JsonMapping, Request], Response]
    expected: str


class ServedProvider(BaseProvider):
    """Provider behind one HTTP client; the list of models is at `models_path`.

    Args:
        http: The client.
        identity: See `Provider`.
        capabilities: Parameters and features that the model accepts.
    """

    models_path: ClassVar[str] = "models"

    def __init__(self, http: HttpClient, identity: JsonMapping, capabilities: Capabilities) -> None:
        super().__init__(identity, capabilities)
        self.http = http

    def body(self, request: Request) -> RequestParts:
        """Return the JSON of a request, and the parts left out."""
        raise NotImplementedError

    def protocol(self, request: Request) -> "ChatProtocol":
        raise NotImplementedError

    async def complete(self, request: Request) -> Response:
        body, dropped = self.body(request)
        started = time.perf_counter()
        answer = await self.http.post(body, self.protocol(request).path, max_body=most_bytes(request))
        seconds = time.perf_counter() - started
        return replace(self.read(answer, request, dropped), seconds=seconds)

    def read(self, answer: JsonMapping, request: Request, dropped: TextTuple) -> Response:
        """Return the answer to a request; `dropped` are the parts left out.

        Raises:
            ProviderError: It cannot be read.
        """
        _, read, expected = self.protocol(request)
        try:
            response = read(answer, request)
        except ValidationError as error:
            raise self.http.unreadable(expected, answer, error) from None
        text = cut(response.text, request.max_tokens)
        wrapped = request.output.kind == "choice" and self.capabilities.choice == "wrapped_schema"
        return replace(response, text=unwrap(text) if wrapped else text, dropped=dropped)

    async def probe(self) -> str:
        """Ask the server for its list of models, and return the name of the weights that it serves, "" if unknown.

        Raises:
            ProviderError: No answer came, or a fault of the server.
        """
        answer = await self.http.send("GET", self.models_path)
        if answer.status >= 500:
            self.http.read(answer)
        return weights_of(answer.body, str(self.identity["model"]))

    async def close(self) -> None:
        await self.http.close()


def weights_of(body: bytes, model: str) -> str:
    """Return the last part of the path of a model's weights in a list of models, as vLLM names it; "" without one."""
    with suppress(orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        roots = [row.get("root") or "" for row in orjson.loads(body)["data"] if row["id"] == model]
        return PurePath("".join(roots[:1])).name
    return ""


def server_options(name: str, config: ServedModel, root: Path) -> JsonObject:
    """Return the arguments of a provider of a chat protocol, for its section `[models.NAME]`.

    Raises:
        AuthError: The server is not on this machine, and the environment variable has no key.
    """
    return {
        "base_url": config.base_url,
        "model": config.model,
        "api_key": read_key(
            config.key_variable, url=config.base_url, root=root, owner=f"models.{name}", required=config.hosted
        ),
        "identity": {"provider": config.provider, "model": config.model, "base_url": config.base_url},
        "capabilities": capabilities_for(config),
        "timeout_s": config.timeout_s,
    }


class _OpenConnector(aiohttp.TCPConnector):
    """Reuses no connection whose server has closed it, even if the event loop has yet to notice."""

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) and _is_readable(connection.transport):
            connection.close()
        return connection


def _is_readable(transport: Any) -> bool:
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLIN)
    return bool(poll.poll(0))


def relay_session(*, idle_s: float) -> aiohttp.ClientSession:
    """Open a session that passes on answers unchanged: it adds, unpacks and remembers nothing, and follows no redirect.

    It uses no proxy of the environment: whoever calls names that of the server (`proxy_for`).

    Args:
        idle_s: How long a server may send nothing, seconds.
    """
    return aiohttp.ClientSession(
        connector=_OpenConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=_KEEP_ALIVE_S),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=idle_s),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=2**16,
        max_field_size=2**16,
    )


def blocking(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end from code that is not async: here, or in a thread of its own where a loop runs here.

    An interrupt (of a notebook's cell) cancels it.
    """
    if asyncio._get_running_loop() is None:  # unlike `get_running_loop`, it adds nothing to the traceback of an error
        return asyncio.run(work)
    runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(runner.run, work).result()
        except KeyboardInterrupt:
            for task in asyncio.all_tasks(runner.get_loop()):
                runner.get_loop().call_soon_threadsafe(task.cancel)
            raise
        finally:
            thread.submit(runner.close)


def send_once(
    method: Method,
    url: str,
    *,
    key: Key | None = None,
    timeout_s: float,
    max_body: int = MAX_BODY,
) -> HttpAnswer:
    """Send one request from code that is not async (see `HttpClient.send`).

    Raises:
        UserError: The address is not an http or https address, or it holds a secret.
        ProviderError: No answer came, or one that is too large.
    """

    async def once() -> HttpAnswer:
        async with HttpClient(url, key=key, timeout_s=timeout_s, max_body=max_body) as client:
            return await client.send(method)

    return blocking(once())


def endpoint(base_url: str, path: str) -> str:
    """Append `path` to `base_url`, before its query.

    >>> endpoint("https://host/v1/?api-version=3", "chat/completions")
    'https://host/v1/chat/completions?api-version=3'
    >>> endpoint("https://host/v1/responses?api-version=3", "batches?limit=2")
    'https://host/v1/batches?api-version=3&limit=2'
    """
    parts = urlsplit(base_url)
    above = parts.path.rstrip("/").removesuffix("/responses").removesuffix("/chat/completions")
    path, _, query = path.partition("?")
    query = "&".join(filter(None, (parts.query, query)))
    return urlunsplit((parts.scheme, parts.netloc, f"{above}/{path}", query, ""))


def retry_after_s(headers: NamedTexts, body: bytes = b"") -> float | None:
    """Read how long a server asks to wait: `retry-after-ms`, or `retry-after` as seconds or as a date, or Google's way.

    Args:
        headers: Case-insensitive mapping of an answer's headers.
        body: Of the answer; Google has `retryDelay` there.

    Returns:
        Seconds, at least 0; None if there is no such field or it is unreadable.
    """
    readers: tuple[Callable[[], float], ...] = (
        lambda: float(headers["retry-after-ms"]) / 1000,
        lambda: float(headers["retry-after"]),
        lambda: parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time(),
        lambda: float(_RETRY_DELAY.findall(body)[0]),
    )
    for read in readers:
        with suppress(KeyError, ValueError, TypeError, OverflowError, IndexError, OSError):
            seconds = read()
            return max(0.0, seconds) if math.isfinite(seconds) else None
    return None


def _message_of(body: bytes) -> bytes | str:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    value = mapping(value[0] if isinstance(value, list) and len(value) == 1 else value)  # Gemini sends a list
    parts = [value.get(name) for name in ("error", "message", "detail")]
    texts = (mapping(part).get("message") or mapping(part).get("type") or part for part in parts)
    return next((text for text in texts if isinstance(text, str) and text), body)


def proxy_for(scheme: str, host: str) -> str | None:
    """Return the proxy that the environment names for `host`, looked up once instead of at each request."""
    return None if host in {"localhost", "127.0.0.1", "::1"} or proxy_bypass(host) else getproxies().get(scheme)
