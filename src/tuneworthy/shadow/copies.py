"""Copies of requests on their way to the candidate: handed to a child process, or dropped; never waited for.

The child (`shadow.worker`) has all that can hang, crash, fill the disk or take long. It is started again when it ends.
In a canary it answers users' requests too, which are waited for.

Invariants: `offer` returns at once, whatever the child does; at most `most` copies are in flight, and unsent bytes
are bounded; each copy has one outcome in `counts`.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field, replace
from itertools import count
from pathlib import Path
from typing import Protocol

import orjson

from tuneworthy import processes
from tuneworthy.shadow import messages
from tuneworthy.types import Texts, frozen

# Marks requests that are not a user's.
MARK = {"X-Tuneworthy-Shadow": "1"}
# A request or an answer above it is not copied, bytes.
MOST_BYTES = 2**20
# Unsent bytes in the pipe to the child, at most.
MOST_WAITING = 8 * 2**20
# Users who wait for the candidate, at most.
MAX_USERS = 64
# Outcomes that the child reports; the others are counted here.
PAIRED, UNREADABLE, PERSONAL, FAILED, UNSTORED, BUDGET = (
    "paired",
    "unreadable",
    "personal_data",
    "failed",
    "unstored",
    "budget",
)
BUSY, STARTING, LOST, LARGE = "busy", "starting", "lost", "too_large"
# Why no more copies are made: the verdict is clear, or `shadow.sessions` have ended. `BUDGET` is another reason.
ENOUGH = "enough"
OUTCOMES = (PAIRED, UNREADABLE, PERSONAL, FAILED, UNSTORED, BUDGET, BUSY, STARTING, LOST, LARGE)
# How long a child may take to end once it gets no more copies, seconds.
_GRACE_S = 15.0
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 60.0


@frozen
class CopyHead:
    """Facts about a copy, or about a user's request to the candidate.

    Attributes:
        path: Of the request.
        session: Hash of its session's name.
        streamed: Whether the answer is a stream of events.
        encoding: Of the answer's body.
        n: Bytes of the request.
        number: Of a user's request; 0 for a copy.
        seconds: From the request to the end of its answer.
        keys: Of the user, in the headers of the request, if the sink `redacts`; never sent or stored.
    """

    path: str = ""
    session: str = ""
    streamed: bool = False
    encoding: str = ""
    n: int = 0
    number: int = 0
    seconds: float = field(default=0.0, compare=False)
    keys: Texts = field(default=(), compare=False, repr=False)


class CopySink(Protocol):
    """Takes copies of requests and answers, and counts their outcomes; its methods return at once.

    Attributes:
        counts: Copies by outcome.
        in_flight: Copies that are on their way.
        usd: Spent so far, US dollars.
        ready: Whether it takes copies.
        enough: Why it takes no more copies; "" while it does.
        verdict: `pass`, `fail`, `unknown`, or "" without one.
        alert: Whether low confidence is shown to be more frequent than on dev.
        redacts: Whether it cuts the keys of users out of what it stores; only then it gets them.
    """

    in_flight: int
    usd: float
    ready: bool
    enough: str
    verdict: str
    alert: bool
    redacts: bool

    @property
    def counts(self) -> Counter[str]: ...
    def start(self) -> None: ...
    def offer(self, head: CopyHead, request: bytes, answer: bytes) -> None: ...
    def count(self, outcome: str, n: int = 1) -> None: ...
    def pass_by(self, why: str) -> None:
        """Note a request that is not copied."""

    async def close(self) -> None: ...


@frozen
class WorkerReport:
    """Line that the child writes; None says nothing about a field.

    Attributes:
        ready: Whether it now takes copies.
        outcome: Of a copy, in `OUTCOMES`; "" if the line is about no copy.
        usd: Spent by this child so far.
        verdict: Of the last judgement.
        enough: Why no more copies are made.
        alert: Whether low confidence is shown to be more frequent than on dev.
        number: Of the user's request that `outcome` is about; 0 for a copy.
        answer: Body of the answer to a user, if the outcome is `PAIRED`.
    """

    ready: bool = False
    outcome: str = ""
    usd: float = 0.0
    verdict: str | None = None
    enough: str | None = None
    alert: bool | None = None
    number: int = 0
    answer: str = ""


class Copies:
    """Hands copies to a child, and counts their outcomes.

    Args:
        command: Returns the command line of the child, given what may still be spent, US dollars.
        most: Copies in flight, at most.
        log: Gets the child's output.
        max_usd: What all children together may spend; None does not limit it.

    Attributes:
        counts: Copies by outcome.
        in_flight: Copies that the child has.
        usd: Spent so far, US dollars.
        ready: Whether there is a child that takes copies.
        enough: Why no more copies are made; "" while they are.
        verdict: The last one of the child: `pass`, `fail`, `unknown`, or "" before one.
        alert: Whether low confidence is shown to be more frequent than on dev.
        on_verdict: Called with each verdict.
    """

    redacts = False

    def __init__(
        self,
        command: Callable[[float | None], Texts],
        *,
        most: int,
        log: Path,
        max_usd: float | None = None,
    ) -> None:
        self.command, self.most, self.log, self.max_usd = command, most, log, max_usd
        self.counts: Counter[str] = Counter()
        self.in_flight, self.usd, self._usd_before = 0, 0.0, 0.0
        self.ready, self.alert, self.enough, self.verdict = False, False, "", ""
        self.on_verdict: Callable[[str], object] = str
        self._users: dict[int, asyncio.Future[WorkerReport]] = {}
        self._numbers = count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None

    def offer(self, head: CopyHead, request: bytes, answer: bytes) -> None:
        """Hand a copy to the child, or drop it.

        Args:
            head: Facts about it.
            request: Body of the user's request.
            answer: Body of the user's answer.
        """
        if self.enough:
            return
        pipe = self._process.stdin if self._process else None
        if not self.ready or pipe is None:
            self.count(STARTING)
        elif self.in_flight >= self.most or pipe.transport.get_write_buffer_size() > MOST_WAITING:
            self.count(BUSY)
        else:
            self.in_flight += 1
            pipe.write(packed(head, request, answer))

    def pass_by(self, why: str) -> None:
        """Requests that are not copied are in no count."""

    def count(self, outcome: str, n: int = 1) -> None:
        """Count copies by their outcome, and name the first that was not compared on the terminal."""
        if n and outcome != PAIRED and not self.counts[outcome]:
            tell("not_compared", outcome=outcome)
        self.counts[outcome] += n

    async def ask(self, head: CopyHead, request: bytes, wait_s: float) -> WorkerReport:
        """Return the child's report on a user's request; the outcome is `FAILED` after `wait_s` without a report."""
        pipe = self._process.stdin if self._process else None
        if not self.ready or self.enough or pipe is None or len(self._users) >= MAX_USERS:
            return WorkerReport(outcome=BUSY)
        number = next(self._numbers)
        future = self._users[number] = asyncio.get_running_loop().create_future()
        pipe.write(packed(replace(head, number=number), request, b""))
        await asyncio.wait([future], timeout=wait_s)
        del self._users[number]
        return future.result() if future.done() else WorkerReport(outcome=FAILED)

    def start(self) -> None:
        """Start the child, and again whenever it ends."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Let the child finish its copies, for some seconds, and end it."""
        self.enough = self.enough or "closed"
        process, running = self._process, self._running
        if process and process.stdin:
            process.stdin.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _GRACE_S)
        if running:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        if process and process.returncode is None:
            process.kill()
            await process.wait()

    async def _run(self) -> None:
        delay = _FIRST_DELAY_S
        while not self.enough:
            with suppress(OSError, ValueError), self.log.open("ab") as log:  # a full disk, or no process left
                rest = None if self.max_usd is None else max(0.0, self.max_usd - self.usd)
                # a session of its own: Ctrl-C is for the proxy, which tells the child
                self._process = process = await processes.start_async(self.command(rest), log)
                assert process.stdout
                async for line in process.stdout:
                    self._note(WorkerReport(**orjson.loads(line)))
                await process.wait()
            self.ready, self._process, self._usd_before = False, None, self.usd
            self.count(LOST, self.in_flight)
            self.in_flight = 0
            for number in [*self._users]:
                self._note(WorkerReport(outcome=LOST, number=number))
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_S)

    def _note(self, report: WorkerReport) -> None:
        self.ready = self.ready or report.ready
        if (future := self._users.get(report.number)) and not future.done():
            future.set_result(report)
        if report.outcome and not report.number:
            self.count(report.outcome)
            self.in_flight -= 1
        self.usd = max(self.usd, self._usd_before + report.usd)
        if report.verdict in {"pass", "fail"} - {self.verdict}:
            tell(f"verdict_{report.verdict}")
        for name in ("verdict", "enough", "alert"):
            if (value := getattr(report, name)) is not None:
                setattr(self, name, value)
        self.on_verdict(report.verdict or "")


def tell(name: str, **values: object) -> None:
    """Print an event on the terminal; a terminal that is gone disturbs no user."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{messages.say(name, **values)}\n")


def packed(head: CopyHead, request: bytes, answer: bytes) -> bytes:
    """Return a copy as it goes through the pipe."""
    start = orjson.dumps(replace(head, n=len(request), keys=()), option=orjson.OPT_APPEND_NEWLINE)
    return b"%08x" % (len(start) + len(request) + len(answer)) + start + request + answer


async def read_copy(pipe: asyncio.StreamReader) -> tuple[CopyHead, bytes, bytes] | None:
    """Return the next copy of the pipe, as `packed` got it; None at its end."""
    try:
        frame = await pipe.readexactly(int(await pipe.readexactly(8), 16))
    except asyncio.IncompleteReadError:
        return None
    start, _, rest = frame.partition(b"\n")
    head = CopyHead(**orjson.loads(start))
    return head, rest[: head.n], rest[head.n :]
