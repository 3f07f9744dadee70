"""Answers as a heat map: each token shaded by its entropy, with what else the model would have said.

In HTML the page needs nothing else and runs no script; on a terminal colours say the same. Text of others is cleaned.
"""

from collections.abc import Sequence

from markupsafe import Markup
from rich.text import Text

from tuneworthy.decoding.confidence import SIGNALS, Token
from tuneworthy.ladder.commands.uncertainty import AnswerSignals, UncertaintyReport
from tuneworthy.report import messages
from tuneworthy.report.html import render_page
from tuneworthy.report.numbers import percent, percent_range
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean
from tuneworthy.stats.intervals import Interval
from tuneworthy.text import plural

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
    """Return the text of a token's tooltip."""
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
    """Return the answers, wrong ones first, those that waver most first."""
    signal = report.calibration.signal
    return sorted(report.answers, key=lambda answer: (answer.wrong is not True, -answer.value(signal)))


def areas_table(report: UncertaintyReport) -> Table:
    """Return how well each signal tells wrong answers."""
    rows = []
    for name, area in report.calibration.areas.items():
        meaning = SIGNALS.get(name, f"disagreement of {report.samples} sampled answers")
        rows.append((name, meaning, f"{area.area:.3f}", f"[{area.lo:.3f}, {area.hi:.3f}]", f"{1 - area.alpha:.1%}"))
    columns = [Column("signal", "signal", "name"), Column("words", "meaning", "text"), Column("area", "AUROC"),
               Column("interval", "interval"), Column("level", "confidence level")]  # fmt: skip
    found = report.calibration
    return Table(
        "How well each signal detects wrong answers",
        columns,
        rows,
        (
            f"n = {found.n}{f' in {found.n_groups} groups' if found.n_groups < found.n else ''}, {found.n_wrong} "
            f"wrong {plural(found.n_wrong, 'answer', 'answers')}. An AUROC of 0.5 is chance. The primary signal "
            f"is {found.signal}."
        ),
    )


def reliability_table(report: UncertaintyReport) -> Table:
    """Return how often answers are wrong, by the signal that decides."""
    signal = report.calibration.signal
    return Table(
        f"Reliability: share of wrong answers by {signal}",
        [Column("mean", f"mean {signal}"), Column("wrong", "wrong answers"), Column("n", "answers")],
        [(f"{mean:.3f}", percent(share), str(n)) for mean, share, n in report.calibration.reliability],
    )


def spots_table(report: UncertaintyReport) -> Table:
    """Return where the model wavers, joined to the cases that failed."""
    rows = [
        (clean(spot.text, 30) or "(blank)", str(spot.in_wrong), str(spot.in_right), f"{spot.entropy:.2f}",
         ", ".join(clean(other, 16) or "space" for other in spot.instead), ", ".join(clean(c, 20) for c in spot.cases))
        for spot in report.spots
    ]  # fmt: skip
    return Table(
        "Most uncertain tokens",
        [
            Column("text", "token", "name"),
            Column("wrong", "in wrong answers"),
            Column("right", "in correct answers"),
            Column("entropy", "entropy"),
            Column("instead", "alternatives", "text"),
            Column("cases", "failed cases", "text"),
        ],
        rows,
        "The table lists tokens in the top 10% by entropy.",
    )


def verdict(report: UncertaintyReport) -> str:
    """Return in a sentence whether a threshold may be used."""
    bound = report.calibration.threshold
    if bound is None:
        return messages.say("no_threshold", reason=report.calibration.refused)
    return messages.say(
        "threshold",
        signal=bound.signal,
        value=bound.value,
        flagged=bound.flagged,
        recall=bound.recall,
        false_alarms=bound.false_alarms,
        wrong=rate(bound.wrong_flagged),
        wrong_others=rate(bound.wrong_others),
    )


def rate(share: Interval) -> str:
    """Return a share with its interval."""
    return f"{percent(share.value)} {percent_range((share.lo, share.hi))}"


def page(report: UncertaintyReport, most: int = 60) -> str:
    """Return the report as one HTML page.

    Args:
        report: Of a watch.
        most: Answers that are shown.
    """
    answers = [_answer(answer, report.calibration.signal) for answer in ranked(report)[:most]]
    tables: Sequence[Table] = [
        table for table in (areas_table(report), reliability_table(report), spots_table(report)) if table.rows
    ]
    return render_page(
        "heat.html.j2",
        extra_style=STYLE,
        title=report.variant,
        kind="uncertainty",
        answer=verdict(report),
        tables=tables,
        answers=answers,
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
