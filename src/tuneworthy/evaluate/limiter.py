"""How many calls to one provider are in flight: as many as it bears, found by its own answers.

A pushback now and then (below `SHARE` of the last answers) is one call's affair: that call waits as long as
it was told. More than that says that the rate is too high: the limit is halved and all calls wait.
Then it grows again by one for every full round of answers (additive increase, multiplicative decrease).
"""

from __future__ import annotations

import asyncio
from collections import deque

SHARE = 0.3
WINDOW = 40
LEAST = 10
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
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._resume_at = 0.0

    async def acquire(self) -> None:
        """Wait for a slot."""
        loop = asyncio.get_running_loop()
        while True:
            pause = self._resume_at - loop.time() if self._resume_at else 0.0
            if pause > 0:
                await asyncio.sleep(pause)
            elif self.in_flight < int(self.limit):
                self.in_flight += 1
                return
            else:
                waiter = loop.create_future()
                self._waiting.append(waiter)
                await waiter

    def release(self, *, pushed_back: bool = False, wait_s: float | None = None) -> None:
        """Give the slot back.

        Args:
            pushed_back: The provider said that the rate is too high.
            wait_s: How long it asked to wait, seconds.
        """
        self.in_flight -= 1
        self._recent.append(pushed_back)
        if not pushed_back:
            self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
        elif len(self._recent) >= LEAST and sum(self._recent) / len(self._recent) > SHARE:
            self.limit = max(1.0, self.limit / 2)
            self._recent.clear()
            self._resume_at = asyncio.get_running_loop().time() + min(wait_s or 1.0, LONGEST_PAUSE_S)
        self._wake()

    def _wake(self) -> None:
        free = int(self.limit) - self.in_flight
        while free > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
