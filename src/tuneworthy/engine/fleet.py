"""The endpoints that serve one model: which one gets the next call, which are out of order, which serve another model.

A call goes to the endpoint with the fewest calls in flight relative to its limit. One that fails `EJECT_AFTER` times in
a row gets no call until a probe succeeds, after a time that doubles with each ejection. If all are ejected, they are
called all the same: then the provider is down, and the runner says so.

The answers of one model are wanted. Each endpoint names its model: by the root of its list of models, by the name, and
by the fingerprint in its answers. Until an endpoint has answered it gets one call at a time, and its answer waits until
most endpoints have named their model. An endpoint that names another one gets no further calls.

Invariant: a returned slot goes to the longest waiter that may use it; waiters do not race for it, and a cancelled
waiter loses no slot.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tuneworthy.engine.limiter import Limiter
from tuneworthy.engine.served_model import mark_of
from tuneworthy.errors import ProviderError
from tuneworthy.providers.base import Provider
from tuneworthy.types import Response, Say, TextTuple

# Failures in a row that eject an endpoint, and how long: the first time, and at most.
EJECT_AFTER = 3
EJECT_S, MAX_EJECT_S = 1.0, 30.0
PROBE_S = 3.0
# `back_at` of an endpoint that was never probed.
NEVER = -1.0
# Codes of failures that another endpoint may not have.
OF_ENDPOINT = frozenset({"connection", "timeout", "server", "incomplete", "malformed", "crash", "refused"})


@dataclass(slots=True, eq=False)
class Endpoint:
    """One server of a model.

    Attributes:
        url: Its address; "" for a model of one provider.
        provider: Answers requests.
        limiter: Of its calls in flight.
        calls: Calls so far.
        failures: Failures in a row.
        ejections: Ejections in a row, each soon after the last.
        back_at: When it is probed again, on the clock of the event loop; None if it is in use, `NEVER` at first.
        returned_at: When a probe last succeeded.
        probe: The probe under way.
        root: The model that its list of models names; "" if unknown.
        vote: Name and fingerprint in its first answer since it is in use.
        fault: Why it gets no more calls: a sentence, or "".
    """

    url: str
    provider: Provider
    limiter: Limiter
    calls: int = 0
    failures: int = 0
    ejections: int = 0
    back_at: float | None = None
    returned_at: float = 0.0
    probe: asyncio.Task[None] | None = None
    root: str = ""
    vote: tuple[str, str] | None = None
    fault: str = ""


class Slot(NamedTuple):
    """Permission for one call."""

    endpoint: Endpoint
    mark: int


class Waiter(NamedTuple):
    """A call that waits for a slot, the endpoints that it avoids, and whether it needs the first one in use."""

    slot: asyncio.Future[Slot]
    avoid: TextTuple
    first: bool


class Fleet:
    """Slots for calls to the endpoints of one model.

    Args:
        providers: By address.
        most: Calls in flight to each endpoint, at most.
        expected: Names of the model in earlier answers or in the project file: without a majority, one of them wins.

    Attributes:
        say: Shown which endpoint serves another model.
        is_decided: Whether enough endpoints have named their model; until then, all answers wait.
    """

    def __init__(self, providers: Mapping[str, Provider], most: int, expected: Collection[str] = ()) -> None:
        self.say: Say = lambda _: None
        self._is_one, self._expected = len(providers) == 1, expected
        self.endpoints = [
            Endpoint(url, one, Limiter(most), back_at=None if self._is_one else NEVER) for url, one in providers.items()
        ]
        self._root, self._name, self._fingerprints = "", "", set[str]()
        self.is_decided, self._judged = False, asyncio.Event()
        self._waiting: deque[Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, avoid: TextTuple = (), *, first: bool = False) -> Slot:
        """Wait for a slot.

        Args:
            avoid: Addresses that get this call only if no other is in use.
            first: Whether the first endpoint in use must answer, so that times compare.
        """
        waiter = Waiter(asyncio.get_running_loop().create_future(), avoid, first)
        self._waiting.append(waiter)
        self._grant()
        try:
            return await waiter.slot
        except asyncio.CancelledError:
            if not waiter.slot.cancelled():  # it came in the same moment: pass it on
                self.release(waiter.slot.result())
            raise

    def release(
        self, slot: Slot, *, code: str | None = "", pushed_back: bool | None = None, wait_s: float | None = None
    ) -> None:
        """Give the slot back.

        Args:
            slot: As `acquire` returned it.
            code: Of the failure; None after an answer, "" if there was no call.
            pushed_back: See `Limiter.release`, as for `wait_s`.
            wait_s: Seconds.
        """
        endpoint, mark = slot
        endpoint.limiter.release(mark, pushed_back=pushed_back, wait_s=wait_s)
        if code is None:
            endpoint.failures, endpoint.back_at = 0, None
        elif not self._is_one:
            endpoint.failures += code in OF_ENDPOINT
            if endpoint.failures >= EJECT_AFTER and endpoint.back_at is None:
                self._eject(endpoint)
            elif code == "connection" and endpoint.back_at is None:  # it may come back with another model: probe it
                endpoint.back_at = 0.0
            self._judge()  # answers may wait for this call
        self._grant()

    def usable(self, avoid: TextTuple = ()) -> list[Endpoint]:
        """Return the endpoints that may get a call, in their order; empty until all were probed."""
        honest = [one for one in self.endpoints if not one.fault]
        if any(one.back_at == NEVER for one in honest):
            return []
        active = [one for one in honest if one.back_at is None] or honest
        return [one for one in active if one.url not in avoid] or active

    def has_other(self, avoid: TextTuple) -> bool:
        """Whether an endpoint is in use that is not among these."""
        return any(one.back_at is None and not one.fault and one.url not in avoid for one in self.endpoints)

    async def fault_of(self, endpoint: Endpoint, answer: Response) -> str:
        """Return why an answer does not come from the fleet's model; "" if it does. The first answers are collected."""
        if self._is_one:
            return ""
        name, fingerprint = mark_of(answer.model), mark_of(answer.fingerprint)
        if endpoint.vote is not None and endpoint.vote[0] == name:
            if self._fingerprints and not endpoint.fault:  # a server that balances load mixes them
                self._fingerprints.add(fingerprint)
            return endpoint.fault
        endpoint.vote = name, fingerprint
        if not self._judge():
            await self._judged.wait()
        return endpoint.fault

    def _judge(self) -> bool:
        """Compare what the endpoints serve; return False while an answer may still change the result."""
        votes = [one.vote for one in self.endpoints if one.vote]
        is_asked = any(not one.vote and not one.failures and one.limiter.in_flight for one in self.endpoints)
        is_even = not self._name and 2 * max(Counter(votes).values(), default=0) <= len(self.endpoints)
        if any(one.back_at == NEVER for one in self.endpoints) or (is_asked and is_even):
            return False
        self.is_decided |= bool(votes)
        self._elect(votes)
        faults = [*map(self._fault, self.endpoints)]
        if all(faults):  # each was started again, and no two agree
            self._fingerprints = set()
            faults = [*map(self._fault, self.endpoints)]
        for one, fault in zip(self.endpoints, faults, strict=True):
            if fault and not one.fault:
                self.say(f"{fault} It gets no further calls.")
            one.fault = fault
        self._judged.set()
        self._judged = asyncio.Event()  # for answers of an endpoint that comes back
        return True

    def _elect(self, votes: Sequence[tuple[str, str]]) -> None:
        """Find root, name and fingerprint of the fleet's model."""
        n = len(self.endpoints)
        self._root = _winner(Counter(one.root for one in self.endpoints if one.root), n, self._root)
        self._name = _winner(Counter(name for name, _ in votes if name), n, self._name, *self._expected)
        marks = Counter(mark for name, mark in votes if mark and name == self._name)
        mark = _winner(marks, n)
        if marks[mark] > 1 and (2 * marks[mark] > n or not self._fingerprints) and mark not in self._fingerprints:
            self._fingerprints = {mark}

    def _fault(self, endpoint: Endpoint) -> str:
        name, mark = endpoint.vote or ("", "")
        for served, usual in ((endpoint.root, {self._root}), (name, {self._name}), (mark, self._fingerprints)):
            if served and usual and served not in usual:
                return f"{endpoint.url} serves {served}, and the other endpoints serve {', '.join(sorted(usual))}."
        return ""

    def _eject(self, endpoint: Endpoint) -> None:
        now = asyncio.get_running_loop().time()
        if now - endpoint.returned_at > MAX_EJECT_S and endpoint.back_at is None:
            endpoint.ejections = 0
        endpoint.back_at = now + min(EJECT_S * 2.0**endpoint.ejections, MAX_EJECT_S)
        endpoint.ejections += 1

    async def _probe(self, endpoint: Endpoint) -> None:
        try:
            async with asyncio.timeout(PROBE_S):
                endpoint.root = await probe() if (probe := getattr(endpoint.provider, "probe", None)) else ""
        except (ProviderError, TimeoutError):
            self._eject(endpoint)
        else:
            endpoint.back_at = endpoint.vote = None
            endpoint.failures = EJECT_AFTER - 1 if endpoint.ejections else 0
            endpoint.returned_at = asyncio.get_running_loop().time()
        finally:
            endpoint.probe = None
        self._judge()
        self._grant()

    def _choose(self, waiter: Waiter) -> Endpoint | None:
        usable = self.usable(waiter.avoid)
        free = [
            one
            for one in (usable[:1] if waiter.first else usable)
            if one.limiter.is_free and (self._is_one or (one.vote and self.is_decided) or not one.limiter.in_flight)
        ]
        return min(free, key=lambda one: (one.limiter.in_flight / one.limiter.limit, one.calls), default=None)

    def _grant(self) -> None:
        loop, rest = asyncio.get_running_loop(), list[Waiter]()
        now = loop.time()
        for one in self.endpoints:
            if one.back_at is not None and one.back_at <= now and one.probe is None and not one.fault:
                one.probe = loop.create_task(self._probe(one))
        while self._waiting:
            waiter = self._waiting.popleft()
            if waiter.slot.done():
                continue
            if endpoint := self._choose(waiter):
                endpoint.calls += 1
                waiter.slot.set_result(Slot(endpoint, endpoint.limiter.take()))
                continue
            rest.append(waiter)
            if not waiter.avoid and not waiter.first:
                break
        self._waiting.extendleft(reversed(rest))
        times = [at for one in self.endpoints for at in (one.limiter.resume_at, one.back_at or 0.0) if at > now]
        if self._waiting and times:
            if self._timer:
                self._timer.cancel()
            self._timer = loop.call_at(min(times), self._grant)


def _winner(votes: Counter[str], n: int, *preferred: str) -> str:
    """Return the vote of more than half of `n` endpoints, else a preferred one, else the most frequent one."""
    ((vote, n_votes),) = votes.most_common(1) or [("", 0)]
    return vote if 2 * n_votes > n else next((one for one in preferred if one in votes), vote)
