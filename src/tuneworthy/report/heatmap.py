"""Answers as a heat map: each token shaded by its entropy, with what else the model would have said.

In HTML the page needs nothing else and runs no script; on a terminal colours say the same. Text of others is cleaned.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup
from rich.text import Text

from tuneworthy.decoding.confidence import PRIMARY, SIGNALS, Token
from tuneworthy.ladder.commands.uncertainty import UncertaintyReport, Watched
from tuneworthy.report.html import POLICY, environment
from tuneworthy.report.numbers import percent
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean

LEVELS = 6
# Entropy from which a token has the darkest shade, nats.
HOTTEST = 2.0
SHADES = ("#ffffff", "#fff1d6", "#fedfa8", "#fdbe6f", "#f98e52", "#e35a3c")
STYLE = "".join(f".h{level} {{ background: {shade}; }}\n" for level, shade in enumerate(SHADES)) + (
    ".answer-text { font-family: ui-monospace, Menlo, monospace; font-size: 13.5px; line-height: 1.9; max-width: 90ch; "
    "white-space: pre-wrap; overflow-wrap: anywhere; }\n.wrong { color: #9a3412; } .right { color: #00558c; }\n"
)


def level(token: Token) -> int:
    """Return the shade of a token, 0 (sure) to 5."""
    return min(LEVELS - 1, int(LEVELS * token.entropy / HOTTEST))


def shown(text: str) -> str:
    """Return the text of a token cleaned, its outer spaces and line breaks kept as spaces.

    >>> shown(" a\\n")
    ' a '
    """
    inner = clean(text, 0)
    if not inner:
        return " " if text else ""
    return " " * text[:1].isspace() + inner + " " * text[-1:].isspace()


def told(token: Token) -> str:
    """Return what a token's tooltip says."""
    others = ", ".join(f"{clean(text, 16) or 'space'} {share:.0%}" for text, share in token.top[:5])
    return f"entropy {token.entropy:.2f}, margin {token.margin:.2f}; {others}"


def terminal(one: Watched) -> Text:
    """Return an answer with a coloured background where the model wavers."""
    line = Text()
    for token in one.tokens:
        shade = level(token)
        line.append(shown(token.text), style=f"black on {SHADES[shade]}" if shade else "")
    return line


def ranked(report: UncertaintyReport) -> list[Watched]:
    """Return the answers, wrong ones first, those that waver most first."""
    return sorted(report.answers, key=lambda one: (one.wrong is not True, -one.signals[PRIMARY]))


def areas_table(report: UncertaintyReport) -> Table:
    """Return how well each signal tells wrong answers."""
    rows = []
    for name, area in report.calibration.areas.items():
        words = SIGNALS.get(name, f"how much {report.samples} sampled answers differ")
        rows.append((name, words, f"{area.area:.3f}", f"[{area.lo:.3f}, {area.hi:.3f}]", f"{1 - area.alpha:.1%}"))
    columns = [Column("signal", "signal", "name"), Column("words", "what it is", "text"), Column("area", "AUROC"),
               Column("interval", "interval"), Column("level", "coverage")]  # fmt: skip
    found = report.calibration
    groups = f" in {found.n_groups} groups" if found.n_groups < found.n else ""
    note = f"n = {found.n}{groups}, {found.n_wrong} wrong. 0.5 is chance. {PRIMARY} decides."
    return Table("Which signal tells wrong answers", columns, rows, note)


def reliability_table(report: UncertaintyReport) -> Table:
    """Return how often answers are wrong, by the signal that decides."""
    rows = [(f"{mean:.3f}", percent(share), str(n)) for mean, share, n in report.calibration.reliability]
    columns = [Column("mean", f"mean {PRIMARY}"), Column("wrong", "wrong"), Column("n", "answers")]
    return Table("Reliability: wrong answers by the signal", columns, rows)


def spots_table(report: UncertaintyReport) -> Table:
    """Return where the model wavers, joined to the cases that failed."""
    rows = [
        (clean(spot.text, 30) or "(blank)", str(spot.in_wrong), str(spot.in_right), f"{spot.entropy:.2f}",
         ", ".join(clean(other, 16) or "space" for other in spot.instead), ", ".join(clean(c, 20) for c in spot.cases))
        for spot in report.spots
    ]  # fmt: skip
    columns = [Column("text", "at", "name"), Column("wrong", "in wrong"), Column("right", "in right"),
               Column("entropy", "entropy"), Column("instead", "instead", "text"),
               Column("cases", "failed cases", "text")]  # fmt: skip
    return Table("Hot spots", columns, rows, "Tokens whose entropy is among the highest tenth.")


def verdict(report: UncertaintyReport) -> str:
    """Return in a sentence whether a threshold may be used."""
    bound = report.calibration.threshold
    if bound is None:
        return f"No threshold: {report.calibration.refused}"
    return (
        f"Hold back answers with {bound.signal} above {bound.value:.3f}: {bound.held:.0%} of all, {bound.caught:.0%} "
        f"of the wrong ones, {bound.right_held:.0%} of the right ones (cross-validated)"
    )


def page(report: UncertaintyReport, most: int = 60) -> str:
    """Return the report as one HTML page.

    Args:
        report: Of a watch.
        most: Answers that are shown.
    """
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8") + STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    answers = [_answer(one) for one in ranked(report)[:most]]
    tables: Sequence[Table] = [
        table for table in (areas_table(report), reliability_table(report), spots_table(report)) if table.rows
    ]
    return environment().get_template("heat.html.j2").render(
        title=report.variant,
        answer=verdict(report),
        tables=tables,
        answers=answers,
        left_out=max(0, len(report.answers) - most),
        style=Markup(style),
        policy=Markup(POLICY.format(style=f"sha256-{digest}")),
    )  # fmt: skip


def _answer(one: Watched) -> dict[str, object]:
    state = "not graded" if one.wrong is None else "wrong" if one.wrong else "right"
    again = "" if one.disagreement is None else f", repeats disagree {one.disagreement:.2f}"
    spans = [
        Markup('<span class="h{}" title="{}">{}</span>').format(level(token), told(token), shown(token.text))
        for token in one.tokens
    ]
    return {
        "case": one.case, "question": clean(one.question, 300), "state": state, "text": Markup("").join(spans),
        "told": f"{PRIMARY} {one.signals[PRIMARY]:.3f}{again}" + (f", {one.reason}" if one.reason else ""),
    }  # fmt: skip
