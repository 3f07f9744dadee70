"""`tuneworthy.record`: records the calls of a function, or of a client of OpenAI or Anthropic.

Arguments become JSON before the function runs, its output before the caller has it. Objects that JSON does not know
are recorded by the name of their type only, because a `repr` may contain anything.

Invariant: the caller gets the function's own object or exception, and the function's name and signature stay.
"""

import dataclasses
import inspect
import json
from collections.abc import Callable, Generator
from datetime import date, time
from decimal import Decimal
from enum import Enum
from functools import wraps
from pathlib import Path, PurePath
from typing import Any, TypeVar, overload
from uuid import UUID

from tuneworthy.calls.clients import has_http_client, record_http
from tuneworthy.calls.recorder import MAX_BYTES, NO_JSON, CallSource, LiveCall, SkippedCall, never_raises, recorder_of
from tuneworthy.calls.rows import function_row
from tuneworthy.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_TEXTUAL = (date, time, Decimal, UUID, PurePath)
_NO_CALL = "tuneworthy.record takes the name of a recording, or a client of OpenAI or Anthropic."


@overload
def record(target: str, *, to: str | Path | None = None, share: float = 1.0) -> Callable[[F], F]: ...
@overload
def record(target: T, *, name: str | None = None, to: str | Path | None = None, share: float = 1.0) -> T: ...
def record(target: Any, *, name: str | None = None, to: str | Path | None = None, share: float = 1.0) -> Any:
    """Record calls in a file, masked, from a thread in the background.

    Args:
        target: A name, to get a decorator for a function; or a client of OpenAI or Anthropic.
        name: Of the recording of a client.
        to: The file; by default that of the environment variable `TUNEWORTHY_CALLS`, else `calls.jsonl`.
        share: Of the calls that are recorded, drawn at random; 0 to 1.

    Returns:
        A decorator, or the client.

    Raises:
        UserError: The target is neither, or the share is not between 0 and 1.

    >>> @record("tickets")                             # doctest: +SKIP
    ... def classify(text: str) -> str: ...
    >>> client = record(openai.OpenAI())               # doctest: +SKIP
    """
    if not 0 <= share <= 1:
        raise UserError(f"The share of the calls is {share}, not between 0 and 1.", hint="Example: share=0.1")
    source = CallSource(recorder=recorder_of(to), name=target if isinstance(target, str) else name, share=share)
    if isinstance(target, str):
        return lambda function: _decorated(function, source)
    if not has_http_client(target):
        raise UserError(_NO_CALL, hint='Examples: @tuneworthy.record("tickets") and tuneworthy.record(OpenAI()).')
    record_http(target._client, source)
    return target


def _decorated(function: Any, source: CallSource) -> Any:
    if isinstance(function, classmethod | staticmethod):
        return type(function)(_decorated(function.__func__, source))
    if not callable(function) or inspect.isclass(function):
        raise UserError(f"@tuneworthy.record({source.name!r}) is not on a function.", hint="Decorate its methods.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions in C have no signature
        signature = inspect.signature(lambda *args, **options: None)

    def begun(args: Any, kwargs: Any) -> "FunctionCall":
        call = FunctionCall(source)
        call.begin(signature, args, kwargs)
        return call

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        call = begun(args, kwargs)
        try:
            output = function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        call.end(output)
        return output

    @wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        call = begun(args, kwargs)
        try:
            output = await function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        call.end(output)
        return output

    @wraps(function)
    def generated(*args: Any, **kwargs: Any) -> Any:
        return (yield from _Pieces(begun(args, kwargs), function(*args, **kwargs)))

    @wraps(function)
    async def generated_async(*args: Any, **kwargs: Any) -> Any:
        call, pieces = begun(args, kwargs), function(*args, **kwargs)
        step = pieces.asend(None)
        try:
            while True:
                piece = await step
                call.add(piece)
                try:
                    step = pieces.asend((yield piece))
                except GeneratorExit:
                    await pieces.aclose()
                    raise
                except BaseException as error:
                    step = pieces.athrow(error)
        except StopAsyncIteration:
            call.end_pieces()
        except BaseException as error:
            call.fail(error)
            raise

    if inspect.isasyncgenfunction(function):
        return generated_async
    if inspect.isgeneratorfunction(function):
        return generated
    return awaited if inspect.iscoroutinefunction(function) else called


class FunctionCall(LiveCall):
    """A function that runs."""

    arguments = b""
    n_bytes = 0

    @never_raises
    def begin(self, signature: inspect.Signature, args: Any, kwargs: Any) -> None:
        if not self.is_drawn:
            return
        self.pieces = list[str]()
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # the function is about to say so
            return
        bound.apply_defaults()
        self.arguments = _json(
            {name: value for name, value in bound.arguments.items() if name not in {"self", "cls"}}, _known_or_named
        )

    @never_raises
    def end(self, output: Any) -> None:
        if self.has_ended or not self.is_drawn:
            return
        arguments, result = self.arguments, _json(output, _known)
        self.put(
            len(arguments) + len(result), lambda seconds: self.source.head(seconds) | function_row(arguments, result)
        )

    @never_raises
    def add(self, piece: Any) -> None:
        """Keep a piece of text of a generator."""
        if self.has_ended or not self.is_drawn:
            return
        if not isinstance(piece, str):
            raise SkippedCall("yields other than text")  # a secret could be in several pieces
        self.n_bytes += len(piece)
        if self.n_bytes > MAX_BYTES:
            self.pieces.clear()
            raise SkippedCall("too large")
        self.pieces.append(piece)

    def end_pieces(self) -> None:
        self.end("".join(self.pieces) if self.is_drawn and not self.has_ended else "")


class _Pieces(Generator[Any, Any, Any]):
    """A generator whose pieces are kept as they pass."""

    def __init__(self, call: FunctionCall, inner: Generator[Any, Any, Any]) -> None:
        self.call, self.inner = call, inner

    def send(self, value: Any) -> Any:
        return self._next(lambda: self.inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._next(lambda: self.inner.throw(*error))

    def close(self) -> None:
        self.call.fail(GeneratorExit())
        self.inner.close()

    def _next(self, step: Callable[[], Any]) -> Any:
        try:
            piece = step()
        except StopIteration:
            self.call.end_pieces()
            raise
        except BaseException as error:
            self.call.fail(error)
            raise
        self.call.add(piece)
        return piece


def _json(value: Any, default: Callable[[Any], Any]) -> bytes:
    """Return a value as JSON.

    Raises:
        SkippedCall: It is too large, or JSON cannot represent it.
    """
    left, stack = MAX_BYTES, [value]
    while stack and left > 0:
        one = stack.pop()
        left -= len(one) if isinstance(one, str | bytes) else 8
        if isinstance(one, dict | list | tuple) and (left := left - 8 * len(one)) > 0:
            stack += [*one, *one.values()] if isinstance(one, dict) else one
    try:
        text = json.dumps(value, default=default, allow_nan=False) if left > 0 else ""
    except (TypeError, ValueError, RecursionError):
        raise SkippedCall(NO_JSON) from None
    if not text or len(text) > MAX_BYTES:
        raise SkippedCall("too large")
    return text.encode()


def _known(value: Any) -> Any:
    """Return an object as JSON knows it; raises `TypeError` for one of another type."""
    kind = type(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(kind, "model_dump"):  # Pydantic
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return [*value]
    if isinstance(value, _TEXTUAL):
        return str(value)
    if hasattr(kind, "tolist"):  # NumPy
        return value.tolist()
    raise TypeError


def _known_or_named(value: Any) -> Any:
    try:
        return _known(value)
    except TypeError:
        return f"<{type(value).__name__}>"
