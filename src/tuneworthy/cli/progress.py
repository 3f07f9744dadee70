"""What a person sees while answers come in: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

import click

EVERY_S = 10.0


class Lines:
    """A progress line on stderr with rate, cost and time left.

    Args:
        live: Redraw one line (a terminal); otherwise print a line every ten seconds.
    """

    def __init__(self, *, live: bool | None = None) -> None:
        self._live = sys.stderr.isatty() if live is None else live
        self._label, self._total, self._stored, self._done = "", 0, 0, 0
        self._cost = 0.0
        self._started = self._shown = 0.0

    def begin(self, label: str, total: int, stored: int) -> None:
        """Start counting `total` answers, `stored` of which are there already."""
        self._label, self._total, self._stored, self._done = label, total, stored, 0
        self._started = time.monotonic()
        self._shown = self._started

    def advance(self, cost_usd: float) -> None:
        """Count one more answer."""
        self._done += 1
        self._cost += cost_usd
        now = time.monotonic()
        if now - self._shown >= (0.2 if self._live else EVERY_S):
            self._shown = now
            self._show(now)

    def end(self) -> None:
        """Clear the live line."""
        if self._live and self._done:
            click.echo("\r\033[K", nl=False, err=True)

    def _show(self, now: float) -> None:
        rate = self._done / max(now - self._started, 1e-9)
        left = (self._total - self._stored - self._done) / rate
        cost = f", ${self._cost:.4f}" if self._cost else ""
        line = f"{self._label}: {self._stored + self._done} of {self._total}, {rate:.1f}/s{cost}, {left:.0f} s left"
        click.echo(f"\r\033[K{line}" if self._live else line, nl=not self._live, err=True)
