"""Gather the evidence of a project: its run, error analysis, money, and what changed since they were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

from tuneworthy.cases.contamination import find_overlaps
from tuneworthy.cases.splits import Split
from tuneworthy.config import Project
from tuneworthy.errors import Undecided
from tuneworthy.ladder.judging import DOCUMENT, HOW
from tuneworthy.ladder.provenance import changed_since, identities, provenance
from tuneworthy.ladder.record import RunRecord, read_record
from tuneworthy.ladder.session import Data, Session
from tuneworthy.prompts.transforms import LONG_PROMPT_WORDS
from tuneworthy.providers.prices import price_for
from tuneworthy.train.expected import expect
from tuneworthy.types import Case
from tuneworthy.verdict.base import EconomicsResult, ErrorShare, Forecast
from tuneworthy.verdict.economics import bills_of, economics
from tuneworthy.verdict.error_analysis import best_language_model, load_error_analysis
from tuneworthy.verdict.evidence import Evidence, JudgeEvidence, rungs_of, search_of, with_eligible_best, without_tuned
from tuneworthy.verdict.gather_training import training_of
from tuneworthy.verdict.savings import saved

FRESH_DAYS = 90
"""How long a verdict holds where no price or model in it ends sooner."""


def gather(session: Session) -> Evidence:
    """Return the evidence of an opened project; nothing is asked of a provider.

    Raises:
        NotEnough: There was no run yet.
    """
    project = session.project
    stored = read_record(session.folder)
    if stored is None:
        raise Undecided("expected a run to decide from, got none", hint="run `tuneworthy run`")
    record, before = with_eligible_best(stored, project), without_tuned(stored, project)
    today = date.today()
    groups = session.groups(session.split.test)
    errors, errors_stale = errors_of(session, before)
    now = provenance(project, session.split, session.graders, session.pool.hash, session.library)
    apart = kept_apart(session.split, session.data.cases)
    training, forecast = training_of(project, session.folder, record, apart, partial(expect, project))
    return Evidence(
        target=project.task.target,
        margin=project.task.margin,
        kind=session.task.kind,
        problem=project.task.problem,
        motivation=project.task.motivation,
        waivers={waiver.gate: waiver.reason for waiver in project.waivers},
        rungs=rungs_of(record, project),
        best=record.best.rung if record.best else None,
        alpha=record.alpha,
        n_test=record.n_test,
        n_groups=None if groups is None else len(set(groups.tolist())),
        overlaps=overlaps_left(session.data),
        stale=changed_since(stored, project, now, identities(project, session.models)),
        errors_stale=errors_stale,
        has_examples=len(session.pool) > 0,
        other_models=len(_eligible(project)) - 1,
        hosted_forbidden=project.constraints.on_device,
        p95_limit_ms=project.constraints.p95_ms,
        long_prompt=len((project.text(project.prompt.system) or "").split()) >= LONG_PROMPT_WORDS,
        documents=session.library is not None or any(case.documents for case in session.data.cases),
        judge=_judge(session, record),
        search=search_of(record),
        errors=errors,
        forecast=forecast,
        economics=_economics(project, record, before, forecast),
        training=training,
        today=today.isoformat(),
        expires=_expires(project, today),
    )


def kept_apart(split: Split, cases: Sequence[Case]) -> list[Case]:
    """Return the cases that the rows of a version were compared with: all of them, and dev where it is drawn from rows.

    Args:
        split: The split as it stands. cases: All cases of the file.
    """
    return [*cases, *(split.dev if split.origin == "examples" else ())]


def _economics(project: Project, record: RunRecord, before: RunRecord, forecast: Forecast) -> EconomicsResult:
    """Return whether training pays against the best without it, and what a tuned answer saves as it was measured."""
    gain = forecast.ci95[0] if forecast.ci95 is not None else None
    found = economics(bills_of(project, before, gain=gain), project.economics)
    return replace(found, saved=saved(project, record, before))


def errors_of(session: Session, record: RunRecord) -> tuple[Sequence[ErrorShare] | None, list[str]]:
    """Return the stored error analysis of the best variant, and what changed since; changed error analysis is as if not probed."""
    variant = best_language_model(record)
    if variant is None:
        return None, []
    report, changed = load_error_analysis(session, variant)
    return (report.rows, []) if report is not None and not changed else (None, changed)


def overlaps_left(data: Data) -> dict[str, int]:
    """Count what still gives test cases away, although overlaps leave the examples when they are read.

    Looked for anew, in what is really used: rows that shots are taken from against dev and test, and dev against test
    (there only what is asked word by word, or of the same source; near ones are told by `check`).
    """
    split = data.split
    into_test, into_dev = find_overlaps(split.shots, split.test), find_overlaps(split.shots, split.dev)
    between = find_overlaps(split.dev, split.test).by_reason
    found = {
        "examples near test cases": len(into_test.dropped),
        "examples near development cases": len(into_dev.dropped),
        "development cases in test": between["exact"] + between["group"],
    }
    return {name: count for name, count in found.items() if count}


def _eligible(project: Project) -> list[str]:
    """Return the models that may answer and that the constraints allow."""
    hosted = project.constraints.on_device
    return [name for name in project.answering if not (hosted and project.models[name].hosted)]


def _judge(session: Session, record: RunRecord) -> JudgeEvidence | None:
    """Say whether the judge may decide; None if the primary grader is none.

    It must have passed its canaries, be the one that the run used, and be corrected by people on every variant.
    """
    if session.project.graders[0].type != "judge":
        return None
    found = session.folder.read(DOCUMENT)
    if found is None:
        return JudgeEvidence(valid=False, detail=f"the judge was not validated; {HOW}")
    detail = "; ".join([found["detail"], *found["reasons"]])
    bare = [row.rung for row in record.rungs if row.reason_code == "judge"]
    if found["judge"] != record.provenance.graders.get("judge"):
        detail = "the judge that was validated is another than the run used; run again"
    elif bare:
        detail += f"; not corrected by people: {', '.join(bare)}; {HOW}, then run again"
    else:
        return JudgeEvidence(valid=found["status"] == "pass", detail=detail, numbers=found)
    return JudgeEvidence(valid=False, detail=detail, numbers=found)


def _expires(project: Project, today: date) -> list[tuple[str, str]]:
    """Return the dates on which something in the evidence ends."""
    dates = [((today + timedelta(days=FRESH_DAYS)).isoformat(), "prices and models are to be looked at again")]
    for name, model in project.models.items():
        price = price_for(model)
        if price is not None and price.retires is not None:
            dates.append((price.retires.isoformat(), f"the model {name} retires"))
    return dates
