"""Comparisons on test: planned by a run, named by their question to the data, paid for in alpha beforehand."""

from collections.abc import Callable

from tuneworthy.errors import UserError
from tuneworthy.ladder.comparison_plan import (
    read_comparisons,
    rungs_with_comparisons,
    slot_name,
    with_slots,
    write_comparisons,
)
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.session import Session
from tuneworthy.stats.comparisons import SHARED, ComparisonPlan, UsedUp
from tuneworthy.types import Variant, content_hash


def forget_agreement(session: Session) -> None:
    """Start the plan again where the last run compared agreement with today's model, and right answers are new."""
    was = read_record(session.folder)
    if was and was.agreement and not session.agreement:
        write_comparisons(session.folder, ComparisonPlan())


def plan_comparisons(session: Session) -> ComparisonPlan:
    rungs = rungs_with_comparisons(session.project, session.split, session.task)
    plan = with_slots(read_comparisons(session.folder), rungs, session.split)
    write_comparisons(session.folder, plan)
    return plan


def planned_alpha(session: Session) -> float | None:
    """Return the alpha of a comparison on the test set as it is now, before any is passed on; None before a plan."""
    plan = read_comparisons(session.folder)
    return (
        plan.added.get(slot_name(plan.planned[0], session.split), SHARED / len(plan.planned)) if plan.planned else None
    )


def earlier_levels(session: Session, rung: str, a: Variant, b: Variant) -> list[tuple[int, float]]:
    """Return when `b` was compared with `a` before cases were added: the number of additions then, and the alpha."""
    plan = read_comparisons(session.folder)
    names = [comparison_id(session, rung, a, b, additions=times) for times in range(len(session.split.additions))]
    return [(times, plan.alpha_for(name)) for times, name in enumerate(names) if name in plan.spent]


def comparison_id(session: Session, rung: str, a: Variant, b: Variant, *, additions: int | None = None) -> str:
    """Name the comparison of `b` with `a`: another primary grader or another margin asks the data another question.

    So do further cases; `additions` is how often there were some, as often as now unless it is given.

    Corrected labels do not: the same comparison is then made again, with better data. Nor does another rung: a pair
    that one rung has compared keeps that name.
    """
    question = content_hash([dict(session.primary.identity), session.project.task.margin])
    times = len(session.split.additions) if additions is None else additions
    pair, spent = f":{b.id}~{a.id}@{question}" + (f"+{times}" if times else ""), read_comparisons(session.folder).spent
    return next((name for name in (rung + pair, *spent) if name in spent and name.endswith(pair)), rung + pair)


def take_comparison(session: Session, rung: str, a: Variant, b: Variant) -> float:
    """Take the comparison of `b` with `a` (the same one again costs nothing) and return its alpha.

    Those of the ladder are planned first, so that any other takes its alpha from the reserve.

    Raises:
        UserError: There were so many that nothing can be shown on this test set any more.
    """
    name = comparison_id(session, rung, a, b)
    return _take(session, name, lambda plan: plan.take(name, slot_name(rung, session.split)))


def pass_on(session: Session, key: str) -> None:
    """Let a comparison that found a gain, or a rung that compares nothing, pass its alpha on (see `ComparisonPlan`)."""
    write_comparisons(session.folder, read_comparisons(session.folder).pass_on(key))


def measure_today(session: Session, today: Variant) -> float:
    """Note that today's variant is measured on test, and return the alpha of that: 0 for the first one.

    It is compared with nothing; but editing the prompt and measuring it again picks the best of several scores, so
    that every further one is charged.

    Raises:
        UserError: As `take_comparison`.
    """
    name = f"baseline:{today.id}"
    return _take(session, name, lambda plan: plan.note_first(name, "baseline"))


def _take(session: Session, name: str, take: Callable[[ComparisonPlan], ComparisonPlan]) -> float:
    try:
        plan = take(plan_comparisons(session))
    except UsedUp as error:
        raise UserError(
            f"The test set is used up. {error}", hint="Collect a new test set, or compare on the dev set."
        ) from None
    write_comparisons(session.folder, plan)
    return plan.alpha_for(name)
