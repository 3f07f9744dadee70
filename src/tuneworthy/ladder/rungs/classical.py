"""Rung `classical`: what no language model at all would score. A reference track; nothing is built on it.

A classical baseline is asked through the runner like any model, so its answers are stored and it is fitted only if one is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from tuneworthy import __version__
from tuneworthy.cases.task_kind import TaskKind
from tuneworthy.classical.base import ClassicalModel, candidates, fit
from tuneworthy.evaluate.models import Models, OpenModel
from tuneworthy.ladder.rung import Proposal, View, rung
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Request, Response, Variant

PREFIX = "classical:"


class ClassicalProvider:
    """Answers with a classical baseline that is fitted on the shot pool when it is first asked.

    Args:
        name: Of the classical baseline.
        pool: Its training rows.
        seed: Of its random choices.
    """

    supports: frozenset[str] = frozenset()

    def __init__(self, name: str, pool: ShotPool, seed: int) -> None:
        self._name, self._pool, self._seed = name, pool, seed
        self._classical: ClassicalModel | None = None
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
            if self._classical is None:
                self._classical = await asyncio.to_thread(fit, self._name, self._pool.examples, self._seed)
        question = str(request.messages[-1].get("content") or "")
        return Response(text=self._classical.predict([question])[0], input_tokens=0, output_tokens=0)

    async def close(self) -> None:
        """Forget the fitted classical baseline."""
        self._classical = None


def add_classical_models(models: Models, kind: TaskKind, pool: ShotPool, seed: int) -> dict[str, ClassicalProvider]:
    """Add all classical baselines for this kind of task to the models; return them by name, the strongest kind first."""
    found = {name: ClassicalProvider(name, pool, seed) for name in reversed(candidates(kind))} if len(pool) else {}
    for name, provider in found.items():
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
    return found


@rung("classical")
class ClassicalRung:
    """All classical baselines for the kind of task; the strongest is preregistered where dev is too small to explore."""

    async def propose(self, view: View) -> Proposal:
        """Return one candidate for each classical baseline, the strongest kind first."""
        if not len(view.pool):
            return Proposal(
                skipped="the project has no examples to learn a classical baseline from", skip_code="no_examples"
            )
        user = view.project.text(view.project.prompt.user) or "{{ input }}"
        return Proposal(
            candidates=[
                Variant(
                    name=f"classical/{name}",
                    model=PREFIX + name,
                    model_identity=provider.identity,
                    system=None,
                    user=user,
                    max_tokens=1,
                )
                for name, provider in add_classical_models(view.models, view.task.kind, view.pool, view.seed).items()
            ]
        )
