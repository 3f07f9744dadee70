"""Models that the project file does not name: classical baselines, fine-tuned classifiers and tuned models.

The first two run in this process, without a language model. The baselines are fitted on the shot pool when first asked.
A choice task has one more that needs no examples, a zero-shot decision model, where its file is here.

Of a tuned model, the file that would be served is measured: adapter -> merged -> GGUF, each an artifact whose manifest
names its source. It is asked with the prompt that it was trained with. The answers of a server are stored under the
artifact that it serves, never only under its address.
"""

import asyncio
from collections.abc import Callable
from dataclasses import field
from functools import partial
from importlib.metadata import version
from math import log
from pathlib import Path
from typing import Any

from tuneworthy import __version__
from tuneworthy.cases.splits import DEV
from tuneworthy.cases.stratified import rank
from tuneworthy.classical import decision, encoder
from tuneworthy.classical.base import ClassicalModel, ProbabilisticModel, candidates, fit
from tuneworthy.config.models import LlamaCpp, Model
from tuneworthy.config.project import Project
from tuneworthy.dataset.freeze import is_full
from tuneworthy.engine.models import Models, OpenModel, open_model
from tuneworthy.errors import TuneworthyError
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.models import check_pinned, find, pinned, pull
from tuneworthy.retrieval.encoder import SPEC as ENCODER
from tuneworthy.retrieval.encoder import encode_once
from tuneworthy.ship.merge import ancestors, context_of
from tuneworthy.ship.served import served_artifact
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, artifacts, find_artifact, latest_artifact
from tuneworthy.types import (
    Examples,
    JsonMapping,
    JsonObject,
    NamedInts,
    Request,
    Response,
    Texts,
    content_hash,
    frozen,
    text_of,
)

# Parts of the dev cases that the baselines learn from: a case is answered by a model that has not seen its part.
FOLDS = 5
# How the names of these models begin: they are no models of the project file.
PREFIX = "classical:"
# How those of fine-tuned classifiers begin.
CLASSIFIER = "classifier:"
IN_PROCESS = (PREFIX, CLASSIFIER)
# Number of fine-tuned classifiers, and of tuned models, that are tried, newest first: each answers all of dev.
MOST = 4
# The one that needs a sentence encoder, and the one that needs no examples.
EMBEDDING = {"embedding", "embedding_tagger"}
DECISION = "decision"
# Of a probability, so that it has a logarithm.
LEAST = 1e-12


class ClassicalProvider:
    """Answers with a classical baseline that is made at its first call, with label probabilities.

    Dev cases that it learns from are cross-fitted.

    Args:
        name: Of the classical baseline.
        make: Fits it on rows, or loads it.
        rows: Training rows; empty for a model that needs no examples.
        identity: Inputs of its answers in addition to its name and our version.
    """

    supports: frozenset[str] = frozenset()

    def __init__(self, name: str, make: Callable[[Examples], ClassicalModel], rows: Examples, **identity: Any) -> None:
        self._make, self._rows = make, rows
        self.folds = _folds(rows, identity.get("seed", 0))
        self._models: dict[int | None, ClassicalModel] = {}
        self._lock = asyncio.Lock()
        self.identity: JsonMapping = {
            "provider": "classical",
            "classical": name,
            "folds": content_hash(self.folds),
            **identity,
            "versions": {"tuneworthy": __version__, "scikit-learn": version("scikit-learn")},
        }

    async def complete(self, request: Request) -> Response:
        model = await self.fitted(None if request.timing else request.source)  # to time is not to score
        questions = [text_of(request.messages[-1])]
        logprobs = None
        if isinstance(model, ProbabilisticModel):
            shares = model.probabilities(questions)[0].tolist()
            logprobs = {label: log(max(share, LEAST)) for label, share in zip(model.labels, shares, strict=True)}
        return Response(text=model.predict(questions)[0], input_tokens=0, output_tokens=0, label_logprobs=logprobs)

    async def fitted(self, source: str | None = None) -> ClassicalModel:
        """Return the model that answers a case of `source`; without one, that of all rows."""
        fold = None if source is None else self.folds.get(source)
        async with self._lock:
            if fold not in self._models:
                rows = self._rows
                if fold is not None:
                    rows = [row for row in rows if row.source != DEV or self.folds.get(row.group or "") != fold]
                self._models[fold] = await asyncio.to_thread(self._make, rows)
        return self._models[fold]

    async def close(self) -> None:
        self._models.clear()


def _folds(examples: Examples, seed: int) -> NamedInts:
    """Return the fold per source of dev cases; cases with one answer are spread over all folds."""
    rows = {row.group or "": row for row in examples if row.source == DEV}
    return {
        source: place % FOLDS
        for place, source in enumerate(sorted(rows, key=lambda source: (rows[source].answer, rank(seed, source))))
    }


def add_classical_models(models: Models, task: TaskInfo, pool: ShotPool, seed: int) -> dict[str, ClassicalProvider]:
    """Add all classical baselines for this kind of task; return them by name, the strongest first."""
    names = [name for name in reversed(candidates(task.kind)) if name not in EMBEDDING or has_encoder()]
    providers = {
        name: ClassicalProvider(name, partial(fit, name, seed=seed), pool.examples, pool=pool.hash, seed=seed)
        for name in names
        if len(pool)
    }
    if task.structured.kind == "choice" and find(decision.SPEC, Path()) is not None:
        providers[DECISION] = ClassicalProvider(
            DECISION,
            lambda _: _decision_model(task.labels),
            (),
            sha256=pinned(decision.SPEC).sha256,
            question=encoder.QUESTION,
            labels=task.labels,
        )
    for name, provider in providers.items():
        _add(models, PREFIX + name, provider)
    return providers


def has_encoder() -> bool:
    return find(ENCODER, Path()) is not None


def shot_pool(examples: Examples) -> ShotPool:
    """Return the pool of few-shot examples, whose nearest may be found by meaning if the encoder is on this machine."""
    return ShotPool(examples, encode_once if has_encoder() else None, pinned(ENCODER).sha256)


def add_classifiers(models: Models, folder: Folder) -> dict[str, Artifact]:
    """Add the classifiers that `train` made; return them by name, the newest first."""
    measured = [one for one in artifacts(folder, "classifier") if not is_full(folder, one.about.dataset)]
    found = {CLASSIFIER + one.id[:8]: one for one in measured[: -MOST - 1 : -1]}
    for name, made in found.items():
        _add(models, name, ClassicalProvider("encoder", partial(_read_classifier, made), (), artifact=made.id))
    return found


def _read_classifier(made: Artifact, _: Examples) -> ClassicalModel:
    """Read a fine-tuned classifier.

    Raises:
        UserError: One of its files was changed.
    """
    made.verify()
    return decision.read_classifier(made.folder)


def _add(models: Models, name: str, provider: ClassicalProvider) -> None:
    models.add(
        OpenModel(name=name, provider=provider, price=None, hosted=False, concurrency=1, timeout_s=600.0, retries=0)
    )


def _decision_model(labels: Texts) -> encoder.DecisionModel:
    """Load the decision model.

    Raises:
        ModelError: Its file is not the one that is pinned.
    """
    path = pull(decision.SPEC, Path())
    check_pinned(decision.SPEC, path)
    return decision.read_decision_model(path, labels)


# How the names of tuned models begin: their parts are in the record of their rung.
TUNED = "tuned:"
# How the models of untuned bases begin that the project file does not name.
BASE = "base:"


@frozen
class TunedModel:
    """A tuned model that can answer.

    Attributes:
        name: Among the opened models.
        config: How it is opened.
        detail: Its engine, and the artifacts that it was made from.
        prompt: `system`, `user` and what else of the prompt it was trained with; empty if its manifest does not say.
    """

    name: str
    config: Model
    detail: TunedDetail = field(default_factory=lambda: TunedDetail(engine="llama_cpp"))
    prompt: JsonMapping = field(default_factory=dict)

    @property
    def artifact(self) -> str | None:
        return self.detail.gguf or self.detail.merged or self.detail.adapter


def tuned_models(project: Project) -> list[TunedModel]:
    store = Folder(project.root)
    if project.serve.model is not None:
        name = project.serve.model
        config = project.models[name]
        artifact = served_artifact(store, config)
        engine = "llama_cpp" if artifact is not None and artifact.kind == "gguf" else config.provider
        served = _tuned(store, artifact, name=name, config=config, engine=engine) if artifact is not None else None
        return [served] if served is not None else []
    found = [
        _tuned(store, one, name=f"{TUNED}{one.id[:8]}", config=gguf_config(project, one))
        for one in reversed(artifacts(store, "gguf"))
    ]
    return [one for one in found if one is not None][:MOST]


def missing(project: Project) -> str:
    store = Folder(project.root)
    merged, adapter = latest_artifact(store, "merged"), latest_artifact(store, "adapter")
    if (name := project.serve.model) is not None and (merged or adapter):
        return (
            f"models.{name} does not respond, or does not report which of this project's models it serves; start "
            "it with `tuneworthy serve --what gguf`, or fix [serve]"
        )
    return (
        "the fine-tuned model has not been exported; run `tuneworthy train`"
        if merged or adapter
        else "no model has been trained yet"
    )


def add_tuned(models: Models, project: Project) -> tuple[list[TunedModel], list[str]]:
    """Add the tuned models to the models that can be asked.

    Returns:
        Those that could be opened, the newest first; and why others could not, in words.
    """
    opened: list[TunedModel] = []
    faults: list[str] = []
    for one in tuned_models(project):
        try:
            if one.name in project.models:
                models[one.name].name_artifact(one.artifact)
            else:
                models.add(open_model(one.name, one.config, project.root))
        except TuneworthyError as error:
            faults.append(f"{one.name}: {error.message}")
        else:
            opened.append(one)
    return opened, faults


def add_base(models: Models, project: Project, tuned: TunedModel) -> tuple[str, str, str | None]:
    """Add the model to compare a tuned one with: its base as far as it can be asked here.

    That is a GGUF file of the base in the tuned file's format, else a model of the project file that is the base, else
    any GGUF file of the base, else the model in use today.

    Returns:
        Its name among the opened models, a description, and the id of the base; None if it is another model.
    """
    store = Folder(project.root)
    base = find_artifact(store, tuned.detail.base) if tuned.detail.base else None
    if base is not None:
        exported = [one for one in reversed(artifacts(store, "gguf")) if one.parent == base.id]
        alike = [one for one in exported if one.about.file_type == tuned.detail.file_type]
        named = next((name for name in project.answering if _is_base(models, project, name, base)), None)
        if named is not None and not alike:
            return named, f"its base model, models.{named}", base.id
        if exported:
            first = (alike or exported)[0]
            name = BASE + first.id[:8]
            models.add(open_model(name, gguf_config(project, first), project.root))
            return name, f"its base model, exported as {first.id[:8]}", base.id
    today = project.ladder.baseline
    return today, f"today's model, models.{today}", None


def _is_base(models: Models, project: Project, name: str, base: Artifact) -> bool:
    config, source = project.models[name], base.about.source
    if config.local_file is None:
        return False
    if config.local_file != source.spec:
        path = find(config.local_file, project.root)
        return path is not None and path.resolve() == base.folder.resolve()
    return bool(models[name].provider.identity.get("sha256", source.sha256) == source.sha256)


def gguf_config(project: Project, gguf: Artifact) -> LlamaCpp:
    """Return how a GGUF file of this project is opened: as the model in use today, where that is embedded too.

    It has room for at least the run's lengths, as in serving.
    """
    today = project.models[project.ladder.baseline]
    start = today.model_dump() if isinstance(today, LlamaCpp) else {"provider": "llama_cpp"}
    config = LlamaCpp(**{**start, "model": (gguf.folder / "model.gguf").relative_to(project.root).as_posix()})
    return config.model_copy(update={"context": context_of(Folder(project.root), gguf, config.context)})


def config_of(project: Project, name: str) -> Model:
    """Return the section of a model, one of the project file or a tuned one.

    Raises:
        KeyError: No model has this name.
    """
    return (
        project.models[name]
        if name in project.models
        else {one.name: one.config for one in tuned_models(project)}[name]
    )


def _tuned(
    store: Folder, artifact: Artifact, *, name: str, config: Model, engine: str = "llama_cpp"
) -> TunedModel | None:
    """Return the tuned model of an artifact; None if its base is untuned, its makers are gone, or it saw cases."""
    chain = ancestors(store, artifact)
    made = chain.get("adapter") or chain.get("merged")
    if made is None or is_full(store, made.about.dataset):
        return None
    parts: JsonObject = {kind: one.id for kind, one in chain.items()}
    return TunedModel(
        name=name,
        config=config,
        detail=TunedDetail(
            engine=engine,
            **parts,
            dataset=made.about.dataset,
            file_type=artifact.about.file_type,
        ),
        prompt=made.about.prompt or {},
    )
