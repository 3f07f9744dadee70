"""A recorded function is the same function; its calls are recorded, or skipped with a reason."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

import tuneworthy
from tests.calls.servers import reasons, written
from tuneworthy.errors import UserError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


class Ticket(BaseModel):
    text: str
    urgent: bool = False


@dataclasses.dataclass
class Order:
    number: int
    ticket: Ticket


class Kind(Enum):
    REFUND = "refund"


def plain(text: str, *, style: str = "short") -> dict[str, Any]:
    """Classify."""
    return {"label": text, "style": style}


def test_arguments_and_output_are_recorded_with_the_defaults(path: Path) -> None:
    recorded = tuneworthy.record("tickets", to=path)(plain)
    output = recorded("late parcel")
    assert output == {"label": "late parcel", "style": "short"}
    (row,) = written(path)
    assert row["input"] == {"text": "late parcel", "style": "short"} and row["output"] == output
    assert row["name"] == "tickets" and 0 <= row["seconds"] < 1 and abs(row["written"] - time.time()) < 60


def test_a_function_keeps_its_name_its_signature_and_its_kind(path: Path) -> None:
    async def awaited(a: int) -> int:
        return a

    def pieces(a: int) -> Iterator[str]:
        yield "x"

    async def awaited_pieces(a: int) -> AsyncIterator[str]:
        yield "x"

    for function in (plain, awaited, pieces, awaited_pieces):
        recorded: Any = tuneworthy.record("a", to=path)(function)
        assert (recorded.__name__, recorded.__doc__) == (function.__name__, function.__doc__)
        assert inspect.signature(recorded) == inspect.signature(function)
        for kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert kind(recorded) is kind(function)


@tuneworthy.record("pickled", share=0)
def importable(a: int) -> int:
    return a


def test_a_recorded_function_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(importable)) is importable


def test_the_caller_gets_the_object_of_the_function_and_its_exception(path: Path) -> None:
    result, error = object(), ValueError("with a secret-4711")

    @tuneworthy.record("a", to=path)
    def returns() -> object:
        return result

    @tuneworthy.record("a", to=path)
    def fails() -> None:
        raise error

    assert returns() is result
    with pytest.raises(ValueError, match="secret") as raised:
        fails()
    assert raised.value is error and error.__cause__ is None and error.__context__ is None
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'text'"):
        tuneworthy.record("a", to=path)(plain)()  # type: ignore[call-arg]
    assert sorted(reasons(path)) == ["failed: TypeError", "failed: ValueError", "no JSON"]
    assert "4711" not in path.read_text()


def test_methods_are_recorded_without_self(path: Path) -> None:
    class Bot:
        key = "sk-1"

        @tuneworthy.record("m", to=path)
        def method(self, a: int) -> int:
            return a

        @tuneworthy.record("m", to=path)
        @classmethod
        def of_class(cls, a: int) -> int:
            return a

        @classmethod
        @tuneworthy.record("m", to=path)
        def of_class_inside(cls, a: int) -> int:
            return a

        @tuneworthy.record("m", to=path)
        @staticmethod
        def static(a: int) -> int:
            return a

    assert (Bot().method(1), Bot.of_class(2), Bot().of_class_inside(3), Bot().static(4)) == (1, 2, 3, 4)
    assert [row["input"] for row in written(path)] == [{"a": n} for n in range(1, 5)]


def test_objects_of_common_libraries_become_json_and_others_their_type(path: Path) -> None:
    class Session:
        def __repr__(self) -> str:
            raise AssertionError("never called")

    @tuneworthy.record("a", to=path)
    def work(*args: Any, **more: Any) -> Any:
        return Order(7, Ticket(text="b"))

    work(Ticket(text="a"), Kind.REFUND, {1}, Path("x"), np.float64(0.5), np.arange(2), session=Session())
    (row,) = written(path)
    assert row["input"] == {
        "args": [{"text": "a", "urgent": False}, "refund", [1], "x", 0.5, [0, 1]], "more": {"session": "<Session>"},
    }  # fmt: skip
    assert row["output"] == {"number": 7, "ticket": {"text": "b", "urgent": False}}


def test_arguments_are_recorded_as_they_were_before_the_call(path: Path) -> None:
    @tuneworthy.record("a", to=path)
    def work(turns: list[str]) -> str:
        turns.append("changed")
        return "x"

    work(["first"])
    assert written(path)[0]["input"] == {"turns": ["first"]}


def test_a_coroutine_is_recorded_and_a_cancelled_one_is_skipped(path: Path) -> None:
    @tuneworthy.record("a", to=path)
    async def work(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"

    async def main() -> None:
        assert await work(0) == "done"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work(60), 0.01)

    asyncio.run(main())
    assert written(path)[0]["output"] == "done" and reasons(path) == ["cancelled"]


def test_the_text_of_a_generator_is_recorded_as_one(path: Path) -> None:
    @tuneworthy.record("a", to=path)
    def pieces(n: int) -> Any:
        heard = yield "a"
        try:
            yield heard
        except KeyError:
            yield "caught"
        return "result"

    def outer() -> Any:
        return (yield from pieces(1))

    inner = outer()
    assert [next(inner), inner.send("b"), inner.throw(KeyError("x"))] == ["a", "b", "caught"]
    with pytest.raises(StopIteration) as stop:
        next(inner)
    assert stop.value.value == "result"
    (row,) = written(path)
    assert row["output"] == "abcaught" and row["input"] == {"n": 1}


def test_the_text_of_an_async_generator_is_recorded_as_one(path: Path) -> None:
    @tuneworthy.record("a", to=path)
    async def pieces(n: int) -> Any:
        heard = yield "a"
        try:
            yield heard
        except KeyError:
            yield "caught"

    async def main() -> None:
        inner = pieces(1)
        assert await anext(inner) == "a"
        assert await inner.asend("b") == "b"
        assert await inner.athrow(KeyError("x")) == "caught"
        with pytest.raises(StopAsyncIteration):
            await anext(inner)

    asyncio.run(main())
    assert written(path)[0]["output"] == "abcaught"


def test_a_generator_that_ends_early_is_skipped_and_is_closed(path: Path) -> None:
    closed = []

    @tuneworthy.record("a", to=path)
    def pieces() -> Iterator[Any]:
        try:
            yield "a"
            yield 2
        finally:
            closed.append(1)

    @tuneworthy.record("a", to=path)
    async def awaited_pieces() -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(2)

    async def main() -> None:
        inner: Any = awaited_pieces()
        await anext(inner)
        await inner.aclose()

    inner: Any = pieces()
    next(inner)
    inner.close()
    assert list(pieces()) == ["a", 2]
    asyncio.run(main())
    assert closed == [1, 1, 2]
    assert sorted(reasons(path)) == ["left early", "left early", "yields other than text"] and len(written(path)) == 3


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), ValueError("x")])
@pytest.mark.parametrize("kind", ["plain", "async", "pieces", "async pieces"])
def test_any_exception_passes_unchanged(path: Path, error: BaseException, kind: str) -> None:
    @tuneworthy.record("a", to=path)
    def fails() -> Any:
        raise error

    @tuneworthy.record("a", to=path)
    async def fails_async() -> Any:
        raise error

    @tuneworthy.record("a", to=path)
    def fails_piece() -> Any:
        yield "a"
        raise error

    @tuneworthy.record("a", to=path)
    async def fails_async_piece() -> Any:
        yield "a"
        raise error

    def step(awaitable: Any) -> Any:
        try:
            awaitable.send(None)
        except StopIteration as stop:
            return stop.value

    def run() -> Any:
        if kind == "plain":
            fails()
        elif kind == "async":
            step(fails_async())
        elif kind == "pieces":
            list(fails_piece())
        else:
            inner = fails_async_piece()
            step(anext(inner))
            step(anext(inner))

    with pytest.raises(type(error)) as raised:
        run()
    assert raised.value is error
    assert len(reasons(path)) == len(written(path)) == 1


@pytest.mark.parametrize("target", [Ticket, 3, "text"])
def test_only_functions_are_decorated(target: Any) -> None:
    with pytest.raises(UserError, match="not on a function"):
        tuneworthy.record("a")(target)


def test_a_function_in_c_is_recorded(path: Path) -> None:
    longest: Callable[..., Any] = tuneworthy.record("a", to=path)(max)
    assert longest("ab", "c", key=len) == "ab"
    assert written(path)[0]["input"] == {"args": ["ab", "c"], "options": {"key": "<builtin_function_or_method>"}}
