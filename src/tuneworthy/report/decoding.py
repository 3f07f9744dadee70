"""What samplers leave of one position, as bars: a chart an engine, a row a token.

A thin line is what the model says, a bar what is drawn from; a token that is gone names the sampler that took it.
"""

from markupsafe import Markup

from tuneworthy.decoding.samplers import Trail
from tuneworthy.decoding.view import Comparison
from tuneworthy.report.chart import Bar, BarChart
from tuneworthy.report.document import Document, PagePart
from tuneworthy.report.html import style
from tuneworthy.report.numbers import percent
from tuneworthy.report.svg import stacked
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean

WIDTH, MOST = 620, 24


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
    rows = []
    for trail in comparison.trails.values():
        for step in trail.steps:
            n_kept = f"{len(step.left):,}"
            value = "" if step.name in {"start", "greedy"} else f"{step.value:g}"
            rows.append(
                (trail.engine.label, step.name, value, step.origin, n_kept, percent(step.left.probabilities[0]))
            )
    return Table(
        "Sampling steps",
        [
            Column("engine", "engine", "text"),
            Column("step", "step", "name"),
            Column("value", "value"),
            Column("origin", "set by", "text"),
            Column("kept", "tokens kept"),
            Column("top", "top probability"),
        ],
        rows,
    )


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
