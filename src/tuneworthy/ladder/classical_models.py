"""The classical baselines as models: fitted on the shot pool when first asked, stored like the answers of any model."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from tuneworthy import __version__
from tuneworthy.cases.splits import DEV
from tuneworthy.cases.stratified import rank
from tuneworthy.cases.task_kind import TaskKind
from tuneworthy.classical.base import ClassicalModel, candidates, fit
from tuneworthy.evaluate.models import Models, OpenModel
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Example, Request, Response, content_hash

# Parts of the dev cases that the baselines learn from: a case is answered by a model that has not seen its part.
FOLDS = 5
# How the names of these models begin: they are no models of the project file.
PREFIX = "classical:"


class ClassicalProvider:
    """Answers with a classical baseline that is fitted when it is first asked; dev cases it learns from, cross-fitted.

    Args:
        name: Of the classical baseline.
        pool: Its training rows.
        seed: Of its random choices.
    """

    supports: frozenset[str] = frozenset()

    def __init__(self, name: str, pool: ShotPool, seed: int) -> None:
        self._name, self._pool, self._seed = name, pool, seed
        self._folds = _folds(pool.examples, seed)
        self._models: dict[int | None, ClassicalModel] = {}
        self._lock = asyncio.Lock()
        self.identity: Mapping[str, Any] = {
            "provider": "classical",
            "classical": name,
            "pool": pool.hash,
            "seed": seed,
            "folds": content_hash(self._folds),
            "versions": {"tuneworthy": __version__, "scikit-learn": version("scikit-learn")},
        }

    async def complete(self, request: Request) -> Response:
        """Predict the answer to the last turn."""
        fold = None if request.timing else self._folds.get(request.source)  # to time is not to score
        async with self._lock:
            if fold not in self._models:
                rows = [row for row in self._pool.examples if fold is None or self._fold_of(row) != fold]
                self._models[fold] = await asyncio.to_thread(fit, self._name, rows, self._seed)
        return Response(
            text=self._models[fold].predict([str(request.messages[-1].get("content") or "")])[0],
            input_tokens=0,
            output_tokens=0,
        )

    def _fold_of(self, row: Example) -> int | None:
        return self._folds.get(row.group or "") if row.source == DEV else None

    async def close(self) -> None:
        """Forget the fitted models."""
        self._models.clear()


def _folds(examples: Sequence[Example], seed: int) -> dict[str, int]:
    """Return the fold of each source of dev cases; cases with one answer are spread over all folds."""
    rows = {row.group or "": row for row in examples if row.source == DEV}
    ordered = sorted(rows, key=lambda source: (rows[source].answer, rank(seed, source)))
    return {source: place % FOLDS for place, source in enumerate(ordered)}


def add_classical_models(models: Models, kind: TaskKind, pool: ShotPool, seed: int) -> dict[str, ClassicalProvider]:
    """Add all classical baselines for this kind of task; return them by name, the strongest first."""
    providers = {name: ClassicalProvider(name, pool, seed) for name in reversed(candidates(kind))} if len(pool) else {}
    for name, provider in providers.items():
        models.add(
            OpenModel(
                name=PREFIX + name,
                provider=provider,
                price=None,
                hosted=False,
                concurrency=1,
                timeout_s=600.0,
                retries=0,
            )
        )
    return providers
