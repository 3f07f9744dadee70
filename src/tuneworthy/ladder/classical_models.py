"""The classical baselines as models: fitted on the shot pool when first asked, stored like the answers of any model."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from tuneworthy import __version__
from tuneworthy.cases.task_kind import TaskKind
from tuneworthy.classical.base import ClassicalModel, candidates, fit
from tuneworthy.evaluate.models import Models, OpenModel
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Request, Response

# How the names of these models begin: they are no models of the project file.
PREFIX = "classical:"


class ClassicalProvider:
    """Answers with a classical baseline that is fitted when it is first asked.

    Args:
        name: Of the classical baseline.
        pool: Its training rows.
        seed: Of its random choices.
    """

    supports: frozenset[str] = frozenset()

    def __init__(self, name: str, pool: ShotPool, seed: int) -> None:
        self._name, self._pool, self._seed = name, pool, seed
        self._model: ClassicalModel | None = None
        self._lock = asyncio.Lock()
        self.identity: Mapping[str, Any] = {
            "provider": "classical",
            "classical": name,
            "pool": pool.hash,
            "seed": seed,
            "versions": {"tuneworthy": __version__, "scikit-learn": version("scikit-learn")},
        }

    async def complete(self, request: Request) -> Response:
        """Predict the answer to the last turn."""
        async with self._lock:
            if self._model is None:
                self._model = await asyncio.to_thread(fit, self._name, self._pool.examples, self._seed)
        return Response(
            text=self._model.predict([str(request.messages[-1].get("content") or "")])[0],
            input_tokens=0,
            output_tokens=0,
        )

    async def close(self) -> None:
        """Forget the fitted model."""
        self._model = None


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
