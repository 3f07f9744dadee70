"""Records as tables on a terminal (and as plain text elsewhere)."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuneworthy.ladder.record import ClimbRecord, RungRecord

_STYLE = {"adopted": "green", "rejected": "red", "reference": "cyan", "failed": "red"}


def console() -> Console:
    """Return a console on stdout; no colours and full width where that is no terminal."""
    found = Console(highlight=False, markup=False)
    return found if found.is_terminal else Console(highlight=False, markup=False, width=160)


def show_climb(record: ClimbRecord) -> None:
    """Print the ladder as a table, and what follows from it."""
    where = f"dev, n = {record.n_dev}" if record.quick else f"test, n = {record.n_test}"
    table = Table(title=f"{record.task}: {record.primary} on {where}", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("rung", "status", "variant"):
        table.add_column(heading)
    for heading in ("score", "95 % interval", "gain", "$ / 1,000", "p50 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for rung in record.rungs:
        table.add_row(rung.rung, Text(rung.status, style=_STYLE.get(rung.status, "")), *_cells(rung))
    out = console()
    out.print(table)
    for line in closing_lines(record):
        out.print(line)


def _cells(rung: RungRecord) -> list[str]:
    """Return the cells of a row after its status."""
    if rung.score is None:
        seen = rung.candidates[0] if rung.candidates else None
        if seen is None:
            return [rung.reason, "", "", "", "", ""]
        lo, hi = seen["ci95"]
        return [str(rung.name), f"{seen['score']:.3f}", f"[{lo:.3f}, {hi:.3f}]", "", "", ""]
    lo, hi = rung.ci95 or (0.0, 1.0)
    gain = (
        ""
        if rung.delta is None or rung.delta_ci is None
        else f"{rung.delta:+.3f} [{rung.delta_ci[0]:+.3f}, {rung.delta_ci[1]:+.3f}]"
    )
    cost = "" if rung.usd_per_1k is None else f"{rung.usd_per_1k:.4f}"
    p50 = "" if rung.latency_p50_ms is None else f"{rung.latency_p50_ms:.0f}"
    return [str(rung.name), f"{rung.score:.3f}", f"[{lo:.3f}, {hi:.3f}]", gain, cost, p50]


def closing_lines(record: ClimbRecord) -> list[str]:
    """Say what the table means."""
    if record.quick:
        return ["Dev only: nothing is decided. Run `tuneworthy climb` to put the winners to test."]
    lines = [record.floor_wins] if record.floor_wins else []
    best = next((rung for rung in record.rungs if record.best and rung.variant == record.best["variant"]), None)
    if best and best.score is not None and best.ci95:
        meets = best.score >= record.target
        lines.append(
            f"Best: {best.name} with {best.score:.3f} [{best.ci95[0]:.3f}, {best.ci95[1]:.3f}]; the target is "
            f"{record.target:g} ({'reached' if meets else 'not reached'} by the point estimate)."
        )
    lines.append("Write the report with `tuneworthy report`.")
    return lines
