"""The report before it has a form: what HTML and Markdown both say, in the order in which a manager reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from tuneworthy.ladder.record import RunRecord
from tuneworthy.report import findings, tables
from tuneworthy.report.findings import KeyNumber, Target
from tuneworthy.report.prompts import prompt_tables
from tuneworthy.report.retrieval import retrieval_tables
from tuneworthy.report.tables import Table
from tuneworthy.report.text import clean
from tuneworthy.report.tuned import tuned_tables
from tuneworthy.report.verdict import Section, section

if TYPE_CHECKING:
    from tuneworthy.config import Project
    from tuneworthy.verdict.last_verdict import StoredVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report.

    Attributes:
        title: Of the page. verdict: What stands first, or None.
        answer: What the run found, in one sentence. target: Whether it is good enough, or None.
        quick: Whether test was left alone.
        numbers: The three at the head. warnings: What to know before using them.
        ladder: The main table. details: further ones of test. tried: What was tried and lost, on dev.
        method: How it was measured, sentences. data, provenance: Tables.
        paragraph: To paste.
        made: Where and when the report was made.
    """

    title: str
    verdict: Section | None
    answer: str
    target: Target | None
    quick: bool
    numbers: Sequence[KeyNumber]
    warnings: Sequence[str]
    ladder: Table
    details: Sequence[Table]
    tried: Sequence[Table]
    method: Sequence[str]
    data: Table
    provenance: Table
    paragraph: str
    made: str


def document(
    record: RunRecord,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> Document:
    """Return the report of `record`.

    Args:
        record: Of the last run.
        project: Tells the traffic and which models retire; None leaves both out.
        today: The day of the report.
        verdict: The last one, if there is one; of a quick run there is none.
    """
    day = today or date.today()
    traffic = project.economics.requests_per_month if project else None
    further = [tables.graders_table(record), tables.fields_table(record), tables.models_table(record)]
    errors = tables.errors_table(record)
    savings = tables.savings_table(record)
    return Document(
        title=clean(record.task),
        verdict=section(verdict) if verdict and not record.quick else None,
        answer=findings.answer(record),
        target=findings.target_of(record),
        quick=record.quick,
        numbers=findings.key_numbers(record, traffic),
        warnings=findings.warnings(record, project, day),
        ladder=tables.ladder_table(record, traffic).filled(),
        details=[tables.reasons_table(record), *(table for table in further if table), *tuned_tables(record)],
        tried=[
            tables.candidates_table(record),
            *([savings] if savings else []),
            *([errors] if errors else []),
            *prompt_tables(record),
            *retrieval_tables(record),
        ],
        method=method(record),
        data=tables.data_table(record),
        provenance=tables.provenance_table(record),
        paragraph=findings.paragraph(record, traffic, verdict),
        made=f"Made by tuneworthy on {day.isoformat()} from the record of the last {'quick ' * record.quick}run.",
    )


def method(record: RunRecord) -> list[str]:
    """Say what dev, test and looks mean."""
    explored = (
        f"Every step tried its candidates on {record.n_dev} development cases (dev) and sent only its winner to the "
        f"frozen test set of {record.n_test} cases; its answers stay hidden, and who asks to see them is noted."
        if record.explored
        else f"There were too few development cases (dev) to explore, so every step sent one candidate, fixed "
        f"beforehand, to the frozen test set of {record.n_test} cases; its answers stay hidden, and who asks to see "
        "them is noted."
    )
    if record.quick:
        return [
            f"Every step tried its candidates on {record.n_dev} development cases (dev); the frozen test set of "
            f"{record.n_test} cases was not touched, so no look at it was spent and nothing is decided."
        ]
    each = f", each at α = {record.alpha:g}," if record.alpha else ""
    return [
        explored,
        f"A comparison on test is a look; {record.comparisons.made} looks were taken{each} out of a plan whose chance of any "
        "false finding is at most 5 % in all, so that trying more does not make a lucky winner.",
        "A step is adopted if it is better on the same cases (paired), or no worse by the margin of "
        f"{record.margin:g} and at least 20 % cheaper or faster.",
    ]
