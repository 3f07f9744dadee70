"""Call models: (cases, variant) -> traces. The one place that retries, limits, stores and counts money.

Invariants: an answer is committed before it counts; nothing committed is requested again; an error of one case is
data and never stops its siblings; a bug is raised as it is; no call is sent that could exceed the budget; a run that is
stopped sends nothing more, and stores answers in flight that arrive within the grace time. A stored answer enters a
trace at today's price of its tokens, and the budget at its original cost.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil, fsum
from math import log as natural_log
from typing import TYPE_CHECKING

from tuneworthy.engine.batch import Answers, Batch, Job
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.fleet import OF_ENDPOINT, Endpoint
from tuneworthy.engine.limiter import LONGEST_PAUSE_S
from tuneworthy.engine.models import OpenModel
from tuneworthy.engine.ranking import ranked
from tuneworthy.engine.rounds import Rounds
from tuneworthy.engine.tool_loop import CaseSteps, opened, use_of
from tuneworthy.engine.toolbox import Toolbox
from tuneworthy.errors import (
    AuthError,
    BudgetSpent,
    ModelError,
    NotStored,
    OutsideFault,
    ProviderError,
    TuneworthyError,
    Undecided,
    UserError,
)
from tuneworthy.prompts.passages import split_citations
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.prompts.templates import chat, split_answer
from tuneworthy.providers.base import Provider, outgoing
from tuneworthy.providers.drain import AT_ONCE, GRACE_S, drain
from tuneworthy.providers.http_client import blocking
from tuneworthy.store import ResponseStore, response_key
from tuneworthy.text import count
from tuneworthy.types import (
    Answer,
    Bounds,
    Cases,
    Failure,
    JsonObject,
    Passage,
    Request,
    Response,
    Timing,
    Trace,
    Traces,
    Turns,
    Variant,
    canonical,
)

if TYPE_CHECKING:
    from tuneworthy.retrieval.library import DocumentLibrary

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0
SHORTEST_DELAY_S = 0.05
RATE_LIMIT_RETRIES = 30
# Further attempts to connect to a server that has never answered this process: it is not there.
UNSEEN_RETRIES = 2
# Further attempts after a whole answer that cannot be read: each is billed, and the next one is mostly no better.
MALFORMED_RETRIES = 1
# Attempts at once at another endpoint, which do not count as retries.
MAX_MOVES = 2
# Cases in a row that failed for good before the provider, not the cases, is blamed.
DOWN_AFTER = 8
# How long calls in flight are waited for once the provider is known to be down or to refuse the key.
IMPATIENT_S = 5.0
# The same question would meet them again, as long as the model answers others.
STORED_FAILURES = frozenset({"bad_request"})
# If nothing was ever answered, the project file or the pipeline has to be fixed, not a case.
UNTIL_FIXED = frozenset({"refused", "pipeline"})
MAYBE_BILLED = frozenset({"timeout", "malformed", "incomplete", "connection", "crash"})
# A case can cause these itself, whatever state the provider is in.
OF_ONE_CASE = frozenset({"server", "timeout", "malformed", "incomplete", "crash", "refused"})
# A case is given up early if so many attempts, at least, would fail by chance less often than this.
FEWEST_ATTEMPTS = 3
CHANCE = 1e-4
NOT_OF_ONE_CASE = frozenset({"connection", "rate_limit"})


class Progress:
    """Observes the runner, and shows nothing; the command line shows it."""

    def begin(self, label: str, total: int, stored: int, *, alone: bool) -> None:
        """`total` answers are wanted, `stored` are there already; `alone` if calls are timed, one at a time."""

    def advance(self, cost_usd: float) -> None:
        """One more answer arrived."""

    def spend(self, cost_usd: float) -> None:
        """Answers arrived together."""

    def note(self, line: str) -> None:
        """Something happens that takes time."""

    def end(self) -> None:
        """All answers are there."""


@dataclass(slots=True, eq=False)
class Spending:
    """Answers that were first needed while this meter ran, stored answers included.

    Attributes:
        costs: US dollars, one an answer.
    """

    costs: list[float] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self.costs)

    @property
    def usd(self) -> float:
        return fsum(self.costs)


class Runner:
    """Calls models, with one store and one budget for the whole project.

    Args:
        store: Where answers are kept.
        budget: Their limit.
        pool: Where shots come from.
        progress: Is shown what happens.
        seed: Of the jitter of waits.
        library: Where passages come from.
        toolbox: Runs tool calls.
        mask: Returns a whole chat as it may be sent, with personal data masked; None sends it as it is.
        grace_s: How long calls in flight may take once the run is stopped, seconds.
        compares: Whether answers are compared, so that a server that changes its model stops the run.

    Attributes:
        calls: Whether models may be called.
        rounds: Answers calls that are not timed, if set, before single calls are made.
        elsewhere: Returns the keys of requests that shards on other machines have.
        sent: Calls that were sent to a provider.
        spending: All that this runner needed so far.
        lost: Failures that another run may not meet: it makes these calls again.
        doubtful: Answers that count at their ceiling, as their usage cannot be true, by model.
    """

    def __init__(
        self,
        store: ResponseStore,
        budget: Budget,
        pool: ShotPool,
        progress: Progress | None = None,
        *,
        seed: int = 0,
        library: "DocumentLibrary | None" = None,
        toolbox: Toolbox | None = None,
        mask: Callable[[Turns], Turns] | None = None,
        grace_s: float = GRACE_S,
        compares: bool = True,
    ) -> None:
        self.store, self.compares = store, compares
        self.budget = budget
        self.pool = pool
        self.library, self.toolbox = library, toolbox
        self.progress = progress or Progress()
        self.mask = mask
        self.grace_s = grace_s
        self.sent, self.calls = 0, True
        self.rounds: Rounds | None = None
        self.elsewhere: Callable[[], Set[bytes]] = frozenset
        self.spending = Spending()
        self.lost: list[Failure] = []
        self.doubtful: Counter[str] = Counter()
        self._meters = [self.spending]
        self._counted: dict[bytes, float] = {}  # by key: the cost of an answer at today's price
        self._jitter = random.Random(seed)
        self._answered: set[str] = set()
        self._working: dict[bytes, Job] = {}  # by the identity of a model: an answered job
        self._failures: dict[bytes, Failure] = {}  # by key: calls given up in this run
        self._repeated: set[bytes] = set()  # keys of tool calls that were run in this run
        self._failing: set[tuple[bytes, str]] = set()  # identities of models, and cases that fail with them for good
        self._tries: Counter[tuple[bytes, bool]] = Counter()  # first attempts, by model and whether they failed
        self._cut_off: dict[bytes, list[float]] | None = None  # by key, what calls without an answer count
        self._probing = asyncio.Lock()
        self._probed_at = -1.0
        self._warned_at: dict[str, float] = {}

    @contextmanager
    def metered(self) -> Iterator[Spending]:
        """Meter the answers that are first needed inside; meters may be nested."""
        meter = Spending()
        self._meters.append(meter)
        try:
            yield meter
        finally:
            self._meters.remove(meter)

    def _count(self, model: OpenModel, key: bytes, answer: Answer, cost_usd: float) -> None:
        if key not in self._counted:
            self._counted[key] = cost_usd
            self.doubtful[model.name] += model.doubtful(answer)
            paid_usd = cost_usd * answer.price_factor if isinstance(answer, Response) else cost_usd
            for meter in self._meters:
                meter.costs.append(paid_usd)

    def _same_model(self, model: OpenModel, answered: Mapping[bytes, tuple[Response, Job]]) -> None:
        if self.compares:
            model.served.add(answered, self.store)

    async def run(
        self,
        variant: Variant,
        model: OpenModel,
        cases: Cases,
        *,
        repeats: Iterable[int] = (0,),
        logprobs: int | None = None,
        concurrency: int | None = None,
        timing: Timing | None = None,
    ) -> list[Trace]:
        """Return the traces of all cases, each case's repeats together, in the order given.

        Args:
            variant: The variant to call.
            model: The opened model of `variant`.
            cases: Its cases.
            repeats: Indexes of the repeats that are wanted.
            logprobs: Alternatives per token to ask for.
            concurrency: Calls in flight, at most; the model's own limit if not given.
            timing: Set if the answers are timed.

        Raises:
            BudgetSpent: The next call could exceed the budget.
            AuthError: The key was refused.
            UserError: The model never answered and its address or name is wrong, or the pipeline only fails.
            OutsideFault: The provider is down: a call failed for good and no other succeeded meanwhile. Or its server
                answers with another model than before.
        """
        jobs = self._jobs(
            variant,
            cases,
            repeats,
            identity=model.identity,
            logprobs=logprobs,
            timing=timing,
            passages=await self._passages(variant, cases),
        )
        if model.price and self._cut_off is None:
            self._cut_off = {}
            for call in self.store.unanswered():
                if not call.settled:
                    self._cut_off.setdefault(call.key, []).append(call.usd)
        cases_steps = [CaseSteps(job, variant) for job in jobs]
        open_steps = cases_steps
        while open_steps:
            answers, stored = await self.answer(
                variant, model, [one.job for one in open_steps], concurrency, alone=timing is not None
            )
            for one in open_steps:
                one.take(*answers[one.job.key], stored=one.job.key in stored)
            results = await self._results(open_steps)
            open_steps = [one for one in open_steps if one.follow(results, model.identity, self.mask)]
        identity = variant.id
        return [_trace(one, identity) for one in cases_steps]

    async def answer(
        self, variant: Variant, model: OpenModel, jobs: Sequence[Job], concurrency: int | None, *, alone: bool = False
    ) -> tuple[Answers, Set[bytes]]:
        """Return the answers to jobs, and the keys of those that were stored; arguments and errors as in `run`."""
        answers, missing = self._look_up(model, jobs)
        stored = answers.keys() - missing.keys()
        if missing and self.calls and self.rounds is not None and not alone:
            answers, missing = await self._in_rounds(self.rounds, model, jobs, missing)
        self.progress.begin(variant.name, len(jobs), len(jobs) - len(missing), alone=alone)
        try:
            if missing:
                self.refuse_open(model, missing.keys())
                await self._ask(model, Batch(missing.values(), concurrency or model.concurrency), answers)
        finally:
            self.progress.end()
        # a step must follow from the answer as it is stored, where secrets are removed
        kept = self.store.get_many([*missing] if variant.tools else [])
        return answers | {key: (answer, answers[key][1]) for key, (answer, _) in kept.items()}, stored

    def refuse_open(self, model: OpenModel, keys: Set[bytes]) -> None:
        """Refuse calls that would be paid twice.

        Raises:
            OutsideFault: Their answers are in a batch of the provider.
            Undecided: Shards on other machines have these requests.
        """
        if self.calls and (n := len(keys & self.elsewhere())):
            raise Undecided(
                f"Answers of {model.name} that shards on other machines will give: {n}.",
                hint="When these have ended, run `tuneworthy run --merge COPY`, or `tuneworthy run --shard N --engine "
                "slurm` if the disk is shared. To give up on them, run `tuneworthy doctor --release`.",
            )
        if self.calls and (n := self.store.in_batches(keys)):
            raise OutsideFault(
                f"Answers of {model.name} in a batch that was not fetched yet: {n}.",
                hint="Fetch them with `tuneworthy run --batch`, or cancel it with `tuneworthy doctor --release`.",
            )

    async def _in_rounds(
        self, rounds: Rounds, model: OpenModel, jobs: Sequence[Job], missing: dict[bytes, Job]
    ) -> tuple[Answers, dict[bytes, Job]]:
        """Ask for the missing answers in rounds, as long as they bring some; return all, and those still missing."""
        while True:
            begun, before = await rounds.ask(model, missing.values()), len(missing)
            answers, missing = self._look_up(model, jobs)
            if not (begun and 0 < len(missing) < before):
                return answers, missing

    def gave_up(self, keys: Sequence[bytes]) -> None:
        """Note the calls that workers gave up in this run, so that it does not repeat them."""
        self._failures |= {
            key: answer for key, (answer, _) in self.store.get_many(keys).items() if isinstance(answer, Failure)
        }

    def _look_up(self, model: OpenModel, jobs: Sequence[Job]) -> tuple[Answers, dict[bytes, Job]]:
        """Return the stored answers to jobs, and the jobs that have to be asked, by key."""
        answers = self.store.get_many([job.key for job in jobs])
        missing, responses = dict[bytes, Job](), dict[bytes, tuple[Response, Job]]()  # equal requests are sent once
        for job in jobs:
            answer, cost = answers.get(job.key, (None, 0.0))
            if answer is None and (failure := self._failures.get(job.key)):
                answers[job.key] = (failure, 0.0)
                if failure.code not in OF_ONE_CASE:
                    self.lost.append(failure)
            elif answer is None or (
                # an earlier run gave it up: one attempt a run
                self.calls
                and isinstance(answer, Failure)
                and answer.code in OF_ONE_CASE
                and job.key not in self._failures
            ):
                missing[job.key] = job
                if answer is not None:
                    self._failing.add((model.identity, job.case.id))
            else:
                if isinstance(answer, Response):
                    self._working.setdefault(model.identity, job)
                    answers[job.key] = answer, cost = model.settled(job.request, answer)
                    responses[job.key] = answer, job
                self._count(model, job.key, answer, cost)
        self._same_model(model, responses)
        return answers, missing

    async def _results(self, steps: Sequence[CaseSteps]) -> dict[bytes, Response]:
        """Return the results of the tool calls that the next steps need, by key; those not stored are run.

        A call that failed is repeated once a run: the cause may have been an outage.
        """
        found, use = self._stored_results(steps), steps[0].variant.tools
        needed = {key: call for one in steps for key, call in one.needed.items()}
        failed = {key for key in needed.keys() & found.keys() - self._repeated if found[key].finish_reason == "error"}
        missing, box = needed.keys() - found.keys(), self.toolbox if self.calls else None
        is_same = bool((missing or failed) and box and use and box.read[0].source == use.source)
        if missing and not is_same:
            name = steps[0].variant.name
            if box is None:
                raise NotStored(f"Tool results of {name} that are not stored: {len(missing)}.")
            raise UserError(
                f"The tools have changed since {name} was measured.", hint="Run `tuneworthy run --rung tools`."
            )

        async def run(key: bytes, name: str, arguments: JsonObject) -> None:
            assert box is not None
            self.store.put(key, await box.call(name, arguments), 0.0)

        if not is_same:
            return found
        self._repeated |= (asked := missing | failed)
        await asyncio.gather(*(run(key, *needed[key]) for key in asked))
        return self._stored_results(steps)

    def _stored_results(self, steps: Sequence[CaseSteps]) -> dict[bytes, Response]:
        answers = self.store.get_many([key for one in steps for key in one.needed])
        return {
            key: answer
            if isinstance(answer, Response)
            else Response(text=answer.message, finish_reason="error", seconds=answer.seconds)
            for key, (answer, _) in answers.items()
        }

    def stored(self, variant: Variant, cases: Cases, *, repeats: Iterable[int] = (0,)) -> list[Trace]:
        identity = variant.id
        return [_trace(one, identity) for one in self._replay(variant, cases, repeats) if one.ended]

    def _replay(self, variant: Variant, cases: Cases, repeats: Iterable[int]) -> list[CaseSteps]:
        """Return the steps of all cases as far as their answers and results are stored."""
        cases_steps = [CaseSteps(job, variant) for job in self._jobs(variant, cases, repeats)]
        open_steps, identity = cases_steps, canonical(variant.model_identity)
        while open_steps:
            answers = self.store.get_many([one.job.key for one in open_steps])
            open_steps = [one for one in open_steps if one.job.key in answers]
            for one in open_steps:
                answer, cost = answers[one.job.key]
                single = cost / answer.price_factor if isinstance(answer, Response) else cost
                one.take(answer, self._counted.get(one.job.key, single), stored=True)
            results = self._stored_results(open_steps)
            open_steps = [
                one
                for one in open_steps
                if results.keys() >= one.needed.keys() and one.follow(results, identity, self.mask)
            ]
        return cases_steps

    def dates(self, variant: Variant, cases: Cases, *, repeats: Iterable[int] = (0,)) -> list[float | None]:
        """Return the commit times of the answers of `run`, seconds since the epoch; None without answers."""
        keys = [one.job.key if one.ended else b"" for one in self._replay(variant, cases, repeats)]
        return [*map(self.store.dates(keys).get, keys)]

    def _jobs(
        self,
        variant: Variant,
        cases: Cases,
        repeats: Iterable[int],
        *,
        identity: bytes | None = None,
        logprobs: int | None = None,
        timing: Timing | None = None,
        passages: Mapping[str, Sequence[Passage]] | None = None,
    ) -> list[Job]:
        identity = identity or canonical(variant.model_identity)
        repeats = tuple(repeats)
        shots = self.pool.select(variant.shots, cases)
        if passages is None:
            passages = blocking(self._passages(variant, cases)) if variant.retrieval else {}
        jobs = []
        for case in cases:
            found = passages.get(case.id, ())
            shown = tuple(passage.document for passage in found)
            messages = chat(variant, case, shots.get(case.id, ()), found)
            own = variant.for_tags(case.tags)
            first = Request(
                messages=messages if self.mask is None else self.mask(messages),
                max_tokens=own.max_tokens,
                decoding=own.parameters,
                output=variant.output,
                tools=case.tools,
                logprobs=logprobs,
                payload=case.input if case.input is not None else list(case.messages),
                timing=timing,
                source=case.source,
            )
            first = opened(first, use_of(variant, case))
            content = outgoing(first)
            for repeat in repeats:
                request = first if repeat == 0 else replace(first, repeat=repeat)
                jobs.append(Job(case, repeat, request, response_key(identity, content, repeat), shown))
        return jobs

    async def _passages(self, variant: Variant, cases: Cases) -> Mapping[str, Sequence[Passage]]:
        if variant.retrieval is None:
            return {}
        if self.library is None:
            raise UserError(
                f"The documents that {variant.name} searches are missing.",
                hint="Restore the documents, or fix `path` in [documents].",
            )
        return await self.library.passages(variant.retrieval, cases)

    async def _ask(self, model: OpenModel, batch: Batch, answers: Answers) -> None:
        if not self.calls:
            raise NotStored(
                f"Answers of {model.name} that are not stored: {batch.remaining}.",
                hint="Run `tuneworthy run` first.",
            )
        self.store.require_key()
        model.fleet.say = self.progress.note
        workers = {
            number: asyncio.create_task(self._work(number, model, batch))
            for number in range(min(batch.wide, batch.remaining))
        }
        try:
            await batch.ended.wait()
            if batch.stopped_by and batch.sending:  # these may be paid for already
                known = isinstance(batch.stopped_by, UserError | OutsideFault)
                patience = min(model.timeout_s, IMPATIENT_S) if known else model.timeout_s
                await asyncio.wait([workers[number] for number in batch.sending], timeout=patience)
        except asyncio.CancelledError as stop:
            batch.stop(stop)
            if batch.sending and stop.args != (AT_ONCE,):
                self.progress.note(
                    f"{count(len(batch.sending), 'call')} to {model.name} in flight may take up to "
                    f"{self.grace_s:g} s to finish."
                )
                await drain([workers[number] for number in batch.sending], self.grace_s)
            raise
        finally:
            for worker in workers.values():
                worker.cancel()
            await asyncio.gather(*workers.values(), return_exceptions=True)
        if batch.stopped_by:
            raise batch.stopped_by
        answers |= batch.answers
        if (error := batch.last_failure) and not any(isinstance(answer, Response) for answer, _ in answers.values()):
            if error.retryable:
                raise _down(model, error, "no case got an answer")
            if model.identity not in self._working:
                raise _wrong(model, error)

    async def _work(self, number: int, model: OpenModel, batch: Batch) -> None:
        """Take jobs until the batch has ended. Any exception ends the batch."""
        try:
            while (job := await batch.next()) is not None:
                await self._attempt(number, model, batch, job)
        except asyncio.CancelledError as error:
            if not _cancelled_from_outside():
                fault = RuntimeError(f"Worker {number} of {model.name} was cancelled unexpectedly.")
                fault.__cause__ = error
                batch.stop(fault)
            raise
        except Exception as error:  # a bug too ends the batch, and is raised as it is by whoever waits for it
            if not isinstance(error, TuneworthyError):
                logger.error("A worker that calls %s failed", model.name, exc_info=error)
            batch.stop(error)

    async def _attempt(self, number: int, model: OpenModel, batch: Batch, job: Job) -> None:
        slot = await model.fleet.acquire(job.avoid, first=job.request.timing is not None)
        failure: ProviderError | None = None
        answered = False
        try:
            ceiling = model.ceiling_usd(job.request)
            if ceiling:
                await self.budget.reserve(ceiling)
            if batch.ended.is_set():
                if ceiling:
                    self.budget.settle(ceiling, 0.0)
                return
            batch.sending.add(number)
            answer, cost = await self._send(model, batch, job, ceiling, slot.endpoint)
            self._count(model, job.key, answer, cost)
            if isinstance(answer, Response):
                self._same_model(model, {job.key: (answer, job)})
            self._answered.add(model.name)
            self._working.setdefault(model.identity, job)
            self._failures.pop(job.key, None)
            batch.finish(job, answer, cost)
            self.progress.advance(cost)
            answered = True
        except ProviderError as error:  # a new error: this traceback would keep the response
            failure = ProviderError(
                error.message, code=error.code, retryable=error.retryable, retry_after_s=error.retry_after_s
            )
        finally:
            batch.sending.discard(number)
            pushed_back, wait_s = _pushback(failure, answered)
            code = failure.code if failure else None if answered else ""
            model.fleet.release(slot, code=code, pushed_back=pushed_back, wait_s=wait_s)
        if job.attempts == 1:
            self._tries[model.identity, failure is not None] += 1
        if failure and not batch.ended.is_set():
            job.avoid += (slot.endpoint.url,)
            await self._after_failure(model, batch, job, failure)

    async def _send(
        self, model: OpenModel, batch: Batch, job: Job, ceiling: float, endpoint: Endpoint
    ) -> tuple[Answer, float]:
        """Make one attempt, and commit the response; the reservation of `ceiling` is settled whatever happens.

        Returns:
            The stored answer, and its cost.

        Raises:
            ProviderError: There was no answer, or it cannot be stored.
        """
        cost, note, answered = 0.0, 0, False
        try:
            if ceiling:
                note = self.store.open_call(job.key, ceiling)
                cost = ceiling  # what counts if this attempt ends without a word
            job.attempts += 1
            self.sent += 1
            clock = asyncio.get_running_loop().time
            job.last_sent = started = clock()
            job.first_sent = job.first_sent or started
            answer = await _complete(model, endpoint.provider, job.request)
            ended = clock()
            if fault := await model.fleet.fault_of(endpoint, answer):
                raise ProviderError(fault, code="malformed", retryable=True)
            if endpoint.url or not answer.seconds:
                answer = replace(answer, seconds=answer.seconds or ended - started, endpoint=endpoint.url)
            answer, settled = model.settled(job.request, answer)
            try:
                first = self.store.put(job.key, answer, settled, note)
            except ValueError as error:
                raise ProviderError(
                    f"The answer from {model.name} cannot be stored as JSON: {error}.",
                    code="malformed",
                    retryable=False,
                ) from None
            cost, answered = settled, True
            batch.last_answer = ended
            batch.given_up = 0
            # if another process was first, all see the same answer
            return (answer, cost) if first else self.store.get_many([job.key])[job.key]
        except ProviderError as error:
            if error.code not in MAYBE_BILLED:
                cost = 0.0
                if note:
                    self.store.close_call(note)
            raise
        finally:
            if ceiling:
                self.budget.settle(ceiling, cost, answered=answered)
                self.settle_earlier(job.key, cost, answered=answered)

    def settle_earlier(self, key: bytes, cost_usd: float, *, answered: bool) -> None:
        """Set the cost of earlier interrupted calls to that of the same request; note this call if interrupted."""
        if self._cut_off is None:
            return
        if answered:
            for usd in self._cut_off.pop(key, ()):
                self.budget.refund(max(0.0, usd - cost_usd))
        elif cost_usd:
            self._cut_off.setdefault(key, []).append(cost_usd)

    async def _after_failure(self, model: OpenModel, batch: Batch, job: Job, error: ProviderError) -> None:
        job.rate_limited += error.code == "rate_limit"
        is_limited = error.code == "rate_limit" and error.retryable
        may_move = is_limited or (error.code in OF_ENDPOINT and job.moved < MAX_MOVES)
        if may_move and model.fleet.has_other(job.avoid):  # which grows with each failure
            job.moved += not is_limited
            batch.add(job)
            return
        retries = model.retries
        if error.code == "connection" and model.name not in self._answered:
            retries = min(retries, UNSEEN_RETRIES)
        elif error.code == "malformed":
            retries = min(retries, MALFORMED_RETRIES)
        if error.code == "auth":
            batch.stop(
                AuthError(error.message, hint="Check the API key in the environment, then run the command again.")
            )
        elif error.code == "rate_limit" and not error.retryable:
            batch.stop(
                OutsideFault(
                    error.message,
                    hint="Raise the quota with the provider, then run this again. A project keeps its finished calls.",
                )
            )
        elif await self._fails_alone(model, batch, job, error, retries):
            self._failing.add((model.identity, job.case.id))
            self.store.put(job.key, self._fail(model, batch, job, error), 0.0)
        elif error.retryable and job.tries <= retries and job.rate_limited <= RATE_LIMIT_RETRIES:
            loop = asyncio.get_running_loop()
            delay = self._delay(error, job.tries, loop.time() - job.last_sent)
            self._warn_of_wait(model, error, loop.time())
            logger.info("%s: attempt %d of case %s failed (%s), the next one follows in %.2f s: %s",
                     model.name, job.attempts, job.case.id, error.code, delay, error.message)  # fmt: skip
            loop.call_later(delay, batch.add, job)
        else:
            await self._give_up(model, batch, job, error)

    def _warn_of_wait(self, model: OpenModel, error: ProviderError, now: float) -> None:
        asked = error.retry_after_s or 0.0
        if asked > LONGEST_PAUSE_S and now >= self._warned_at.get(model.name, now):
            self._warned_at[model.name] = now + LONGEST_PAUSE_S
            self.progress.note(
                f"The provider of {model.name} requests a wait of {min(asked / 60, 60 * 24):,.0f} min or more. The "
                f"next attempt is in {LONGEST_PAUSE_S:.0f} s."
            )

    async def _fails_alone(self, model: OpenModel, batch: Batch, job: Job, error: ProviderError, retries: int) -> bool:
        if error.code not in OF_ONE_CASE:
            return False
        if (model.identity, job.case.id) in self._failing:
            return True
        if not error.retryable:
            return await self._healthy(model, batch, job)
        failed, fine = self._tries[model.identity, True], self._tries[model.identity, False]
        enough = ceil(natural_log(CHANCE) / natural_log((failed + 1) / (failed + fine + 2)))
        return job.tries >= min(max(FEWEST_ATTEMPTS, enough), retries + 1) and await self._healthy(model, batch, job)

    async def _healthy(self, model: OpenModel, batch: Batch, failed: Job) -> bool:
        """Whether the model has answered since `failed` was sent; if not, repeat an answered request.

        The request was answered before and is paid for again. If the budget does not allow that,
        no provider is blamed.
        """
        good, since = self._working.get(model.identity), failed.last_sent
        if good is None or batch.last_answer >= since:
            return good is not None
        async with self._probing:
            if batch.last_answer >= since or self._probed_at >= since:
                return batch.last_answer >= since
            probe = Job(good.case, good.repeat, good.request, good.key)
            ceiling = model.ceiling_usd(probe.request)
            try:
                if ceiling:
                    self.budget.take(ceiling)
                await self._send(model, batch, probe, ceiling, model.fleet.usable(failed.avoid)[0])
            except ProviderError as error:
                logger.info("%s: a request that was answered before fails too: %s", model.name, error.message)
                self._probed_at = asyncio.get_running_loop().time()
                return False
            except BudgetSpent:
                return True
            return True

    async def _give_up(self, model: OpenModel, batch: Batch, job: Job, error: ProviderError) -> None:
        if error.retryable or error.code in UNTIL_FIXED:
            batch.last_failure = error
            if fault := await self._blame(model, batch, job, error):
                batch.stop(fault)
                return
        failure = self._fail(model, batch, job, error)
        if error.code not in STORED_FAILURES:
            self.lost.append(failure)
        elif model.identity in self._working:
            self.store.put(job.key, failure, 0.0)

    def _fail(self, model: OpenModel, batch: Batch, job: Job, error: ProviderError) -> Failure:
        message = error.message.encode("utf-8", "replace").decode()
        logger.warning("%s: case %s is given up after %d attempts (%s): %s",
                       model.name, job.case.id, job.attempts, error.code, message)  # fmt: skip
        failure = self._failures[job.key] = Failure(code=error.code, message=message, attempts=job.attempts)
        batch.finish(job, failure, 0.0)
        self.progress.advance(0.0)
        return failure

    async def _blame(self, model: OpenModel, batch: Batch, job: Job, error: ProviderError) -> TuneworthyError | None:
        if model.identity in self._working and error.code != "pipeline":
            if batch.last_answer >= job.first_sent or await self._healthy(model, batch, job):
                return None
            why = f"{job.attempts} attempts failed, and a call that previously succeeded now fails too"
            return _down(model, error, why) if error.retryable else _wrong(model, error)
        if error.retryable and batch.last_answer < job.first_sent:
            batch.given_up += 1
            if error.code in NOT_OF_ONE_CASE or batch.given_up >= DOWN_AFTER:
                return _down(
                    model, error, f"{job.attempts} attempts failed, and no other call succeeded in the meantime"
                )
        elif not error.retryable and model.identity not in self._working:
            batch.given_up += 1
            if batch.given_up >= DOWN_AFTER:
                return _wrong(model, error)
        return None

    def _delay(self, error: ProviderError, tries: int, took_s: float) -> float:
        if error.retry_after_s is not None:
            return min(error.retry_after_s, LONGEST_PAUSE_S) * (1 + 0.1 * self._jitter.random())
        answered = error.code == "malformed" and tries == 1
        delay = 0.0 if answered else float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** max(0, tries - 1)))
        return max(SHORTEST_DELAY_S, delay * (0.5 + 0.5 * self._jitter.random()) - took_s)


async def _complete(model: OpenModel, provider: Provider, request: Request) -> Response:
    """Call the provider within its time; one that cancels itself has crashed, and must not take a worker with it."""
    try:
        async with asyncio.timeout(model.timeout_s):
            return await provider.complete(request)
    except TimeoutError:
        raise ProviderError(
            (f"{model.name} did not answer within {model.timeout_s:g} s. If it needs more time, raise timeout_s."),
            code="timeout",
            retryable=True,
        ) from None
    except asyncio.CancelledError:
        if _cancelled_from_outside():
            raise
        raise ProviderError(f"The call to {model.name} was cancelled.", code="crash", retryable=True) from None


def _cancelled_from_outside() -> bool:
    """Whether the running task was cancelled from outside (unlike a `CancelledError` that came from within)."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _pushback(failure: ProviderError | None, answered: bool) -> tuple[bool | None, float | None]:
    """Return whether the rate is too high, as `Limiter.release` takes it, and how long all calls pause then.

    A slow server times out instead of saying so; after a timeout fewer calls are enough.
    """
    if failure is None:
        return (False if answered else None), None
    wait_s, timed_out = failure.retry_after_s, failure.code == "timeout"
    too_fast = timed_out or failure.code == "rate_limit" or wait_s is not None
    return too_fast or None, 0.0 if timed_out and wait_s is None else wait_s


def _down(model: OpenModel, error: ProviderError, why: str) -> OutsideFault:
    return OutsideFault(
        f"{model.name} is not responding: {error.message.rstrip('.')} ({why}).",
        hint="Run this again once the provider works. A project keeps its finished calls.",
    )


def _wrong(model: OpenModel, error: ProviderError) -> ModelError:
    if error.code == "refused":
        return ModelError(
            f"{model.name} rejects every call: {error.message.rstrip('.')}.",
            hint=(
                f"Check that the base URL and the model name of models.{model.name} are correct, and that the API key "
                "has access to the model."
            ),
        )
    return ModelError(
        f"Every call to {model.name} fails: {error.message.rstrip('.')}.",
        hint=f"Fix the function or service behind models.{model.name}, then run the command again.",
    )


def _trace(steps: CaseSteps, variant_id: str) -> Trace:
    job, variant, answer = steps.job, steps.variant, steps.result()
    response = ranked(answer, variant.output) if isinstance(answer, Response) else None
    thinking, cited = "", tuple[str, ...]()
    if response is not None and variant.answer_after:
        thinking, text = split_answer(response.text, variant.answer_after)
        response = replace(response, text=text)
    if response is not None and variant.retrieval is not None and variant.retrieval.cite:
        text, cited = split_citations(response.text, job.shown)
        response = replace(response, text=text)
    return Trace(
        case_id=job.case.id,
        variant_id=variant_id,
        repeat=job.repeat,
        messages=job.request.messages,
        response=response,
        cost_usd=steps.cost_usd,
        error=answer if isinstance(answer, Failure) else None,
        thinking=thinking,
        cited=cited,
        calls=tuple(steps.calls),
        stored=steps.stored,
    )


# An output token costs and takes about as much as so many input tokens.
OUTPUT_WEIGHT = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """Mean tokens and cost of answers; None where not reported.

    Attributes:
        input_tokens: Mean.
        output_tokens: Mean.
        cached_tokens: Mean of those of the prompt that came from the provider's cache.
        usd_per_1k: Cost of a thousand answers.
        unreported: Number of answers that cost something and have no usable token counts.
    """

    input_tokens: float | None
    output_tokens: float | None
    cached_tokens: float | None
    usd_per_1k: float | None
    unreported: int

    @property
    def tokens(self) -> Bounds | None:
        return (
            None if self.input_tokens is None or self.output_tokens is None else (self.input_tokens, self.output_tokens)
        )

    @property
    def weight(self) -> Bounds:
        return self.usd_per_1k or 0.0, (self.input_tokens or 0) + OUTPUT_WEIGHT * (self.output_tokens or 0)


def usage(traces: Traces) -> Usage:
    answered = [trace.response for trace in traces if trace.response]

    def mean(values: list[int | None]) -> float | None:
        reported = [value for value in values if value is not None]
        return sum(reported) / len(reported) if reported else None

    return Usage(
        input_tokens=mean([response.input_tokens for response in answered]),
        output_tokens=mean([response.output_tokens for response in answered]),
        cached_tokens=mean([response.cached_tokens for response in answered]),
        usd_per_1k=1000 * sum(trace.cost_usd for trace in traces) / len(answered) if answered else None,
        unreported=sum(
            trace.cost_usd > 0 and None in (trace.response.input_tokens, trace.response.output_tokens)
            for trace in traces
            if trace.response
        ),
    )
