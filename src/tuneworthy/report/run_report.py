"""The report of a run: its first screen, then pictures, tables and method."""

from dataclasses import replace
from datetime import date

from tuneworthy.config import Project
from tuneworthy.ladder.bills import bills_of, running_costs
from tuneworthy.ladder.provenance import required_run, shown_run
from tuneworthy.ladder.record import RunRecord
from tuneworthy.money.economics import money_sentence
from tuneworthy.report import charts, findings, first_screen, tables
from tuneworthy.report.answers import prompt_diff, wrong_table
from tuneworthy.report.document import Block, Document, PagePart
from tuneworthy.report.retrieval import retrieval_tables
from tuneworthy.report.text import clean, plain
from tuneworthy.text import plural
from tuneworthy.types import Texts
from tuneworthy.verdict.answer import Verdict, domain_sentence, serving_sentence
from tuneworthy.verdict.last_verdict import StoredVerdict
from tuneworthy.verdict.options import Option, Options


def document(
    record: RunRecord,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> Document:
    """Return the report of `record`.

    Args:
        record: Of the last run.
        project: Has the traffic and the models, which may retire; None leaves both out.
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
    n, cases, kind = (record.n_dev, "dev", "quick run") if record.quick else (record.n_test, "test", "run")
    where = f"{n} {cases} {plural(n, 'case', 'cases')}"
    errors = current.errors if current else ()
    missing = "" if errors or record.quick else "The failures have not been analysed. Run `tuneworthy decide --probe`."
    pilot = charts.pilot_chart(current.forecast, best, record.target) if current else None
    return Document(
        title=clean(record.task),
        kind=f"report of a {kind}",
        outcome=outcome,
        answer=answer,
        sentence=first_screen.lead(record, reasons[0], options, current),
        basis=first_screen.basis(record, current),
        cards=first_screen.cards(record, options, current),
        chart=charts.options_chart(options, record.target, chosen, where),
        next_step=first_screen.next_step(record, verdict),
        paragraph=first_screen.paragraph(record, traffic, verdict, costs),
        warnings=[plain(line) for line in findings.warnings(record, project, day)],
        sections=[
            section
            for section in (
                _cost(record, options, best, current, project),
                _section(
                    "ladder",
                    "Gain of each rung",
                    charts.rungs_chart(record),
                    tables.ladder_table(record, traffic, costs).filled(),
                    tables.reasons_table(record),
                ),
                _section(
                    "errors",
                    "Why answers are wrong, and what fixes it",
                    missing,
                    charts.causes_table(errors),
                    tables.errors_table(record),
                ),
                _section(
                    "labels",
                    ("Which fields are wrong" if record.kind == "json" else "Which labels are confused"),
                    tables.confusion_table(shown),
                    tables.recall_table(record),
                    tables.fields_table(record, shown),
                ),
                _section(
                    "answers", "Wrong answers and the winning prompt", wrong_table(shown), prompt_diff(record, shown)
                ),
                _section("pilot", "Learning curve of the pilot", pilot),
                _reasons(record, reasons, current, options),
                _section(
                    "measurements",
                    "Further measurements",
                    tables.graders_table(record),
                    tables.calibration_table(record),
                    tables.models_table(record),
                    tables.regressions_table(record),
                    *retrieval_tables(record),
                ),
                _section(
                    "tried",
                    "Candidates",
                    tables.candidates_table(record),
                    tables.savings_table(record),
                    tables.gepa_table(record),
                ),
                _section("method", "Method", *method(record), tables.data_table(record)),
                _section("provenance", "Provenance", tables.provenance_table(record)),
            )
            if section.blocks
        ],
        made=f"Generated by tuneworthy on {day.isoformat()} from the last {kind}.",
    )


def _section(name: str, title: str, *blocks: Block | None) -> PagePart:
    return PagePart(name, title, [block for block in blocks if block])


def _cost(
    record: RunRecord, options: Options, best: Option | None, verdict: Verdict | None, project: Project | None
) -> PagePart:
    if project is None or record.quick:
        return _section("cost", "")
    today = first_screen.option_of(options, {"today"})
    money = verdict.economics if verdict else None
    bills = bills_of(project, record)
    if verdict is not None and verdict.forecast.status == "measured":  # as in the verdict: the model of the pilot
        bills = {rung: replace(bill, trainings=("own",)) for rung, bill in bills.items()}
    costs = charts.monthly_costs(today, best, project.economics, bills, money.break_even_band if money else None)
    barred = money is not None and money.status == "not_applicable"
    chart = charts.cost_chart(costs, project.economics) if costs and not barred else None
    sentence = money_sentence(verdict.economics) if verdict else ""
    return _section("cost", "Monthly cost by traffic", plain(sentence), chart)


def _reasons(record: RunRecord, reasons: Texts, verdict: Verdict | None, options: Options) -> PagePart:
    first = [] if first_screen.in_short(reasons[0]) == reasons[0] else reasons[:1]
    shown = [*first, *reasons[1:], findings.target_sentence(record)]
    shown += (
        ["Each of these would change the answer:", *verdict.would_change] if verdict and verdict.would_change else []
    )
    shown += [domain_sentence(verdict), str(verdict.label_ceiling or "")] if verdict else []
    found = (
        [
            tables.options_table(verdict, record.target, serving_sentence(verdict)),
            tables.gates_table(verdict.gates),
        ]
        if verdict
        else []
    )
    return _section("reasons", "Reasons, options and gates", *map(plain, shown), *found)


def method(record: RunRecord) -> list[str]:
    """Say what dev, test and comparisons mean."""
    on_dev = f"Each rung compared its candidates on {record.n_dev} development (dev) cases"
    test = f"the frozen test set of {record.n_test} cases"
    if record.quick:
        return [f"{on_dev}. The run did not use {test}, so it spent no test comparison and gives no verdict."]
    explored = (
        f"{on_dev} and measured only the winner on {test}."
        if record.explored
        else "There were too few development (dev) cases to compare candidates. Each rung therefore measured one "
        f"predefined candidate on {test}."
    )
    return [
        f"{explored} Answers to test cases stay hidden unless someone reveals them, which tuneworthy records.",
        (
            f"The run made {record.comparisons.made} test "
            f"{plural(record.comparisons.made, 'comparison', 'comparisons')}. The plan limits the chance of any "
            "false gain to 5% in total, so trying more candidates does not raise that chance. A comparison that "
            "shows a gain, or is not made because the candidate is not ahead on dev, passes its α on to the next."
        ),
        (
            "A rung is adopted if its gain over the best variant so far on the same cases is significant "
            "(one-sided paired test at α). It is also adopted if it is non-inferior within "
            f"{100 * record.margin:.1f} points (one-sided at 5%, which is not part of the plan) and its cost, or "
            "its latency if the project limits that, is at least 20% lower. All intervals are two-sided at 95%; "
            "the test decides, not the interval."
        ),
    ]


def last_record(project: Project) -> RunRecord:
    """Return the record of the last run of `project`, else that of the last quick one.

    Raises:
        UserError: There is no run, or it is not of this version.
    """
    return shown_run(project) or shown_run(project, "quick") or required_run(project)
