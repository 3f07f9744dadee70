"""Read what the checklist looks at: a project's data and the documents in its folder; nothing is asked or locked."""

from __future__ import annotations

from contextlib import suppress

from tuneworthy.config import Project
from tuneworthy.errors import UserError
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.estimate import Estimate, estimate_run
from tuneworthy.ladder.provenance import changed_since, provenance
from tuneworthy.ladder.record import RunRecord, read_record
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.transforms import LONG_PROMPT_WORDS
from tuneworthy.retrieval.library import documents_path, open_library
from tuneworthy.store import Folder
from tuneworthy.verdict.evidence import Evidence, rungs_of, search_of
from tuneworthy.verdict.gather import kept_apart, overlaps_left
from tuneworthy.verdict.gather_training import training_of
from tuneworthy.verdict.last_verdict import kept
from tuneworthy.verdict.playbook import Cost, Seen


def seen_in(project: Project) -> Seen:
    """Return what the folder of `project` shows.

    Raises:
        UserError: A document in `.tuneworthy` cannot be read.
    """
    facts = Facts(project, contact=False)
    folder = Folder(project.root)
    run_ladder, quick = read_record(folder), read_record(folder, "quick")
    evidence = _evidence(facts, run_ladder)
    last = kept(project)
    verdict = last.content if last else {}
    faults = [*facts.case_faults, *facts.example_faults, *filter(None, [facts.split_fault])]
    return Seen(
        evidence=evidence,
        n_cases=len(facts.labelled),
        n_unlabelled=len(facts.cases) - len(facts.labelled),
        fault=str(faults[0]) if faults else "",
        quick={
            row.rung: (row.candidates[0].score, row.candidates[0].n)
            for row in (quick.rungs if quick else ())
            if row.candidates
        },
        outcome=verdict.get("outcome"),
        reason=next(iter(verdict.get("reasons", ())), ""),
        next_action=verdict.get("next_action", ""),
        verdict_stale=[*last.changed, *evidence.stale] if last else (),
        costs=rung_costs(facts),
    )


def stale_since(project: Project, run_ladder: RunRecord) -> list[str]:
    """Say what changed since a stored run, in words, without opening a session (see `_stale`)."""
    return _stale(Facts(project, contact=False), run_ladder)


def rung_costs(facts: Facts) -> dict[str, Cost]:
    """Return what walking each rung would take, the baseline's part left out but for its own; from no stored answers.

    Rungs that have nothing to try, and all of them where the data or the prompt cannot be used, are left out.
    """
    start = _estimate(facts, [])
    if start is None:
        return {}
    costs = {"baseline": Cost(calls=start.calls, usd=start.usd, minutes=start.minutes)}
    for name in facts.project.ladder.rungs:
        more = _estimate(facts, [name]) if name not in {"classical", "baseline"} else None
        if more is not None and more.calls[1] > start.calls[1]:
            costs[name] = Cost(
                calls=_less(more.calls, start.calls),
                usd=_less(more.usd, start.usd),
                minutes=_less(more.minutes, start.minutes),
            )
    return costs


def _estimate(facts: Facts, rungs: list[str]) -> Estimate | None:
    """Estimate a run of these rungs and the baseline."""
    if facts.data is None:
        return None
    ladder = facts.project.ladder.model_copy(update={"rungs": rungs})
    models = {name: model for name, (model, _) in facts.opened.items() if model}
    return estimate_run(facts.project.model_copy(update={"ladder": ladder}), facts.data, models)


def _less(whole: tuple[float, float], part: tuple[float, float]) -> tuple[float, float]:
    low, high = (max(0.0, a - b) for a, b in zip(whole, part, strict=True))
    return min(low, high), max(low, high)


def _evidence(facts: Facts, run_ladder: RunRecord | None) -> Evidence:
    """Return what the gates of the checklist look at; what only a verdict needs is left unknown."""
    project = facts.project
    test = facts.data.split.test if facts.data else ()
    groups = {case.source for case in test} if any(case.group for case in test) else None
    allowed = [name for name in project.answering if not facts.excluded(name)]
    apart = kept_apart(facts.data.split, facts.data.cases) if facts.data else ()
    training, forecast = training_of(project, Folder(project.root), run_ladder, apart)
    return Evidence(
        target=project.task.target,
        margin=project.task.margin,
        kind=facts.data.task.kind if facts.data else "",
        problem=project.task.problem,
        motivation=project.task.motivation,
        waivers={waiver.gate: waiver.reason for waiver in project.waivers},
        rungs=rungs_of(run_ladder, project) if run_ladder else {},
        best=run_ladder.best.rung if run_ladder and run_ladder.best else None,
        n_test=len(test),
        n_groups=len(groups) if groups else None,
        search=search_of(run_ladder) if run_ladder else None,
        overlaps=overlaps_left(facts.data) if facts.data else {},
        stale=_stale(facts, run_ladder) if run_ladder else (),
        has_examples=bool(facts.data and facts.data.split.shots),
        other_models=len([name for name in allowed if name != project.ladder.baseline]),
        hosted_forbidden=project.constraints.on_device,
        p95_limit_ms=project.constraints.p95_ms,
        long_prompt=len(_system(project).split()) >= LONG_PROMPT_WORDS,
        documents=documents_path(project) is not None or any(case.documents for case in facts.labelled),
        forecast=forecast,
        training=training,
    )


def _system(project: Project) -> str:
    with suppress(UserError):
        return project.text(project.prompt.system) or ""
    return ""


def _stale(facts: Facts, run_ladder: RunRecord) -> list[str]:
    """Say what changed since the run, as far as it shows without opening a session (a judge's model is left out)."""
    if facts.data is None:
        return []
    split = facts.data.split
    built = [(config.type, grader) for config, grader, _ in reversed(facts.graders)]  # the first of a type counts
    graders = {name: grader for name, grader in built if grader and name != "judge"}
    known = {name: model.provider.identity for name, (model, _) in facts.opened.items() if model}
    try:
        library = open_library(facts.project)
        now = provenance(facts.project, split, graders, ShotPool(split.shots).hash, library)
        return changed_since(run_ladder, facts.project, now, known)
    except UserError as error:
        return [error.message]
