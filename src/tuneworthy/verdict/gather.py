"""Gather the evidence of a project: its run, error analysis, money, and what changed since they were measured.

`read_state` gathers for the checklist, from the folder of the project: nothing is asked or locked.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from itertools import chain
from typing import Any

from tuneworthy.cases.labelling import label_path, labelling_time, read_labels
from tuneworthy.cases.normalize import normalised_bytes, question_of, words
from tuneworthy.cases.task_kind import label_counts
from tuneworthy.config import Project
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.dataset.importing.folder import latest_import
from tuneworthy.engine.models import OpenModel
from tuneworthy.errors import TuneworthyError, Undecided, UserError, join_sentences
from tuneworthy.graders.judging import DOCUMENT
from tuneworthy.ladder.bills import bills_of, smallest_usd
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.estimate import most_for
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.session import Session, changed_since, provenance, run_note, shown_run
from tuneworthy.ladder.task_data import TaskData
from tuneworthy.people.review_log import FILE_NAME, Ledger
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.transforms import LONG_PROMPT_WORDS
from tuneworthy.providers.prices import price_for, table_date
from tuneworthy.retrieval.library import documents_path, open_library
from tuneworthy.store import Folder
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.train.messages import SET_BASE
from tuneworthy.train.phases import TrainingState, read_training
from tuneworthy.train.plan import Expected
from tuneworthy.types import Case, CaseOrExample, Cases, NamedInts, NamedTexts, TextPair, Texts
from tuneworthy.verdict import messages
from tuneworthy.verdict.answer import FRESH_DAYS, load_verdict
from tuneworthy.verdict.base import Cost
from tuneworthy.verdict.domain_text import domain_of
from tuneworthy.verdict.error_analysis import ErrorAnalysis, best_language_model, load_error_analysis
from tuneworthy.verdict.evidence import (
    BASE,
    RIGHTS,
    ROWS,
    Evidence,
    JudgeEvidence,
    rungs_of,
    search_of,
    with_eligible_best,
    without_tuned,
)
from tuneworthy.verdict.gather_training import training_of
from tuneworthy.verdict.label_audit import contradicts, read_relabelled, relabelling
from tuneworthy.verdict.outcome import RUNG_OF
from tuneworthy.verdict.playbook import ProjectState
from tuneworthy.verdict.training_method import FEWEST_PREFERENCES, has_preferences

# Share of dev whose answers must appear in the input, or be one of a closed set, for a task that needs no documents.
MOSTLY = 0.8
# Cases that must expect a value for it to be one of a closed set.
RECURS = 5


def gather(
    session: Session, record: RunRecord | None = None, expect: Callable[[int], Expected | None] = lambda _: None
) -> Evidence:
    """Return the evidence of an opened project; nothing is asked of a provider.

    Args:
        session: The project.
        record: The run to read; the one that readers show if None.
        expect: See `forecast.pilot_cost`.

    Raises:
        Undecided: No rung is finished yet.
    """
    project = session.project
    record = record or shown_run(project)
    if record is None:
        raise Undecided(run_note(session.folder), hint=messages.WAIT if session.folder.holder() else messages.RUN)
    stale = changed_since(
        record,
        project,
        provenance(project, session.split, session.graders, session.pool.hash, session.library),
        {name: model.provider.identity for name, model in opened(session).items()},
    )
    evidence = evidence_of(project, session.data, record, stale=stale, expect=expect)
    report, errors_stale = errors_of(session, without_tuned(record, project))
    given = read_relabelled(project)
    labels = relabelling(report, given) if report else None
    was, _ = contradicts(session.data, read_relabelled(project, session.data))
    relabelled = given.keys() & {case.id for case in session.split.dev}
    return replace(
        evidence,
        alpha=record.alpha,
        n_test=record.n_test,
        errors=report.rows if report and report.rated else None,
        errors_stale=errors_stale,
        suspects=labels.to_label if labels else None,
        relabel_chances=labels.chances if labels else (0.0, 0.0),
        relabelled=labels.n if labels else 0,
        label_chance=report.label_chance if report else 0.0,
        labels_confirmed=labels.wrong if labels else None,
        contradicted=(len(report.suspects) + len(report.doubtful)) / report.n_probed
        if report and report.n_probed and not given
        else 0.0,
        wrong_labels=(len(was & relabelled), len(relabelled)),
        pass_rate=report.pass_rate if report else None,
        domain=domain_of(session),
        judge=_judge(session, record),
    )


def opened(session: Session) -> dict[str, OpenModel]:
    """Return the models of `[models]` that can be opened."""
    found: dict[str, OpenModel] = {}
    for name in session.project.models:
        with suppress(TuneworthyError):
            model = session.models[name]
            found |= {name: model} if model.provider.identity else {}
    return found


def evidence_of(
    project: Project,
    data: TaskData | None,
    record: RunRecord | None,
    *,
    stale: Texts,
    expect: Callable[[int], Expected | None] = lambda _: None,
) -> Evidence:
    """Return what the folder of a project shows without opening a session; what only a verdict needs is left unknown.

    Args:
        project: The project file.
        data: Its cases and examples; None if they cannot be used.
        record: Of its run, if there was one.
        stale: What changed since the run, in words.
        expect: See `forecast.pilot_cost`.

    Raises:
        UserError: A document cannot be read.
    """
    others = [name for name in project.untuned if name not in {project.ladder.baseline, *project.forms}]
    eligible = [name for name in others if project.may_serve(name)]
    run = with_eligible_best(record, project) if record else None
    system = ""
    with suppress(UserError):
        system = project.text(project.prompt.system) or ""
    training, forecast = training_of(
        project,
        Folder(project.root),
        run,
        [*data.cases, *data.split.drawn_dev] if data else [],
        expect,
    )
    version = latest_version(Folder(project.root))
    evidence = Evidence(
        target=project.task.target,
        critical=project.task.critical_recall,
        margin=project.task.margin,
        motivation=project.task.motivation,
        waivers={waiver.gate: waiver.reason for waiver in project.waivers},
        stale=stale,
        accept=record.accept if record else "",
        incomplete=run_note(Folder(project.root)) if record and record.partial else "",
        has_examples=False,
        left_out=[rung for rung in RUNG_OF.values() if rung not in project.ladder.rungs],
        other_models=len(eligible),
        forms=project.forms,
        unpriced=[
            name
            for name in project.answering
            if project.models[name].hosted and price_for(project.models[name]) is None
        ],
        barred_models=len(others) - len(eligible),
        style_grader=project.graders[0].type == "style",
        preferences=version is not None and version.recipe.n_pairs >= FEWEST_PREFERENCES,
        economics=project.economics,
        limits=project.constraints,
        long_prompt=len(system.split()) >= LONG_PROMPT_WORDS,
        documents=documents_path(project) is not None,
        forecast=forecast,
        training=training,
        expires=_expiries(project),
    )
    evidence = _with_data(evidence, data) if data else evidence
    evidence = replace(evidence, lacking=_lacking(project, evidence))
    if not run:
        return evidence
    return replace(
        evidence,
        rungs=rungs_of(run, project),
        best=run.best.rung if run.best else None,
        options=run.options,
        differences=run.differences,
        distinct_differences=run.distinct_differences,
        balance=run.balance,
        agreement=run.agreement,
        bills=bills_of(project, run),
        smaller_usd=smallest_usd(project, run),
        search=search_of(run),
    )


def _expiries(project: Project) -> list[TextPair]:
    """Return when prices and models are due for a check, and when providers retire models, as far as known."""
    today, fresh = date.today(), timedelta(days=FRESH_DAYS)
    prices = {name: price for name, model in project.models.items() if (price := price_for(model)) is not None}
    dated = [table_date() for price in prices.values() if price.source == "table"]
    return [
        (
            max(today, min([today, *dated]) + fresh).isoformat(),  # under an old table each answer is due now
            "prices, and new versions of models behind a name or an address, are due for a check",
        ),
        *(
            (day.isoformat(), f"the provider {'retires' if price.retires else 'may retire'} the model {name}")
            for name, price in prices.items()
            # a day that has passed, and was no announcement, would expire each new verdict
            if (day := price.retires or price.retires_from) and (price.retires or day > today)
        ),
    ]


def _with_data(evidence: Evidence, data: TaskData) -> Evidence:
    split, counts = data.split, label_counts(data.split.counted)
    return replace(
        evidence,
        kind=data.task.kind,
        answers_open=answers_open(data),
        n_test=len(split.test),
        label_cases={**dict.fromkeys(data.task.labels, 0), **counts} if data.task.kind == "label" else {},
        additions=len(split.additions),
        n_groups=split.effective_groups,
        n_drafted=len(split.test) - len(split.real),
        n_real_groups=split.real_groups,
        overlaps=overlaps_left(data),
        learned=(len(split.pool), len(data.dataset.examples)) if data.dataset.many_dropped else None,
        has_examples=bool(split.pool),
        only_dev=bool(split.dev_shots and not split.shots),
        preferences=evidence.preferences or has_preferences(data.dataset.examples),
        documents_named=any(case.documents for case in data.cases),
    )


def _lacking(project: Project, evidence: Evidence) -> NamedTexts:
    """Return what training lacks, with the step that gets it: rows, the right to train on them, a base with weights."""
    teacher, dataset, train = project.teacher, evidence.training.dataset, project.train
    has_rows = dataset or latest_import(Folder(project.root)) or (evidence.has_examples and not evidence.only_dev)
    refused = (
        dataset.terms == "fail" if dataset else bool(teacher and teacher.allows_training is False and not has_rows)
    )
    has_base = train.base or train.method == "classifier" or project.models[project.ladder.baseline].local_file
    rows = messages.DISTILL_ROWS if teacher else messages.IMPORT_ROWS
    return {
        name: step
        for name, is_there, step in (
            (ROWS, has_rows, rows),
            (RIGHTS, not refused, messages.OTHER_TEACHER),
            (BASE, has_base, SET_BASE),
        )
        if not is_there
    }


def answers_open(data: TaskData) -> bool:
    """Return whether the answers are no closed set and most are not contained in the input."""
    if data.task.kind == "label":
        return False
    dev = [case for case in (data.split.dev or data.split.test) if case.expected is not None]
    counts = Counter(key for case in {case.id: case for case in (*dev, *data.cases)}.values() for key in _keys(case))
    closed = 0
    for case in dev:
        text = f" {' '.join(words(case.text))} "
        closed += all(f" {key} " in text or counts[key] >= RECURS for key in _keys(case))
    return closed < MOSTLY * max(1, len(dev))


def _keys(case: Case) -> set[str]:
    return {" ".join(words(str(value))) for value in _values(case.expected)}


def _values(expected: Any) -> list[Any]:
    if isinstance(expected, dict | list):
        return [
            leaf for value in (expected.values() if isinstance(expected, dict) else expected) for leaf in _values(value)
        ]
    return [] if expected in (None, "") else [expected]


def errors_of(session: Session, record: RunRecord) -> tuple[ErrorAnalysis | None, list[str]]:
    """Return the stored error analysis of the best variant, and what changed since; a changed one is as if not made."""
    variant = best_language_model(record)
    if variant is None:
        return None, []
    report, changed = load_error_analysis(session, variant)
    return (report, []) if report is not None and not changed else (None, changed)


def overlaps_left(data: TaskData) -> NamedInts:
    """Audit the split: count the rows on one side that are copies, or have the question or group, of another side.

    The decisions about rows are those stored with the split. A short question with another answer is no copy.
    """
    split, found = data.split, data.dataset.contamination
    decided = {
        (one.rows[hit.row].id, hit.certain) for one in (found.cases, found.dev, found.dev_test) for hit in one.hits
    }

    def crossing(rows: Sequence[CaseOrExample], cases: Cases, *, dropped: bool) -> int:
        taken = {key for case in cases for key in (normalised_bytes(question_of(case)), case.group)} - {None}
        return sum(
            (dropped and (row.id, True) in decided)
            or (
                not taken.isdisjoint((normalised_bytes(question_of(row)), row.group)) and (row.id, False) not in decided
            )
            for row in rows
        )

    counts = {
        "examples near test cases": crossing(split.shots, split.test, dropped=True),
        "examples near development cases": crossing(split.shots, split.dev, dropped=False),
        "development cases in test": crossing(split.dev, split.test, dropped=False),
    }
    return {name: n for name, n in counts.items() if n}


class StoredValidation(OpenRecord):
    """Part of `judge.json` that the gate needs; its other keys are shown as they are."""

    judge: str
    status: str
    detail: str
    reasons: list[str]


def _judge(session: Session, record: RunRecord) -> JudgeEvidence | None:
    """Say whether the judge may decide; None if no model is the primary grader.

    It must have passed its canaries, be the one that the run used, and be corrected by people on every variant.
    """
    if session.project.graders[0].type != "judge":
        return None
    stored = session.folder.read(DOCUMENT, StoredValidation)
    if stored is None:
        return JudgeEvidence(valid=False, detail="The judge has not been validated.", fix=messages.LABEL_JUDGE)
    bare = ", ".join(row.rung for row in record.rungs if row.reason_code == "judge" and row.status != "skipped")
    detail = join_sentences(stored["detail"], *stored["reasons"])
    fix = messages.OTHER_JUDGE if stored["status"] == "fail" else messages.LABEL_JUDGE
    valid = stored["status"] == "pass" and not bare
    if stored["judge"] != record.provenance.graders.get("judge"):
        valid, detail, fix = False, "The run used a judge other than the validated one.", messages.RUN
    elif bare:
        detail += f" The judge's scores could not be corrected with human ratings for these rungs: {bare}."
    return JudgeEvidence(valid=valid, detail=detail, fix="" if valid else fix, numbers=stored)


def read_state(project: Project) -> ProjectState:
    """Return what the folder of `project` shows.

    Raises:
        UserError: A document in `.tuneworthy` cannot be read.
    """
    facts = Facts(project, contact=False)
    folder = Folder(project.root)
    record, quick = shown_run(project), shown_run(project, "quick")
    evidence = evidence_of(project, facts.data, record, stale=_stale(facts, record) if record else ())
    last = load_verdict(project)
    faults = [*facts.case_faults, *facts.example_faults, *filter(None, [facts.split_fault])]
    return ProjectState(
        evidence=evidence,
        n_cases=len(facts.labelled),
        n_unlabelled=len(facts.cases) - len(facts.labelled),
        fault=str(faults[0]) if faults else "",
        quick={
            row.rung: (row.candidates[0].score, row.candidates[0].n)
            for row in (quick.rungs if quick else ())
            if row.candidates
        },
        labelling=_labelling(project),
        training_s=sum((read_training(folder) or TrainingState()).finished.values()),
        verdict=last.verdict if last else None,
        verdict_stale=[*last.changed, *evidence.stale] if last else (),
        costs=step_costs(project, facts.data, {name: model for name, (model, _) in facts.opened.items() if model}),
        notes=[*filter(None, [run_note(folder, name, "") for name in ("run", "quick")])],
    )


def _labelling(project: Project) -> dict[str, tuple[int, float]]:
    """Return queue to timed rows and the usual seconds for a row; without files that cannot be read."""
    found, cases = {}, project.path(project.cases.path)
    with suppress(UserError):
        found["cases"] = [(one.labeller, one.time) for one in read_labels(label_path(cases))]
    with suppress(UserError):
        rated = chain.from_iterable(Ledger.read(project.root / FILE_NAME).verdicts.values())
        found["review"] = [(one.reviewer, one.time) for one in rated]
    return {queue: timed for queue, rows in found.items() if (timed := labelling_time(rows))}


def stale_since(project: Project, record: RunRecord) -> list[str]:
    """Say what changed since a stored run, in words, without opening a session."""
    return _stale(Facts(project, contact=False), record)


def step_costs(project: Project, data: TaskData | None, models: Mapping[str, OpenModel]) -> dict[str, Cost]:
    """Return the highest cost by rung, without the baseline's part but for its own; from no stored answers.

    Rungs that have nothing to try, and all rungs where the data or the prompt cannot be used, are left out.
    """
    if data is None:
        return {}
    rungs = [name for name in project.ladder.rungs if name not in {"classical", "baseline"}]
    works = {"baseline": most_for(project, data, models)}
    works |= {name: most_for(project, data, models, [name]) for name in rungs}
    return {
        name: Cost(calls=int(work.calls), usd=work.usd, minutes=work.seconds / 60)
        for name, work in works.items()
        if work.calls > 0
    }


def _stale(facts: Facts, record: RunRecord) -> list[str]:
    """Say what changed since the run, as far as it shows without opening a session (a judge's model is left out)."""
    if facts.data is None:
        return ["the cases or examples can no longer be used"]
    split = facts.data.split
    built = [(config.type, grader) for config, grader, _ in reversed(facts.graders)]  # the first of a type counts
    graders = {name: grader for name, grader in built if grader and name != "judge"}
    opened = {name: model.provider.identity for name, (model, _) in facts.opened.items() if model}
    try:
        return changed_since(
            record,
            facts.project,
            provenance(facts.project, split, graders, ShotPool(split.pool).hash, open_library(facts.project)),
            opened,
        )
    except UserError as error:
        return [error.message]
