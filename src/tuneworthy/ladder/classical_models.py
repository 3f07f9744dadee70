"""The classical baselines as models: fitted on the shot pool when first asked, stored like the answers of any model.

A choice task has one more that needs no examples: a zero-shot decision model, where its file is here.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from math import log
from pathlib import Path
from typing import Any

from tuneworthy import __version__
from tuneworthy.classical import decision
from tuneworthy.classical.base import ClassicalModel, ProbabilisticModel, candidates, fit
from tuneworthy.evaluate.models import Models, OpenModel
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.models import check_pinned, find, pinned, pull
from tuneworthy.types import Request, Response

# How the names of these models begin: they are no models of the project file.
PREFIX = "classical:"
# The one that needs no examples.
DECISION = "decision"
# Of a probability, so that it has a logarithm.
LEAST = 1e-12


class ClassicalProvider:
    """Answers with a classical baseline that is made when it is first asked, and with the probability of each label.

    Args:
        name: Of the classical baseline.
        make: Fits or loads it.
        identity: What its answers depend on beside its name and our version.
    """

    supports: frozenset[str] = frozenset()

    def __init__(self, name: str, make: Callable[[], ClassicalModel], **identity: Any) -> None:
        self._make = make
        self._model: ClassicalModel | None = None
        self._lock = asyncio.Lock()
        self.identity: Mapping[str, Any] = {
            "provider": "classical",
            "classical": name,
            **identity,
            "versions": {"tuneworthy": __version__, "scikit-learn": version("scikit-learn")},
        }

    async def complete(self, request: Request) -> Response:
        """Predict the answer to the last turn."""
        async with self._lock:
            if self._model is None:
                self._model = await asyncio.to_thread(self._make)
        questions = [str(request.messages[-1].get("content") or "")]
        logprobs = None
        if isinstance(self._model, ProbabilisticModel):
            shares = self._model.probabilities(questions)[0].tolist()
            logprobs = {label: log(max(share, LEAST)) for label, share in zip(self._model.labels, shares, strict=True)}
        return Response(
            text=self._model.predict(questions)[0], input_tokens=0, output_tokens=0, label_logprobs=logprobs
        )

    async def close(self) -> None:
        """Forget the fitted model."""
        self._model = None


def add_classical_models(models: Models, task: TaskInfo, pool: ShotPool, seed: int) -> dict[str, ClassicalProvider]:
    """Add all classical baselines for this kind of task; return them by name, the strongest first."""
    names = reversed(candidates(task.kind)) if len(pool) else ()
    providers = {
        name: ClassicalProvider(name, partial(fit, name, pool.examples, seed), pool=pool.hash, seed=seed)
        for name in names
    }
    if task.structured.kind == "choice" and find(decision.SPEC, Path()) is not None:
        providers[DECISION] = ClassicalProvider(
            DECISION,
            partial(_decision_model, task.labels),
            sha256=pinned(decision.SPEC).sha256,
            question=decision.QUESTION,
            labels=task.labels,
        )
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


def _decision_model(labels: tuple[str, ...]) -> decision.DecisionModel:
    """Load the decision model.

    Raises:
        ModelError: Its file is not the one that is pinned.
    """
    path = pull(decision.SPEC, Path())
    check_pinned(decision.SPEC, path)
    return decision.DecisionModel(path, labels)
