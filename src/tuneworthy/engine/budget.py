"""Money: reserved before a call is sent, settled when it answers, never more than the limit.

A call in flight counts at its ceiling, often many times its final cost. So a call that does not fit waits until
another settles; the budget is spent only if it does not fit without calls in flight. A call that was sent and
not answered counts at its ceiling until the same request is answered, and then at the cost of that answer.
"""

import asyncio
import math
from collections import deque

from tuneworthy.errors import BudgetSpent


class Budget:
    """A limit on what calls may cost.

    Args:
        limit_usd: The limit, US dollars; None for no limit.
        spent_usd: What counts against it already.
        unanswered_usd: Part for calls without an answer.
        command_usd: Limit that the user gave for this command, if it is the one that applies.
    """

    def __init__(
        self,
        limit_usd: float | None,
        spent_usd: float = 0.0,
        unanswered_usd: float = 0.0,
        command_usd: float | None = None,
    ) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.unanswered_usd = unanswered_usd
        self.command_usd = command_usd
        self.reserved_usd = 0.0
        self.in_flight = 0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    async def reserve(self, ceiling_usd: float) -> None:
        """Set the most that a call can cost aside; wait while only calls in flight prevent it.

        Raises:
            BudgetSpent: The call could exceed the limit; it must not be sent.
        """
        if not self._waiting and self._take(ceiling_usd):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((ceiling_usd, waiter))
        self._grant()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.settle(ceiling_usd, 0.0)
            else:
                self._grant()  # those behind may fit where this one did not
            raise

    def take(self, ceiling_usd: float) -> None:
        """Set the most that a call can cost aside at once, where nothing can be waited for.

        Raises:
            BudgetSpent: The call could exceed the limit; it must not be sent.
        """
        if not self._take(ceiling_usd):
            raise self._spent(ceiling_usd)

    def settle(self, ceiling_usd: float, cost_usd: float, *, answered: bool = True) -> None:
        self.in_flight -= 1
        self.reserved_usd = self.reserved_usd - ceiling_usd if self.in_flight else 0.0  # no drift
        self.spent_usd += cost_usd
        self.unanswered_usd += 0.0 if answered else cost_usd
        self._grant()

    @property
    def room_usd(self) -> float:
        """What another call may cost now."""
        return math.inf if self.limit_usd is None else self.limit_usd - self.spent_usd - self.reserved_usd

    def resume(self, ceiling_usd: float) -> None:
        """Reserve what an earlier process was charged for calls that may still be answered."""
        self.spent_usd -= ceiling_usd
        self.unanswered_usd -= ceiling_usd
        self.reserved_usd += ceiling_usd
        self.in_flight += 1

    def refund(self, usd: float) -> None:
        """Refund the charge of unanswered calls above the cost of the same request."""
        self.spent_usd -= usd
        self.unanswered_usd -= usd
        self._grant()

    def _take(self, ceiling_usd: float) -> bool:
        if self.limit_usd is not None and self.spent_usd + self.reserved_usd + ceiling_usd > self.limit_usd:
            return False
        self.reserved_usd += ceiling_usd
        self.in_flight += 1
        return True

    def _grant(self) -> None:
        while self._waiting:
            ceiling_usd, waiter = self._waiting[0]
            if not waiter.done():
                if self._take(ceiling_usd):
                    waiter.set_result(None)
                elif self.in_flight == 0:
                    waiter.set_exception(self._spent(ceiling_usd))
                else:
                    return
            self._waiting.popleft()

    def _spent(self, ceiling_usd: float) -> BudgetSpent:
        limit = f"The budget of ${self.limit_usd or 0.0:.4f}"
        if self.command_usd is not None:
            limit = f"The limit of ${self.command_usd:,.{2 if self.command_usd >= 1 else 4}f} for this command"
        return BudgetSpent(
            (
                f"{limit} is used up. Charged in all: "
                f"${self.spent_usd - self.unanswered_usd:.4f} for answered calls and ${self.unanswered_usd:.4f} "
                f"for calls without an answer. Reserved for calls in flight: ${self.reserved_usd:.4f}. The next "
                f"call could cost up to ${ceiling_usd:.4f}."
            ),
            hint="Raise budget_usd, --max-usd or max_usd, then run this again. A project keeps its finished calls."
            + " If the calls without an answer were not billed, run `tuneworthy doctor --release`."
            * (self.unanswered_usd > 0),
        )
