"""The report before it has a form: what HTML and Markdown both say, in the order in which a manager reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from tuneworthy.config import Project
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report import findings, messages, tables
from tuneworthy.report.findings import KeyNumber, TargetFinding
from tuneworthy.report.prompts import prompt_tables
from tuneworthy.report.retrieval import retrieval_tables
from tuneworthy.report.tables import Table
from tuneworthy.report.text import clean
from tuneworthy.report.tuned import tuned_tables
from tuneworthy.report.verdict import VerdictSection, section
from tuneworthy.verdict.last_verdict import StoredVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report.

    Attributes:
        title: Of the page.
        verdict: What stands first, or None.
        answer: What the run shows, in one sentence.
        target: Whether it is good enough, or None.
        quick: Whether test was left alone.
        numbers: The three at the head.
        warnings: What to know before using them.
        ladder: The main table.
        details: Further tables of test.
        tried: What was tried and lost, on dev.
        method: How it was measured, sentences.
        data: How the cases were split.
        provenance: Versions, seeds and hashes.
        paragraph: To paste.
        made: Where and when the report was made.
    """

    title: str
    verdict: VerdictSection | None
    answer: str
    target: TargetFinding | None
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
        project: Has the traffic and the models, some of which may retire; None leaves both out.
        today: The day of the report.
        verdict: The last one, if there is one; not used for a quick run.
    """
    day = today or date.today()
    traffic = project.economics.requests_per_month if project else None
    further = [
        tables.recall_table(record),
        tables.graders_table(record),
        tables.fields_table(record),
        tables.calibration_table(record),
        tables.models_table(record),
    ]
    causes = tables.causes_table(verdict.verdict.errors) if verdict and verdict.holds and not record.quick else None
    dev = [tables.savings_table(record), causes, tables.confusion_table(record), tables.errors_table(record)]
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
            *(table for table in dev if table),
            *prompt_tables(record),
            *retrieval_tables(record),
        ],
        method=method(record),
        data=tables.data_table(record),
        provenance=tables.provenance_table(record),
        paragraph=findings.paragraph(record, traffic, verdict),
        made=messages.say("made_on", date=day.isoformat(), kind="quick run" if record.quick else "run"),
    )


def method(record: RunRecord) -> list[str]:
    """Say what dev, test and comparisons mean."""
    sizes = {"n_dev": record.n_dev, "n_test": record.n_test}
    if record.quick:
        return [(messages.say("method_dev") + messages.say("method_quick")).format(**sizes)]
    explored = (
        messages.say("method_dev") + messages.say("method_explored") if record.explored else messages.say("method_few")
    )
    return [
        explored.format(**sizes),
        messages.say("method_comparisons", n=record.comparisons.made),
        messages.say("method_adopted", margin=100 * record.margin),
    ]
