"""Answers that come in rounds: from the batches of a provider, or from workers with stores of their own.

What several tasks ask for within a short time is sent as one round. A round leaves its answers in the store; whatever
it could not answer is asked again by the caller, who alone retries, blames and gives up. Invariant: a key is in at
most one open round.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from tuneworthy.engine.batch import Job
from tuneworthy.engine.models import OpenModel

# The jobs of a round, by model.
Wanted = Mapping[str, tuple[OpenModel, list[Job]]]
# Seconds without a new request after which a round is complete.
QUIET_S = 0.2


class Rounds:
    """Collects requests and sends them together.

    Args:
        send: Puts the answers to all these jobs in the store, as far as there are any.
        accepts: Whether a model is answered this way.
        least: Requests in a round; fewer are asked one by one.
        quiet_s: See `QUIET_S`.
    """

    def __init__(
        self,
        send: Callable[[Wanted], Awaitable[None]],
        *,
        accepts: Callable[[OpenModel], bool] = lambda _: True,
        least: int = 1,
        quiet_s: float = QUIET_S,
    ) -> None:
        self.send, self.accepts, self.least, self.quiet_s = send, accepts, least, quiet_s
        self._open: dict[bytes, tuple[OpenModel, Job]] = {}  # by key: two names of a model share it
        self._last = 0.0
        self._task: asyncio.Task[bool] | None = None
        self._sent: dict[bytes, asyncio.Task[Any]] = {}  # by key of a job: the round that asks it

    async def ask(self, model: OpenModel, jobs: Collection[Job]) -> bool:
        """Send jobs with the next round and wait until it has ended; return whether there was one.

        Raises:
            TuneworthyError: What ends a run as a whole.
        """
        if not self.accepts(model):
            return False
        earlier, begun = {self._sent[job.key] for job in jobs if job.key in self._sent}, False
        if new := [job for job in jobs if job.key not in self._sent]:
            for job in new:
                self._open.setdefault(job.key, (model, job))
            self._last = asyncio.get_running_loop().time()
            task = self._task = self._task or asyncio.create_task(self._round())
            try:
                begun = await asyncio.shield(task)
            except asyncio.CancelledError:
                task.cancel()  # all who wait are cancelled together
                raise
        if earlier:
            await asyncio.wait(earlier)
        return bool(earlier) or begun

    async def _round(self) -> bool:
        try:
            clock = asyncio.get_running_loop().time
            while (rest := self._last + self.quiet_s - clock()) > 0:
                await asyncio.sleep(rest)
        finally:
            asked, task, self._open, self._task = self._open, self._task, {}, None
        if len(asked) < self.least:
            return False
        wanted: dict[str, tuple[OpenModel, list[Job]]] = {}
        for model, job in asked.values():
            wanted.setdefault(model.name, (model, []))[1].append(job)
        assert task is not None
        self._sent |= dict.fromkeys(asked, task)
        try:
            await self.send(wanted)
        finally:
            for key in asked:
                del self._sent[key]
        return True
