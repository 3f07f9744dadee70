"""AIMD limit of the calls in flight to one endpoint, found by its own answers.

A pushback now and then (at most `SHARE` of the last answers) is one call's affair: that call waits as long as
it was told. More than that says that the rate is too high: the limit is halved and all calls wait. Calls that
were sent before the last halving don't halve it again: they carry no new information.
Then it grows again by one for every full round of answers (additive increase, multiplicative decrease).
"""

import asyncio
from collections import deque

SHARE = 0.3
WINDOW = 40
LEAST = 20
LONGEST_PAUSE_S = 60.0


class Limiter:
    """Slots for calls to one endpoint; `Fleet` decides who gets them.

    Args:
        most: Calls in flight, at most.

    Attributes:
        limit: Calls in flight, at most, at present.
        resume_at: End of the present pause, on the clock of the event loop; 0 without one.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self.resume_at = 0.0
        self._round = 0  # counts the halvings
        self._recent: deque[bool] = deque(maxlen=WINDOW)

    @property
    def is_free(self) -> bool:
        return self.in_flight < int(self.limit) and asyncio.get_running_loop().time() >= self.resume_at

    def take(self) -> int:
        """Take a slot and return its mark, which `release` needs."""
        self.in_flight += 1
        return self._round

    def release(self, mark: int, *, pushed_back: bool | None = None, wait_s: float | None = None) -> None:
        """Give the slot back.

        Args:
            mark: What `take` returned.
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
                self.resume_at = asyncio.get_running_loop().time() + min(
                    1.0 if wait_s is None else wait_s, LONGEST_PAUSE_S
                )
