"""One position after the samplers: a table per engine, a row per token."""

from tuneworthy.decoding.samplers import Trail
from tuneworthy.decoding.view import Comparison
from tuneworthy.report.table import Column, Table, name_column, text_column
from tuneworthy.report.text import clean, percent
from tuneworthy.text import count

SETTLED = frozenset({"start", "greedy"})  # steps without a value


def engine_table(comparison: Comparison, trail: Trail, most: int) -> Table:
    """Return the likeliest tokens of an engine before and after its samplers."""
    before, after, gone = trail.steps[0].left.distribution.tolist(), trail.distribution.tolist(), trail.removed_by
    columns = [
        name_column("token", "token", lambda token: clean(comparison.position.label(token), 20) or "(blank)"),
        Column("model", "model", percent, value=before.__getitem__),
        Column("after", "after all samplers", percent, value=after.__getitem__),
        text_column("removed", "removed by", lambda token: trail.steps[gone[token]].name if gone[token] > 0 else ""),
    ]
    title = f"{trail.engine.label} {trail.engine.version}: {count(len(trail.left), 'token')} kept"
    return Table.of(title, columns, comparison.shown(most))


def steps_table(comparison: Comparison) -> Table:
    """Return the steps as a table: sampler, value, who set it, tokens kept, probability of the likeliest token."""
    rows = [(trail, step) for trail in comparison.trails.values() for step in trail.steps]
    columns = [
        text_column("engine", "engine", lambda row: row[0].engine.label),
        name_column("step", "step", lambda row: row[1].name),
        Column("value", "value", value=lambda row: "" if row[1].name in SETTLED else f"{row[1].value:g}"),
        text_column("origin", "set by", lambda row: row[1].origin),
        Column("kept", "tokens kept", value=lambda row: f"{len(row[1].left):,}"),
        Column("top", "top probability", percent, value=lambda row: row[1].left.probabilities[0]),
    ]
    return Table.of("Sampling steps", columns, rows)
