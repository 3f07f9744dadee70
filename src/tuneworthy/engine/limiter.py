"""How many calls to one provider are in flight: as many as it bears, found by its own answers.

A pushback now and then (at most `SHARE` of the last answers) is one call's affair: that call waits as long as
it was told. More than that says that the rate is too high: the limit is halved and all calls wait. Calls that
were sent before the last halving don't halve it again: they carry no new information.
Then it grows again by one for every full round of answers (additive increase, multiplicative decrease).

Invariant: a returned slot goes to the longest waiter; waiters do not race for
it, and a cancelled waiter loses no slot.
"""

import asyncio
from collections import deque

SHARE = 0.3
WINDOW = 40
LEAST = 20
LONGEST_PAUSE_S = 60.0


class Limiter:
    """Slots for calls to one provider.

    Args:
        most: Calls in flight, at most.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self._round = 0  # counts the halvings
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._resume_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self) -> int:
        """Wait for a slot and return its mark, which `release` needs."""
        if self.in_flight < int(self.limit) and not self._waiting and not self._resume_at:
            self.in_flight += 1
            return self._round
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._grant()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # the slot came in the same moment: pass it on
                self.release(waiter.result())
            raise

    def release(self, mark: int, *, pushed_back: bool | None = None, wait_s: float | None = None) -> None:
        """Give the slot back.

        Args:
            mark: What `acquire` returned.
            pushed_back: The provider said that the rate is too high (True), it answered (False), or neither.
            wait_s: How long it asked to wait, seconds.
        """
        self.in_flight -= 1
        if pushed_back is False:
            self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
        if pushed_back is not None and mark == self._round:
            self._recent.append(pushed_back)
            if pushed_back and len(self._recent) >= LEAST and sum(self._recent) / len(self._recent) > SHARE:
                self.limit = max(1.0, self.limit / 2)
                self._round += 1
                self._recent.clear()
                self._resume_at = asyncio.get_running_loop().time() + min(
                    1.0 if wait_s is None else wait_s, LONGEST_PAUSE_S
                )
        self._grant()

    def _grant(self) -> None:
        if self._resume_at:
            if self._timer is None and self._waiting:
                self._timer = asyncio.get_running_loop().call_at(self._resume_at, self._resume)
            return
        while self._waiting and self.in_flight < int(self.limit):
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(self._round)

    def _resume(self) -> None:
        self._timer = None
        if asyncio.get_running_loop().time() >= self._resume_at:
            self._resume_at = 0.0
        self._grant()
