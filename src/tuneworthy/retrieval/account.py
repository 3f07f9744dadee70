"""What servers of `[retrieval]` answer and cost: stored a text at a time, in the store and the budget of all calls.

Invariants: the most that a call can cost is reserved and noted before it is sent; an answer is committed the moment it
arrives and never paid for twice; a call that may have been billed without an answer counts at its ceiling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from tuneworthy.store import ResponseStore
from tuneworthy.types import Response


class SpendingLimit(Protocol):
    """A limit on what calls may cost (`evaluate.budget`)."""

    def take(self, ceiling_usd: float) -> None:
        """Reserve the most that a call can cost; raises `BudgetSpent` if it could exceed the limit."""

    def settle(self, ceiling_usd: float, cost_usd: float) -> None:
        """Replace the reservation by what the call cost."""


class Account:
    """Pays for calls and stores their answers.

    Args:
        store: Of all answers of the project.
        budget: Of all calls of the project.
    """

    def __init__(self, store: ResponseStore, budget: SpendingLimit) -> None:
        self._store, self._budget = store, budget
        # Seconds that answers took when they were paid for, and that taking them from the store saved.
        self.saved_s = 0.0

    def stored(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Return the answers that are stored under `keys`."""
        answers = {key: answer for key, (answer, _) in self._store.get_many(keys).items()}
        responses = {key: answer for key, answer in answers.items() if isinstance(answer, Response)}
        self.saved_s += sum(response.seconds for response in responses.values())
        return {key: response.text for key, response in responses.items()}

    @contextmanager
    def call(self, key: bytes, ceiling_usd: float) -> Iterator[Call]:
        """Reserve money for one attempt, which is made within; it costs its ceiling unless the `Call` says otherwise.

        Raises:
            BudgetSpent: The call could exceed the budget; it must not be sent.
        """
        if not ceiling_usd:
            yield Call(self._store, 0, 0.0)
            return
        self._budget.take(ceiling_usd)
        call = Call(self._store, 0, 0.0)
        try:
            call = Call(self._store, self._store.open_call(key, ceiling_usd), ceiling_usd)
            yield call
        finally:
            self._budget.settle(ceiling_usd, call.cost_usd)


class Call:
    """A call that was paid for in advance."""

    def __init__(self, store: ResponseStore, note: int, cost_usd: float) -> None:
        self._store, self._note = store, note
        self.cost_usd = cost_usd

    def not_billed(self) -> None:
        """Note that the call cost nothing."""
        self.cost_usd = 0.0
        if self._note:
            self._store.close_call(self._note)

    def commit(self, answers: Mapping[bytes, str], cost_usd: float, seconds: float) -> None:
        """Store the answers, each with an equal share of the cost (US dollars) and of the time."""
        share = len(answers)
        for place, (key, text) in enumerate(answers.items(), 1):
            self._store.put(
                key, Response(text=text, seconds=seconds / share), cost_usd / share, self._note if place == share else 0
            )
        self.cost_usd = cost_usd
