"""How long the rest of a run takes: the calls that are left, at the speed of those that were made.

The estimate of `check` is corrected by recent calls. Pure: the caller says what
happens, and when.
"""

from collections.abc import Mapping

from tuneworthy.ladder.estimate import RungEstimate, Work

# Seconds of calling after which a measured speed counts half: the machine or the server may be busier now.
HALF_LIFE_S = 60.0
# Of a rung's own calls, timed ones apart, so many weigh as much as all other calls.
FEW = 20.0
# Seconds that the assumed speed weighs.
PRIOR_S = 5.0

# A rung, and whether its calls are timed, one at a time.
Kind = tuple[str, bool]


class _Speed:
    """Measured and assumed durations of calls; old calls count less."""

    def __init__(self) -> None:
        self.calls = self.seconds = self.assumed = 0.0

    def add(self, seconds: float, assumed: float = 0.0) -> None:
        """Add a call that took `seconds`."""
        older = 0.5 ** (seconds / HALF_LIFE_S)
        self.calls = older * self.calls + 1
        self.seconds = older * self.seconds + seconds
        self.assumed = older * self.assumed + assumed


class TimeLeft:
    """The rest of one run.

    Args:
        takes: Estimates by rung; rungs that are not named count nothing until they run.
    """

    def __init__(self, takes: Mapping[str, RungEstimate]) -> None:
        self._works: dict[Kind, Work] = {}
        for rung, one in takes.items():
            self._works |= {(rung, False): one.together, (rung, True): one.alone}
        self._made: dict[Kind, int] = {}
        self._speeds: dict[Kind, _Speed] = {}
        self._all = _Speed()
        self._asked: dict[tuple[str, bool], int] = {}
        self._batch: tuple[Kind, int] = ("", False), 0
        self._since = 0.0

    def begin(self, rung: str, label: str, total: int, stored: int, *, alone: bool, now: float) -> None:
        """`total` answers of variant `label` are wanted, `stored` of which are there; those of earlier runs count."""
        before = self._asked.get((label, alone), 0)
        self._asked[label, alone] = max(before, total)
        kind = rung, alone
        self._made[kind] = self._made.get(kind, 0) + max(0, stored - before)
        self._batch, self._since = (kind, total - stored), now

    def answer(self, now: float) -> None:
        """One more answer came."""
        kind, missing = self._batch
        self._batch = kind, missing - 1
        self._made[kind] += 1
        seconds, self._since = now - self._since, now
        if kind not in self._speeds:  # until the first answer a model is loaded
            self._speeds[kind] = _Speed()
            return
        self._speeds[kind].add(seconds)
        if kind in self._works:
            self._all.add(seconds, assumed=self._assumed(kind))

    def finish(self, rung: str) -> None:
        """A rung is done, with fewer calls than estimated or more."""
        self._batch = ("", False), 0
        for alone in (False, True):
            self._works.pop((rung, alone), None)

    def made(self, rung: str) -> int:
        """Return the calls of a rung that were made, those of earlier runs included."""
        return sum(n for (name, _), n in self._made.items() if name == rung)

    def calls(self, rung: str) -> float:
        """Return the calls of a rung that are left."""
        return sum(self._missing(kind) for kind in self._kinds if kind[0] == rung)

    @property
    def rate(self) -> float | None:
        """Calls a second of the kind that runs now; None before one was measured."""
        own = self._speeds.get(self._batch[0])
        return own.calls / own.seconds if own and own.seconds else None

    def seconds(self, rung: str | None = None) -> float:
        """Return the seconds that are left, of one rung or of all."""
        return sum(self._missing(kind) * self._each(kind) for kind in self._kinds if rung in {None, kind[0]})

    @property
    def _kinds(self) -> set[Kind]:
        return {*self._works, self._batch[0]}

    def _missing(self, kind: Kind) -> float:
        estimated = self._works[kind].calls - self._made.get(kind, 0) if kind in self._works else 0.0
        return max(estimated, self._batch[1] if kind == self._batch[0] else 0.0)

    def _assumed(self, kind: Kind) -> float:
        work = self._works.get(kind)
        return work.seconds / work.calls if work and work.calls else 0.0

    def _each(self, kind: Kind) -> float:
        """Return the seconds of one call: of its own kind where those were made, else as assumed, corrected."""
        factor = (self._all.seconds + PRIOR_S) / (self._all.assumed + PRIOR_S)
        own, few = self._speeds.get(kind) or _Speed(), FEW if kind in self._works else 0.0
        return (own.seconds + few * factor * self._assumed(kind)) / (own.calls + few or 1.0)
