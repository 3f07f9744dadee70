"""Progress of answers: one live line on a terminal, a plain line every ten seconds elsewhere, and a line per rung."""

import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal

import click
from rich.live import Live
from rich.text import Text

from tuneworthy.cli.terminal import console
from tuneworthy.engine.runner import Progress
from tuneworthy.ladder.estimate import Work
from tuneworthy.ladder.record import RungRecord
from tuneworthy.ladder.run import RungWatcher
from tuneworthy.report.text import clean, percent
from tuneworthy.signals import handled_by
from tuneworthy.types import Texts

PLAIN_EVERY_S = 10.0
REDRAWN_EVERY_S = 0.25
AtTarget = Literal["run", "ask", "stop"]


class RunProgress(Progress, RungWatcher, AbstractContextManager["RunProgress"]):
    """Calls on stderr, with rate, cost and the time left; a context manager.

    Args:
        live: Whether one line is redrawn; if None, the console decides.
        at_target: Once the target is met, whether to `run` the rest, to `stop`, or to `ask` once if that costs money.
    """

    def __init__(self, *, live: bool | None = None, at_target: AtTarget = "run") -> None:
        self._at_target = at_target
        output = console(stderr=True)
        self._live = output.is_terminal and not output.is_dumb_terminal if live is None else live
        self._time = TimeLeft({})
        self._rungs: set[str] = set()
        self._fitted = False
        self._rung = self._label = self._met = ""
        self.cost_usd = 0.0
        self._printed = time.monotonic()
        self._screen = Live(
            console=output,
            get_renderable=lambda: Text(self.summary(), no_wrap=True, overflow="ellipsis"),
            transient=True,
            auto_refresh=False,
        )

    def __exit__(self, *_: object) -> None:
        self.end()

    # of the rungs
    def plan(self, rungs: Texts, takes: Mapping[str, Work]) -> None:
        self._rungs = set(rungs)
        self._time = TimeLeft(takes)

    def start(self, rung: str) -> None:
        self._rung = rung

    def finish(self, record: RungRecord) -> None:
        self._time.finish(record.rung)
        score = "" if record.score is None else f", {percent(record.score)}"
        self.note(f"{record.rung} ({record.status.replace('_', ' ')}{score}): {clean(record.reason, 0)}")

    def target_met(self, variant: str, score: float, usd: float, rest: Work, bill: str) -> bool:
        """Print the price of the remaining rungs and their possible gain, once a variant; ask whether to run them."""
        price = f"costs about ${rest.usd:.2f}" if rest.usd else f"takes about {duration(rest.seconds)}"
        paid = f"for ${usd:.2f}"
        if usd and not self.cost_usd:
            paid, price = "by stored answers, for $0.00", f"{price}, or less with stored answers,"
        if variant != self._met:
            self.note(
                f"Target met {paid} ({clean(variant)}: {percent(score)}). The rest {price} and can gain at "
                f"most {100 * (1 - score):.1f} points{bill and ', or lower the bill of ' + bill}."
            )
        self._met = variant
        if self._at_target != "ask" or not rest.usd:
            return self._at_target != "stop"
        self._at_target = "run"
        self.end()
        with handled_by(signal.default_int_handler):
            try:
                return click.confirm("Run the rest?", default=score < 1 or bool(bill), err=True)
            except click.Abort:
                raise KeyboardInterrupt from None

    # of the answers
    def begin(self, label: str, total: int, stored: int, *, alone: bool = False) -> None:
        """Start counting `total` answers; `stored` are already there."""
        self._label = label if total > stored else ""
        self._time.begin(self._rung, label, total, stored, alone=alone, now=time.monotonic())
        if self._rung == "classical" and self._label and not self._fitted:
            self._fitted = True
            self.note("Fitting the classifiers on the examples. This can take a minute.")
        if self._live:
            self._screen.start(refresh=True)

    def advance(self, cost_usd: float) -> None:
        if not self._label:
            return
        now = time.monotonic()
        self._time.answer(now)
        self.cost_usd += cost_usd
        if now - self._printed >= (REDRAWN_EVERY_S if self._live else PLAIN_EVERY_S):
            self._printed = now
            if self._live:
                self._screen.refresh()
            else:
                self.note(self.summary())

    def spend(self, cost_usd: float) -> None:
        self.cost_usd += cost_usd

    def note(self, line: str) -> None:
        """Print a line for the user, above the live line."""
        if self._live:
            self._screen.console.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)

    def end(self) -> None:
        self._screen.stop()

    def summary(self) -> str:
        """Return the answers so far (also stored and local), their cost, the remaining time and the current step."""
        rungs = self._rungs | {self._rung}
        made, missing = (sum(map(part, rungs)) for part in (self._time.made.__getitem__, self._time.calls))
        cost = f", ${self.cost_usd:,.{2 if self.cost_usd >= 1 else 4}f}" if self.cost_usd else ""
        seconds = self._time.seconds()
        left = f", about {duration(seconds)} left" if seconds else ""
        rate = f", {self._time.rate:.1f}/s" if self._time.rate else ""
        now = f" Now: {clean(self._label)}{rate}." if self._label else ""
        return f"Answers: {made:,} of about {round(made + missing):,}{cost}{left}.{now}"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds, -1 if seconds > 20 else 0)):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
