"""Progress of answers: a live line on a terminal, a plain line now and then elsewhere."""

import time

import click
from rich import progress
from rich.progress import MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn

from tuneworthy.cli import messages
from tuneworthy.cli.terminal import console, redraws
from tuneworthy.evaluate.runner import Progress

PLAIN_EVERY_S = 10.0
# The rate, and with it the time left, comes from the answers of the last seconds.
WINDOW_S = 30.0


class AnswerProgress(Progress):
    """Progress on stderr with rate, cost and time left.

    Args:
        live: Whether one line is redrawn; otherwise a line is printed every ten seconds. A terminal decides if None.
    """

    def __init__(self, *, live: bool | None = None) -> None:
        output = console(stderr=True)
        self._live = redraws(output) if live is None else live
        self._bar = progress.Progress(
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            TextColumn("{task.fields[cost]}"),
            TimeRemainingColumn(),
            console=output,
            transient=True,
            speed_estimate_period=WINDOW_S,
            disable=not self._live,
        )
        self._cost_usd = 0.0
        self._task: TaskID | None = None
        self._printed = 0.0

    def begin(self, label: str, total: int, stored: int, *, alone: bool = False) -> None:
        """Start counting `total` answers; `stored` are already there."""
        self.end()
        self._printed = time.monotonic()
        self._task = self._bar.add_task(label, total=total, completed=stored, cost="")
        self._bar.start()

    def advance(self, cost_usd: float) -> None:
        """Count one more answer."""
        if self._task is None:
            return
        self._cost_usd += cost_usd
        cost = f"${self._cost_usd:.4f}" if self._cost_usd else ""
        self._bar.update(self._task, advance=1, cost=cost)
        if not self._live and time.monotonic() - self._printed >= PLAIN_EVERY_S:
            self._printed = time.monotonic()
            task = self._bar.tasks[-1]
            line = messages.progress(
                task.description, int(task.completed), int(task.total or 0), task.speed, cost, task.time_remaining
            )
            click.echo(line, err=True)

    def note(self, line: str) -> None:
        """Print a line for the user, above the live line."""
        if self._live:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)

    def end(self) -> None:
        """Clear the live line."""
        self._bar.stop()
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
