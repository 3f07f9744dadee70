"""The limiter: it bears pushbacks now and then, gives way to many, grows back, and never loses a slot."""

from __future__ import annotations

import asyncio
import random

import pytest
from asking import Played, play
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneworthy.engine.fleet import Fleet
from tuneworthy.engine.limiter import LEAST, LONGEST_PAUSE_S


class Slots(Fleet):
    """A fleet of one endpoint."""

    def __init__(self, most: int) -> None:
        super().__init__({"": Played(lambda text, nth: "")}, most)
        self.limiter = self.endpoints[0].limiter

    @property
    def limit(self) -> float:
        return self.limiter.limit

    @property
    def in_flight(self) -> int:
        return self.limiter.in_flight


class Watched(Slots):
    """Checks each time that slots are handed out that none is above the limit of that moment."""

    def _grant(self) -> None:
        before = self.in_flight
        super()._grant()
        assert self.in_flight == before or self.in_flight <= int(self.limit)
        assert 1 <= self.limit <= self.limiter.most


async def turn(limiter: Slots, pushed_back: bool | None = False, wait_s: float | None = None) -> None:
    limiter.release(await limiter.acquire(), pushed_back=pushed_back, wait_s=wait_s)


async def heavy(limiter: Slots, wait_s: float | None = 2.0) -> None:
    """One round of calls in flight that are all pushed back."""
    marks = [await limiter.acquire() for _ in range(int(limiter.limit))]
    for mark in marks:
        limiter.release(mark, pushed_back=True, wait_s=wait_s)


def test_one_pushback_in_ten_does_not_shrink_the_limit() -> None:
    async def main() -> None:
        limiter = Slots(64)
        for i in range(2000):
            await turn(limiter, pushed_back=i % 10 == 0, wait_s=1.0)
        assert limiter.limit == 64
        assert asyncio.get_running_loop().time() == 0.0

    play(main())


def test_many_pushbacks_halve_the_limit_once_and_pause_all() -> None:
    async def main() -> None:
        limiter = Slots(64)
        await heavy(limiter, wait_s=2.0)
        assert limiter.limit == 32  # once, though all 64 were refused: the others were sent before it was known
        await turn(limiter)
        assert asyncio.get_running_loop().time() == pytest.approx(2.0)

    play(main())


def test_a_pause_is_capped() -> None:
    async def main() -> None:
        limiter = Slots(64)
        await heavy(limiter, wait_s=86_400.0)
        await turn(limiter)
        assert asyncio.get_running_loop().time() == pytest.approx(LONGEST_PAUSE_S)

    play(main())


def test_the_limit_never_falls_below_one_and_grows_back_by_one_a_round() -> None:
    async def main() -> None:
        limiter = Slots(16)
        for _ in range(LEAST * 20):
            await turn(limiter, pushed_back=True, wait_s=0.1)
        assert limiter.limit == 1.0
        rounds = 0
        while limiter.limit < 15.99:
            for _ in range(int(limiter.limit)):
                await turn(limiter)
            rounds += 1
        assert 13 <= rounds <= 20
        for _ in range(100):
            await turn(limiter)
        assert limiter.limit == 16

    play(main())


def test_what_ends_without_a_word_neither_shrinks_nor_grows_the_limit() -> None:
    async def main() -> None:
        limiter = Slots(8)
        limiter.limiter.limit = 4.0
        for _ in range(100):
            await turn(limiter, pushed_back=None)
        assert limiter.limit == 4.0

    play(main())


def test_slots_go_to_those_who_wait_in_their_order() -> None:
    async def main() -> None:
        limiter, order = Slots(2), list[int]()

        async def one(name: int) -> None:
            mark = await limiter.acquire()
            order.append(name)
            await asyncio.sleep(1)
            limiter.release(mark, pushed_back=False)

        await asyncio.gather(*(one(i) for i in range(9)))
        assert order == list(range(9))

    play(main())


def test_a_waiter_that_is_cancelled_in_the_moment_it_is_served_passes_the_slot_on() -> None:
    async def main() -> None:
        limiter = Slots(1)
        mark = await limiter.acquire()
        first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
        await asyncio.sleep(0)
        limiter.release(mark, pushed_back=False)  # served: `first`
        first.cancel()
        mark = await asyncio.wait_for(second, 1)
        with pytest.raises(asyncio.CancelledError):
            await first
        limiter.release(mark)
        assert limiter.in_flight == 0

    play(main())


def test_those_who_wait_through_a_pause_are_all_served_though_nothing_is_in_flight() -> None:
    async def main() -> None:
        limiter = Slots(40)
        await heavy(limiter, wait_s=5.0)
        waiting = [asyncio.create_task(turn(limiter)) for _ in range(100)]
        waiting[0].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert limiter.in_flight == 0
        assert asyncio.get_running_loop().time() == pytest.approx(5.0)

    play(main())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 80), st.floats(0, 1), st.floats(0, 0.3), st.integers(0, 2**32))
def test_calls_in_flight_never_exceed_the_limit_and_all_come_through(
    most: int, callers: int, share: float, cancelled: float, seed: int
) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        limiter = Watched(most)
        served = 0

        async def caller() -> None:
            nonlocal served
            for _ in range(6):
                mark = await limiter.acquire()
                try:
                    await asyncio.sleep(rng.choice([0, 0.1, 1.0]))
                finally:
                    outcome = rng.choice([None, rng.random() < share])
                    limiter.release(mark, pushed_back=outcome, wait_s=rng.choice([None, 0.0, 3.0]))
                served += 1
            done.append(1)

        done: list[int] = []
        tasks = [asyncio.create_task(caller()) for _ in range(callers)]
        victims = [task for task in tasks if rng.random() < cancelled]
        for task in victims:
            await asyncio.sleep(rng.choice([0, 0.1, 0.5]))
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [one for one in results if isinstance(one, Exception)]
        assert len(done) >= callers - len(victims)
        assert served >= 6 * len(done)
        assert limiter.in_flight == 0

    play(main())
