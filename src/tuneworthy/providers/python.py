"""A pipeline of the user's own as a function ``(input) -> str``, sync (in a thread) or async.

The function gets the case's `input`, or its `messages` where it has those instead. It may return a
string, a `Response`, or any JSON value. An exception is an error of this one case.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from inspect import isawaitable, iscoroutinefunction
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from tuneworthy.config.models import Python
from tuneworthy.errors import ProviderError
from tuneworthy.functions import as_answer, last_line, load_function, plain, source_hash, whole
from tuneworthy.providers.base import BaseProvider, provider
from tuneworthy.providers.capabilities import capabilities_of, filter_parameters
from tuneworthy.providers.usage import token_count
from tuneworthy.types import JsonMapping, Request, Response, TextTuple, text_of


class PythonProvider(BaseProvider):
    """Answers through `function`.

    Args:
        function: ``(input) -> str | Response | JSON value``, sync or async.
        identity: What determines the answers (see `Provider`).
        timeout_s: Limit of one call, seconds; a thread that exceeds it is left behind, as it cannot be stopped.
    """

    def __init__(self, function: Callable[[Any], Any], *, identity: JsonMapping, timeout_s: float = 60.0) -> None:
        super().__init__(identity, capabilities_of("python", ""))
        self._function, self._timeout_s = function, timeout_s

    async def complete(self, request: Request) -> Response:
        _, dropped = filter_parameters(self.capabilities, request.decoding)
        argument = list(request.messages) if request.payload is None else request.payload
        started = time.perf_counter()
        return as_response(
            await call(self._function, argument, self._timeout_s),
            seconds=time.perf_counter() - started,
            dropped=dropped,
        )


class CallableProvider(PythonProvider):
    """Gives `function` the prompt as text; whatever fails is a fault of this one case, and never of the provider."""

    async def complete(self, request: Request) -> Response:
        started = time.perf_counter()
        try:
            answer = await call(self._function, text_of(request.messages[-1]), self._timeout_s)
            value = whole(plain(answer))
            if value is None or (isinstance(value, float) and math.isnan(value)):
                raise ProviderError(f"The model returned {answer}, not an answer.", code="pipeline", retryable=False)
            return as_response(value, seconds=time.perf_counter() - started, dropped=())
        except ProviderError as error:
            raise ProviderError(error.message, code="bad_request", retryable=False) from error


async def call(function: Callable[[Any], Any], argument: Any, timeout_s: float) -> Any:
    """Call `function`, in a thread of its own if it is not async.

    Raises:
        ProviderError: `timeout`; or `pipeline` with the last line of the exception. A `ProviderError` that
            the function raises passes.
    """
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            if iscoroutinefunction(function):
                return await function(argument)
            answer = await _in_thread(function, argument)
            return await answer if isawaitable(answer) else answer
    except ProviderError as error:
        raise of_pipeline(error) from None
    except (Exception, SystemExit) as error:
        if limit.expired():
            raise ProviderError(
                f"The function did not return within {timeout_s:g} s. If it needs more time, raise timeout_s.",
                code="timeout",
                retryable=True,
            ) from None
        raise ProviderError(last_line(error), code="pipeline", retryable=False) from error


def of_pipeline(error: ProviderError) -> ProviderError:
    """Return `error` as one of a pipeline, whose answer may change once it is fixed."""
    if error.code == "bad_request":
        error.code = "pipeline"
    return error


def as_response(answer: Any, *, seconds: float, dropped: TextTuple = ()) -> Response:
    if isinstance(answer, Response):
        return replace(
            answer,
            seconds=answer.seconds or seconds,
            dropped=answer.dropped + dropped,
            input_tokens=token_count(answer.input_tokens),
            output_tokens=token_count(answer.output_tokens),
            cached_tokens=token_count(answer.cached_tokens),
        )
    return Response(text=as_answer(answer), seconds=seconds, dropped=dropped)


class _Stopped(Exception):
    """A function of the user's own called `sys.exit` or raised another non-error."""


# Calls for the threads, and how many threads wait for one; a thread that hangs is left behind.
_CALLS: Final[SimpleQueue[tuple[Callable[[Any], Any], Any, Future[Any]]]] = SimpleQueue()
_WAITING: Final = threading.Semaphore(0)


async def _in_thread(function: Callable[[Any], Any], argument: Any) -> Any:
    """Run `function` in a daemon thread: one that hangs must not keep the process from ending."""
    done = Future[Any]()
    done.set_running_or_notify_cancel()  # a waiter that gives up changes nothing here
    if not _WAITING.acquire(blocking=False):
        threading.Thread(target=_serve, daemon=True, name="tuneworthy-pipeline").start()
    _CALLS.put((function, argument, done))
    return await asyncio.wrap_future(done)


def _serve() -> None:
    while True:
        _settle(*_CALLS.get())


def _settle(function: Callable[[Any], Any], argument: Any, done: Future[Any]) -> None:
    try:
        answer = function(argument)
    except BaseException as error:  # it must reach the waiter, whatever it is
        raised = isinstance(error, Exception) and not isinstance(error, StopIteration | CancelledError)
        _WAITING.release()
        done.set_exception(error if raised else _Stopped(last_line(error)))
    else:
        _WAITING.release()
        done.set_result(answer)


@provider("python")
def open_python(name: str, config: Python, root: Path) -> PythonProvider:
    """Open `[models.NAME]` with ``provider = "python"``.

    Raises:
        UserError: The function cannot be loaded.
    """
    function = load_function(config.function, root)
    return PythonProvider(
        function,
        identity={"provider": "python", "function": config.function, "source": source_hash(function)},
        timeout_s=config.timeout_s,
    )
