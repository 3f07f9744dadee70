"""The two charts of a run: score against cost (or time), and score by rung. Altair, made into SVG without a browser.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; shapes say the same, for print. Text in the
SVG is data, never markup or an expression, and cleaned; the page shows the SVG as an image, where no script runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from tuneworthy.errors import OutsideFault
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report import label_layout, messages, numbers
from tuneworthy.report.text import clean
from tuneworthy.types import RungStatus

# Width of the plotting area, pixels.
WIDE, NARROW = 880, 290
# Mean width of a letter of a name, pixels.
LETTER = 6.2
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
INK, MUTED, GRID, BAND, TARGET = "#1f2933", "#52606d", "#e4e7eb", "#e9ecef", "#9a3412"
COLOURS: Mapping[str, str] = {
    "adopted": "#0072B2",
    "today's setup": "#1f2933",
    "classical baseline": "#7b8794",
    "no gain": "#D55E00",
    "inconclusive": "#B8860B",
    "violates constraint": "#AA4499",
    "dev only": "#0072B2",
}
SHAPES: Mapping[str, str] = {
    "adopted": "circle",
    "today's setup": "square",
    "classical baseline": "diamond",
    "no gain": "cross",
    "inconclusive": "triangle-up",
    "violates constraint": "triangle-down",
    "dev only": "circle",
}


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured of one rung.

    Attributes:
        name: Of the variant, cleaned.
        rung: Of the ladder.
        role: A key of `COLOURS`.
        score: A share, with the ends of its 95% interval.
        cost: US dollars for 1,000 answers.
        time: Median, ms.
        path: Whether the ladder's best went through it.
    """

    name: str
    rung: str
    role: str
    score: float
    lo: float
    hi: float
    cost: float | None
    time: float | None
    path: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: its title says what is lead, the caption how to read it, `alt` holds its numbers."""

    title: str
    caption: str
    alt: str
    wide: str
    narrow: str


@dataclass(frozen=True, slots=True)
class Axis:
    """The horizontal axis of the first chart: a scale in pixels, so that labels can be placed.

    Attributes:
        key: `cost` or `time`.
        title: What stands below it.
        log: Whether it is logarithmic.
        lo: Its lower end.
        hi: Its upper end.
        zero: Where 0 stands on a logarithmic one, or None.
    """

    key: str
    title: str
    log: bool
    lo: float
    hi: float
    zero: float | None = None

    def at(self, value: float) -> float:
        """Return where `value` is drawn, in units of the axis."""
        return self.zero if self.zero is not None and value <= 0 else value

    def share(self, value: float) -> float:
        """Return how far along the axis `value` stands, 0 to 1."""
        if self.log:
            return (math.log(value) - math.log(self.lo)) / (math.log(self.hi) - math.log(self.lo))
        return (value - self.lo) / (self.hi - self.lo)

    def value(self, share: float) -> float:
        """Return the value at `share` of the axis."""
        if self.log:
            return math.exp(math.log(self.lo) + share * (math.log(self.hi) - math.log(self.lo)))
        return self.lo + share * (self.hi - self.lo)


def points_of(record: RunRecord) -> list[Point]:
    """Return what can be drawn: rungs with a score on test, or on dev for a quick run."""
    found = []
    for rung in record.rungs:
        lead = rung.candidates[0] if record.quick and rung.candidates else None
        score = lead.score if lead else rung.score
        bounds = lead.ci95 if lead else rung.ci95
        if score is None or bounds is None:
            continue
        role = {"classical": "classical baseline", "baseline": "today's setup"}.get(rung.rung)
        role = role or ("dev only" if record.quick else rung.status.value.replace("_", " "))
        found.append(
            Point(
                name=clean(lead.name if lead else rung.name, 32),
                rung=clean(rung.rung, 32),
                role=role if role in COLOURS else "inconclusive",
                score=score,
                lo=bounds[0],
                hi=bounds[1],
                cost=None if lead or rung.usd_per_1k is None else max(0.0, rung.usd_per_1k),
                time=None if lead else rung.latency_p50_ms,
                path=not record.quick and (rung.rung == "baseline" or rung.status is RungStatus.ADOPTED),
            )
        )
    return found


def figures(record: RunRecord) -> list[Figure]:
    """Return the charts that the record has the numbers for."""
    points = points_of(record)
    if not points:
        return []
    ladder, axis = _ladder_figure(record, points), axis_of(points)
    if axis is None:
        return [ladder]
    return [_tradeoff_figure(record, [p for p in points if getattr(p, axis.key) is not None], axis), ladder]


def axis_of(points: Sequence[Point]) -> Axis | None:
    """Choose what the score is drawn against: cost, or time where nothing costs; None where neither was measured."""
    costs = [p.cost for p in points if p.cost is not None]
    times = [p.time for p in points if p.time is not None]
    if any(costs):
        return _scaled("cost", "US dollars per 1,000 answers", costs)
    if any(times):
        return _scaled("time", "median time per answer (ms)", [max(time, 1e-3) for time in times])
    return None


def _scaled(key: str, title: str, values: Sequence[float]) -> Axis:
    """Take a logarithmic scale where the values above 0 span a decade; 0 then has a place of its own."""
    above = [value for value in values if value > 0]
    least, most = min(above), max(above)
    if most / least < 10:
        pad = 0.15 * most
        return Axis(key, title, False, -pad if min(values) <= 0 else max(0.0, least - pad), most + pad)
    zero = least / 10 if min(values) <= 0 else None
    return Axis(key, f"{title} (logarithmic)", True, (zero or least) / 2.2, most * 2.2, zero)


def _tradeoff_figure(record: RunRecord, points: Sequence[Point], axis: Axis) -> Figure:
    against = "price" if axis.key == "cost" else "time"
    title = _tradeoff_title(record, points, axis)
    caption = messages.say("tradeoff_caption", where=_where(record), against=against, target=_goal(record))
    caption += messages.say("classical_band") if any(p.rung == "classical" for p in points) else ""
    caption += messages.say("no_prices") if axis.key == "time" else ""
    alt_points = "; ".join(f"{p.name} {_scored(p)}, {_placed(p, axis)}" for p in points)
    wide, narrow = (_tradeoff(record, points, axis, width) for width in (WIDE, NARROW))
    return Figure(title, caption, messages.say("tradeoff_alt", against=against, points=alt_points), wide, narrow)


def _tradeoff_title(record: RunRecord, points: Sequence[Point], axis: Axis) -> str:
    """Say what the first chart shows of the best variant."""
    top = max(points, key=lambda p: p.score)
    best = next((p for p in points if record.best and p.rung == record.best.rung), top)
    share = numbers.percent(best.score)
    unit = f"{_placed(best, axis)} per 1,000 answers" if axis.key == "cost" else f"{_placed(best, axis)} per answer"
    if record.classical_wins:
        return messages.say("needs_no_model", name=best.name, share=share, unit=unit)
    if best.score >= top.score:
        return messages.say("scores_highest", name=best.name, share=share, unit=unit)
    return messages.say(
        "is_the_choice",
        name=best.name,
        share=share,
        unit=unit,
        top=top.name,
        top_share=numbers.percent(top.score),
        but=messages.say("breaks_constraint")
        if top.role == "violates constraint"
        else messages.say("not_shown_better"),
    )


def _ladder_figure(record: RunRecord, points: Sequence[Point]) -> Figure:
    steps = [p for p in points if p.rung not in {"classical", "baseline"}]
    path = [p for p in points if p.path]
    if record.quick:
        title = messages.say("ladder_quick")
    elif len(path) > 1:
        first, last = numbers.percent(path[0].score), numbers.percent(path[-1].score)
        title = messages.say(
            "ladder_path",
            n=len(path) - 1,
            steps=len(steps),
            noun="rungs" if len(steps) > 1 else "rung",
            first=first,
            last=last,
        )
    else:
        title = messages.say("ladder_none", n=len(steps)) if len(steps) > 1 else messages.say("ladder_one")
    line, target = "" if record.quick else messages.say("blue_line"), _goal(record)
    caption = messages.say("ladder_caption", where=_where(record), line=line, target=target)
    alt_points = "; ".join(f"{p.name} {_scored(p)}, {p.role}" for p in points)
    wide, narrow = (_ladder(record, points, width) for width in (WIDE, NARROW))
    return Figure(title, caption, messages.say("ladder_alt", points=alt_points), wide, narrow)


def _goal(record: RunRecord) -> str:
    return "" if record.target is None else messages.say("target_line", target=numbers.percent(record.target))


def _where(record: RunRecord) -> str:
    return f"{record.n_dev} dev cases" if record.quick else f"{record.n_test} test cases"


def _scored(point: Point) -> str:
    return f"{numbers.percent(point.score)} ({numbers.percent_range((point.lo, point.hi))})"


def _placed(point: Point, axis: Axis) -> str:
    return numbers.dollars(point.cost) if axis.key == "cost" else f"{numbers.milliseconds(point.time)} ms"


def score_domain(record: RunRecord, points: Sequence[Point]) -> tuple[float, float]:
    """Return the ends of the score axis: whole tenths around all intervals and the target."""
    goal = [] if record.target is None else [record.target]
    lo, hi = min([p.lo for p in points] + goal), max([p.hi for p in points] + goal)
    return max(0.0, math.floor(10 * (lo - 0.02)) / 10), min(1.0, math.ceil(10 * (hi + 0.02)) / 10)


def _tradeoff(record: RunRecord, points: Sequence[Point], axis: Axis, width: int) -> str:
    """Draw score against cost or time."""
    height = 340 if width == WIDE else 300
    domain = score_domain(record, points)
    placed = _place(points, Canvas(axis, domain, width, height), record.target)
    rows: list[dict[str, Any]] = [
        {"x": axis.at(getattr(p, axis.key)), "score": p.score, "lo": p.lo, "hi": p.hi, "role": p.role} for p in points
    ]
    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log" if axis.log else "linear", domain=[axis.lo, axis.hi], nice=False),
        title=axis.title,
        axis=_cost_axis(axis, width),
    )
    y = alt.Y("score:Q", scale=alt.Scale(domain=domain, nice=False), title="score", axis=_score_axis())
    base = alt.Chart(inline(rows))
    colour = alt.Color("role:N", scale=_scale(COLOURS, points), legend=_legend(width))
    return svg_of(
        [
            *_references(record, points, "y"),
            base.mark_rule(strokeWidth=2, opacity=0.75).encode(x=x, y=alt.Y("lo:Q"), y2="hi:Q", color=colour),
            _symbols(base, points, width).encode(x=x, y=y),
            *_names(points, placed),
        ],
        width,
        height,
    )


def _score_axis() -> alt.Axis:
    return alt.Axis(tickCount=6, labelExpr="format(100 * datum.value, '~r') + '%'")


def _cost_axis(axis: Axis, width: int) -> alt.Axis:
    """Label the horizontal axis; on a logarithmic one with powers of ten, and 0 where it stands."""
    if not axis.log:
        money = "'$' + " if axis.key == "cost" else ""
        label = f"datum.value < 0 ? '' : {money}format(datum.value, ',~r')"
        return alt.Axis(tickCount=4 if width == NARROW else 7, labelExpr=label, grid=False)
    first, last = math.ceil(math.log10(axis.zero * 3 if axis.zero else axis.lo)), math.floor(math.log10(axis.hi))
    step = max(1, math.ceil((last - first + 1) / (5 if width == NARROW else 9)))
    ticks = [10.0**power for power in range(first, last + 1, step)]
    money = "'$' + " if axis.key == "cost" else ""
    label = f"{money}format(datum.value, ',~r')"
    if axis.zero is not None:
        ticks = [axis.zero, *ticks]
        label = f"datum.value <= {axis.zero * 1.01!r} ? {money}'0' : {label}"
    return alt.Axis(values=ticks, labelExpr=label, grid=False)


@dataclass(frozen=True, slots=True)
class Canvas:
    """The plotting area of the first chart: between units of its axes and pixels."""

    axis: Axis
    domain: tuple[float, float]
    width: int
    height: int

    def x(self, point: Point) -> float:
        """Return the pixel of a point from the left."""
        return self.axis.share(self.axis.at(getattr(point, self.axis.key))) * self.width

    def y(self, score: float) -> float:
        """Return the pixel of a score from the top."""
        return (self.domain[1] - score) / (self.domain[1] - self.domain[0]) * self.height

    def units(self, x: float, y: float) -> tuple[float, float]:
        """Return the units at a pixel."""
        score = self.domain[1] - y / self.height * (self.domain[1] - self.domain[0])
        return self.axis.value(x / self.width), score


def _place(points: Sequence[Point], canvas: Canvas, target: float | None) -> list[dict[str, Any]]:
    """Return the names of the points with their places in units of the axes."""
    obstacles = [label_layout.Box(canvas.x(p) - 3, canvas.y(p.hi), canvas.x(p) + 3, canvas.y(p.lo)) for p in points]
    if target is not None:
        goal = canvas.y(target)
        obstacles += [label_layout.Box(0, goal - 20, 80, goal), label_layout.Box(0, goal - 5, canvas.width, goal + 5)]
    spots = [(canvas.x(p), canvas.y(p.score)) for p in points]
    widths = [LETTER * len(p.name) + 4 for p in points]
    inside = label_layout.Box(2, 2, canvas.width - 2, canvas.height - 2)
    rows = []
    for point, width, spot, place in zip(
        points, widths, spots, label_layout.place(spots, widths, 15, inside, obstacles), strict=True
    ):
        near = min(max(spot[0], place.x - 3), place.x + width)  # where a line from the point meets the name
        x, y = canvas.units(place.x, place.y)
        from_x, from_y = canvas.units(*spot)
        to_x, _ = canvas.units(near, place.y)
        row = {"name": point.name, "x": x, "y": y, "far": place.far}
        rows.append(row | {"from_x": from_x, "from_y": from_y, "to_x": to_x})
    return rows


def _names(points: Sequence[Point], placed: Sequence[dict[str, Any]]) -> list[alt.Chart]:
    """Draw the names, with a line to the point where they stand apart."""
    layers = []
    far = [row for row in placed if row["far"]]
    if far:
        lines = alt.Chart(inline(far)).mark_rule(stroke=MUTED, strokeWidth=0.7)
        layers.append(lines.encode(x="from_x:Q", y="from_y:Q", x2="to_x:Q", y2="y:Q"))
    text = alt.Chart(inline(placed)).mark_text(align="left", baseline="middle", fontSize=12, color=INK)
    halo = alt.Chart(inline(placed)).mark_text(
        align="left", baseline="middle", fontSize=12, color="white", stroke="white", strokeWidth=3, opacity=0.85
    )
    return [*layers, *(layer.encode(x="x:Q", y="y:Q", text="name:N") for layer in (halo, text))]


def _ladder(record: RunRecord, points: Sequence[Point], width: int) -> str:
    """Draw the score by rung, from top to bottom."""
    narrow = width == NARROW
    step = 52 if narrow else 44
    height = step * len(points)
    domain = score_domain(record, points)
    rows: list[dict[str, Any]] = [
        {
            "y": i + 0.5 + (0.12 if narrow else 0),
            "score": p.score,
            "lo": p.lo,
            "hi": p.hi,
            "role": p.role,
            "name": p.name,
            "label": numbers.percent(p.score),
        }
        for i, p in enumerate(points)
    ]
    x = alt.X("score:Q", scale=alt.Scale(domain=domain, nice=False), title="score", axis=_score_axis())
    y = alt.Y("y:Q", scale=alt.Scale(domain=[len(points), 0], nice=False), axis=None)
    base = alt.Chart(inline(rows))
    colour = alt.Color("role:N", scale=_scale(COLOURS, points), legend=_legend(width))
    path = [row for row, point in zip(rows, points, strict=True) if point.path]
    name = base.mark_text(
        align="left" if narrow else "right", baseline="middle", fontSize=12.5, color=INK, dy=-19 if narrow else 0
    )
    text = base.mark_text(align="left", baseline="middle", fontSize=12.5, fontWeight="bold", color=INK, dx=7)
    halo = base.mark_text(
        align="left", baseline="middle", fontSize=12.5, fontWeight="bold", dx=7, stroke="white", strokeWidth=5
    )
    layers = [
        *_references(record, points, "x"),
        alt.Chart(inline(path))
        .mark_line(stroke=COLOURS["adopted"], strokeWidth=1.5, opacity=0.5)
        .encode(x=x, y=y, order="y:Q"),
        base.mark_rule(strokeWidth=2.5).encode(x=alt.X("lo:Q"), x2="hi:Q", y=y, color=colour),
        _symbols(base, points, width).encode(x=x, y=y),
        halo.encode(x="hi:Q", y=y, text="label:N"),
        text.encode(x="hi:Q", y=y, text="label:N"),
        name.encode(x=alt.value(3 if narrow else -12), y=y, text="name:N"),
    ]
    return svg_of(layers, width if narrow else width - 110, height)


def _references(record: RunRecord, points: Sequence[Point], along: str) -> list[alt.Chart]:
    """Draw the classical baseline with its band, and the target, as lines; `along` is the axis of the score."""
    layers = []
    second = f"{along}2"
    classical = next((p for p in points if p.rung == "classical"), None)
    if classical:
        band = alt.Chart(inline([{"score": classical.score, "lo": classical.lo, "hi": classical.hi}]))
        layers.append(band.mark_rect(color=BAND, opacity=0.9).encode(**{along: "lo:Q", second: "hi:Q"}))
        line = band.mark_rule(stroke=COLOURS["classical baseline"], strokeDash=[2, 3], strokeWidth=1.5)
        layers.append(line.encode(**{along: "score:Q"}))
    if record.target is None:
        return layers
    goal = alt.Chart(inline([{"score": record.target, "label": f"target {numbers.percent(record.target)}"}]))
    layers.append(goal.mark_rule(stroke=TARGET, strokeDash=[7, 4], strokeWidth=1.5).encode(**{along: "score:Q"}))
    upright = along == "y"
    dx, dy = (4, -3) if upright else (0, -4)
    label = goal.mark_text(
        align="left" if upright else "center", baseline="bottom", dx=dx, dy=dy, fontSize=11.5, color=TARGET
    )
    x, y = (alt.value(0), "score:Q") if upright else ("score:Q", alt.value(0))
    return [*layers, label.encode(x=x, y=y, text="label:N")]


def _symbols(base: alt.Chart, points: Sequence[Point], width: int) -> alt.Chart:
    found: alt.Chart = base.mark_point(filled=True, size=110, opacity=1).encode(
        color=alt.Color("role:N", scale=_scale(COLOURS, points), legend=_legend(width)),
        shape=alt.Shape("role:N", scale=_scale(SHAPES, points), legend=_legend(width)),
    )
    return found


def _legend(width: int) -> alt.Legend:
    return alt.Legend(
        title=None,
        orient="bottom",
        columns=2 if width == NARROW else len(COLOURS),
        symbolSize=110,
        symbolStrokeWidth=0,
        symbolOpacity=1,
        offset=12,
        labelLimit=200,
    )


def _scale(by_role: Mapping[str, str], points: Sequence[Point]) -> alt.Scale:
    """Map the roles that occur to colours or shapes."""
    used = [role for role in by_role if any(p.role == role for p in points)]
    return alt.Scale(domain=used, range=[by_role[role] for role in used])


def inline(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Return rows as the data of a chart."""
    return alt.InlineData(values=[dict(row) for row in rows])


def svg_of(layers: Sequence[Any], width: int, height: int) -> str:
    """Return the layers as one SVG document; nothing is fetched."""
    chart = alt.layer(*layers).properties(width=width, height=height, background="white", padding=6)
    chart = chart.configure(font=FONT).configure_view(stroke=None)
    chart = chart.configure_axis(
        labelColor=MUTED,
        titleColor=MUTED,
        labelFontSize=12,
        titleFontSize=12,
        titleFontWeight="normal",
        gridColor=GRID,
        domainColor="#9aa5b1",
        tickColor="#9aa5b1",
        titlePadding=8,
    )
    chart = chart.configure_legend(labelFontSize=12, labelColor=INK)
    try:
        svg: str = vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[])
    except BaseException as error:
        # When the system refuses a thread or a file, the library panics: here, which is no Exception, or in a thread of
        # its own, which cancels the conversion.
        if type(error).__name__ != "PanicException" and "canceled" not in str(error):
            raise
        raise OutsideFault(messages.say("charts_panicked", error=error)) from None
    return svg
