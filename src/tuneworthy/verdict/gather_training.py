"""Evidence from the training data, the pilot and the proofs of a fine-tuned model; no model is called.

Invariant: whatever is about another dataset, adapter, base or regression set than the one at hand is named as changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from statistics import fmean
from typing import Literal

from tuneworthy.config.project import Project
from tuneworthy.dataset.checks.contamination import POSSIBLE
from tuneworthy.dataset.curve import finding, stored_curve
from tuneworthy.dataset.distill.teacher import terms_of
from tuneworthy.dataset.effect import effect_words
from tuneworthy.dataset.freeze import Version, find_version, full_version, is_full, latest_version
from tuneworthy.dataset.sources import cases_hash
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_log import state_of
from tuneworthy.regressions.compare import RegressionResult
from tuneworthy.regressions.sets import hashes, regression_sets
from tuneworthy.retrieval.library import documents_hash
from tuneworthy.shadow.messages import say
from tuneworthy.shadow.releases import all_releases, current_release, find_release, rolled_back
from tuneworthy.shadow.replay import read_shadow
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Kind, ModelSource, artifacts, find_artifact, latest_artifact
from tuneworthy.store.shapes import shaped
from tuneworthy.train.plan import Expected
from tuneworthy.types import Cases, JsonMapping, JsonObject, frozen
from tuneworthy.verdict.base import Forecast
from tuneworthy.verdict.evidence import ContinuedPilot, DatasetEvidence, PilotEvidence, ProofEvidence, TrainingEvidence
from tuneworthy.verdict.forecast import PilotPoint, built_against_raw, forecast, pilot_cost

# Documents in the project's folder.
PILOT, PARITY, SERVING = "pilot", "parity", "serving"
FORMS: tuple[Kind, ...] = ("adapter", "merged", "gguf")
# What `train` makes.
TRAINED_KINDS: tuple[Kind, ...] = ("adapter", "classifier")


def training_of(
    project: Project,
    store: Folder,
    record: RunRecord | None,
    cases: Cases,
    expect: Callable[[int], Expected | None] = lambda _: None,
) -> tuple[TrainingEvidence, Forecast]:
    """Return the facts about training and shipping, and the forecast of the pilot.

    Args:
        project: The project file.
        store: Its folder.
        record: Its run, or None.
        cases: Cases that the rows of a version were compared with: all cases, and dev where it is drawn from rows.
        expect: See `pilot_cost`; used only before there is a pilot.

    Raises:
        UserError: A document cannot be read.
    """
    tuned = record.detail(TunedDetail) if record else None
    version = find_version(store, str(tuned.dataset)) if tuned else latest_version(store)
    pilot, outlook = _pilot(project, store, version, partial(pilot_cost, settings=project.economics, expect=expect))
    trained = max(
        [made for kind in TRAINED_KINDS for made in artifacts(store, kind) if not is_full(store, made.about.dataset)],
        key=lambda made: made.created,
        default=None,
    )
    tested = (tuned.classifier or tuned.adapter) if tuned else None
    regressions, sets_missing, changed = _regressions(project, store, tuned)
    if trained is not None and tested not in {None, trained.id}:
        changed.insert(
            0, f"The fine-tuned model {trained.id} is newer than the one compared on the test set ({tested})"
        )
    return TrainingEvidence(
        dataset=None if version is None else _dataset(store, version, cases),
        pilot=pilot,
        parity=_proof(store, PARITY, tuned),
        serving=_proof(store, SERVING, tuned),
        shadow=_shadow(project, store, record),
        release=_release(store, record, tuned),
        started=live.number if (live := current_release(store, only_started=True)) else None,
        adapter=trained.id if trained is not None else None,
        tuned=tuned,
        regressions=regressions,
        sets_missing=sets_missing,
        changed=changed,
    ), outlook


def _dataset(store: Folder, version: Version, cases: Cases) -> DatasetEvidence:
    recipe, latest = version.recipe, latest_version(store)
    review = state_of(store.root / REVIEWS, version.id)
    overlaps = [gate.detail for gate in recipe.gates if gate.check == "contamination" and not gate.passed]
    changed = [] if recipe.depends.cases.sha256 == cases_hash(cases) else ["The dev or test cases have changed"]
    terms, reason = terms_of(recipe.teachers)
    broken = ""
    try:
        version.verify()
    except UserError as error:
        broken = error.message
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
        curve=finding(curve) if (curve := stored_curve(store, version)) else "",
        lost=recipe.lost_labels,
        terms=terms,
        terms_words=reason,
        n_overlapping=full.n_rows - version.n_rows if (full := full_version(store, version)) else 0,
        newer=latest.id if latest is not None and latest.id != version.id else "",
    )


@frozen
class PilotDocument:
    """Stored pilot: trainings, the score to beat, dataset, base (id and name), metric, documents and other bases."""

    points: Sequence[PilotPoint]
    baseline: float
    n_examples: int
    dataset: str
    base: str
    name: str = ""
    metric: str = ""
    earlier: Sequence["PilotDocument"] = ()
    documents: str = ""
    continued: ContinuedPilot = ContinuedPilot()


@frozen
class ProofCheck:
    name: str = ""
    status: str = ""
    detail: str = ""


@frozen
class ProofDocument:
    """Stored result of `parity` or `serve`: outcome, checks, and ids of the models that it covers."""

    status: Literal["pass", "fail", "unknown"]
    detail: str | None = None
    cause: str | None = None
    checks: Sequence[ProofCheck] = ()
    engine: str | None = None
    adapter: str | None = None
    merged: str | None = None
    gguf: str | None = None
    artifact: str | None = None
    models: Mapping[str, JsonMapping] | None = None

    @property
    def ids(self) -> dict[str, str | None]:
        """Ids by form."""
        return {"adapter": self.adapter, "merged": self.merged, "gguf": self.gguf}


def _pilot(
    project: Project, store: Folder, version: Version | None, cost: Callable[[int], str]
) -> tuple[PilotEvidence | None, Forecast]:
    """Return the pilot and its forecast; points of a pilot on something else are not used."""
    found = store.read(PILOT, PilotDocument)
    n = version.n_rows if version is not None else 1000
    if found is None:
        return None, Forecast(status="unknown", cost=cost(n))
    changed, base = [], latest_artifact(store, "base")
    if version is None or found.dataset != version.id:
        current = version.id if version is not None else "the current version"
        changed.append(f"the pilot runs used version {found.dataset} of the training data, not {current}")
    source = base.about.source if base else ModelSource()
    if base is not None and found.base not in {base.id, source.spec, source.sha256}:
        changed.append(f"the base model of the pilot runs is {found.base}, not {base.id}")
    is_old = found.continued.helps and found.documents != documents_hash(project)
    pilot = PilotEvidence(
        n=len(found.points),
        changed=changed,
        built_gain=built_against_raw(found.points),
        continued=ContinuedPilot(detail="The documents changed after the pilot compared raw text." * is_old)
        if changed or is_old
        else found.continued,
    )
    return (
        (pilot, Forecast(status="unknown", cost=cost(n)))
        if changed
        else (pilot, forecast(found.points, found.n_examples, found.baseline, cost=cost))
    )


def pilot_scores(store: Folder, dataset: str) -> dict[str, dict[int, float]]:
    """Return the mean dev scores of the pilots on a dataset, by base and number of rows; 0 rows is before training.

    Pilots with another metric than that of the last are left out. Bases that share a name go by their ids.
    """
    found = store.read(PILOT, PilotDocument)
    pilots = [
        one
        for one in ([found, *found.earlier] if found else [])
        if found and (one.dataset, one.metric) == (dataset, found.metric)
    ]
    return {
        one.name if one.name and [other.name for other in pilots].count(one.name) == 1 else one.base: {0: one.baseline}
        | {
            size: fmean(point.score for point in one.points if (point.size, point.data) == (size, "built"))
            for size in sorted({point.size for point in one.points if point.data == "built"})
        }
        for one in pilots
    }


def _proof(store: Folder, name: str, tuned: TunedDetail | None) -> ProofEvidence | None:
    document = store.read(name, ProofDocument)
    if document is None:
        return None
    latest: JsonObject = {form: found.id for form in FORMS if (found := latest_artifact(store, form))}
    made = tuned or TunedDetail(engine="", **latest)
    proof = _of_model(document, made, f"{store.path / name}.json")
    subject = "the test set was answered by" if tuned else "the latest export is"
    failed = [f"{check.name}: {check.detail.rstrip('.')}" for check in proof.checks if check.status == "fail"]
    detail = proof.detail or "; ".join(failed) or f"checks passed: {len(proof.checks)}"
    detail += f" (cause: `{proof.cause}`)" if proof.cause else ""
    ids = proof.ids if name == PARITY else {"artifact": proof.artifact}
    numbers = {
        key: value
        for key, value in {
            **ids,
            "checks": {check.name: check.status for check in proof.checks},
            "engine": proof.engine,
        }.items()
        if value or key == "checks"
    }
    changed = (
        _not_served(proof, made, subject)
        if name != PARITY
        else [
            f"The parity check does not cover the current model (form `{form}`): it covers "
            f"{shown or 'no such file'}, but {subject} {current}"
            for form, shown in proof.ids.items()
            if (current := getattr(made, form)) not in {None, shown}
        ]
    )
    return ProofEvidence(status=proof.status, detail=detail, changed=changed, numbers=numbers)


def _not_served(proof: ProofDocument, made: TunedDetail, subject: str) -> list[str]:
    ids = [identity for identity in (made.gguf, made.merged, made.adapter, made.classifier) if identity]
    if (not ids and not made.base) or proof.artifact in {*ids, made.base} - {None}:
        return []
    other = "an unrecorded file"
    return [f"The server ran {proof.artifact or other}, but {subject} {ids[0] if ids else other}"]


def _release(store: Folder, record: RunRecord | None, tuned: TunedDetail | None) -> int | None:
    rung = record.rung("fine_tune") if record else None
    made = (tuned.gguf or tuned.merged or tuned.adapter) if tuned else None
    release = find_release(store, made, rung.variant or "") if rung and made else None
    return release.number if release else 0 if all_releases(store) else None


def _shadow(project: Project, store: Folder, record: RunRecord | None) -> ProofEvidence | None:
    found, rung = read_shadow(store), record.rung("fine_tune") if record else None
    # harm that users met counts whatever a replay says
    if record and rung and (why := rolled_back(store, rung.variant or "")):
        fix = (found.verdict.fix if found and found.variant == rung.variant else "") or say(
            "restart", command="tuneworthy shadow replay"
        )
        return ProofEvidence(
            status="fail", detail=f"The canary was rolled back. {why}", numbers={"fix": fix, "rolled_back": why}
        )
    if found is None or not found.verdict.results or not record or not rung:
        return None
    verdict, margin = found.verdict, found.verdict.results[0].margin
    today, grader = record.rung("baseline"), record.provenance.graders.get(record.primary)
    now, then = (rung.variant, grader, project.task.margin), (found.variant, found.grader, margin)
    same = now == then and found.production_id in {"", today.variant if today else ""}
    other = (
        f"The shadow replay tested {found.candidate} ({found.variant[:8]}) at a margin of {100 * margin:.1f} "
        "points. The last run has another tuned model, production, grader or margin."
    )
    return ProofEvidence(
        status=verdict.status,
        detail=verdict.detail,
        changed=[] if same else [other],
        numbers={"fix": verdict.fix, "below": verdict.below, "date": found.date, "n_sessions": found.n_sessions},
    )


def _of_model(proof: ProofDocument, made: TunedDetail, where: str) -> ProofDocument:
    """Return the part of a proof of several models about the model that answers: the file, or the merged model."""
    if not proof.models:
        return proof
    gguf = (
        made.gguf
        if made.gguf in proof.models
        else " and ".join([name for name in proof.models if name != proof.merged])
    )
    return shaped(
        {**asdict(proof), "gguf": gguf, **proof.models.get(made.gguf or made.merged or "", {})}, ProofDocument, where
    )


def _regressions(
    project: Project, store: Folder, tuned: TunedDetail | None
) -> tuple[list[RegressionResult], list[str], list[str]]:
    """Return the results of the sets that have not changed, the sets without such a result, and the changes."""
    if not tuned:
        return [], [], []
    try:
        now = hashes(regression_sets(project))
    except TuneworthyError as error:
        return [], [error.message.rstrip(".")], []
    usable = [row for row in tuned.regressions if now.get(row.name) == row.hash]
    adapter = find_artifact(store, tuned.adapter) if tuned.adapter else None
    if adapter and adapter.about.text:
        usable.append(shaped(adapter.about.text.get("regression"), RegressionResult, adapter.folder))
    missing = [name for name in now if name not in {row.name for row in usable}]
    return (
        usable,
        missing,
        [f"The regression set {row.name} has changed" for row in tuned.regressions if row.name in missing],
    )
