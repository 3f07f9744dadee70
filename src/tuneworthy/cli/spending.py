"""The cost of a project's calls, in words."""

from contextlib import closing, suppress
from pathlib import Path

from tuneworthy.cli.options import note
from tuneworthy.config import Project
from tuneworthy.errors import UserError
from tuneworthy.store import Expenses, Folder, ResponseStore
from tuneworthy.store.signatures import MeasuredElsewhere
from tuneworthy.types import JsonObject


def read_money(project: Project) -> JsonObject:
    """Return the cost of the calls of `project` so far; makes no file."""
    folder, spending = Folder(project.root), Expenses()
    if folder.responses.exists():
        with closing(ResponseStore(folder.responses)) as store:
            spending = store.spending(folder.holder())
    limit = project.ladder.budget_usd
    return {
        "budget_usd": limit,
        "spent_usd": spending.usd,
        "answered_usd": spending.answered_usd,
        "never_answered_usd": spending.unanswered_usd,
        "reserved_usd": spending.reserved_usd,
        "never_answered_calls": spending.n_unanswered,
        "left_usd": None if limit is None else max(0.0, limit - spending.usd),
    }


def note_elsewhere(root: Path) -> None:
    """Say on stderr how many stored answers of the project in `root` the user has not accepted, and whose they are."""
    with suppress(UserError):  # `doctor` names a damaged store
        if (path := Folder(root).responses).exists():
            with closing(ResponseStore(path)) as store:
                if origins := store.measured_elsewhere():
                    note(str(MeasuredElsewhere(origins)))


def words(money: JsonObject) -> str:
    text = (
        "Spent: ${answered_usd:.4f} for answered calls and ${never_answered_usd:.4f} for calls without an answer (n = "
        "{never_answered_calls}). Reserved for calls in flight: ${reserved_usd:.4f}. "
    )
    if money["budget_usd"] is None:
        return text.format_map(money) + "The project file sets no budget."
    return (text + "${left_usd:.4f} of the budget of ${budget_usd:.2f} is left.").format_map(money)
