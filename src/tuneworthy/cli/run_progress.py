"""A run of the ladder as it goes: one live table of rungs on a terminal, plain lines now and then elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
from rich import box
from rich.console import Group
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tuneworthy.cli import messages
from tuneworthy.cli.progress import PLAIN_EVERY_S
from tuneworthy.cli.tables import STYLES
from tuneworthy.cli.terminal import console, redraws
from tuneworthy.evaluate.runner import Progress
from tuneworthy.ladder.estimate import RungEstimate
from tuneworthy.ladder.record import RungRecord
from tuneworthy.ladder.run import RungWatcher
from tuneworthy.ladder.time_left import TimeLeft
from tuneworthy.report.numbers import percent
from tuneworthy.report.text import clean

# The least important last: a narrow terminal shows fewer; names, statuses and scores are never cut.
_COLUMNS = ("rung", "status", "score", "done", "left", "$")
_KEPT = 3
# The table is drawn at most so often, seconds.
REDRAWN_EVERY_S = 0.25
# Columns that no table needs.
MOST = 500


@dataclass
class _RungLine:
    status: str = messages.say("rung_waits")
    score: float | None = None
    cost_usd: float = 0.0


class LadderProgress(RungWatcher, Progress):
    """What happens in a run, on stderr; a context manager.

    Args:
        live: Whether a table is redrawn; otherwise lines are printed. If None, the console decides.
    """

    def __init__(self, *, live: bool | None = None) -> None:
        self._output = console(stderr=True)
        self._live = redraws(self._output) if live is None else live
        self._rows: dict[str, _RungLine] = {}
        self._time = TimeLeft({})
        self._rung = self._label = ""
        self._printed = 0.0
        self._screen = Live(console=self._output, get_renderable=self.table, transient=True, auto_refresh=False)

    def __enter__(self) -> "LadderProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Clear the table."""
        self._screen.stop()

    # of the rungs
    def plan(self, rungs: Sequence[str], takes: Mapping[str, RungEstimate]) -> None:
        """Show the rungs that follow."""
        self._rows = {name: _RungLine() for name in rungs}
        self._time = TimeLeft(takes)
        self._printed = time.monotonic()
        if self._live:
            self._screen.start(refresh=True)

    def start(self, rung: str) -> None:
        """Show that a rung runs."""
        self._rung = rung
        self._rows.setdefault(rung, _RungLine()).status = messages.say("rung_runs")
        self._redraw()

    def finish(self, record: RungRecord) -> None:
        """Show the outcome of a rung."""
        row = self._rows.setdefault(record.rung, _RungLine())
        row.status, row.score, row.cost_usd = record.status.replace("_", " "), record.score, record.cost_usd
        self._time.finish(record.rung)
        self._redraw()
        if not self._live:
            score = "" if record.score is None else f", {percent(record.score)}"
            reason = clean(record.reason, 0)
            self.note(f"{record.rung} ({row.status}{score}): {reason}")

    # of the answers
    def begin(self, label: str, total: int, stored: int, *, alone: bool) -> None:
        """Start counting `total` answers; `stored` are already there."""
        self._label = label if total > stored else ""
        self._time.begin(self._rung, label, total, stored, alone=alone, now=time.monotonic())

    def advance(self, cost_usd: float) -> None:
        """Count one more answer."""
        now = time.monotonic()
        self._time.answer(now)
        if row := self._rows.get(self._rung):
            row.cost_usd += cost_usd
        if now - self._printed >= (REDRAWN_EVERY_S if self._live else PLAIN_EVERY_S):
            self._printed = now
            self._redraw()
            if not self._live:
                self.note(self.summary())

    def note(self, line: str) -> None:
        """Print a line for the user, above the table."""
        if self._live:
            self._output.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)

    # display
    def _redraw(self) -> None:
        if self._live:
            self._screen.refresh()

    def summary(self) -> str:
        """Return the current step and the overall progress, in one line."""
        made, missing = (sum(map(part, self._rows)) for part in (self._time.made, self._time.calls))
        usd = sum(row.cost_usd for row in self._rows.values())
        return messages.run_progress(
            clean(self._label), self._time.rate, round(made), round(made + missing), usd, self._time.seconds()
        )

    def table(self) -> Group:
        """Return the rungs with their calls, and the time that is left."""
        columns = list(_COLUMNS[: None if any(row.cost_usd for row in self._rows.values()) else -1])
        while True:
            table = self._table(columns)
            needed = Measurement.get(self._output, self._output.options.update(max_width=MOST), table).maximum
            if needed <= self._output.width or len(columns) == _KEPT:
                return Group(table, Text(self.summary()))
            columns.pop()

    def _table(self, columns: Sequence[str]) -> Table:
        table = Table(box=box.SIMPLE_HEAD)
        for name in columns:
            text = name in {"rung", "status"}
            table.add_column(name, justify="left" if text else "right", no_wrap=True)
        for name, row in self._rows.items():
            style = STYLES.get(row.status.replace(" ", "_"), "bold" if name == self._rung else "")
            waits = row.status in {messages.say("rung_waits"), messages.say("rung_runs")}
            missing = self._time.calls(name) if waits else 0
            cells: dict[str, str | Text] = {
                "rung": clean(name),
                "status": Text(row.status, style=style),
                "score": percent(row.score) if row.score is not None else "",
                "done": f"{self._time.made(name):,}",
                "left": messages.duration(self._time.seconds(name)) if missing else "",
                "$": messages.dollars(row.cost_usd) if row.cost_usd else "",
            }
            table.add_row(*(cells[column] for column in columns))
        return table
