"""The card of a frozen version as a page: what stays, what the checks took, and where the rows come from."""

from collections.abc import Sequence
from itertools import groupby

from tuneworthy.dataset.card import CardRow, DatasetCard, Reason, RowCounts
from tuneworthy.report import messages
from tuneworthy.report.chart import Bar, BarChart
from tuneworthy.report.charts import FIRST
from tuneworthy.report.document import Card, Document, NextStep, PagePart
from tuneworthy.report.first_screen import plain
from tuneworthy.report.numbers import NONE, count, percent
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean

ACTIONS = {"drop": "dropped", "mask": "masked", "report": "reported"}


def document(card: DatasetCard, review: str = "") -> Document:
    """Return the card as a page.

    Args:
        card: Of a version.
        review: What people who reviewed it found, in a sentence; "" if nobody did.
    """
    warnings = [messages.say("card_unsafe", gate=clean(gate)) for gate in card.unsafe]
    warnings += [plain(note) for note in card.notes]
    failed = sum(status != "passed" for _, status, _ in card.gates)
    gates = messages.say("card_failed", n=failed, total=len(card.gates)) if failed else messages.say("card_passed")
    return Document(
        title=clean(card.task),
        kind=messages.say("kind_card"),
        outcome="do_not_ship" if failed else "ship",
        answer=messages.say("card_answer", n=count(card.n_rows), n_read=count(card.n_read)),
        sentence=f"{clean(card.summary, 0)} {gates}",
        basis=messages.say("card_basis", version=clean(card.version), date=clean(card.created)),
        cards=_cards(card, review),
        chart=_funnel_chart(card),
        next_step=_next_step(bool(failed), bool(review)),
        warnings=warnings,
        sections=[
            PagePart(name="funnel", title=messages.say("card_checks"), blocks=[_funnel(card), *_whole_set(card)]),
            PagePart(
                name="findings",
                title=messages.say("card_findings"),
                blocks=[_reasons(check, list(some)) for check, some in groupby(card.reasons, lambda part: part.check)],
            ),
            PagePart(name="rows", title=messages.say("card_rows"), blocks=[*map(_distribution, card.distributions)]),
            PagePart(
                name="provenance", title=messages.say("card_provenance"), blocks=[*card.licences, _provenance(card)]
            ),
        ],
        made=messages.say("card_made", version=card.version, date=card.created),
    )


def _next_step(has_failed: bool, is_reviewed: bool) -> NextStep:
    if has_failed:
        return NextStep(command="tuneworthy data build", why=messages.say("card_rebuild"))
    if not is_reviewed:
        return NextStep(command="tuneworthy data review start", why=messages.say("card_unreviewed"))
    return NextStep(command="tuneworthy train", why=messages.say("card_to_train"))


def _cards(card: DatasetCard, review: str) -> list[Card]:
    share = percent(card.n_rows / card.n_read) if card.n_read else NONE
    passed = sum(status == "passed" for _, status, _ in card.gates)
    masked = sum(step.masked for step in card.funnel[1:])
    return [
        Card(
            label=messages.say("card_kept"),
            value=count(card.n_rows),
            name=messages.say("card_share", share=share),
            details=[messages.say("card_masked", n=masked)],
        ),
        Card(
            label=messages.say("card_gates"),
            value=messages.say("card_gates_passed", n=passed, total=len(card.gates)),
            name="",
            details=[],
        ),
        Card(
            label=messages.say("card_review"),
            value=messages.say("card_reviewed" if review else "card_none"),
            name=clean(review, 0) or messages.say("card_nobody"),
            details=[],
        ),
    ]


def _funnel_chart(card: DatasetCard) -> BarChart:
    """Return how many rows each check leaves."""
    return BarChart(
        title=messages.say("card_funnel"),
        headings=["check", "rows out", "rows dropped"],
        rows=[
            Bar(
                label=clean(step.check, 40),
                cells=[count(step.n_out), messages.say("card_dropped", n=count(step.dropped))],
                value=float(step.n_out),
                start=0.0,
                kind="best" if step.dropped else "plain",
            )
            for step in card.funnel
        ],
        domain=(0.0, float(max([step.n_in for step in card.funnel], default=1) or 1)),
        width=FIRST,
    )


def _distribution(part: RowCounts) -> BarChart:
    return BarChart(
        title=part.title,
        headings=["", "rows"],
        rows=[
            Bar(label=clean(name, 60), cells=[count(n)], value=float(n), start=0.0, kind="best")
            for name, n in part.counts
        ],
        domain=(0.0, float(max([n for _, n in part.counts], default=1) or 1)),
        note=part.note,
        width=760,
    )


def _provenance(card: DatasetCard) -> Table:
    columns = [Column("what", "item", "name"), Column("value", "value", "text")]
    return Table("Provenance", columns, [[clean(name), clean(value)] for name, value in card.provenance])


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
    return Table("Rows by check", columns, rows)


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
                [[clean(check), plain(finding)] for check, finding in card.set_findings],
            )
        )
    if card.repeated:
        columns = [Column("source", "row", "name"), Column("n", "duplicates"), Column("question", "question", "text"),
                   Column("answer", "answer", "text")]  # fmt: skip
        rows = [[clean(row.source), count(n), clean(row.question), clean(row.answer)] for row, n in card.repeated]
        found.append(Table("Rows with the most duplicates", columns, rows, messages.say("card_repeated")))
    columns = [Column("gate", "gate", "name"), Column("status", "status", "status"), Column("detail", "detail", "text")]
    found.append(Table("Gates", columns, [[plain(cell) for cell in gate] for gate in card.gates]))
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
