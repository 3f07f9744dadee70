"""Answers as a heat map: each token shaded by its entropy, with what else the model would have said.

In HTML the page needs nothing else and runs no script; on a terminal colours say the same. Text of others is cleaned.
"""

from operator import itemgetter

from markupsafe import Markup
from rich.text import Text

from tuneworthy.decoding.confidence import SIGNALS, Token
from tuneworthy.ladder.commands.uncertainty import AnswerSignals, UncertaintyReport
from tuneworthy.report.render import render_page
from tuneworthy.report.text import Column, Table, clean, interval, name_column, percent, percent_range, text_column
from tuneworthy.stats.intervals import Interval
from tuneworthy.text import count
from tuneworthy.types import Texts

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


def tooltip(token: Token) -> str:
    others = ", ".join(f"{clean(text, 16) or 'space'} {share:.0%}" for text, share in token.top[:5])
    return f"entropy {token.entropy:.2f}, margin {token.margin:.2f}; {others}"


def terminal(answer: AnswerSignals) -> Text:
    """Return an answer with a coloured background where the model wavers."""
    line = Text()
    for token in answer.tokens:
        shade = level(token)
        line.append(shown(token.text), style=f"black on {SHADES[shade]}" if shade else "")
    return line


def ranked(report: UncertaintyReport) -> list[AnswerSignals]:
    """Return the answers, wrong answers first, the least certain first."""
    signal = report.calibration.signal
    return sorted(report.answers, key=lambda answer: (answer.wrong is not True, -answer.value(signal)))


def areas_table(report: UncertaintyReport) -> Table:
    """Return how well each signal tells wrong answers."""
    found = report.calibration
    columns = [
        name_column("signal", "signal", itemgetter(0)),
        text_column("words", "meaning", lambda row: SIGNALS.get(row[0], disagreement)),
        Column("area", "AUROC", value=lambda row: f"{row[1].area:.3f}"),
        Column("interval", "interval", interval, value=lambda row: (row[1].lo, row[1].hi)),
        Column("level", "confidence level", value=lambda row: f"{1 - row[1].alpha:.1%}"),
    ]
    disagreement = f"disagreement of {report.samples} sampled answers"
    groups = f" in {found.n_groups} groups" if found.n_groups < found.n else ""
    return Table.of(
        "How well each signal detects wrong answers",
        columns,
        found.areas.items(),
        (
            f"n = {found.n}{groups}, {count(found.n_wrong, 'wrong answer')}. An AUROC of 0.5 is chance. The primary "
            f"signal is {found.signal}."
        ),
    )


def reliability_table(report: UncertaintyReport) -> Table:
    """Return how often answers are wrong, by the signal that decides."""
    signal = report.calibration.signal
    columns = [
        Column("mean", f"mean {signal}", value=lambda row: f"{row[0]:.3f}"),
        Column("wrong", "wrong answers", percent, value=itemgetter(1)),
        Column("n", "answers", value=itemgetter(2)),
    ]
    return Table.of(f"Reliability: share of wrong answers by {signal}", columns, report.calibration.reliability)


def spots_table(report: UncertaintyReport) -> Table:
    """Return where the model wavers, joined to the cases that failed."""
    columns = [
        name_column("text", "token", lambda spot: clean(spot.text, 30) or "(blank)"),
        Column("in_wrong", "in wrong answers"),
        Column("in_right", "in correct answers"),
        Column("entropy", "entropy", "{:.2f}".format),
        text_column("instead", "alternatives", lambda spot: _joined(spot.instead, 16), most=0),
        text_column("cases", "failed cases", lambda spot: _joined(spot.cases, 20), most=0),
    ]
    return Table.of("Most uncertain tokens", columns, report.spots, "The table lists tokens in the top 10% by entropy.")


def _joined(texts: Texts, most: int) -> str:
    return ", ".join(clean(text, most) or "space" for text in texts)


def verdict(report: UncertaintyReport) -> str:
    """Return in a sentence whether a threshold may be used."""
    bound = report.calibration.threshold
    if bound is None:
        return f"No threshold: {report.calibration.refused}."
    return (
        f"Withhold answers with {bound.signal} above {bound.value:.3f}. In cross-validation, this flags "
        f"{bound.flagged:.1%} of all answers, {bound.recall:.1%} of the wrong ones and "
        f"{bound.false_alarms:.1%} of the correct ones. {rate(bound.wrong_flagged)} of the flagged answers "
        f"are wrong, and {rate(bound.wrong_others)} of the rest."
    )


def rate(share: Interval) -> str:
    return f"{share.value:.1%} {percent_range((share.lo, share.hi))}"


def page(report: UncertaintyReport, most: int = 60) -> str:
    """Return the report as one HTML page.

    Args:
        report: Of a watch.
        most: Answers that are shown.
    """
    tables = [table for table in (areas_table(report), reliability_table(report), spots_table(report)) if table.rows]
    return render_page(
        "heat.html.j2",
        extra_style=STYLE,
        title=report.variant,
        kind="uncertainty",
        answer=verdict(report),
        tables=tables,
        answers=[_answer(answer, report.calibration.signal) for answer in ranked(report)[:most]],
        left_out=max(0, len(report.answers) - most),
    )


def _answer(answer: AnswerSignals, signal: str) -> dict[str, object]:
    state = "not graded" if answer.wrong is None else "wrong" if answer.wrong else "right"
    again = "" if answer.disagreement is None else f", repeats disagree {answer.disagreement:.2f}"
    spans = [
        Markup('<span class="h{}" title="{}">{}</span>').format(level(token), tooltip(token), shown(token.text))
        for token in answer.tokens
    ]
    return {
        "case": answer.case, "question": clean(answer.question, 300), "state": state, "text": Markup("").join(spans),
        "signals": f"{signal} {answer.value(signal):.3f}{again}" + (f", {answer.reason}" if answer.reason else ""),
    }  # fmt: skip
