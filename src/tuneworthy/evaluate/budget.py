"""Money: reserved before a call is sent, settled when it answers, never more than the limit."""

from __future__ import annotations

from tuneworthy.errors import BudgetSpent


class Budget:
    """A limit on what calls may cost.

    Args:
        limit_usd: The limit, US dollars; None for no limit.
        spent_usd: What counts against it already.
    """

    def __init__(self, limit_usd: float | None, spent_usd: float = 0.0) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0

    def __repr__(self) -> str:
        return (
            f"Budget(spent_usd={self.spent_usd:.4f}, reserved_usd={self.reserved_usd:.4f}, limit_usd={self.limit_usd})"
        )

    def reserve(self, ceiling_usd: float) -> None:
        """Set the most that a call can cost aside.

        Raises:
            BudgetSpent: The call could exceed the limit; it must not be sent.
        """
        if self.limit_usd is not None and self.spent_usd + self.reserved_usd + ceiling_usd > self.limit_usd:
            raise BudgetSpent(
                f"expected the next call to fit the budget of ${self.limit_usd:.2f}, got ${self.spent_usd:.4f} spent "
                f"and up to ${self.reserved_usd + ceiling_usd:.4f} for calls in flight and the next one",
                hint="raise budget_usd or --max-usd and run again; what was answered is kept",
            )
        self.reserved_usd += ceiling_usd

    def settle(self, ceiling_usd: float, cost_usd: float) -> None:
        """Replace a reservation by what the call did cost."""
        self.reserved_usd -= ceiling_usd
        self.spent_usd += cost_usd
