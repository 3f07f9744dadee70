"""Rounds of answers from the batches of providers: submitted, polled, resumed, and booked at the batch price.

Invariants: a batch is written down before it is created, and one whose creation was not confirmed is looked for before
it is created again, so that no request is paid twice; a result counts if its id is that of a request in this batch,
once; an answer and the end of its open call are one transaction. A request without an answer is left to the caller.
"""

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from secrets import token_hex
from typing import TypeVar

from tuneworthy.engine.batch import Job
from tuneworthy.engine.models import Models, OpenModel
from tuneworthy.engine.rounds import Rounds, Wanted
from tuneworthy.engine.runner import Runner
from tuneworthy.errors import AuthError, OutsideFault, ProviderError, UserError
from tuneworthy.providers.batches import QUEUE_IS_FULL, BatchApi, BatchResult, BatchState, batch_api
from tuneworthy.providers.usage import mapping
from tuneworthy.store.batches import BatchFolder, OpenBatch
from tuneworthy.text import count
from tuneworthy.types import Request, Response, Say

T = TypeVar("T")
Asked = tuple[OpenModel, BatchApi, Job]
# Requests of a round, at least; fewer are answered one by one.
MIN_REQUESTS = 10
# Longest pause between two looks at a batch, seconds; the first is a twelfth, and each is twice the one before.
POLL_S = 60.0
# Looks at the provider's list for a batch whose creation was not confirmed, and at a batch whose results are late; with
# the pauses, these take five minutes.
LOOKS = 8
# Difference of the clocks of this machine and the provider, at most, seconds: where a list names the token of a batch,
# and where the results of each batch in question are read instead.
LISTED_S, SKEW_S = 86_400.0, 300.0
# Attempts at a step that fails for a reason that may pass; with the pauses, these take about half an hour.
MAX_TRIES = 30
# Downloads of results of which some are missing.
DOWNLOADS = 3
# How long a cancelled batch may take to end, seconds.
CANCEL_S = 900.0
# Answers of HTTP that mean that the server has no batches.
NO_INTERFACE = frozenset({404, 405, 501})
# Answers in one transaction.
_CHUNK = 500
_RELEASE = "To give up on its answers, run `tuneworthy doctor --release`."


class _ReadBatch:
    """The results of a batch as far as they were read.

    Args:
        calls: The open calls of the batch by key, each with its note and its ceiling in US dollars.
        requests: Its requests by key.
        token: Of the batch.

    Attributes:
        keys: By the id of a request.
        read: Keys with an answer in this download, the first answer per request.
        answers: Those that wait to be stored: key, answer, cost at the batch price, note.
        answered: Keys with an answer.
        unread: Keys with an answer that cannot be read.
        failures: By key, why there is no answer.
        faults: Lines that answer nothing, by reason.
        usd: Cost of the answers.
    """

    def __init__(self, calls: Mapping[bytes, tuple[int, float]], requests: Mapping[bytes, Request], token: str) -> None:
        self.calls, self.requests = calls, requests
        self.keys = {f"{token}-{key.hex()}": key for key in requests}
        self.answers, self.faults, self.read = list[tuple[bytes, Response, float, int]](), Counter[str](), set[bytes]()
        self.answered, self.unread, self.failures, self.usd = set[bytes](), set[bytes](), dict[bytes, str](), 0.0


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
        self._without = set[str]()  # names of models whose server has no batches
        self._reserved = dict[str, float]()  # by token of a batch, US dollars
        self._refused = set[bytes]()  # keys in batches for which the provider's queue had no room
        self._reading = asyncio.Lock()  # one batch in memory at a time

    def accepts(self, model: OpenModel) -> bool:
        """Whether a model has batches. A fleet has not: its endpoints are compared by single answers."""
        return model.name not in self._without and len(model.endpoints) < 2 and self._api(model) is not None

    async def send(self, wanted: Wanted) -> None:
        """Put the answers of batches into the store; as many at once as the budget and the provider's queue allow.

        Raises:
            BudgetSpent: Not even one request fits.
            UserError: A provider refused a batch as a whole.
            OutsideFault: A provider is down or busy, or the user has to run the files first.
        """
        self.store.require_key()
        rest = [(model, api, job) for model, jobs in wanted.values() if (api := self._api(model)) for job in jobs]
        n = len(rest)
        with _out_of_reach():
            while rest:
                first, later = rest[:n], rest[n:]
                self._refused.clear()
                await self._send(first)
                again = [one for one in first if one[2].key in self._refused]
                if 2 * len(again) > len(first):  # the queue has other batches, or these are larger than the queue
                    n //= 2
                    await asyncio.sleep(POLL_S)
                if not n:
                    raise OutsideFault("The provider's queue of batches is full.", hint="Run this command again later.")
                rest = again + later

    async def fetch(self) -> None:
        """Read the batches of earlier processes; those that were never created are forgotten.

        Raises:
            UserError: The model of a batch is missing, or as `send`.
            OutsideFault: As `send`.
        """
        with _out_of_reach():
            await self._finish([named for batch in self.folder.all() if (named := await self._resumed(batch))])

    async def release(self, say: Say) -> None:
        """Cancel the open batches, keep the results that are there, and forget the other requests.

        Raises:
            OutsideFault: A provider does not answer.
        """
        for batch in self.folder.all():
            try:
                if found := await self._resumed(batch):
                    model, api = self._opened(found)
                    with suppress(ProviderError):  # it may have ended already
                        await api.cancel(found.id)
                    if state := await asyncio.wait_for(self._ended(found, api), CANCEL_S):
                        await self._take(found, model, api, state.model_copy(update={"status": "cancelled"}))
            except TimeoutError:
                raise OutsideFault(
                    f"The batch {batch.id or batch.token} of {batch.model} was cancelled and has not ended after "
                    f"{CANCEL_S / 60:.0f} min.",
                    hint="Run the same command again.",
                ) from None
            except AuthError:
                raise  # it goes on, and is billed
            except (UserError, ProviderError) as error:
                say(f"The batch {batch.id or batch.token} of {batch.model} could not be cancelled: {error.message}")
            self._end(batch)

    # --- submitting -----------------------------------------------------------------------------------------------

    async def _send(self, asked: Iterable[Asked]) -> None:
        begun: list[OpenBatch] = []
        queue = deque(sorted(asked, key=lambda one: (one[0].name, one[1].endpoint(one[2].request))))
        while queue:
            model, _, job = queue[0]
            if not self.accepts(model):
                queue.popleft()
                continue
            if begun and self._ceiling(model, job) > self.budget.room_usd:
                await self._finish(begun)
                begun = []
            if batch := await self._submit(queue):
                begun.append(batch)
        await self._finish(begun)

    async def _submit(self, queue: deque[Asked]) -> OpenBatch | None:
        """Create a batch of the first requests that fit into one, and take them from the queue."""
        (model, api, job), token = queue[0], token_hex(8)
        endpoint = api.endpoint(job.request)
        taken, total = list[tuple[Job, float]](), 0.0
        lines = bytearray()  # in one piece, as orjson allocates several times the length of a line
        while queue and queue[0][0] is model and len(taken) < api.max_requests:
            job = queue[0][2]
            try:
                line = api.line(f"{token}-{job.key.hex()}", job.request)
            except ProviderError:  # a single call reports it
                queue.popleft()
                continue
            ceiling = self._ceiling(model, job)
            is_large = len(lines) + len(line) >= api.max_bytes or total + ceiling > self.budget.room_usd
            if (lines and is_large) or api.endpoint(job.request) != endpoint:
                break
            total += ceiling
            lines += line + b"\n"
            taken.append((queue.popleft()[2], ceiling))
        if not taken:
            return None
        if total:
            await self.budget.reserve(total)
            self._reserved[token] = total
        batch = OpenBatch(
            token=token, model=model.name, endpoint=endpoint, n=len(taken), created=time.time(), address=_address(model)
        )
        try:
            uploaded = await self._patiently(lambda: api.upload(token, lines))
            self.folder.write(batch)
            self.folder.write_requests(token, ((job.key, replace(job.request, payload=None)) for job, _ in taken))
            self.store.open_batch(((job.key, ceiling) for job, ceiling in taken), batch.created)
            self.folder.write(batch := replace(batch, id=await self._create(batch, api, uploaded)))
        except ProviderError as error:  # it was refused, and is not there
            self._end(batch)
            if error.status not in NO_INTERFACE:
                raise self._refused_as_a_whole(model, error.message) from None
            self._without.add(model.name)
            self.say(f"{model.name} is called without batches, at the full price: {error.message}")
            return None
        self.runner.sent += batch.n
        booked = " It counts at the full price." * (model.price is not None and model.price.batch_factor is None)
        self.say(f"Sent {count(batch.n, 'request')} to {model.name} as batch {batch.id}.{booked}")
        return batch

    async def _create(self, batch: OpenBatch, api: BatchApi, uploaded: object) -> str:
        """Create a batch; after a fault that leaves open whether it was created, look for it first."""
        known = {one.id for one in self.folder.all()} - {""}
        for _ in range(MAX_TRIES):
            try:
                if (identity := await api.create(batch.token, batch.endpoint, uploaded)) not in known:
                    return identity
                fault = f"the provider named the batch {identity} twice"
            except ProviderError as error:
                if not error.retryable and error.code != "server":  # else it may have been created
                    raise
                fault = error.message
            if identity := await self._find(batch, api):
                return identity
        raise OutsideFault(f"No batch of {batch.model} could be created: {fault}", hint="Run the command again later.")

    async def _find(self, batch: OpenBatch, api: BatchApi) -> str:
        """Return the id of a batch whose creation was not confirmed; "" if the provider does not have it."""
        others = {one.id for one in self.folder.all()} - {""}
        since = batch.created - (LISTED_S if api.names_token else SKEW_S)
        with _out_of_reach():
            for tries in range(1 if api.offline else LOOKS):
                for state in await self._patiently(lambda: api.listed(since)):
                    if state.id not in others and await self._is_of(batch, api, state):
                        return state.id
                    others.add(state.id)
                await _pause(tries)
        return ""

    async def _is_of(self, batch: OpenBatch, api: BatchApi, state: BatchState) -> bool:
        """Whether a listed batch was created for `batch`; if only its results can tell, they are waited for."""
        if api.names_token or sum(state.counts.values()) != batch.n:
            return bool(mapping(state.metadata).get("token") == batch.token)
        ended = await self._ended(replace(batch, id=state.id), api)
        try:
            await self._patiently(lambda: api.fetch(ended or state, batch.token))
        except ProviderError:  # a batch without results, of this project or not, is worth nothing
            return False
        return any(result and result.custom_id.startswith(batch.token) for result in api.results(batch.token))

    # --- reading --------------------------------------------------------------------------------------------------

    async def _resumed(self, batch: OpenBatch) -> OpenBatch | None:
        """Reserve the calls of a batch of an earlier process, and find its id; None if it was never created."""
        if calls := self.store.batch_calls(batch.created):
            if total := sum(ceiling for _, ceiling in calls.values()):
                self.budget.resume(total)
                self._reserved[batch.token] = total
            if identity := batch.id or await self._find(batch, self._opened(batch)[1]):
                self.folder.write(named := replace(batch, id=identity))
                return named
        self._end(batch)
        return None

    async def _finish(self, batches: Sequence[OpenBatch]) -> None:
        """Wait for batches and store their answers.

        Raises:
            OutsideFault: The user has to run files first.
        """
        tasks = [asyncio.ensure_future(self._read(batch)) for batch in batches]
        try:
            waiting = [*filter(None, await asyncio.gather(*tasks))]
        except asyncio.CancelledError:
            self.say(
                "The batches go on at the provider. Run the same command again to fetch the answers, or cancel them "
                "with `tuneworthy doctor --release`."
            )
            raise
        finally:
            for task in tasks:
                task.cancel()
        if waiting:
            raise OutsideFault(
                f"Files of requests for vLLM whose results are missing or cannot be read: {len(waiting)}.",
                hint="\n".join(["Run these commands where the GPUs are, then this command again:", *waiting]),
            )

    async def _read(self, batch: OpenBatch) -> str:
        """Read a batch when it has ended; return the command that the user has to run, if that is missing."""
        model, api = self._opened(batch)
        state = await self._ended(batch, api)
        if state is None:
            return api.command(batch.token)
        if state.lacks_file:
            raise OutsideFault(f"The file of results of batch {batch.id} is missing.", hint=_RELEASE)
        if state.faults:
            keys = self.store.batch_calls(batch.created).keys()
            self._end(batch)
            reason = api.http.excerpt("; ".join(state.faults.values()), 400)
            if QUEUE_IS_FULL not in state.faults:
                raise self._refused_as_a_whole(model, reason)
            self._refused |= keys
            self.say(f"The batch {batch.id} is sent again later: {reason}")
        else:
            async with self._reading:
                await self._take(batch, model, api, state)
        return ""

    async def _ended(self, batch: OpenBatch, api: BatchApi) -> BatchState | None:
        """Return the state of a batch once it has ended; None if the user has to run it."""
        done, late = -1, 0
        for tries in itertools.count():
            state = await self._patiently(lambda: api.state(batch.id))
            late += state.lacks_file
            if state.faults or (state.ended and (not state.lacks_file or late > LOOKS)):
                return state
            if api.offline:
                break
            if state.done != done:
                done = state.done
                self.say(f"{batch.model}: batch {batch.id} has answered {done:,} of {batch.n:,} requests.")
            await _pause(tries)
        return None

    async def _take(self, batch: OpenBatch, model: OpenModel, api: BatchApi, state: BatchState) -> None:
        """Store the answers of a batch that has ended, and close its calls.

        Raises:
            UserError: The results are those of other requests.
        """
        calls = self.store.batch_calls(batch.created)
        found = _ReadBatch(calls, self.folder.requests(batch.token), batch.token)
        for attempt in range(DOWNLOADS):
            await self._patiently(lambda: api.fetch(state, batch.token))
            found.faults, found.read = Counter[str](), set[bytes]()
            for result in api.results(batch.token):
                self._add(model, api, result, found)
            missing = calls.keys() - found.answered - found.failures.keys()
            if not (missing and state.whole):
                break
            await _pause(attempt)
        self._flush(found)
        if found.faults["of other requests"] and not (found.read or found.failures):
            raise UserError(f"The results of batch {batch.id} are those of other requests.", hint=_RELEASE)
        doubtful = missing if state.whole else missing & found.unread
        unanswered_usd = sum(calls[key][1] for key in doubtful)
        self._end(batch, found.usd + unanswered_usd, [calls[key][0] for key in doubtful])
        self.budget.unanswered_usd += unanswered_usd
        for key in doubtful:
            self.runner.settle_earlier(key, calls[key][1], answered=False)
        failed = calls.keys() - found.answered - doubtful
        faults = {
            **found.faults,
            "without a result that can be read": len(doubtful),
            "failed or not run": len(failed),
        }
        said = [count(len(found.answered), "answer"), *(f"{n} {words}" for words, n in faults.items() if n)]
        why = next((f" ({found.failures[key]})" for key in failed if key in found.failures), "")
        self.say(f"{model.name}: batch {batch.id} gave {', '.join(said)}{why}.")

    def _add(self, model: OpenModel, api: BatchApi, result: BatchResult | None, found: _ReadBatch) -> None:
        """Read a line of the results."""
        key = found.keys.get(result.custom_id) if result else None
        if result is None or key is None or key in found.read:
            found.faults["unreadable" if result is None else "repeated" if key else "of other requests"] += 1
            return
        request, provider = found.requests[key], api.provider
        if result.answer is None:
            found.failures[key] = api.http.excerpt(result.reason)
            return
        found.read.add(key)
        if key not in found.calls or key in found.answered:  # stored earlier, or read by an earlier download
            return
        try:
            answer = provider.read(result.answer, request, provider.body(request)[1])
        except ProviderError:
            found.unread.add(key)
            return
        answer, usd = model.settled(request, replace(answer, price_factor=model.batch_factor))
        usd *= model.batch_factor
        found.answers.append((key, answer, usd, found.calls[key][0]))
        found.answered.add(key)
        found.usd += usd
        if len(found.answers) == _CHUNK:
            self._flush(found)

    def _flush(self, found: _ReadBatch) -> None:
        self.store.put_many(found.answers)
        for key, _, usd, _ in found.answers:
            self.runner.settle_earlier(key, usd, answered=True)
        found.answers.clear()

    # --- small steps ----------------------------------------------------------------------------------------------

    def _api(self, model: OpenModel) -> BatchApi | None:
        return batch_api(model.provider, self.folder.path)

    def _opened(self, batch: OpenBatch) -> tuple[OpenModel, BatchApi]:
        """Return the model of an open batch, and its interface.

        Raises:
            UserError: The model is missing, or is another one by now: its price and its server are not the batch's.
        """
        model = self.models[batch.model]
        if not (api := self._api(model)) or batch.address != _address(model):
            raise UserError(
                f"models.{model.name} is no longer the model of its open batch ({batch.address}).",
                hint=f"Restore it, and fetch the answers with `tuneworthy run --batch`. {_RELEASE}",
            )
        return model, api

    def _ceiling(self, model: OpenModel, job: Job) -> float:
        return model.ceiling_usd(job.request) * model.batch_factor

    def _refused_as_a_whole(self, model: OpenModel, message: str) -> UserError:
        """Return the error of a refused batch; a command without batches would refuse the calls of the open ones."""
        others = "fetch the answers of the other batches with `tuneworthy run --batch`"
        step = others if self.folder.all() else "run the command without --batch"
        return UserError(
            f"The provider of {model.name} refused the batch: {message}",
            hint=f"This batch was not billed. Fix the cause, or {step}.",
        )

    def _end(self, batch: OpenBatch, usd: float = 0.0, doubtful: Iterable[int] = ()) -> None:
        """Close the calls of a batch that cost `usd`, and remove its files; see `ResponseStore.close_batch`."""
        self.store.close_batch(batch.created, doubtful)
        if reserved := self._reserved.pop(batch.token, 0.0):  # calls without a price are never reserved
            self.budget.settle(reserved, usd)
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
def _out_of_reach() -> Iterator[None]:
    """End a run whose batch a provider does not show any more."""
    try:
        yield
    except ProviderError as error:
        raise OutsideFault(error.message, hint=f"Run the same command again. {_RELEASE}") from None


async def _pause(tries: int) -> None:
    await asyncio.sleep(min(POLL_S, POLL_S / 12 * 2.0 ** min(tries, 10)))


def _address(model: OpenModel) -> str:
    return " ".join(str(model.provider.identity.get(name)) for name in ("provider", "model", "base_url"))


async def batches_of(runner: Runner, models: Models) -> Rounds:
    """Fetch the batches of earlier processes, and return rounds that are answered in batches.

    Raises:
        UserError: See `BatchRounds.fetch`.
        OutsideFault: Likewise.
    """
    rounds = BatchRounds(runner, models)
    await rounds.fetch()
    return Rounds(rounds.send, accepts=rounds.accepts, least=MIN_REQUESTS)
