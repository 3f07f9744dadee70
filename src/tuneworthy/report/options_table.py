"""The options table of a verdict: one list of columns for the terminal, Markdown and HTML; JSON has all fields."""

from collections.abc import Sequence
from dataclasses import replace

from tuneworthy.errors import join_sentences
from tuneworthy.report import numbers
from tuneworthy.report.table import Column, Table, name_column, text_column
from tuneworthy.report.tables import P50, P95
from tuneworthy.report.text import plain
from tuneworthy.verdict.options import Option, cost_note, legend

OPTION_COLUMNS: Sequence[Column] = (
    name_column("option", "option"),
    Column("score", "score", numbers.share),
    Column("ci95", "95% interval", numbers.share_range),
    Column("delta_vs_today", "vs today", numbers.change),
    Column("delta_ci", "difference, 95% interval", numbers.change_range, wide=True),
    Column("target", "target", kind="status"),
    Column("usd_per_month", "$/month", numbers.amount),
    Column("usd_per_1k", "$/1,000", value=lambda row: numbers.per_1k(row.usd_per_1k, row.server)),
    Column("one_off_usd", "$ once", lambda usd: numbers.amount(usd or None), wide=True),
    replace(P50, wide=True),
    P95,
    Column("share_sent", "to large model", numbers.share),
    text_column("needs", "notes", lambda row: plain(join_sentences("", *option_notes(row))), most=0),
)


def options_table(
    options: Sequence[Option], chosen: str | None = None, target: float | None = None, serving: str = ""
) -> Table:
    """Return the options of a verdict side by side.

    Args:
        options: Of the verdict.
        chosen: Name of the recommended option.
        target: Shown in the heading.
        serving: Sentence on the assumed server.
    """
    monthly = any(option.usd_per_month is not None for option in options)
    heading = "target" if target is None else f"target {100 * target:.3g}%"
    columns = [
        replace(column, heading=heading if column.key == "target" else column.heading) for column in OPTION_COLUMNS
    ]
    if monthly:
        columns = [replace(column, wide=column.wide or column.key == "usd_per_1k") for column in columns]
    note = join_sentences("", *map(plain, legend(options)), serving)
    best = next((place for place, option in enumerate(options) if option.option == chosen), None)
    return Table.of("All options", columns, options, note, best=best).filled()


def option_notes(option: Option) -> list[str]:
    """Return the broken limit, cost note, needs and marks of an option."""
    needs = f"needs {option.needs}" if option.needs else ""
    return [part for part in (option.violates, cost_note(option), needs, *option.notes) if part]
