"""Rounds of answers from the batches of providers: submitted, polled, resumed, and booked at the batch price.

Invariants: a batch is written down before it is created, and one whose creation was not confirmed is looked for before
it is created again, so that no request is paid twice; a result counts if its id is that of a request in this batch,
once; an answer and the end of its open call are one transaction. A request without an answer is left to the caller.
"""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import TypeVar

from tuneworthy.engine.batch import Job
from tuneworthy.engine.models import Models, OpenModel
from tuneworthy.engine.rounds import Rounds, Wanted
from tuneworthy.engine.runner import Runner
from tuneworthy.errors import AuthError, OutsideFault, ProviderError, UserError
from tuneworthy.providers.batches import BatchApi, BatchResult, BatchState, VllmBatches, batch_api
from tuneworthy.providers.http_client import ServedProvider
from tuneworthy.store.batches import BatchFolder, OpenBatch
from tuneworthy.text import count
from tuneworthy.types import Request, Response, Say

T = TypeVar("T")
# Requests of a round, at least; fewer are answered one by one.
MIN_REQUESTS = 10
# Longest pause between two looks at a batch, seconds; the first is a twelfth, and each is twice the one before.
POLL_S = 60.0
# How long a batch whose creation was not confirmed may take to appear in the provider's list, seconds.
FIND_S = 60.0
# Difference of the clocks of this machine and the provider, at most, seconds.
SKEW_S = 300.0
# Attempts at a step that fails for a reason that may pass; with the pauses, these take about half an hour.
MAX_TRIES = 30
# Downloads of results of which some are missing.
DOWNLOADS = 3
# How long a cancelled batch may take to end, seconds.
CANCEL_S = 900.0
# Answers in one transaction.
_CHUNK = 500
# A key of the store in the id of a request.
_KEY = re.compile("[0-9a-f]{32}")
_RELEASE = "To give up on its answers, run `tuneworthy doctor --release`."


@dataclass(slots=True)
class _ReadBatch:
    """The results of a batch as far as they were read.

    Attributes:
        calls: The open calls of the batch by key, each with its note and its ceiling in US dollars.
        requests: Its requests by key.
        answers: Those that wait to be stored: key, answer, cost at the batch price, note.
        answered: Keys with an answer.
        unread: Keys with an answer that cannot be read.
        failures: By key, why there is no answer.
        faults: Lines that answer nothing, by reason.
        usd: Cost of the answers.
    """

    calls: dict[bytes, tuple[int, float]]
    requests: dict[bytes, Request]
    answers: list[tuple[bytes, Response, float, int]] = field(default_factory=list)
    answered: set[bytes] = field(default_factory=set)
    unread: set[bytes] = field(default_factory=set)
    failures: dict[bytes, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    usd: float = 0.0


class BatchRounds:
    """Sends rounds of requests as batches.

    Args:
        runner: With the store, the budget and the progress.
        models: Of the project.
    """

    def __init__(self, runner: Runner, models: Models) -> None:
        self.runner, self.models = runner, models
        self.store, self.budget, self.say = runner.store, runner.budget, runner.progress.note
        self.folder = BatchFolder(runner.store.path.parent)
        self._without: set[str] = set()  # models whose server has no batches
        self._unpriced: set[str] = set()

    def accepts(self, model: OpenModel) -> bool:
        return model.name not in self._without and batch_api(model.provider, self.folder.path) is not None

    async def send(self, wanted: Wanted) -> None:
        """Put the answers of batches into the store; as many at once as the budget allows.

        Raises:
            BudgetSpent: Not even one request fits.
            UserError: A provider refused a batch as a whole.
            OutsideFault: A provider is down, or the user has to run the files first.
        """
        self.store.require_key()
        with self._left_running():
            begun: list[OpenBatch] = []
            for model, jobs in wanted.values():
                api = self._api(model)
                queue = deque(sorted(jobs, key=lambda job, api=api: api.endpoint(job.request)))  # type: ignore[misc]
                while queue and self.accepts(model):
                    if begun and self._ceiling(model, queue[0]) > self.budget.room_usd:
                        await self._finish(begun)
                        begun = []
                    if batch := await self._submit(model, api, queue):
                        begun.append(batch)
            await self._finish(begun)

    async def fetch(self) -> None:
        """Read the batches of earlier processes; those that were never created are forgotten.

        Raises:
            UserError: The model of a batch is missing, or as `send`.
            OutsideFault: As `send`.
        """
        with self._left_running():
            await self._finish([batch for batch in self.folder.all() if await self._resumed(batch)])

    async def release(self, say: Say) -> None:
        """Cancel the open batches, keep the results that are there, and forget the other requests.

        Raises:
            OutsideFault: A provider does not answer.
        """
        for batch in self.folder.all():
            try:
                if await self._resumed(batch):
                    found, model = self._current(batch), self.models[batch.model]
                    api = self._api(model)
                    with suppress(ProviderError):  # it may have ended already
                        await api.cancel(found.id)
                    if state := await self._ended(found, api, limit_s=CANCEL_S):
                        await self._take(found, model, api, replace(state, whole=False))
                    elif not api.offline:
                        raise OutsideFault(
                            f"The batch {found.id} of {model.name} was cancelled and has not ended after "
                            f"{CANCEL_S / 60:.0f} min.",
                            hint="Run the same command again.",
                        )
            except AuthError:
                raise  # it goes on, and is billed
            except (UserError, ProviderError) as error:
                say(f"The batch {batch.id or batch.token} of {batch.model} could not be cancelled: {error.message}")
            self.store.close_batch(batch.created)
            self.folder.end(batch.token)

    # --- submitting -----------------------------------------------------------------------------------------------

    async def _submit(self, model: OpenModel, api: BatchApi, queue: deque[Job]) -> OpenBatch | None:
        """Create a batch of the first requests that fit into one, and take them from the queue."""
        token, endpoint = token_hex(8), ""
        lines: list[bytes] = []
        taken: list[tuple[Job, float]] = []
        size, total = 0, 0.0
        while queue and len(lines) < api.max_requests:
            job = queue[0]
            try:
                line = api.line(f"{token}-{job.key.hex()}", job.request)
            except ProviderError:  # a single call reports it
                queue.popleft()
                continue
            ceiling, path = self._ceiling(model, job), api.endpoint(job.request)
            size += len(line) + 1
            if lines and (path != endpoint or size > api.max_bytes or total + ceiling > self.budget.room_usd):
                break
            endpoint, total = path, total + ceiling
            lines.append(line)
            taken.append((queue.popleft(), ceiling))
        if not lines:
            return None
        if total:
            await self.budget.reserve(total)
        try:
            uploaded = await self._patiently(lambda: api.upload(token, lines))
            batch = OpenBatch(token=token, model=model.name, endpoint=endpoint, n=len(lines), created=time.time())
            self.folder.write(batch)
            self.folder.write_requests(token, ((job.key, replace(job.request, payload=None)) for job, _ in taken))
            self.store.open_batch(((job.key, ceiling) for job, ceiling in taken), batch.created)
            try:
                batch = self._named(batch, await self._create(batch, api, uploaded))
            except ProviderError:  # it was refused, and is not there
                self._drop(batch)
                raise
        except (ProviderError, UserError) as error:
            self._settle(total, 0.0)
            if isinstance(error, ProviderError) and error.code == "refused":
                self._without.add(model.name)
                self.say(f"{model.name} is called without batches, at the full price: {error.message}")
                return None
            raise _refused(model, error.message) if isinstance(error, ProviderError) else error from None
        self.runner.sent += batch.n
        if model.price and model.price.batch_factor is None and model.name not in self._unpriced:
            self._unpriced.add(model.name)
            self.say(f"The batch price of {model.name} is unknown: its batches count at the full price.")
        self.say(f"Sent {count(batch.n, 'request')} to {model.name} as batch {batch.id}.")
        return batch

    async def _create(self, batch: OpenBatch, api: BatchApi, uploaded: object) -> str:
        """Create a batch; after a fault that leaves open whether it was created, look for it first."""
        known = {one.id for one in self.folder.all()} - {""}
        for _ in range(MAX_TRIES):
            try:
                if (identity := await api.create(batch.token, batch.endpoint, uploaded)) not in known:
                    return identity
            except ProviderError as error:
                if not error.retryable and error.code != "server":  # else it may have been created
                    raise
                fault = error.message
            else:
                fault = f"the provider named the batch {identity} twice"
            if identity := await self._find(batch, api):
                return identity
        raise OutsideFault(f"No batch of {batch.model} could be created: {fault}", hint="Run the command again later.")

    async def _find(self, batch: OpenBatch, api: BatchApi) -> str:
        """Return the id of a batch whose creation was not confirmed; "" if the provider does not have it."""
        others = {one.id for one in self.folder.all()} - {""}
        until, tries = time.time() + FIND_S, 0
        with _out_of_reach():
            while True:
                for state in await self._patiently(lambda: api.listed(batch.created - SKEW_S)):
                    if state.id not in others and await self._is_of(batch, api, state):
                        return state.id
                    others.add(state.id)
                if api.offline or time.time() > until:
                    return ""
                await _pause(tries)
                tries += 1

    async def _is_of(self, batch: OpenBatch, api: BatchApi, state: BatchState) -> bool:
        """Whether a listed batch was created for `batch`; if only its results can tell, they are waited for."""
        if api.names_token or state.n != batch.n:
            return state.token == batch.token
        ended = await self._ended(replace(batch, id=state.id), api)
        lines = await self._patiently(lambda: api.results(ended or state))
        return any(result and result.custom_id.startswith(batch.token) for result in map(api.parse, lines))

    # --- reading --------------------------------------------------------------------------------------------------

    async def _resumed(self, batch: OpenBatch) -> bool:
        """Reserve the calls of a batch of an earlier process, and find its id; return whether it has to be read."""
        calls = self.store.batch_calls(batch.created)
        if calls:
            if total := sum(ceiling for _, ceiling in calls.values()):
                self.budget.resume(total)
            if identity := batch.id or await self._find(batch, self._api(self.models[batch.model])):
                self._named(batch, identity)
                return True
            self._settle(total, 0.0)
        self._drop(batch)
        return False

    async def _finish(self, batches: Sequence[OpenBatch]) -> None:
        """Wait for batches and store their answers.

        Raises:
            OutsideFault: The user has to run files first.
        """
        tasks = [asyncio.ensure_future(self._read(self._current(batch))) for batch in batches]
        try:
            waiting = [*filter(None, await asyncio.gather(*tasks))]
        finally:
            for task in tasks:
                task.cancel()
        if waiting:
            raise OutsideFault(
                f"Files of requests for vLLM that have no results yet: {len(waiting)}.",
                hint="\n".join(["Run these commands where the GPUs are, then this command again:", *waiting]),
            )

    async def _read(self, batch: OpenBatch) -> str:
        """Read a batch when it has ended; return the command that the user has to run, if that is missing."""
        model = self.models[batch.model]
        api = self._api(model)
        state = await self._ended(batch, api)
        if isinstance(api, VllmBatches) and state is None:
            files = api.requests_path(batch.token), api.results_path(batch.token)
            name = model.provider.identity.get("model")
            return f"vllm run-batch -i {files[0]} -o {files[1]} --model {name}"
        assert state is not None
        if state.lacks_file:
            raise OutsideFault(f"The file of results of batch {batch.id} is missing.", hint=_RELEASE)
        if state.failed:
            total = sum(ceiling for _, ceiling in self.store.batch_calls(batch.created).values())
            self._drop(batch)
            self._settle(total, 0.0)
            raise _refused(model, state.failed)
        await self._take(batch, model, api, state)
        return ""

    async def _ended(self, batch: OpenBatch, api: BatchApi, *, limit_s: float | None = None) -> BatchState | None:
        """Return the state of a batch once it has ended; None if the user has to run it, or after a time."""
        done, tries, start = -1, 0, time.monotonic()
        while True:
            state = await self._patiently(lambda: api.state(batch.id))
            if state.failed or (state.ended and (not state.lacks_file or limit_s or tries > MAX_TRIES)):
                return state
            if api.offline or (limit_s is not None and time.monotonic() - start > limit_s):
                return None
            if state.done != done:
                done = state.done
                self.say(f"{batch.model}: batch {batch.id} has answered {done:,} of {batch.n:,} requests.")
            await _pause(tries)
            tries += 1

    async def _take(self, batch: OpenBatch, model: OpenModel, api: BatchApi, state: BatchState) -> None:
        """Store the answers of a batch that has ended, and close its calls.

        Raises:
            UserError: The results are those of other requests.
        """
        calls = self.store.batch_calls(batch.created)
        total = sum(ceiling for _, ceiling in calls.values())
        outcome = _ReadBatch(calls, self.folder.requests(batch.token))
        for attempt in range(DOWNLOADS):
            lines = await self._patiently(lambda: api.results(state))
            outcome.faults.clear()
            for key, result in _own(batch, map(api.parse, lines), outcome):
                self._add(model, key, result, outcome)
            missing = calls.keys() - outcome.answered - outcome.unread - outcome.failures.keys()
            if not (missing and state.whole) or attempt + 1 == DOWNLOADS:
                break
            await _pause(attempt)
        self._flush(outcome)
        if lines and outcome.faults["of other requests"] == len(lines):
            raise UserError(f"The results of batch {batch.id} are those of other requests.", hint=_RELEASE)
        doubtful = outcome.unread | (missing if state.whole else set())
        unanswered_usd = sum(calls[key][1] for key in doubtful)
        self.store.close_batch(batch.created, [calls[key][0] for key in doubtful])
        self._settle(total, outcome.usd + unanswered_usd)
        self.budget.unanswered_usd += unanswered_usd
        for key in doubtful:
            self.runner.settle_earlier(key, calls[key][1], answered=False)
        self.folder.end(batch.token)
        failed = calls.keys() - outcome.answered - doubtful
        faults = {
            **outcome.faults,
            "without a result that can be read": len(doubtful),
            "failed or not run": len(failed),
        }
        said = "".join(f", {n} {words}" for words, n in faults.items() if n)
        why = next((f" ({outcome.failures[key]})" for key in failed if key in outcome.failures), "")
        self.say(f"{model.name}: batch {batch.id} gave {count(len(outcome.answered), 'answer')}{said}{why}.")

    def _add(self, model: OpenModel, key: bytes, result: BatchResult, outcome: _ReadBatch) -> None:
        if key not in outcome.calls or key in outcome.answered:  # stored earlier, or read by an earlier download
            return
        if result.answer is None:
            outcome.failures[key] = result.error
            return
        request, provider = outcome.requests[key], model.provider
        assert isinstance(provider, ServedProvider)
        try:
            answer = provider.read(result.answer, request, provider.body(request)[1])
        except ProviderError:
            outcome.unread.add(key)
            return
        answer, usd = model.settled(request, replace(answer, price_factor=model.batch_factor))
        usd *= model.batch_factor
        outcome.answers.append((key, answer, usd, outcome.calls[key][0]))
        outcome.answered.add(key)
        outcome.failures.pop(key, None)
        outcome.usd += usd
        if len(outcome.answers) == _CHUNK:
            self._flush(outcome)

    def _flush(self, outcome: _ReadBatch) -> None:
        self.store.put_many(outcome.answers)
        for key, _, usd, _ in outcome.answers:
            self.runner.settle_earlier(key, usd, answered=True)
        outcome.answers.clear()

    # --- small steps ----------------------------------------------------------------------------------------------

    def _api(self, model: OpenModel) -> BatchApi:
        if (api := batch_api(model.provider, self.folder.path)) is None:
            raise UserError(f"models.{model.name} has an open batch, but its provider has no batches.", hint=_RELEASE)
        return api

    def _ceiling(self, model: OpenModel, job: Job) -> float:
        return model.ceiling_usd(job.request) * model.batch_factor

    def _settle(self, ceiling_usd: float, cost_usd: float) -> None:
        if ceiling_usd:  # calls without a price are never reserved
            self.budget.settle(ceiling_usd, cost_usd)

    def _current(self, batch: OpenBatch) -> OpenBatch:
        return next(one for one in self.folder.all() if one.token == batch.token)

    def _named(self, batch: OpenBatch, identity: str) -> OpenBatch:
        named = replace(batch, id=identity)
        self.folder.write(named)
        return named

    def _drop(self, batch: OpenBatch) -> None:
        self.store.close_batch(batch.created)
        self.folder.end(batch.token)

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat a step that may be repeated until it succeeds.

        Raises:
            ProviderError: It is refused for good.
            AuthError: The key is refused.
            OutsideFault: It fails again and again.
        """
        for tries in range(MAX_TRIES):
            try:
                return await step()
            except ProviderError as error:
                if error.code == "auth":
                    raise AuthError(error.message, hint="Check the API key, then run the command again.") from None
                if not error.retryable:
                    raise
                fault = error.message
                if not tries:
                    self.say(f"A step of a batch failed and is repeated: {fault}")
            await _pause(tries)
        raise OutsideFault(fault, hint=f"The batch goes on: run the same command later. {_RELEASE}")

    @contextmanager
    def _left_running(self) -> Iterator[None]:
        """Say what happens to the batches if the user stops."""
        try:
            with _out_of_reach():
                yield
        except asyncio.CancelledError:
            if self.folder.all():
                self.say(
                    "The batches go on at the provider. Run the same command again to fetch the answers, or cancel "
                    "them with `tuneworthy doctor --release`."
                )
            raise


@contextmanager
def _out_of_reach() -> Iterator[None]:
    """End a run whose batch a provider does not show any more."""
    try:
        yield
    except ProviderError as error:
        raise OutsideFault(error.message, hint=f"Run the same command again. {_RELEASE}") from None


def _own(
    batch: OpenBatch, results: Iterator[BatchResult | None], outcome: _ReadBatch
) -> Iterator[tuple[bytes, BatchResult]]:
    """Yield the results that answer a request of this batch, the first answer per request; count the others."""
    answered = set[bytes]()
    for result in results:
        if result is None:
            outcome.faults["unreadable"] += 1
            continue
        token, _, name = result.custom_id.partition("-")
        key = bytes.fromhex(name) if token == batch.token and _KEY.fullmatch(name) else b""
        if key not in outcome.requests:
            outcome.faults["of other requests"] += 1
        elif key in answered:
            outcome.faults["repeated"] += 1
        else:
            if result.answer is not None:
                answered.add(key)
            yield key, result


async def _pause(tries: int) -> None:
    await asyncio.sleep(min(POLL_S, POLL_S / 12 * 2.0 ** min(tries, 10)))


def _refused(model: OpenModel, message: str) -> UserError:
    return UserError(
        f"The provider of {model.name} refused the batch: {message}",
        hint="Fix the cause, or run the command without --batch. Nothing was billed.",
    )


async def batches_of(runner: Runner, models: Models) -> Rounds:
    """Fetch the batches of earlier processes, and return rounds that are answered in batches.

    Raises:
        UserError: See `BatchRounds.fetch`.
        OutsideFault: Likewise.
    """
    rounds = BatchRounds(runner, models)
    await rounds.fetch()
    return Rounds(rounds.send, accepts=rounds.accepts, least=MIN_REQUESTS)
