"""The report of a run: its first screen, the questions of a meeting, costs, and the rest folded; written as a file.

The format of a file follows its ending.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import orjson

from tuneworthy.config import Project
from tuneworthy.dataset.curve import stored_curve
from tuneworthy.errors import UserError, join_sentences
from tuneworthy.ladder.bills import running_costs
from tuneworthy.ladder.record import DistinctScore, RungRecord, RunRecord
from tuneworthy.ladder.session import required_run
from tuneworthy.money.economics import money_sentence
from tuneworthy.report import charts, findings, first_screen, tables
from tuneworthy.report.answers import cases_table, failed_table, failures_table, fixes_table, prompt_diff
from tuneworthy.report.names import for_people, in_sentence, meanings, names_of
from tuneworthy.report.render import Block, Document, PagePart, render_html, render_markdown, screen_text
from tuneworthy.report.tables import retrieval_tables
from tuneworthy.report.text import (
    Column,
    Table,
    clean,
    integer,
    percent,
    percent_range,
    plain,
    points,
    points_range,
    text_column,
)
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.store import Folder
from tuneworthy.store.folder import write_atomic
from tuneworthy.text import count, plural
from tuneworthy.types import Bounds, Texts
from tuneworthy.verdict.answer import StoredVerdict, Verdict, domain_sentence, load_verdict, serving_sentence
from tuneworthy.verdict.error_analysis import best_language_model
from tuneworthy.verdict.gather import read_state, stale_since
from tuneworthy.verdict.options import Option

RARE_LABELS = 3
# Characters of the list of labels.
MOST_LABELS = 300


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
    names = names_of(record)
    measured, record, verdict = record, for_people(record, names), for_people(verdict, names)
    traffic = project.economics.requests_per_month if project else None
    current = first_screen.holding(verdict, record)
    costs = running_costs(project, measured) if project else {}
    options = first_screen.options_in(record, current, traffic, costs)
    outcome, answer, reasons = first_screen.answer_and_reasons(record, verdict)
    best = first_screen.best_untrained(record, options, current)
    chosen = current.recommendation if current else best.option if best else None
    shown = next((rung for rung in record.rungs if rung.name == chosen), None)
    n, cases, kind = (record.n_dev, "dev", "quick run") if record.quick else (record.n_test, "test", "run")
    where = f"{n} {cases} {plural(n, 'case', 'cases')}"
    kind = f"unfinished {kind}" if record.partial else kind
    table = tables.options_table(current, record.target) if current else None
    return Document(
        title=clean(record.task),
        kind=f"report of {'an' if record.partial else 'a'} {kind}",
        outcome=outcome,
        answer=answer,
        sentence=first_screen.lead(record, reasons[0], options, current),
        basis=first_screen.basis(record, current),
        cards=first_screen.cards(record, options, current),
        chart=charts.options_chart(options, record.target, chosen, where, record.measure),
        next_step=first_screen.next_step(record, verdict),
        paragraph=first_screen.paragraph(record, traffic, verdict, costs),
        warnings=[plain(line) for line in findings.warnings(record, project, day)],
        sections=[
            section
            for section in (
                *_questions(record, shown, current, table),
                _cost(current, table),
                _section("distillation", "Does distillation pay?", tables.distillation_table(record.distillation)),
                _folded("reasons", "Reasons and gates", *_reasons(record, reasons, current, best, project)),
                _folded(
                    "ladder",
                    "Each step, and everything that was tried",
                    tables.ladder_table(record, traffic, costs).filled(),
                    tables.reasons_table(record),
                    tables.candidates_table(measured),
                ),
                _folded(
                    "measurements",
                    "Further measurements",
                    tables.recall_table(record),
                    tables.fields_table(record, shown),
                    tables.graders_table(record),
                    tables.models_table(record),
                    tables.tools_table(record),
                    tables.regressions_table(record),
                    *retrieval_tables(record),
                ),
                _folded(
                    "data",
                    "Data and versions",
                    tables.data_table(record),
                    tables.provenance_table(record),
                ),
            )
            if section.blocks
        ],
        made=f"Generated by tuneworthy on {day.isoformat()} from the last {kind}.",
    )


def _questions(
    record: RunRecord, shown: RungRecord | None, verdict: Verdict | None, options: Table | None
) -> Iterator[PagePart]:
    names = {rung.rung: clean(rung.name, 80) for rung in record.rungs if rung.name} | {"baseline": "today"}
    chosen = shown.rung if shown else "baseline"
    cases = cases_table(record, chosen, names)
    few = "" if cases else "The run has no answers to dev cases, and answers to test cases stay hidden."
    yield _section("tested", "What was tested?", _tested(record), cases, few)
    errors = verdict.errors if verdict else ()
    by_kind = failures_table(record, chosen, names)
    probed = best_language_model(record)
    whose = next(
        (names.get(one.rung, one.rung) for one in record.rungs if probed and one.variant == probed.id), "the best model"
    )
    probe = f"To find the causes of the errors of {whose}, run `tuneworthy decide --probe`."
    has_labels = record.kind in {"label", "json"}
    if not record.agreement:  # nobody knows which answers are failures
        yield _section(
            "failures",
            "How does today's setup fail?",
            by_kind,
            None if has_labels else failed_table(record),
            fixes_table(record, names),
            charts.causes_table(errors),
            probe if by_kind and not errors and verdict and not has_labels else "",
        )
    yield _section("change", "What would change?", *_change(record, shown))
    if options:
        columns = ("option", "rung", "score", "delta_vs_today", "delta_ci", "target", "needs")
        yield _section("options", "Which options are there?", options.only(*columns).filled(), meanings(names.values()))
    yield _section("certainty", "How certain is it?", *([] if record.quick else certainty(record, shown)))


def _tested(record: RunRecord) -> str:
    if record.quick:
        return ""
    labels = sorted({label for rung in record.rungs for label in rung.recall})
    listed = f", each with one of {count(len(labels), 'label')}: {clean(', '.join(labels), MOST_LABELS)}"
    return (
        f"All scores come from {count(record.n_test, 'test case')}{listed if labels else ''}. "
        f"{count(record.n_dev, 'other case')}, called dev, served to choose between the options; only their answers "
        "are shown."
    )


def _change(record: RunRecord, shown: RungRecord | None) -> Iterator[Block | None]:
    """Yield the changes from today's prompt to that of the recommended option; without one, to the best prompt."""
    if shown and shown.rung == "baseline":
        yield "Nothing: today's setup stays."
    elif shown and shown.rung == "classical":
        yield (
            f"{in_sentence(clean(shown.name)).capitalize()} replaces the prompt and the model. It learned from the "
            "project's examples, which contain no test case."
        )
    prompts = {rung.rung: rung for rung in record.rungs if rung.rung not in {"classical", "baseline"} and rung.variant}
    best = prompts.get(shown.rung if shown else "") or max(
        prompts.values(), key=lambda one: one.score or 0.0, default=None
    )
    today, other = (record.variant_of(rung) if rung else None for rung in (record.rung("baseline"), best))
    if today and other and best:
        which = "From today's setup to the recommended option"
        if best is not shown:
            which = "For comparison only: from today's setup to the best prompt"
        yield prompt_diff(today, other, f"{which}, {clean(best.name)}")


def certainty(record: RunRecord, shown: RungRecord | None) -> Iterator[Block | None]:
    """Yield how far the score of the recommended option can be trusted: duplicates, rare labels, order, intervals."""
    if shown is None or not findings.measured(shown):
        return
    parts = {name: part for name, part in shown.by_origin.items() if part.n != shown.n}
    compared = "all test cases" if parts == shown.by_origin else "real test cases"
    rows = [_certainty_row(compared, shown.n, shown, (shown.delta_today, shown.delta_today_ci))]
    if part := shown.on_distinct_cases:
        pairs = {(row.a, row.b): (row.delta, row.ci95) for row in record.distinct_differences}
        words = "without a near-duplicate in the examples or dev"
        rows.append(_certainty_row(words, part.n, part, pairs.get(("baseline", shown.rung))))
    rows += [_certainty_row(f"{name} cases only", part.n, part) for name, part in parts.items()]
    for words, half in zip(("first half of the file", "second half of the file"), shown.halves, strict=False):
        rows.append(_certainty_row(words, half.n, half))
    rare = sorted(shown.recall_n, key=lambda label: shown.recall_n[label])[:RARE_LABELS]
    rows += [_recall_row(one, shown) for one in rare]
    headings = ("n", record.measure, "95% interval", "vs today", "difference, 95% interval")
    columns = [text_column("cases", "test cases"), *(Column(heading, heading) for heading in headings)]
    dropped = sum((record.overlaps.cases or {}).values())
    gone = count(dropped, "example that overlaps a case was", "examples that overlap a case were")
    note = join_sentences(
        "Where the file is in order of time, a difference between its halves is drift." if shown.halves else "",
        f"The {len(rare)} rarest labels are shown." if rare else "",
        f"{gone} removed before the run." if dropped else "",
        f"The chance of any false gain in the {count(record.comparisons.made, 'test comparison')} is at most 5%.",
    )
    yield plain(findings.target_sentence(record))
    yield Table(f"{record.measure.capitalize()} of {clean(shown.name)}", columns, rows, note).filled()


def _recall_row(label: str, shown: RungRecord) -> list[str]:
    recall, n = shown.recall[label], shown.recall_n[label]
    shares = (percent(recall), percent_range(clopper_pearson(min(n, recall * n), n)))
    return [f"label {clean(label, 60)}", integer(shown.recall_cases.get(label, n)), *shares, *"––"]


def _certainty_row(
    words: str, n: int, part: RungRecord | DistinctScore, gain: tuple[float | None, Bounds | None] | None = None
) -> list[str]:
    delta, bounds = gain or (None, None)
    return [words, integer(n), percent(part.score), percent_range(part.ci95), points(delta), points_range(bounds)]


def _section(name: str, title: str, *blocks: Block | None) -> PagePart:
    return PagePart(name, title, [block for block in blocks if block])


def _folded(name: str, title: str, *blocks: Block | None) -> PagePart:
    return replace(_section(name, title, *blocks), folded=True)


def _cost(verdict: Verdict | None, options: Table | None) -> PagePart:
    if verdict is None or options is None:
        return _section("cost", "")
    columns = ("option", "usd_per_month", "usd_per_1k", "one_off_usd", "p50", "p95", "share_sent")
    own = any(one.kind == "classical" for one in verdict.options)
    inside = "A classifier runs inside the application: no server is charged for it." if own else ""
    title, note = "Cost and latency of each option", join_sentences(plain(serving_sentence(verdict)), inside)
    table = replace(options.only(*columns).filled(), title=title, note=note)
    return _section("cost", "What does it cost?", plain(money_sentence(verdict.economics)), table)


def _reasons(
    record: RunRecord, reasons: Texts, verdict: Verdict | None, best: Option | None, project: Project | None
) -> Iterator[Block | None]:
    yield from map(plain, reasons if first_screen.in_short(reasons[0]) != reasons[0] else reasons[1:])
    if verdict is None:
        return
    if verdict.would_change:
        yield from map(plain, ["Each of these would change the answer:", *verdict.would_change])
    yield from map(plain, (domain_sentence(verdict), str(verdict.label_ceiling or "")))
    yield charts.pilot_chart(verdict.forecast, best, record.target)
    yield charts.curve_chart(stored_curve(Folder(project.root)) if project else None)
    yield tables.gates_table(verdict.gates)


PAGES = {".html": render_html, ".md": render_markdown}
OTHER_OUT = "Choose a different file with `--out`."


def run_and_verdict(project: Project) -> tuple[RunRecord, StoredVerdict | None]:
    """Return the last run and the last verdict, both with what changed since.

    Raises:
        UserError: There is no run yet.
    """
    record, verdict = required_run(project, quick=True), load_verdict(project)
    stale = stale_since(project, record)
    if verdict is not None and not record.quick:
        verdict = replace(verdict, changed=[*verdict.changed, *stale])
    if verdict and verdict.holds and verdict.verdict.outcome == "ship" and (action := read_state(project).action):
        verdict = replace(verdict, verdict=replace(verdict.verdict, next_action=action))
    return replace(record, stale=stale), verdict


def write_last(project: Project, path: Path) -> str:
    """Write the report of the last run; return its first screen as text, with the summary to paste as the last line.

    Raises:
        UserError: There is no run yet, the ending of `path` is unknown, or the file cannot be written.
    """
    record, verdict = run_and_verdict(project)
    page = write(record, path, project, verdict=verdict)
    return f"{screen_text(page)}\n{page.paragraph}"


def write(
    record: RunRecord,
    path: Path,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> Document:
    """Write the report of a run, whole or not at all, and return the page.

    `.json` has the record, the verdict and the paragraph.

    Args:
        record: Of the last run.
        path: Its ending gives the format: `.html`, `.md` or `.json`.
        project: Has the traffic and the models, which may retire.
        today: The day of the report.
        verdict: The last one, if there is one.

    Raises:
        UserError: The ending is unknown, or the file cannot be written.
    """
    page = document(record, project, today, verdict)
    if path.suffix != ".json":
        write_page(path, page, (*PAGES, ".json"))
        return page
    decided = {"verdict": verdict.verdict.to_dict()} if verdict and verdict.holds else {}
    content = record.to_dict() | decided | {"paragraph": page.paragraph}
    write_text(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())
    return page


def write_page(path: Path, page: Document, endings: Texts = tuple(PAGES)) -> None:
    """Write a page as HTML or Markdown.

    Raises:
        UserError: The ending is unknown, or the file cannot be written.
    """
    if path.suffix not in PAGES:
        raise UserError(f"{path.name!r} must end in one of: {', '.join(endings)}.", hint=OTHER_OUT)
    write_text(path, PAGES[path.suffix](page))


def write_text(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        UserError: It cannot be written.
    """
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.", hint=OTHER_OUT) from None
