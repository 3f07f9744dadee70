"""Gather what is known of the training data, the pilot and the proofs of a tuned model; no model is called.

Invariant: whatever is about another dataset, adapter, base or regression set than the one at hand is named as changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, NotRequired

from tuneworthy.config.project import Project
from tuneworthy.dataset.checks.contamination import POSSIBLE
from tuneworthy.dataset.distill.teacher import terms_of
from tuneworthy.dataset.effect import effect_words
from tuneworthy.dataset.freeze import Version, find_version, latest_version
from tuneworthy.dataset.review.log import FILE_NAME as REVIEWS
from tuneworthy.dataset.review.state import state_of
from tuneworthy.dataset.sources import cases_hash
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.regressions.sets import hashes, regression_sets
from tuneworthy.shadow.canary import last_shadow
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Kind, latest_artifact
from tuneworthy.store.shapes import OpenRecord, shaped
from tuneworthy.train.plan import Expected
from tuneworthy.types import Case
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
# What `train` makes.
_TRAINED: tuple[Kind, ...] = ("adapter", "classifier")


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
    version = find_version(store, str(tuned.dataset)) if tuned else latest_version(store)
    pilot, outlook = _pilot(project, store, version, partial(pilot_cost, settings=project.economics, expect=expect))
    forms = [made for kind in _TRAINED if (made := latest_artifact(store, kind)) is not None]
    trained = max(forms, key=lambda made: made.created, default=None)
    tested = (tuned.classifier or tuned.adapter) if tuned else None
    regressions, sets_missing = _regressions(project, tuned)
    return TrainingEvidence(
        dataset=None if version is None else _dataset(store, version, cases),
        pilot=pilot,
        parity=_proof(store, PARITY, tuned, _FORMS),
        serving=_proof(store, SERVING, tuned, ("artifact",)),
        shadow=_shadow(project, store, record),
        adapter=trained.id if trained is not None else None,
        tuned=tuned,
        regressions=regressions,
        sets_missing=sets_missing,
        changed=[]
        if trained is None or tested in {None, trained.id}
        else [f"The fine-tuned model {trained.id} is newer than the one compared on the test set ({tested})"],
    ), outlook


def _dataset(store: Folder, version: Version, cases: Sequence[Case]) -> DatasetEvidence:
    recipe, latest = version.recipe, latest_version(store)
    review = state_of(store.root / REVIEWS, version.id)
    overlaps = [gate.detail for gate in recipe.gates if gate.check == "contamination" and not gate.passed]
    then = recipe.depends.cases.sha256
    changed = [] if then == cases_hash(cases) else ["The dev or test cases have changed"]
    terms, reason = terms_of(recipe.teachers)
    broken = _broken(version)
    return DatasetEvidence(
        version=version.id,
        n_rows=version.n_rows,
        broken=broken,
        failed=[*recipe.failed],
        overlaps="; ".join(overlaps),
        n_near=0 if broken else sum(row.reason == POSSIBLE for row in version.findings()),
        changed=changed,
        review=review.status,
        review_words=review.summary,
        bound=review.plan.bound if review.plan is not None and review.status == "accepted" else None,
        effect=recipe.effect,
        effect_words=effect_words(recipe.effect),
        lost=recipe.lost_labels,
        terms=terms,
        terms_words=reason,
        newer=latest.id if latest is not None and latest.id != version.id else "",
    )


def _broken(version: Version) -> str:
    try:
        version.verify()
    except UserError as error:
        return error.message
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotDocument:
    """What a pilot leaves: its trainings, what they must beat, and what they were made from."""

    points: Sequence[PilotPoint]
    baseline: float
    n_examples: int
    dataset: str
    base: str


class StoredProof(OpenRecord):
    """What `parity.json` and `serving.json` must hold, before the model is chosen that they are read for."""

    status: Literal["pass", "fail", "unknown"]
    models: NotRequired[dict[str, dict[str, Any]] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofCheck:
    """One check of a proof."""

    name: str = ""
    status: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofDocument:
    """What `parity` or `serve` leaves of one model: its outcome, and the ids of what it was shown for."""

    status: Literal["pass", "fail", "unknown"]
    detail: str | None = None
    cause: str | None = None
    checks: Sequence[ProofCheck] = ()
    engine: str | None = None
    adapter: str | None = None
    merged: str | None = None
    gguf: str | None = None
    artifact: str | None = None
    models: Mapping[str, Mapping[str, Any]] | None = None


def _pilot(
    project: Project, store: Folder, version: Version | None, cost: Callable[[int], str]
) -> tuple[PilotEvidence | None, Forecast]:
    """Return the pilot and what it forecasts; points of a pilot on something else are not used."""
    found = store.read(PILOT, PilotDocument)
    n = version.n_rows if version is not None else 1000
    if found is None:
        return None, Forecast(status="unknown", cost=cost(n))
    changed, base = [], latest_artifact(store, "base")
    if version is None or found.dataset != version.id:
        current = version.id if version is not None else "the current version"
        changed.append(f"the pilot runs used version {found.dataset} of the training data, not {current}")
    source = (base.manifest.get("source") or {}) if base is not None else {}
    if base is not None and found.base not in {base.id, str(source.get("spec", "")), str(source.get("sha256", ""))}:
        changed.append(f"the base model of the pilot runs is {found.base}, not {base.id}")
    gained = built_against_raw(found.points)
    pilot = PilotEvidence(
        n=len(found.points), changed=changed, built_gain=(gained.gain, gained.ci95) if gained else None
    )
    if changed:
        return pilot, Forecast(status="unknown", cost=cost(n))
    return pilot, forecast(found.points, found.n_examples, found.baseline, cost=cost)


def _proof(store: Folder, name: str, tuned: TunedDetail | None, keys: Sequence[str]) -> ProofEvidence | None:
    """Return a proof, compared with what was on test (before a test, with what was made last)."""
    document = store.read(name, StoredProof)
    if document is None:
        return None
    if tuned is not None:
        made: dict[str, Any] = {name: getattr(tuned, name) for name in (*_FORMS, "base", "classifier")}
    else:
        made = {form: found.id for form in _FORMS if (found := latest_artifact(store, form))}
    proof = shaped(_of_model(document, made), ProofDocument, f"{store.path / name}.json")
    ids = {key: shown for key, shown in asdict(proof).items() if key in keys and shown}
    subject = "the test set was answered by" if tuned else "the latest export is"
    changed, nothing = [], "no such file"
    if name == PARITY:
        changed = [
            (
                f"The parity check does not cover the current model (form `{form}`): it covers "
                f"{ids.get(form, nothing)}, but {subject} {made[form]}"
            )
            for form in keys
            if made.get(form) and ids.get(form) != made[form]
        ]
    elif made and proof.artifact not in {*made.values()} - {None}:
        other = "an unrecorded file"
        known = next((str(made[form]) for form in ("gguf", "merged", "adapter", "classifier") if made.get(form)), other)
        changed = [f"The server ran {proof.artifact or other}, but {subject} {known}"]
    failed = [f"{check.name}: {check.detail.rstrip('.')}" for check in proof.checks if check.status == "fail"]
    detail = proof.detail or "; ".join(failed) or f"checks passed: {len(proof.checks)}"
    detail += f" (cause: `{proof.cause}`)" if proof.cause else ""
    numbers = {**ids, "checks": {check.name: check.status for check in proof.checks}}
    numbers |= {"engine": proof.engine} if proof.engine else {}
    return ProofEvidence(status=proof.status, detail=detail, changed=changed, numbers=numbers)


def _shadow(project: Project, store: Folder, record: RunRecord | None) -> ProofEvidence | None:
    """Return what a replay of traffic shows: of the variants and the grader of the run, at the margin of now."""
    found = last_shadow(store)
    if found is None or not found.verdict.results:
        return None
    verdict, margin = found.verdict, found.verdict.results[0].margin
    same = False
    if record and (rung := record.rung("fine_tune")):
        today, grader = record.rung("baseline"), record.provenance.graders.get(record.primary)
        same = (rung.variant, grader, project.task.margin) == (found.variant, found.grader, margin)
        same = same and found.production_id in {"", today.variant if today else ""}
    other = (
        f"The shadow replay tested {found.candidate} ({found.variant[:8]}) at a margin of {100 * margin:.1f} "
        "points. The model, production, the grader or the margin has changed since."
    )
    numbers = {"fix": verdict.fix, "below": verdict.below, "date": found.date, "n_sessions": found.n_sessions}
    return ProofEvidence(status=verdict.status, detail=verdict.detail, changed=[] if same else [other], numbers=numbers)


def _of_model(document: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a proof of several models what it says of the one that answers: the file, or the merged model."""
    models, file = document.get("models") or {}, made.get("gguf")
    others = [str(name) for name in models.keys() - {document.get("merged")}]
    named = {"gguf": file if file in models else " and ".join(others)} if models else {}
    return {**document, **named, **models.get(file or made.get("merged"), {})}


def _regressions(project: Project, tuned: TunedDetail | None) -> tuple[list[RegressionEvidence], list[str]]:
    """Return what the regression sets say, and the names of those that were not run as they are now."""
    if not tuned:
        return [], []
    try:
        now = hashes(regression_sets(project))
    except TuneworthyError as error:
        return [], [error.message.rstrip(".")]
    found = [
        RegressionEvidence(
            name=row.name,
            status=row.status,
            n=row.n,
            margin=row.margin,
            detail=row.detail,
            needs=row.needs,
            changed=now.get(row.name) != row.hash,
        )
        for row in tuned.regressions
    ]
    asked = {row.name for row in found if not row.changed}
    return [row for row in found if row.name in now], [name for name in now if name not in asked]
