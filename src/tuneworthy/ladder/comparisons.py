"""The looks at the test set of a project: which ones a run plans, what tells one from another, and taking one.

Invariants: a look is paid for in alpha before anything of it is asked, and kept in `.tuneworthy/comparisons.json`; the
stored split tells how many were taken, so that a test set that was looked at is never taken for a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.ladder.rung import Task
from tuneworthy.ladder.rungs.tuned_models import tuned_models
from tuneworthy.retrieval.library import documents_path
from tuneworthy.stats.comparisons import ComparisonPlan, UsedUp
from tuneworthy.store import Folder
from tuneworthy.types import Example, Variant, content_hash

if TYPE_CHECKING:
    from tuneworthy.ladder.session import Session

NAME = "comparisons"
TAKEN = "comparisons"
"""Key of the stored split: how many looks were taken at its test cases."""


class HasShots(Protocol):
    """The part of a split that looks depend on."""

    @property
    def shots(self) -> Sequence[Example]: ...


def read_comparisons(folder: Folder) -> ComparisonPlan:
    """Return the looks planned and taken so far; an empty plan where nobody has looked yet.

    Raises:
        UserError: Looks were planned, and the plan is gone, was set back, or is none.
    """
    document, taken = folder.read(NAME), (folder.read("split") or {}).get(TAKEN)
    if document is None and taken is None and not (folder.path / "run.json").exists():
        return ComparisonPlan()
    try:
        plan = ComparisonPlan.from_dict(document or {})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _gone(folder, "none" if document is None else "something else") from None
    if len(plan.spent) < (taken or 0):
        raise _gone(folder, f"{len(plan.spent)} of the {taken} that were taken")
    return plan


def write_comparisons(folder: Folder, plan: ComparisonPlan) -> None:
    """Keep the plan, and note in the stored split how many looks were taken."""
    folder.write(NAME, plan.to_dict())
    folder.write("split", (folder.read("split") or {}) | {TAKEN: len(plan.spent)})


def _gone(folder: Folder, got: str) -> UserError:
    return UserError(
        f"expected the looks at test in {folder.path / NAME}.json, got {got}",
        hint="they are part of the test set: put the file back, or start over with a new test set",
    )


def rungs_with_comparisons(project: Project, split: HasShots, task: Task) -> list[str]:
    """Return the rungs that can put something to test; the look of `classical` is the best against it."""
    able = {
        "classical": len(split.shots) > 0,
        "retrieval": documents_path(project) is not None,
        "model": len(project.answering) > 1,
        "few_shot": len(split.shots) > 0 or task.structured.kind != "free",
        "fine_tune": bool(tuned_models(project)),
    }
    return [name for name in project.ladder.rungs if name != "baseline" and able.get(name, True)]


def plan_comparisons(session: Session) -> ComparisonPlan:
    """Plan a look for each rung that can put something to test, and store the plan; planning again adds looks only."""
    plan = read_comparisons(session.folder).plan(rungs_with_comparisons(session.project, session.split, session.task))
    write_comparisons(session.folder, plan)
    return plan


def comparison_id(session: Session, rung: str, a: Variant, b: Variant) -> str:
    """Name the look at `b` against `a`: another primary grader or another margin asks the data another question.

    Corrected labels do not: the same comparison is then made again, with better data.
    """
    question = content_hash([dict(session.primary.identity), session.project.task.margin])
    return f"{rung}:{b.id}~{a.id}@{question}"


def take_comparison(session: Session, rung: str, a: Variant, b: Variant) -> float:
    """Take the look at `b` against `a` (the same one again costs nothing) and return its alpha.

    The looks of the ladder are planned first, so that another look takes its alpha from the reserve.

    Raises:
        UserError: So much was looked at that nothing can be shown on this test set any more.
    """
    look = comparison_id(session, rung, a, b)
    return _kept(session, look, lambda plan: plan.take(look, rung))


def measure_today(session: Session, today: Variant) -> float:
    """Note that today's variant is put to test, and return the alpha of it: 0 for the first one.

    It is compared with nothing; but who edits the prompt and measures it on test again picks the best of several
    scores, so that every further one is a look.

    Raises:
        UserError: As `take_look`.
    """
    look = f"baseline:{today.id}"
    return _kept(session, look, lambda plan: plan.note_first(look, "baseline"))


def _kept(session: Session, look: str, taken: Callable[[ComparisonPlan], ComparisonPlan]) -> float:
    """Take a look out of the plan, keep the plan, and return the look's alpha."""
    try:
        plan = taken(plan_comparisons(session))
    except UsedUp as error:
        raise UserError(f"the test set is used up: {error}", hint="collect a new one, or compare on dev") from None
    write_comparisons(session.folder, plan)
    return plan.alpha_for(look)
