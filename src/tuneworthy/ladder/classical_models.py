"""Models that run in this process, without a language model; their answers are stored like those of any model.

The classical baselines are fitted on the shot pool when first asked. A choice task has one more that needs no examples,
a zero-shot decision model, where its file is here; and the classifiers that `train` made of an encoder.
"""

import asyncio
from collections.abc import Callable
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
from tuneworthy.dataset.freeze import is_full
from tuneworthy.engine.models import Models, OpenModel
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.models import check_pinned, find, pinned, pull
from tuneworthy.retrieval.encoder import SPEC as ENCODER
from tuneworthy.retrieval.encoder import encode_once
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, artifacts
from tuneworthy.types import Examples, JsonMapping, NamedInts, Request, Response, Texts, content_hash, text_of

# Parts of the dev cases that the baselines learn from: a case is answered by a model that has not seen its part.
FOLDS = 5
# How the names of these models begin: they are no models of the project file.
PREFIX = "classical:"
# How those of fine-tuned classifiers begin.
CLASSIFIER = "classifier:"
IN_PROCESS = (PREFIX, CLASSIFIER)
# Number of fine-tuned classifiers that are tried, newest first.
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
