"""The card of a frozen version as one HTML page that needs nothing else, and as Markdown: the same content.

As in `report.html`, what was written by others is cleaned and escaped by the template's own escaping, and bars are
images (`data:`), in which no script runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import escape

from tuneworthy.dataset.card import CardRow, DatasetCard, Reason, RowCounts
from tuneworthy.report import messages
from tuneworthy.report.html import address, render_page
from tuneworthy.report.markdown import bullets, table_blocks
from tuneworthy.report.numbers import NONE, count, percent
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean, markdown_text

ACTIONS = {"drop": "dropped", "mask": "masked", "report": "reported"}
_WIDTH, _ROW, _NAMES, _BARS = 720, 24, 220, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPage:
    """A card as tables and sentences, in the order in which it is read.

    Attributes:
        title: The task.
        answer: What the version is, in one sentence.
        warnings: What to know before using it.
        funnel: A row a check.
        whole_set: What was found of the whole set, repeated rows, gates.
        reasons: A table each check.
        distributions: Of the rows that stay.
        provenance: Where they come from.
        licences: Under which they may be used.
        made: The last line.
    """

    title: str
    answer: str
    warnings: Sequence[str]
    funnel: Table
    whole_set: Sequence[Table]
    reasons: Sequence[Table]
    distributions: Sequence[RowCounts]
    provenance: Table
    licences: Sequence[str]
    made: str


def page_of(card: DatasetCard, review: str = "") -> CardPage:
    """Return the page of `card`.

    Args:
        card: Of a version.
        review: What people who reviewed it found, in a sentence; "" if nobody did.
    """
    warnings = [messages.say("card_unsafe", gate=gate) for gate in card.unsafe]
    warnings += card.notes
    warnings.append(messages.say("card_review", review=review) if review else messages.say("card_unreviewed"))
    return CardPage(
        title=clean(card.task),
        answer=messages.say("card_answer", n=count(card.n_rows), n_read=count(card.n_read), version=card.version),
        warnings=warnings,
        funnel=_funnel(card),
        whole_set=_whole_set(card),
        reasons=[_reasons(check, list(some)) for check, some in groupby(card.reasons, lambda part: part.check)],
        distributions=card.distributions,
        provenance=Table(
            "Provenance",
            [Column("what", "item", "name"), Column("value", "value", "text")],
            [[clean(name), clean(value)] for name, value in card.provenance],
        ),
        licences=card.licences,
        made=messages.say("card_made", version=card.version, date=card.created),
    )


def _funnel(card: DatasetCard) -> Table:
    counts = [Column(key, key) for key in ("dropped", "masked", "reported")]
    ends = Column("stay", "rows out"), Column("seconds", "seconds")
    columns = [Column("check", "check", "name"), Column("in", "rows in"), *counts, *ends]
    rows = [
        [
            clean(step.check),
            *map(count, (step.n_in, step.dropped, step.masked, step.reported, step.n_out)),
            NONE if step.seconds is None else f"{step.seconds:.2f}",
        ]
        for step in card.funnel
    ]
    share = percent(card.n_rows / card.n_read) if card.n_read else NONE
    return Table("Rows by check", columns, rows, messages.say("card_share", share=share))


def _effects(card: DatasetCard) -> Table:
    columns = [
        Column("check", "check", "name"),
        Column("n", "rows"),
        Column("share", "share"),
        Column("labels", "labels that lose most", "text"),
        Column("effect", "accuracy without them", "text"),
    ]
    rows = [
        [clean(one.check or messages.say("all_checks")), count(one.n), percent(one.share), clean(one.labels, 0),
         clean(one.effect)] for one in card.effects
    ]  # fmt: skip
    return Table("Effect of dropping rows", columns, rows, messages.say("card_effects"))


def _whole_set(card: DatasetCard) -> list[Table]:
    found = [_effects(card)]
    if card.set_findings:
        columns = [Column("check", "check", "name"), Column("said", "finding", "text")]
        found.append(
            Table(
                "Checks of the whole dataset",
                columns,
                [[clean(check), clean(finding)] for check, finding in card.set_findings],
            )
        )
    if card.repeated:
        columns = [Column("source", "row", "name"), Column("n", "duplicates"), Column("question", "question", "text"),
                   Column("answer", "answer", "text")]  # fmt: skip
        rows = [[clean(row.source), count(n), clean(row.question), clean(row.answer)] for row, n in card.repeated]
        found.append(Table("Rows with the most duplicates", columns, rows, messages.say("card_repeated")))
    columns = [Column("gate", "gate", "name"), Column("status", "status", "text"), Column("detail", "detail", "text")]
    found.append(Table("Gates", columns, [[clean(cell) for cell in gate] for gate in card.gates]))
    return found


def _reasons(check: str, reasons: Sequence[Reason]) -> Table:
    columns = [
        Column("reason", "reason", "name"),
        Column("n", "rows"),
        Column("became", "action", "text"),
        Column("source", "example", "name"),
        Column("question", "question", "text"),
        Column("answer", "answer", "text"),
        Column("detail", "detail", "text"),
    ]
    rows = []
    for reason in reasons:
        head = [clean(reason.reason), count(reason.n), ACTIONS[reason.action]]
        some: list[CardRow | None] = [*reason.examples] or [None]
        rows += [[*(["", "", ""] if number else head), *_cells(shown)] for number, shown in enumerate(some)]
    note = "; ".join(
        f"{clean(words)} ({clean(code)})" for code, words in {r.reason: r.description for r in reasons}.items()
    )
    return Table(clean(check), columns, rows, f"{note}." if note else "").filled()


def _cells(shown: CardRow | None) -> list[str]:
    if shown is None:
        return ["", "", "", ""]
    detail = "; ".join(filter(None, [shown.detail, f"repeats {shown.other}" if shown.other else ""]))
    return [clean(shown.source), clean(shown.question), clean(shown.answer), clean(detail)]


# --- HTML ---------------------------------------------------------------------------------------------------------


def render_html(card: DatasetCard, review: str = "") -> str:
    """Return the page as HTML."""
    page = page_of(card, review)
    return render_page(
        "card.html.j2",
        title=page.title,
        kind="dataset card",
        page=page,
        figures=[
            {
                "title": part.title,
                "note": part.note,
                "alt": f"{part.title}: " + "; ".join(f"{name}: {count(n)}" for name, n in part.counts),
                "image": address(bars(part)),
            }
            for part in page.distributions
        ],
    )


def bars(part: RowCounts) -> str:
    """Return a distribution as SVG: a bar a heading, with its number."""
    most = max([n for _, n in part.counts], default=0) or 1
    height = _ROW * len(part.counts) + 4
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
             f'viewBox="0 0 {_WIDTH} {height}" font-family="Arial, sans-serif" font-size="13">']  # fmt: skip
    for row, (name, n) in enumerate(part.counts):
        y, width = row * _ROW, max(1.0, _BARS * n / most)
        parts.append(f'<text x="{_NAMES - 8}" y="{y + 16}" text-anchor="end" fill="#1f2933">'
                     f'{escape(clean(name, 32))}</text>'
                     f'<rect x="{_NAMES}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 8}" fill="#0072b2"/>'
                     f'<text x="{_NAMES + width + 6:.1f}" y="{y + 16}" fill="#52606d">{count(n)}</text>')  # fmt: skip
    return "".join([*parts, "</svg>"])


# --- Markdown -----------------------------------------------------------------------------------------------------


def render_markdown(card: DatasetCard, review: str = "") -> str:
    """Return the page in GitHub's Markdown."""
    page = page_of(card, review)
    blocks = [f"# {markdown_text(page.title)}: dataset card", f"**{markdown_text(page.answer)}.**"]
    blocks += bullets([markdown_text(warning) for warning in page.warnings])
    blocks += ["## Data checks", *table_blocks(page.funnel)]
    blocks += [block for table in page.whole_set for block in table_blocks(table)]
    blocks += ["## Findings, with examples", *(b for table in page.reasons for b in table_blocks(table))]
    blocks.append("## Remaining rows")
    for part in page.distributions:
        rows = [[clean(name), count(n)] for name, n in part.counts]
        blocks += table_blocks(Table(part.title, [Column("what", "", "text"), Column("n", "rows")], rows, part.note))
    blocks += ["## Provenance and licences", *(markdown_text(part) for part in page.licences)]
    blocks += [*table_blocks(page.provenance), markdown_text(page.made)]
    return "\n\n".join(blocks) + "\n"
