"""Recording at the HTTP client of an OpenAI or Anthropic client, of any version: only its `send` is replaced.

All methods, streams, raw responses, retries and copies of a client (`with_options`) send through it. A streamed answer
is kept as the program reads it.

Invariant: the program gets the response of its own HTTP client, and its exceptions.
"""

import inspect
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

from tuneworthy.calls.recorder import MAX_BYTES, CallSource, LiveCall, never_raises
from tuneworthy.calls.rows import exchange_row, path_of
from tuneworthy.redaction import keys_in

_SOURCE = "tuneworthy_source"


def has_http_client(client: object) -> bool:
    """Whether an object is a client of OpenAI or Anthropic, by its HTTP client."""
    return callable(getattr(getattr(client, "_client", None), "send", None))


def record_http(http: Any, source: CallSource) -> None:
    """Record the calls of an HTTP client from now on; of two sources the last one counts."""
    earlier = vars(http).get("send")
    own: Callable[..., Any] | None = getattr(earlier, _SOURCE, earlier)
    kind, this = type(http), weakref.ref(http)  # no cycle: a client that is not closed is closed once it is not used

    def original(*args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs) if own else kind.send(this(), *args, **kwargs)

    def send(request: Any, *args: Any, **kwargs: Any) -> Any:
        call = HttpCall(source)
        call.begin(request)
        try:
            response = original(request, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        call.answer(response, "iter_bytes")
        return response

    async def send_async(request: Any, *args: Any, **kwargs: Any) -> Any:
        call = HttpCall(source)
        call.begin(request)
        try:
            response = await original(request, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        call.answer(response, "aiter_bytes")
        return response

    replacement = send_async if inspect.iscoroutinefunction(kind.send) else send
    setattr(replacement, _SOURCE, own)
    http.send = replacement


class HttpCall(LiveCall):
    """A request on its way."""

    @never_raises
    def begin(self, request: Any) -> None:
        if not self.is_drawn:
            return
        self.url, self.n_bytes = str(request.url), 0
        if request.method != "POST" or not path_of(request.url.path):
            self.skip("other path")
            return
        self.body, self.parts, self.streamed = request.content, list[bytes](), False
        self.keys = keys_in(request.headers.items(), self.url)

    @never_raises
    def answer(self, response: Any, reader: str) -> None:
        """Record the answer: at once, or as the program reads it through the method `reader` of the response."""
        if self.has_ended or not self.is_drawn:
            return
        if response.status_code != 200:
            self.skip(f"status {response.status_code}")
            return
        self.streamed = response.headers.get("content-type", "").startswith("text/event-stream")
        try:
            self._add(response.content)
        except Exception:  # it is not read yet
            tee = self._tee if reader == "iter_bytes" else self._tee_async

            def read(*args: Any, **kwargs: Any) -> Any:
                del vars(response)[reader]
                return tee(getattr(response, reader)(*args, **kwargs))

            setattr(response, reader, read)
            weakref.finalize(response, self.end)
        else:
            self.end()

    def _tee(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        try:
            for part in parts:
                self._add(part)
                yield part
        except BaseException as error:
            self.end(error)
            raise
        self.end()

    async def _tee_async(self, parts: Any) -> AsyncIterator[bytes]:
        try:
            async with aclosing(parts):
                async for part in parts:
                    self._add(part)
                    yield part
        except BaseException as error:
            self.end(error)
            raise
        self.end()

    def _add(self, part: bytes) -> None:
        self.n_bytes += len(part)
        if self.n_bytes + len(self.body) <= MAX_BYTES:
            self.parts.append(part)

    @never_raises
    def end(self, error: BaseException | None = None) -> None:
        """Record what was read; who leaves a stream after its last event (`GeneratorExit`) has the whole answer."""
        if error and not isinstance(error, GeneratorExit):
            self.fail(error)
        size = self.n_bytes + len(self.body)
        if size > MAX_BYTES:
            self.skip("too large")
        url, body, parts, streamed, keys = self.url, self.body, self.parts, self.streamed, self.keys
        self.put(
            size,
            lambda seconds: (
                self.source.head(seconds) | exchange_row(url, body, b"".join(parts), streamed=streamed, keys=keys)
            ),
        )
