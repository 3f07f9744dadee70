"""Gather what is known of the training data, the pilot and the proofs of a tuned model; no model is called.

Invariant: whatever is about another dataset, adapter, base or regression set than the one at hand is named as changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tuneworthy.cases.splits import fingerprint
from tuneworthy.config.project import Project
from tuneworthy.dataset.checks.contamination import SHORT_EDIT
from tuneworthy.dataset.distill.teacher import terms_of
from tuneworthy.dataset.freeze import Version, find_version, latest_version
from tuneworthy.dataset.review.log import FILE_NAME as REVIEWS
from tuneworthy.dataset.review.state import state_of
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.regressions.sets import hashes, regression_sets
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, latest_artifact
from tuneworthy.train.expected import Expected
from tuneworthy.types import Case, content_hash
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import Forecast
from tuneworthy.verdict.forecast import PilotPoint, built_against_raw, forecast, pilot_cost
from tuneworthy.verdict.training_facts import (
    DatasetEvidence,
    PilotEvidence,
    ProofEvidence,
    RegressionEvidence,
    TrainingEvidence,
)

# Documents in the project's folder.
PILOT, PARITY, SERVING = "pilot", "parity", "serving"
_FORMS: tuple[Kind, ...] = ("adapter", "merged", "gguf")


def training_of(
    project: Project,
    store: Folder,
    record: RunRecord | None,
    cases: Sequence[Case],
    expect: Callable[[int], Expected | None] = lambda _: None,
) -> tuple[TrainingEvidence, Forecast]:
    """Return what is known of training and shipping, and the forecast of the pilot.

    Args:
        project: The project file.
        store: Its folder.
        record: Its run, or None.
        cases: What the rows of a version were compared with: all cases, and dev where it is drawn from rows.
        expect: See `pilot_cost`; used only before there is a pilot.

    Raises:
        UserError: A document cannot be read.
    """
    tuned = record.detail(TunedDetail) if record else None
    version = _version(store, tuned)
    pilot, outlook = _pilot(project, store, version, partial(pilot_cost, settings=project.economics, expect=expect))
    adapter = latest_artifact(store, "adapter")
    regressions, sets_missing = _regressions(project, tuned)
    return TrainingEvidence(
        dataset=None if version is None else _dataset(store, version, cases),
        pilot=pilot,
        parity=_proof(store, PARITY, tuned, _FORMS),
        serving=_proof(store, SERVING, tuned, ("artifact",)),
        adapter=adapter.id if adapter is not None else None,
        tuned=tuned,
        regressions=regressions,
        sets_missing=sets_missing,
        changed=_made_since(tuned, adapter),
    ), outlook


def _version(store: Folder, tuned: TunedDetail | None) -> Version | None:
    """Return the version that the tuned model was trained on; the latest one where none was compared on test."""
    return find_version(store, str(tuned.dataset)) if tuned else latest_version(store)


def _dataset(store: Folder, version: Version, cases: Sequence[Case]) -> DatasetEvidence:
    recipe, latest = version.recipe, latest_version(store)
    review = state_of(store.root / REVIEWS, version.id)
    failed = [f"{one['check']}: {one['detail']}" for one in recipe["gates"] if not one["passed"]]
    overlaps = [f"{one['detail']}" for one in recipe["gates"] if one["check"] == "contamination" and not one["passed"]]
    then = recipe["depends"].get("cases", {}).get("sha256")
    changed = [] if then == cases_hash(cases) else [messages.CASES_CHANGED]
    terms, words = terms_of(recipe)
    broken = _broken(version)
    return DatasetEvidence(
        version=version.id,
        n_rows=version.n_rows,
        broken=broken,
        failed=failed,
        overlaps="; ".join(overlaps),
        n_near=0 if broken else sum(one["reason"] == SHORT_EDIT for one in version.findings()),
        changed=changed,
        review=review.status,
        review_words=review.words,
        bound=review.plan.bound if review.plan is not None and review.status == "accepted" else None,
        terms=terms,
        terms_words=words,
        newer=latest.id if latest is not None and latest.id != version.id else "",
    )


def cases_hash(cases: Sequence[Case]) -> str:
    """Return the hash of the cases that a build compares its rows with, as its recipe has it."""
    return content_hash(sorted(map(str, map(fingerprint, cases))))


def _broken(version: Version) -> str:
    try:
        version.verify()
    except UserError as error:
        return error.message
    return ""


def _pilot(
    project: Project, store: Folder, version: Version | None, cost: Callable[[int], str]
) -> tuple[PilotEvidence | None, Forecast]:
    """Return the pilot and what it forecasts; points of a pilot on something else are not used."""
    document = store.read(PILOT)
    n = version.n_rows if version is not None else 1000
    if document is None:
        return None, Forecast(status="unknown", cost=cost(n))
    try:
        points = [_point(one) for one in document["points"]]
        baseline, size = float(document["baseline"]), int(document["n_examples"])
        about = str(document["dataset"]), str(document["base"])
    except (KeyError, TypeError, ValueError) as error:
        words = messages.NOT_A_PILOT.format(path=f"{store.path / PILOT}.json")
        raise UserError(words, hint=messages.PILOT_AGAIN) from error
    changed = []
    if version is None or about[0] != version.id:
        current = version.id if version is not None else "this one"
        changed.append(messages.PILOT_OTHER_DATA.format(found=about[0], version=current))
    base = latest_artifact(store, "base")
    if base is not None and about[1] not in _names(base):
        changed.append(messages.PILOT_OTHER_BASE.format(found=about[1], base=base.id))
    gained = built_against_raw(points)
    pilot = PilotEvidence(
        n=len(points),
        baseline=baseline,
        changed=changed,
        built_gain=None if gained is None else (gained.gain, gained.ci95),
    )
    if changed:
        return pilot, Forecast(status="unknown", cost=cost(n))
    return pilot, forecast(points, size, baseline, seed=project.split.seed, cost=cost)


def _point(one: Mapping[str, Any]) -> PilotPoint:
    data = one.get("data", "built")
    if data not in {"built", "raw"}:
        raise ValueError("data")
    steps = one.get("steps")
    return PilotPoint(
        size=int(one["size"]),
        seed=int(one["seed"]),
        score=float(one["score"]),
        data=data,
        steps=None if steps is None else int(steps),
    )


def _names(base: Artifact) -> set[str]:
    """Return what a pilot may call this base."""
    source = base.manifest.get("source") or {}
    return {base.id, str(source.get("spec", "")), str(source.get("sha256", ""))}


def _proof(store: Folder, name: str, tuned: TunedDetail | None, keys: Sequence[str]) -> ProofEvidence | None:
    """Return a proof, compared with what was on test (before a test, with what was made last)."""
    document = store.read(name)
    if document is None:
        return None
    if not (
        isinstance(document, dict) and document.get("status") in {"pass", "fail", "unknown"} and _readable(document)
    ):
        command = "parity" if name == PARITY else "serve"
        words = messages.NOT_A_PROOF.format(path=f"{store.path / name}.json", command=command)
        raise UserError(words, hint=messages.PROOF_AGAIN.format(command=command))
    if tuned is not None:
        known = {"gguf": tuned.gguf, "merged": tuned.merged, "adapter": tuned.adapter, "base": tuned.base}
    else:
        known = {form: one.id for form in _FORMS if (one := latest_artifact(store, form))}
    document = _of_one(document, known)
    ids = {key: document.get(key) for key in keys if document.get(key)}
    subject = messages.TESTED_IS if tuned else messages.MADE_IS
    changed = []
    if name == PARITY:
        changed = [
            messages.PROOF_OF_ANOTHER.format(form=form, found=ids.get(form, "none"), subject=subject, known=known[form])
            for form in keys
            if known.get(form) and ids.get(form) != known[form]
        ]
    elif known and ids.get("artifact") not in {known.get(form) for form in (*_FORMS, "base")} - {None}:
        served, made = ids.get("artifact", "another file"), known.get("gguf") or known
        changed = [messages.SERVED_ANOTHER.format(found=served, subject=subject, known=made)]
    cause = f" (cause: {document['cause']})" if document.get("cause") else ""
    checks = [one for one in document.get("checks") or () if isinstance(one, Mapping)]
    failed = [f"{one.get('name')}: {one.get('detail')}" for one in checks if one.get("status") == "fail"]
    words = document.get("detail") or "; ".join(failed) or messages.CHECKS_PASSED.format(n=len(checks))
    engine = {"engine": document["engine"]} if document.get("engine") else {}
    numbers = {**ids, **engine, "checks": {str(one.get("name")): one.get("status") for one in checks}}
    return ProofEvidence(status=document["status"], detail=f"{words}{cause}", changed=changed, numbers=numbers)


def _readable(document: Mapping[str, Any]) -> bool:
    """Return whether what a proof says of each model, if it says it at all, can be read."""
    models = document.get("models") or {}
    return isinstance(models, Mapping) and all(isinstance(one, Mapping) for one in models.values())


def _of_one(document: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return of a proof of several models what it says of the one that answers: the file, or the merged model."""
    models, file = document.get("models") or {}, known.get("gguf")
    others = [str(one) for one in models if one != document.get("merged")]
    named = {"gguf": file if file in models else " and ".join(others)} if models else {}
    return {**document, **named, **models.get(file or known.get("merged"), {})}


def _regressions(project: Project, tuned: TunedDetail | None) -> tuple[list[RegressionEvidence], list[str]]:
    """Return what the regression sets say, and the names of those that were not run as they are now."""
    if not tuned:
        return [], []
    try:
        now = hashes(regression_sets(project))
    except TuneworthyError as error:
        return [], [error.message]
    found = [
        RegressionEvidence(
            name=one.name,
            status=one.status,
            n=one.n,
            margin=one.margin,
            detail=one.detail,
            needs=one.needs,
            changed=now.get(one.name) != one.hash,
        )
        for one in tuned.regressions
    ]
    asked = {one.name for one in found if not one.changed}
    return [one for one in found if one.name in now], [name for name in now if name not in asked]


def _made_since(tuned: TunedDetail | None, adapter: Artifact | None) -> list[str]:
    if not tuned or adapter is None or tuned.adapter in {None, adapter.id}:
        return []
    return [messages.ADAPTER_SINCE.format(adapter=adapter.id, tested=tuned.adapter)]
