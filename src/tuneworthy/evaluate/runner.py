"""Ask cases of a variant: (cases, variant) -> traces. The one place that retries, limits, stores and counts money.

Invariants: an answer is committed before it counts; nothing committed is asked again; an error of one case is
data and never stops its siblings; no call is sent that could exceed the budget.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tuneworthy.errors import AuthError, BudgetSpent, OutsideFault, ProviderError, TuneworthyError
from tuneworthy.evaluate.budget import Budget
from tuneworthy.evaluate.limiter import LONGEST_PAUSE_S, Limiter
from tuneworthy.evaluate.models import OpenModel
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.templates import chat, split_answer
from tuneworthy.providers.base import outgoing
from tuneworthy.store import ResponseStore, response_key
from tuneworthy.types import Case, Failure, Request, Response, Trace, Variant, canonical

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0
RATE_LIMIT_RETRIES = 30
KEPT_FAILURES = frozenset({"bad_request"})
MAYBE_BILLED = frozenset({"timeout", "malformed", "connection", "crash"})


class Progress(Protocol):
    """Told what the runner does; the command line shows it."""

    def begin(self, label: str, total: int, stored: int) -> None:
        """`total` answers are wanted, `stored` of them are there already."""

    def advance(self, cost_usd: float) -> None:
        """One more answer arrived."""

    def end(self) -> None:
        """All answers are there."""


class Silent:
    """Shows nothing."""

    def begin(self, label: str, total: int, stored: int) -> None: ...
    def advance(self, cost_usd: float) -> None: ...
    def end(self) -> None: ...


@dataclass(slots=True)
class _Job:
    """One answer that is wanted."""

    case: Case
    repeat: int
    request: Request
    key: bytes
    following: _Job | None = None
    attempts: int = 0
    rate_limited: int = 0
    first_sent: float = 0.0


@dataclass(slots=True)
class _Batch:
    """The jobs of one run, and what has become of them."""

    model: OpenModel
    queue: asyncio.Queue[_Job]
    left: int
    traces: dict[bytes, tuple[Response | Failure, float]] = field(default_factory=dict)
    stopped_by: TuneworthyError | None = None
    last_success: float = 0.0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, error: TuneworthyError) -> None:
        """Send nothing more; the first reason stays."""
        self.stopped_by = self.stopped_by or error
        self.done.set()


class Runner:
    """Asks, with one store and one budget for the whole project.

    Args:
        store: Where answers are kept.
        budget: What they may cost.
        pool: Where shots come from.
        progress: Told what happens.
        seed: Of the jitter of waits.
    """

    def __init__(
        self, store: ResponseStore, budget: Budget, pool: ShotPool, progress: Progress | None = None, *, seed: int = 0
    ) -> None:
        self.store = store
        self.budget = budget
        self.pool = pool
        self.progress: Progress = progress or Silent()
        self.asked = 0
        self._jitter = random.Random(seed)
        self._limiters: dict[int, Limiter] = {}

    async def run(
        self,
        variant: Variant,
        model: OpenModel,
        cases: Sequence[Case],
        *,
        repeats: Iterable[int] = (0,),
        logprobs: int | None = None,
        concurrency: int | None = None,
    ) -> list[Trace]:
        """Return the traces of all cases, each case's repeats together, in the order given.

        Args:
            variant: What is asked.
            model: The opened model of `variant`.
            cases: Who is asked about.
            repeats: Indexes of the repeats that are wanted.
            logprobs: Alternatives per token to ask for.
            concurrency: Calls in flight, at most; the model's own limit if not given.

        Raises:
            BudgetSpent: The next call could exceed the budget.
            AuthError: The key was refused.
            OutsideFault: The provider is down: a call failed for good and none succeeded meanwhile.
        """
        jobs = self._jobs(variant, model.identity, cases, tuple(repeats), logprobs)
        found = self.store.get_many([job.key for job in jobs])
        stored = set(found)
        missing = [job for job in jobs if job.key not in found]
        self.progress.begin(variant.name, len(jobs), len(jobs) - len(missing))
        try:
            if missing:
                found |= await self._ask(model, missing, concurrency or model.concurrency)
        finally:
            self.progress.end()
        return [_trace(job, variant, *found[job.key], stored=job.key in stored) for job in jobs]

    def stored(self, variant: Variant, cases: Sequence[Case], *, repeats: Iterable[int] = (0,)) -> list[Trace]:
        """Return the traces that are stored and ask nothing: no model is opened, what is missing is left out."""
        jobs = self._jobs(variant, canonical(dict(variant.model_identity)), cases, tuple(repeats), None)
        found = self.store.get_many([job.key for job in jobs])
        return [_trace(job, variant, *found[job.key], stored=True) for job in jobs if job.key in found]

    def _jobs(
        self, variant: Variant, identity: bytes, cases: Sequence[Case], repeats: tuple[int, ...], logprobs: int | None
    ) -> list[_Job]:
        shots = self.pool.select(variant.shots, cases)
        jobs = []
        for case in cases:
            first = Request(
                messages=chat(variant, case, shots.get(case.id, ())),
                max_tokens=variant.max_tokens,
                decoding=variant.decoding,
                output=variant.output,
                tools=case.tools,
                logprobs=logprobs,
                payload=case.input if case.input is not None else list(case.messages),
            )
            content = outgoing(first)
            for repeat in repeats:
                request = first if repeat == 0 else replace(first, repeat=repeat)
                jobs.append(_Job(case, repeat, request, response_key(identity, content, repeat)))
        return jobs

    async def _ask(
        self, model: OpenModel, jobs: list[_Job], concurrency: int
    ) -> dict[bytes, tuple[Response | Failure, float]]:
        """Answer `jobs`; the repeats of a case follow one another, so that a prompt cache serves them."""
        batch = _Batch(model, asyncio.Queue(), len(jobs))
        previous: _Job | None = None
        for job in jobs:
            if previous is not None and previous.case is job.case:
                previous.following = job
            else:
                batch.queue.put_nowait(job)
            previous = job
        limiter = self._limiters.setdefault(id(model), Limiter(model.concurrency))
        workers = [asyncio.create_task(self._work(batch, limiter)) for _ in range(min(concurrency, len(jobs)))]
        try:
            await batch.done.wait()
            if batch.stopped_by:
                await asyncio.wait(workers, timeout=model.timeout_s)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if batch.stopped_by:
            raise batch.stopped_by
        return batch.traces

    async def _work(self, batch: _Batch, limiter: Limiter) -> None:
        """Take jobs until there are none or the batch is stopped."""
        while not batch.done.is_set():
            job = batch.queue.get_nowait() if not batch.queue.empty() else await _next_job(batch)
            if job is None:
                return
            await limiter.acquire()
            if batch.done.is_set():
                limiter.release()
                return
            failure: ProviderError | None = None
            try:
                await self._send(batch, job)
            except ProviderError as error:
                failure = error
            except TuneworthyError as error:
                batch.stop(error)
            except Exception as error:  # a fault of ours or of a plugin: report it once, keep what was answered
                batch.stop(TuneworthyError(f"{type(error).__name__} while asking: {error}"))
            finally:
                rate = failure is not None and failure.code == "rate_limit"
                limiter.release(pushed_back=rate, wait_s=failure.retry_after_s if failure else None)
            if failure:
                self._after_failure(batch, job, failure)

    async def _send(self, batch: _Batch, job: _Job) -> None:
        """Make one attempt, and commit what comes back."""
        model = batch.model
        ceiling = model.ceiling_usd(job.request)
        self.budget.reserve(ceiling)
        note = self.store.open_call(job.key, ceiling) if ceiling else 0
        cost = ceiling  # what counts if this attempt ends without a word
        job.attempts += 1
        self.asked += 1
        started = time.perf_counter()
        job.first_sent = job.first_sent or started
        try:
            answer = await model.provider.complete(job.request)
            cost = model.cost_usd(job.request, answer)
            ended = time.perf_counter()
            batch.last_success = ended
            self._finish(batch, job, replace(answer, seconds=ended - started), cost)
            if note:
                self.store.close_call(note)
        except ProviderError as error:
            if error.code not in MAYBE_BILLED:
                cost = 0.0
                if note:
                    self.store.close_call(note)
            raise
        finally:
            self.budget.settle(ceiling, cost)

    def _finish(self, batch: _Batch, job: _Job, answer: Response | Failure, cost: float) -> None:
        """Commit an answer (or a failure that would come again), and let the next repeat follow."""
        if isinstance(answer, Response) or answer.code in KEPT_FAILURES:
            self.store.put(job.key, answer, cost)
        batch.traces[job.key] = (answer, cost)
        self.progress.advance(cost)
        batch.left -= 1
        if job.following:
            batch.queue.put_nowait(job.following)
        if batch.left == 0:
            batch.done.set()

    def _after_failure(self, batch: _Batch, job: _Job, error: ProviderError) -> None:
        """Try again later, give the case up, or stop because the provider is down."""
        if error.code == "auth":
            batch.stop(AuthError(error.message, hint="check the key in the environment and run again"))
            return
        job.rate_limited += error.code == "rate_limit"
        tries = job.attempts - job.rate_limited
        if error.retryable and tries <= batch.model.retries and job.rate_limited <= RATE_LIMIT_RETRIES:
            delay = self._delay(error, tries)
            asyncio.get_running_loop().call_later(delay, batch.queue.put_nowait, job)
            return
        if error.retryable and batch.last_success < job.first_sent:
            batch.stop(
                OutsideFault(
                    f"expected an answer from {batch.model.name}, got {error.message} ({job.attempts} attempts, "
                    "no call answered meanwhile)",
                    hint="run the same command again when it works; what was answered is kept",
                )
            )
            return
        self._finish(batch, job, Failure(code=error.code, message=error.message, attempts=job.attempts), 0.0)

    def _delay(self, error: ProviderError, tries: int) -> float:
        if error.retry_after_s is not None:
            return min(error.retry_after_s, LONGEST_PAUSE_S) * (1 + 0.1 * self._jitter.random())
        delay = float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** max(0, tries - 1)))
        return delay * (0.5 + 0.5 * self._jitter.random())


async def _next_job(batch: _Batch) -> _Job | None:
    """Wait for a job (a retry or a following repeat), or for the end of the batch."""
    getter = asyncio.ensure_future(batch.queue.get())
    ended = asyncio.ensure_future(batch.done.wait())
    try:
        await asyncio.wait({getter, ended}, return_when=asyncio.FIRST_COMPLETED)
        return getter.result() if getter.done() else None
    finally:
        getter.cancel()
        ended.cancel()


def _trace(job: _Job, variant: Variant, answer: Response | Failure, cost: float, *, stored: bool) -> Trace:
    error = answer if isinstance(answer, Failure) else None
    response = answer if isinstance(answer, Response) else None
    thinking = ""
    if response is not None and variant.answer_after:
        thinking, text = split_answer(response.text, variant.answer_after)
        response = replace(response, text=text)
    return Trace(
        case_id=job.case.id,
        variant_id=variant.id,
        repeat=job.repeat,
        messages=job.request.messages,
        response=response,
        cost_usd=cost,
        error=error,
        thinking=thinking,
        stored=stored,
    )


def usage(traces: Sequence[Trace]) -> Mapping[str, float | int | None]:
    """Return mean tokens and cost of `traces`: input_tokens, output_tokens, usd_per_1k; None where not told."""
    answered = [trace.response for trace in traces if trace.response]

    def mean(values: list[int | None]) -> float | None:
        told = [value for value in values if value is not None]
        return sum(told) / len(told) if told else None

    return {
        "input_tokens": mean([response.input_tokens for response in answered]),
        "output_tokens": mean([response.output_tokens for response in answered]),
        "usd_per_1k": 1000 * sum(trace.cost_usd for trace in traces) / len(answered) if answered else None,
    }


__all__ = ["BudgetSpent", "Progress", "Runner", "Silent", "usage"]
