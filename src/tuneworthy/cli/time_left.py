"""Remaining time of a run: the remaining calls of the estimate, at the pace of recent calls.

Pure: the caller says what happens, and when.
"""

from collections import Counter
from collections.abc import Mapping

from tuneworthy.ladder.estimate import Work

# Seconds of calling after which a measured pace counts half: the machine or the server may be busier now.
HALF_LIFE_S = 45.0
# Seconds that the assumed pace weighs at the start.
PRIOR_S = 5.0


class TimeLeft:
    """The rest of one run.

    Args:
        takes: Estimates by rung; other rungs count only while they run.

    Attributes:
        made: Rung to its calls that were made, those of earlier runs included.
    """

    def __init__(self, takes: Mapping[str, Work]) -> None:
        self._takes = dict(takes)
        self.made: Counter[str] = Counter()
        self._asked: dict[tuple[str, bool], int] = {}
        self._rung, self._missing, self._since = "", 0, 0.0
        self._loaded: set[tuple[str, bool]] = set()
        self._alone = False
        self._calls = self._seconds = 0.0
        self._measured = self._assumed = PRIOR_S

    def begin(self, rung: str, label: str, total: int, stored: int, *, alone: bool, now: float) -> None:
        """`total` answers of variant `label` are wanted, and `stored` are there; those of earlier runs count."""
        before = self._asked.get((label, alone), 0)
        self._asked[label, alone] = max(before, total)
        self.made[rung] += max(0, stored - before)
        self._rung, self._alone, self._missing, self._since = rung, alone, total - stored, now

    def answer(self, now: float) -> None:
        self._missing -= 1
        self.made[self._rung] += 1
        seconds, self._since = now - self._since, now
        if (self._rung, self._alone) not in self._loaded:  # until the first answer a model is loaded
            self._loaded.add((self._rung, self._alone))
            return
        older = 0.5 ** (seconds / HALF_LIFE_S)
        self._calls, self._seconds = older * self._calls + 1, older * self._seconds + seconds
        if self._rung in self._takes:
            self._measured = older * self._measured + seconds
            self._assumed = older * self._assumed + self._each(self._rung)

    def finish(self, rung: str) -> None:
        self._missing = 0
        self._takes.pop(rung, None)

    def calls(self, rung: str) -> float:
        estimated = self._takes[rung].calls - self.made[rung] if rung in self._takes else 0.0
        return max(estimated, self._missing if rung == self._rung else 0.0)

    @property
    def rate(self) -> float | None:
        """Recent calls a second; None before one was measured."""
        return self._calls / self._seconds if self._seconds else None

    def seconds(self) -> float:
        return sum(
            self.calls(name) * self._each(name) * (self._measured / self._assumed if name in self._takes else 1.0)
            for name in {*self._takes, self._rung}
        )

    def _each(self, rung: str) -> float:
        """Return the assumed seconds of one call; of a rung without an estimate, the measured seconds."""
        if rung not in self._takes:
            return self._seconds / (self._calls or 1.0)
        return self._takes[rung].seconds / (self._takes[rung].calls or 1.0)
