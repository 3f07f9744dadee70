"""Collect single requests of one turn of the event loop into one run of the runner.

Graders show a judge one answer at a time and know nothing of one another; the runner, with its progress, its limits
and its notion of a provider that is down, wants them all at once.
"""

import asyncio
from collections.abc import Mapping

from tuneworthy.engine.models import Models
from tuneworthy.engine.runner import Runner
from tuneworthy.types import Case, Cases, Failure, JsonMapping, Trace, Variant


class RequestBatcher:
    """Calls models for graders: through `runner`, with the store and the budget of the session.

    Args:
        runner: With the session's store and budget.
        models: Of the project.
        identities: Of models by name. If given, no call is made and no model is opened: a request
            without a stored answer under these identities fails.
    """

    def __init__(self, runner: Runner, models: Models, *, identities: Mapping[str, JsonMapping] | None = None) -> None:
        self._runner = runner
        self._models = models
        self._identities = identities
        # By `id`, as hashing a variant costs more than the batch saves: its cases, and the run that answers them.
        self._open: dict[int, tuple[list[Case], asyncio.Task[list[Trace]]]] = {}

    def identity(self, model: str) -> JsonMapping:
        return self._models[model].provider.identity if self._identities is None else self._identities.get(model, {})

    def supports(self, model: str) -> frozenset[str]:
        return self._models[model].provider.supports if self._identities is None else frozenset({"choice"})

    async def __call__(self, variant: Variant, case: Case) -> Trace:
        """Return the answer to one question.

        Raises:
            TuneworthyError: What ends a run as a whole: budget, key, provider down.
        """
        if self._identities is not None:
            error = Failure(
                code="not_stored", message="The judge has not graded this answer yet. Run `tuneworthy run` to grade it."
            )
            silent = Trace(case_id=case.id, variant_id=variant.id, repeat=0, messages=case.messages, response=None,
                           error=error)  # fmt: skip
            return next(iter(self._runner.stored(variant, [case])), silent)
        if id(variant) not in self._open:
            new: list[Case] = []
            self._open[id(variant)] = new, asyncio.create_task(self._run(variant, new))
        cases, task = self._open[id(variant)]
        place = len(cases)
        cases.append(case)
        return (await task)[place]

    async def _run(self, variant: Variant, cases: Cases) -> list[Trace]:
        del self._open[id(variant)]
        return await self._runner.run(variant, self._models[variant.model], cases)
