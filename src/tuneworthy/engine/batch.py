"""The jobs of one run: sendable jobs, waiting jobs, and outcomes.

Invariant: a batch ends once, either because all its jobs are finished or because something stopped it; after that
it hands out no job, and whatever still comes (a retry whose time is up, a following repeat) goes nowhere.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from tuneworthy.errors import ProviderError
from tuneworthy.types import Answer, Case, Request, TextTuple

# By store key: the response, and its cost in US dollars.
Answers = dict[bytes, tuple[Answer, float]]


@dataclass(slots=True, eq=False)
class Job:
    """One answer that is wanted.

    Attributes:
        case: The question.
        repeat: Index of the repeat.
        request: The request.
        key: Where it is stored.
        shown: Ids of the documents that the request shows.
        following: The next repeat of the same case; it is sent when this one is finished, well or not.
        attempts: Times that it was sent.
        rate_limited: Those that the provider pushed back.
        moved: Those that were repeated at once at another endpoint.
        avoid: Addresses of the endpoints that failed it.
        first_sent: When it was first sent, on the clock of the event loop.
        last_sent: When it was last sent.
    """

    case: Case
    repeat: int
    request: Request
    key: bytes
    shown: TextTuple = ()
    following: "Job | None" = None
    attempts: int = 0
    rate_limited: int = 0
    moved: int = 0
    avoid: TextTuple = ()
    first_sent: float = 0.0
    last_sent: float = 0.0

    @property
    def tries(self) -> int:
        """Attempts that count as retries."""
        return self.attempts - self.rate_limited - self.moved


@dataclass(slots=True, eq=False)
class Batch:
    """See the module.

    Args:
        jobs: The repeats of a case one after the other.
        wide: How many are sent at once, at most.

    Attributes:
        answers: Responses of the finished jobs.
        stopped_by: Why it ended early.
        sending: Numbers of the workers whose call is on its way.
        last_answer: When an answer last came, on the clock of the event loop.
        given_up: Cases that failed for good since then, though their failures are not the case's own.
        last_failure: The last of these.
    """

    jobs: Iterable[Job]
    wide: int
    answers: Answers = field(default_factory=dict)
    stopped_by: BaseException | None = None
    sending: set[int] = field(default_factory=set)
    last_answer: float = -1.0
    given_up: int = 0
    last_failure: ProviderError | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    remaining: int = 0
    _ready: deque[Job] = field(default_factory=deque)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        previous: Job | None = None
        for job in self.jobs:
            self.remaining += 1
            if previous is not None and previous.case is job.case:
                previous.following = job
            else:
                self._ready.append(job)
            previous = job

    async def next(self) -> Job | None:
        while not self.ended.is_set():
            if self._ready:
                return self._ready.popleft()
            self._changed.clear()
            await self._changed.wait()
        return None

    def add(self, job: Job) -> None:
        if not self.ended.is_set():
            self._ready.appendleft(job)
            self._changed.set()

    def finish(self, job: Job, answer: Answer, cost_usd: float) -> None:
        self.answers[job.key] = (answer, cost_usd)
        self.remaining -= 1
        if self.remaining == 0:
            self._end()
        elif job.following:
            self.add(job.following)

    def stop(self, error: BaseException) -> None:
        """Send nothing more; the first reason stays."""
        if not self.ended.is_set():
            self.stopped_by = error
            self._end()

    def _end(self) -> None:
        self.ended.set()
        self._changed.set()
