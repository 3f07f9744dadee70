"""A runner with a played provider, and an event loop whose clock jumps: waits take no time, a deadlock fails."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tuneworthy.engine.budget import Budget
from tuneworthy.engine.models import OpenModel
from tuneworthy.engine.runner import Runner
from tuneworthy.errors import ProviderError
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.prices import Price, TokenRates
from tuneworthy.store import ResponseStore
from tuneworthy.types import Case, Request, Response, Variant

T = TypeVar("T")
IDENTITY = {"provider": "played"}
DOLLAR_A_CALL = Price(rates=TokenRates(input=0.0, output=1e6 / 10))
"""With `max_tokens=10` a call costs at most one dollar: ten cents a token of the answer."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while there is something to do, and jumps to the next timer when there is not."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)._scheduled = False
            self._timer_cancelled_count = max(0, self._timer_cancelled_count - 1)  # type: ignore[attr-defined]
        if not self._ready and not self._stopping:  # type: ignore[attr-defined]
            if not scheduled:
                raise AssertionError("deadlock: all wait, and nothing will wake them")
            self._now = max(self._now, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def play(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a `JumpingLoop`."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)


def fault(code: str, *, retryable: bool = True, after: float | None = None) -> ProviderError:
    """A failure as a provider raises it."""
    return ProviderError(f"played {code}", code=code, retryable=retryable, retry_after_s=after)


class Played:
    """Answers through `script(text, nth)`: what it returns is the answer, an exception is raised.

    Attributes:
        calls: How often each question was asked.
        most: Calls in flight, at most, so far.
    """

    identity = IDENTITY
    supports: frozenset[str] = frozenset()

    def __init__(self, script: Callable[[str, int], Any], seconds: float = 1.0) -> None:
        self.script = script
        self.seconds = seconds
        self.calls: Counter[str] = Counter()
        self.sent_at: list[float] = []
        self.in_flight = self.most = 0

    async def complete(self, request: Request) -> Response:
        text = request.messages[-1]["content"]
        self.calls[text] += 1
        self.sent_at.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            answer = self.script(text, self.calls[text])
            if asyncio.iscoroutine(answer):
                answer = await answer
            else:
                await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Response) else Response(text=answer, input_tokens=1, output_tokens=1)

    async def close(self) -> None: ...


class World:
    """A runner over a store in `folder`, and one model."""

    def __init__(
        self,
        folder: Path,
        script: Callable[[str, int], Any] = lambda text, nth: f"answer to {text}",
        *,
        price: Price | None = None,
        limit_usd: float | None = None,
        concurrency: int = 8,
        retries: int = 6,
        timeout_s: float = 60.0,
        seconds: float = 1.0,
    ) -> None:
        self.store = ResponseStore(folder / "responses.sqlite")
        self.budget = Budget(limit_usd, self.store.spending().usd)
        self.provider = Played(script, seconds)
        self.model = OpenModel(
            name="m",
            provider=self.provider,
            price=price,
            hosted=price is not None,
            concurrency=concurrency,
            timeout_s=timeout_s,
            retries=retries,
        )
        self.runner = Runner(self.store, self.budget, ShotPool([]))

    def ask(self, cases: list[Case], **options: Any) -> Any:
        """Ask `cases`; returns the coroutine of the traces."""
        return self.runner.run(VARIANT, self.model, cases, **options)


VARIANT = Variant(name="v", model="m", model_identity=IDENTITY, system=None, user="{{ input }}", max_tokens=10)


def questions(n: int, first: int = 0) -> list[Case]:
    """`n` cases, `q0`, `q1`, ..."""
    return [Case(id=f"c{i}", input=f"q{i}", expected="x") for i in range(first, first + n)]
