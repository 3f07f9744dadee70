"""Rung `floor`: what no language model at all would score. A reference track; nothing is built on it.

A floor is asked through the runner like any model, so its answers are stored and it is fitted only if one is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from tuneworthy import __version__
from tuneworthy.cases.kind import TaskKind
from tuneworthy.evaluate.models import Models, OpenModel
from tuneworthy.floor.base import Floor, candidates, fit
from tuneworthy.ladder.base import Proposal, View, rung
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Request, Response, Variant

PREFIX = "floor:"


class FloorProvider:
    """Answers with a floor that is fitted on the shot pool when it is first asked.

    Args:
        name: Of the floor.
        pool: Its training rows.
        seed: Of its random choices.
    """

    supports: frozenset[str] = frozenset()

    def __init__(self, name: str, pool: ShotPool, seed: int) -> None:
        self._name, self._pool, self._seed = name, pool, seed
        self._floor: Floor | None = None
        self._lock = asyncio.Lock()
        self.identity: Mapping[str, Any] = {
            "provider": "floor",
            "floor": name,
            "pool": pool.hash,
            "seed": seed,
            "versions": {"tuneworthy": __version__, "scikit-learn": version("scikit-learn")},
        }

    async def complete(self, request: Request) -> Response:
        """Predict the answer to the last turn."""
        async with self._lock:
            if self._floor is None:
                self._floor = await asyncio.to_thread(fit, self._name, self._pool.examples, self._seed)
        question = str(request.messages[-1].get("content") or "")
        return Response(text=self._floor.predict([question])[0], input_tokens=0, output_tokens=0)

    async def close(self) -> None:
        """Forget the fitted floor."""
        self._floor = None


def add_floors(models: Models, kind: TaskKind, pool: ShotPool, seed: int) -> dict[str, FloorProvider]:
    """Add all floors for this kind of task to the models; return them by name, the strongest kind first."""
    found = {name: FloorProvider(name, pool, seed) for name in reversed(candidates(kind))} if len(pool) else {}
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


@rung("floor")
class FloorRung:
    """All floors for the kind of task; the strongest is preregistered where dev is too small to explore."""

    def propose(self, view: View) -> Proposal:
        """Return one candidate for each floor, the strongest kind first."""
        if not len(view.pool):
            return Proposal(skipped="the project has no examples to learn a floor from", skip_code="no_examples")
        user = view.project.text(view.project.prompt.user) or "{{ input }}"
        return Proposal(
            candidates=[
                Variant(
                    name=f"floor/{name}",
                    model=PREFIX + name,
                    model_identity=provider.identity,
                    system=None,
                    user=user,
                    max_tokens=1,
                )
                for name, provider in add_floors(view.models, view.task.kind, view.pool, view.seed).items()
            ]
        )
