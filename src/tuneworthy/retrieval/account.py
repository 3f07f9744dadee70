"""What servers of `[retrieval]` answer and cost: stored a text at a time, in the store and the budget of all calls.

Invariants: the most that a call can cost is reserved and noted before it is sent; an answer is committed the moment it
arrives and never paid for twice; a call that may have been billed without an answer counts at its ceiling until the
same texts are answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from tuneworthy.providers.drain import GRACE_S
from tuneworthy.store import ResponseStore
from tuneworthy.types import Response


class SpendingLimit(Protocol):
    """A limit on what calls may cost (`evaluate.budget`)."""

    def take(self, ceiling_usd: float) -> None:
        """Reserve the most that a call can cost; raises `BudgetSpent` if it could exceed the limit."""

    def settle(self, ceiling_usd: float, cost_usd: float, *, answered: bool = True) -> None:
        """Replace the reservation by the cost of the call."""


class Account:
    """Pays for calls and stores their answers.

    Args:
        store: Of all answers of the project.
        budget: Of all calls of the project.
        grace_s: How long a call in flight may take once the command is stopped, seconds.
    """

    def __init__(self, store: ResponseStore, budget: SpendingLimit, grace_s: float = GRACE_S) -> None:
        self._store, self._budget, self.grace_s = store, budget, grace_s
        # Seconds that answers took when they were paid for, and that taking them from the store saved.
        self.saved_s = 0.0

    def stored(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        answers = self._store.get_many(keys).items()
        responses = {key: answer for key, (answer, _) in answers if isinstance(answer, Response)}
        self.saved_s += sum(response.seconds for response in responses.values())
        return {key: response.text for key, response in responses.items()}

    @contextmanager
    def call(self, keys: Sequence[bytes], ceiling_usd: float) -> Iterator[Call]:
        """Reserve money for one attempt, which is made within; it costs its ceiling unless the `Call` says otherwise.

        Raises:
            BudgetSpent: The call could exceed the budget; it must not be sent.
            UserError: The answers could not be signed.
        """
        self._store.require_key()
        if not ceiling_usd:
            yield Call(self._store, {}, 0.0)
            return
        self._budget.take(ceiling_usd)
        call = Call(self._store, {}, 0.0)
        try:
            share = ceiling_usd / len(keys)
            call = Call(self._store, {key: self._store.open_call(key, share) for key in keys}, ceiling_usd)
            yield call
        finally:
            self._budget.settle(ceiling_usd, call.cost_usd, answered=call.answered)


class Call:
    """A call that was paid for in advance; `notes` has the number of the note per key."""

    def __init__(self, store: ResponseStore, notes: Mapping[bytes, int], cost_usd: float) -> None:
        self._store, self._notes = store, notes
        self.cost_usd = cost_usd
        self.answered = False

    def not_billed(self) -> None:
        self.cost_usd = 0.0
        for note in self._notes.values():
            self._store.close_call(note)

    def commit(self, answers: Mapping[bytes, str], cost_usd: float, seconds: float) -> None:
        """Store the answers, each with an equal share of the cost (US dollars) and of the time."""
        n = len(answers)
        for key, text in answers.items():
            self._store.put(key, Response(text=text, seconds=seconds / n), cost_usd / n, self._notes.get(key, 0))
        self.cost_usd, self.answered = cost_usd, True
