"""The cost of a project's calls, in words."""

from contextlib import closing, suppress
from pathlib import Path

from tuneworthy.cli.options import note
from tuneworthy.config import Project
from tuneworthy.errors import UserError, join_sentences
from tuneworthy.store import Expenses, Folder, ResponseStore
from tuneworthy.store.signatures import MeasuredElsewhere
from tuneworthy.types import frozen


@frozen
class BudgetState:
    """Spending of a budget, US dollars.

    Attributes:
        budget_usd: Of the project file; None without one.
        spent_usd: The next three together.
        answered_usd: Calls that were answered.
        never_answered_usd: Calls that were cut off: the cost of the same request, or their ceiling.
        reserved_usd: Calls that are in flight now, at their ceiling.
        never_answered_calls: Calls that were cut off.
        left_usd: The rest of the budget; None without one.
    """

    budget_usd: float | None
    spent_usd: float
    answered_usd: float
    never_answered_usd: float
    reserved_usd: float
    never_answered_calls: int
    left_usd: float | None


def read_money(project: Project) -> BudgetState:
    """Return the cost of the calls of `project` so far; makes no file."""
    folder, spending = Folder(project.root), Expenses()
    if folder.responses.exists():
        with closing(ResponseStore(folder.responses)) as store:
            spending = store.spending(folder.holder())
    limit = project.ladder.budget_usd
    return BudgetState(
        budget_usd=limit,
        spent_usd=spending.usd,
        answered_usd=spending.answered_usd,
        never_answered_usd=spending.unanswered_usd,
        reserved_usd=spending.reserved_usd,
        never_answered_calls=spending.n_unanswered,
        left_usd=None if limit is None else max(0.0, limit - spending.usd),
    )


def note_elsewhere(root: Path) -> None:
    """Say on stderr how many stored answers of the project in `root` the user has not accepted, and whose they are."""
    with suppress(UserError):  # `doctor` names a damaged store
        if (path := Folder(root).responses).exists():
            with closing(ResponseStore(path)) as store:
                if origins := store.measured_elsewhere():
                    note(str(MeasuredElsewhere(origins)))


def words(money: BudgetState) -> str:
    spent = (
        f"Spent: ${money.answered_usd:.4f} for answered calls and ${money.never_answered_usd:.4f} for calls without an "
        f"answer (n = {money.never_answered_calls}). Reserved for calls in flight: ${money.reserved_usd:.4f}."
    )
    if money.budget_usd is None:
        return join_sentences(spent, "The project file sets no budget.")
    return join_sentences(spent, f"${money.left_usd:.4f} of the budget of ${money.budget_usd:.2f} is left.")
