"""What samplers leave of one position, as a picture: a panel an engine, a row a token.

Pale bars are what the model says, dark ones what is drawn from; a token that is gone names the sampler that took it.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

from tuneworthy.decoding.samplers import Trail
from tuneworthy.decoding.view import Comparison
from tuneworthy.report import messages
from tuneworthy.report.charts import BAND, COLOURS, INK, MUTED, inline, svg_of
from tuneworthy.report.html import address, render_page
from tuneworthy.report.numbers import percent
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean

# Width of a panel, pixels; space between two, panels; height of a row, pixels.
PANEL, GAP, ROW = 230, 0.45, 22
MOST = 24


def picture(comparison: Comparison, most: int = MOST) -> str:
    """Return the picture as SVG.

    Args:
        comparison: The comparison.
        most: Tokens that are shown, the likeliest first.
    """
    tokens = comparison.shown(most)
    names = [clean(comparison.position.label(token), 16) or "(blank)" for token in tokens]
    rows: list[dict[str, Any]] = []
    for panel, trail in enumerate(comparison.trails.values()):
        rows += _rows(trail, tokens, names, panel)
    width = len(comparison.trails) + GAP * (len(comparison.trails) - 1)
    across = alt.Scale(domain=[-0.02, width + 0.05], nice=False)
    down = alt.Scale(domain=[len(tokens), -1.3], nice=False)
    base = alt.Chart(inline(rows))
    bare = alt.Axis(labels=False, ticks=False, domain=False, grid=False, title=None)
    y, top, inner = (alt.Y(f"{key}:Q", scale=down, axis=bare) for key in ("y", "top", "inner_top"))
    x, end = (alt.X(f"{key}:Q", scale=across, axis=bare) for key in ("left", "end"))
    heads = [
        {"left": panel * (1 + GAP), "y": -0.9, "name": trail.engine.label, "kept": f"{len(trail.left)} kept"}
        for panel, trail in enumerate(comparison.trails.values())
    ]
    head = alt.Chart(inline(heads)).encode(x=x, y=y)
    layers = [
        base.mark_bar(color=BAND).encode(x=x, x2="before:Q", y=top, y2="bottom:Q"),
        base.mark_bar(color=COLOURS["adopted"]).encode(x=x, x2="after:Q", y=inner, y2="inner_bottom:Q"),
        base.mark_text(align="right", dx=-4, fontSize=11, color=INK).encode(x=x, y=y, text="name:N"),
        base.mark_text(align="left", dx=4, fontSize=10.5).encode(
            x=end, y=y, text="label:N",
            color=alt.condition("datum.gone", alt.value(COLOURS["no gain"]), alt.value(INK)),
        ),
        head.mark_text(align="left", fontSize=12.5, fontWeight="bold", color=INK).encode(text="name:N"),
        head.mark_text(align="left", dx=110, fontSize=11.5, color=MUTED).encode(text="kept:N"),
    ]  # fmt: skip
    return svg_of(layers, int(PANEL * width), ROW * (len(tokens) + 1) + 12)


def _rows(trail: Trail, tokens: Sequence[int], names: Sequence[str], panel: int) -> list[dict[str, Any]]:
    """Return the bars of one panel, in units of a panel's width."""
    before, after, gone = trail.steps[0].left.distribution.tolist(), trail.distribution, trail.removed_by
    widest = max(before[tokens[0]], float(after.max()), 1e-9)
    left = panel * (1 + GAP)
    comparison = []
    for row, (token, name) in enumerate(zip(tokens, names, strict=True)):
        removed = gone[token] > 0
        scale = 0.72 / widest
        wide = max(before[token], float(after[token])) * scale
        comparison.append(
            {
                "y": row + 0.5, "top": row + 0.12, "bottom": row + 0.88, "inner_top": row + 0.3,
                "inner_bottom": row + 0.7, "left": left, "before": left + before[token] * scale,
                "after": left + float(after[token]) * scale, "end": left + wide, "name": name, "gone": bool(removed),
                "label": f"out: {trail.steps[gone[token]].name}" if removed else percent(float(after[token])),
            }
        )  # fmt: skip
    return comparison


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


def page(comparison: Comparison) -> str:
    """Return picture, steps and notes as one HTML page that needs nothing else."""
    settings = ", ".join(f"{name} {value:g}" for name, value in comparison.sampling.set_values().items())
    answer = messages.say(
        "tokens_kept",
        counts="; ".join(f"{trail.engine.label} {len(trail.left):,}" for trail in comparison.trails.values()),
    )
    return render_page(
        "decoding.html.j2",
        title=settings or messages.say("nothing_set"),
        kind="decoding",
        answer=answer,
        image=address(picture(comparison)),
        alt=answer,
        notes=list(comparison.notes),
        steps=steps_table(comparison),
    )
