"""Bar charts of one position after the samplers: a chart per engine, a row per token.

A thin line is the model's probability, a bar the sampled distribution; a removed token names the sampler.
"""

from markupsafe import Markup

from tuneworthy.decoding.samplers import Trail
from tuneworthy.decoding.view import Comparison
from tuneworthy.report.chart import Bar, BarChart
from tuneworthy.report.document import Document, PagePart
from tuneworthy.report.html import style
from tuneworthy.report.numbers import percent
from tuneworthy.report.svg import stacked
from tuneworthy.report.table import Column, Table, name_column, text_column
from tuneworthy.report.text import clean

WIDTH, MOST = 620, 24
SETTLED = frozenset({"start", "greedy"})  # steps without a value


def picture(comparison: Comparison, most: int = MOST) -> str:
    """Return the charts as one SVG file.

    Args:
        comparison: The comparison.
        most: Tokens that are shown, the likeliest first.
    """
    return stacked(charts_of(comparison, most), WIDTH, Markup(style()))


def charts_of(comparison: Comparison, most: int = MOST) -> list[BarChart]:
    """Return a chart an engine."""
    tokens = comparison.shown(most)
    names = [clean(comparison.position.label(token), 16) or "(blank)" for token in tokens]
    return [_chart(trail, tokens, names) for trail in comparison.trails.values()]


def _chart(trail: Trail, tokens: list[int], names: list[str]) -> BarChart:
    before, after, gone = trail.steps[0].left.distribution.tolist(), trail.distribution.tolist(), trail.removed_by
    rows = []
    for token, name in zip(tokens, names, strict=True):
        out = gone[token] > 0
        result = f"out: {trail.steps[gone[token]].name}" if out else percent(after[token])
        rows.append(
            Bar(
                label=name,
                cells=[percent(before[token]), result],
                value=after[token],
                start=0.0,
                interval=(0.0, before[token]),
                kind="lost" if out else "best",
            )
        )
    return BarChart(
        title=f"{trail.engine.label}: {f'{len(trail.left):,}'} kept",
        headings=["token", "model", "after all samplers"],
        rows=rows,
        domain=(0.0, max(*before, *after)),
        note=(
            "Thin lines show the probabilities of the model, bars the distribution after all samplers. A removed "
            "token is labelled with the sampler that removed it."
        ),
        width=WIDTH,
    )


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


def document(comparison: Comparison) -> Document:
    """Return charts, steps and notes as a page."""
    settings = ", ".join(f"{name} {value:g}" for name, value in comparison.sampling.set_values().items())
    counts = [f"{trail.engine.label} {len(trail.left):,}" for trail in comparison.trails.values()]
    return Document(
        title=settings or "No sampling settings",
        kind="decoding",
        outcome="none",
        answer=f"Tokens kept: {'; '.join(counts)}",
        sentence="",
        warnings=list(comparison.notes),
        sections=[
            PagePart(
                name="engines",
                title="Probabilities before and after the samplers",
                blocks=[*charts_of(comparison), steps_table(comparison)],
            )
        ],
    )
