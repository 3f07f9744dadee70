"""The report of a run: its first screen, then pictures, tables and method."""

from collections.abc import Mapping, Sequence
from datetime import date

from tuneworthy.config import Project
from tuneworthy.ladder.bills import bills_of, running_costs
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.ladder.serving import RunningCost
from tuneworthy.report import charts, findings, first_screen, messages, tables
from tuneworthy.report.answers import prompt_diff, wrong_table
from tuneworthy.report.costs import monthly_costs
from tuneworthy.report.document import Block, Document, PagePart
from tuneworthy.report.prompts import prompt_tables
from tuneworthy.report.retrieval import retrieval_tables
from tuneworthy.report.text import clean
from tuneworthy.report.tuned import tuned_tables
from tuneworthy.verdict.base import Option, Verdict
from tuneworthy.verdict.economics import money_sentence, serving_sentence
from tuneworthy.verdict.last_verdict import StoredVerdict
from tuneworthy.verdict.messages import domain_sentence
from tuneworthy.verdict.savings import savings_sentence


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
    current = first_screen.holding(verdict, record)
    costs = running_costs(project, record) if project else {}
    options = first_screen.options_in(record, current, traffic, costs)
    outcome, answer, reasons = first_screen.answer_and_reasons(record, verdict)
    best = first_screen.best_untrained(record, options, current)
    chosen = current.recommendation if current else best.option if best else None
    shown = next((rung for rung in record.rungs if rung.name == chosen), None)
    n, cases = (record.n_dev, "dev") if record.quick else (record.n_test, "test")
    where = messages.say("where_cases", n=n, cases=cases)
    return Document(
        title=clean(record.task),
        kind=messages.say("report_of", kind=messages.say("kind_quick" if record.quick else "kind_run")),
        outcome=outcome,
        answer=answer,
        sentence=first_screen.lead(record, reasons[0], options, current),
        basis=first_screen.basis(record, current),
        cards=first_screen.cards(record, options, current),
        chart=charts.options_chart(options, record.target, chosen, where),
        next_step=first_screen.next_step(record, verdict),
        paragraph=first_screen.paragraph(record, traffic, verdict, costs),
        warnings=[first_screen.plain(line) for line in findings.warnings(record, project, day)],
        sections=[
            section
            for section in (
                _cost(record, options, best, current, project),
                _rungs(record, traffic, costs),
                _errors(record, current),
                _labels(record, shown),
                _answers(record, shown),
                _pilot(record, best, current),
                _reasons(record, reasons, current, options),
                *_details(record),
            )
            if section.blocks
        ],
        made=messages.say(
            "made_on", date=day.isoformat(), kind=messages.say("kind_quick" if record.quick else "kind_run")
        ),
    )


def _section(name: str, title: str, *blocks: Block | None) -> PagePart:
    return PagePart(name=name, title=title, blocks=[block for block in blocks if block])


def _cost(
    record: RunRecord, options: Sequence[Option], best: Option | None, verdict: Verdict | None, project: Project | None
) -> PagePart:
    if project is None or record.quick:
        return _section("cost", "")
    today = next((option for option in options if option.kind == "today"), None)
    money = verdict.economics if verdict else None
    costs = monthly_costs(
        today, best, project.economics, bills_of(project, record), money.break_even_band if money else None
    )
    barred = money is not None and money.status == "not_applicable"
    chart = charts.cost_chart(costs, project.economics) if costs and not barred else None
    sentences = [money_sentence(verdict.economics), savings_sentence(verdict.economics.saved)] if verdict else []
    return _section("cost", messages.say("section_cost"), *map(first_screen.plain, sentences), chart)


def _rungs(record: RunRecord, traffic: float | None, costs: Mapping[str, RunningCost]) -> PagePart:
    chart = charts.rungs_chart(record)
    ladder, reasons = tables.ladder_table(record, traffic, costs).filled(), tables.reasons_table(record)
    return _section("ladder", messages.say("section_ladder"), chart, ladder, reasons)


def _errors(record: RunRecord, verdict: Verdict | None) -> PagePart:
    errors = verdict.errors if verdict else ()
    missing = "" if errors or record.quick else messages.say("no_analysis")
    return _section(
        "errors",
        messages.say("section_errors"),
        missing,
        charts.causes_chart(errors),
        tables.causes_table(errors),
        tables.errors_table(record),
    )


def _labels(record: RunRecord, rung: RungRecord | None) -> PagePart:
    return _section(
        "labels",
        messages.say("section_fields" if record.kind == "json" else "section_labels"),
        charts.fields_chart(rung),
        tables.confusion_table(rung),
        tables.recall_table(record),
        tables.fields_table(record),
    )


def _answers(record: RunRecord, rung: RungRecord | None) -> PagePart:
    return _section("answers", messages.say("section_answers"), wrong_table(rung), prompt_diff(record, rung))


def _pilot(record: RunRecord, best: Option | None, verdict: Verdict | None) -> PagePart:
    chart = charts.pilot_chart(verdict.forecast, best, record.target) if verdict else None
    return _section("pilot", messages.say("section_pilot"), chart)


def _reasons(record: RunRecord, reasons: Sequence[str], verdict: Verdict | None, options: Sequence[Option]) -> PagePart:
    target = findings.target_of(record)
    first = [] if first_screen.in_short(reasons[0]) == reasons[0] else reasons[:1]
    shown = [*first, *reasons[1:], target.sentence if target else ""]
    shown += [messages.say("would_change"), *verdict.would_change] if verdict and verdict.would_change else []
    shown += [domain_sentence(verdict)] if verdict else []
    needs = tables.options_table(options, serving_sentence(verdict)) if verdict else None
    gates = tables.gates_table(verdict.gates) if verdict else None
    return _section("reasons", messages.say("section_reasons"), *map(first_screen.plain, shown), needs, gates)


def _details(record: RunRecord) -> list[PagePart]:
    further = [tables.graders_table(record), tables.calibration_table(record), tables.models_table(record)]
    tried = [tables.candidates_table(record), tables.savings_table(record)]
    return [
        _section(
            "measurements", messages.say("section_details"), *further, *tuned_tables(record), *retrieval_tables(record)
        ),
        _section("tried", messages.say("section_tried"), *tried, *prompt_tables(record)),
        _section("method", messages.say("section_method"), *method(record), tables.data_table(record)),
        _section("provenance", messages.say("section_provenance"), tables.provenance_table(record)),
    ]


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
