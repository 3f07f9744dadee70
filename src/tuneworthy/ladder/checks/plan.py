"""Checks of the plan: the budget, what a run will take, what difference can be seen, waivers."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from tuneworthy.ladder.check import Fault, check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.providers.prices import price_for
from tuneworthy.retrieval.library import paid_servers
from tuneworthy.stats.sizing import LOSS, MOST_CASES
from tuneworthy.store import ResponseStore

NEVER_WAIVED = frozenset({"test_set", "baseline", "contamination", "judge", "parity"})


def _paid(facts: Facts) -> list[str]:
    models = facts.project.models.items()
    paid = [name for name, m in models if not facts.excluded(name) and (p := price_for(m)) is not None and not p.free]
    return [*paid, *paid_servers(facts.project)]


@check("budget_missing", "warning")
def budget_missing(facts: Facts) -> Iterator[Fault]:
    """A model costs money, and `ladder.budget_usd` sets no limit: `run` asks, or needs `--max-usd` or `--yes`."""
    paid = _paid(facts)
    if paid and facts.project.ladder.budget_usd is None:
        yield Fault(
            f"ladder.budget_usd: expected a limit, because {', '.join(paid)} cost money, got none",
            "set ladder.budget_usd, or use `run --max-usd`",
        )


@check("budget_short", "warning")
def budget_short(facts: Facts) -> Iterator[Fault]:
    """The budget does not cover what a run is expected to cost: it would stop on the way (and can be resumed)."""
    budget = facts.project.ladder.budget_usd
    if budget is None or facts.estimate is None or facts.estimate.usd[1] <= budget:
        return
    low, high = facts.estimate.usd
    yield Fault(
        f"ladder.budget_usd: expected ${low:.2f} to ${high:.2f} for a run, got ${budget:.2f}",
        "raise it, or walk fewer rungs (ladder.rungs)",
    )


@check("power", "note")
def resolution(facts: Facts) -> Iterator[Fault]:
    """What difference test can show at its size and at the error that each look may spend, against `task.margin`.

    A warning if a gain of `margin` will mostly stay unresolved. Assumed: the better variant gets 5 % of the cases
    wrong that the other gets right; and 10 % of the cases differ where two variants are equally good.
    """
    found = facts.resolution
    if found is None:
        return
    look = f"{found.n} test cases and {found.comparisons} looks (alpha {found.alpha:.4f} each)"
    seen = "no difference at all" if found.difference == inf else f"a gain of {found.difference:.3f}"
    words = f"with {look}, {seen} is found 8 times in 10 if {LOSS:.0%} of the cases get worse"
    if found.n_groups < found.n:
        grouped = "none" if found.grouped == inf else f"{found.grouped:.3f}"
        words += f"; {grouped} if the cases of each of the {found.n_groups} groups go alike"
    words += f"; to show that nothing got worse by {found.margin:g} takes {found.n_no_worse:,} cases"
    if found.difference <= found.margin:
        yield Fault(f"{words}: enough for the margin of {found.margin:g}")
        return
    needed = f"about {found.n_for_margin:,}" if found.n_for_margin else f"more than {MOST_CASES:,}"
    yield Fault(
        f"{words}: a gain of the margin ({found.margin:g}) will mostly stay unresolved",
        f"{needed} test cases would find it; or set task.margin to what matters",
        "warning",
    )


@check("estimate", "note")
def estimate(facts: Facts) -> Iterator[Fault]:
    """Calls, dollars and minutes of the whole run, from what the rungs would propose.

    The lower end adopts nothing; the upper end adopts the dearest candidate of each rung. Tokens are bytes / 4, and
    times are assumed where no run has measured them; the JSON form lists what is assumed.
    """
    if facts.estimate is None:
        return
    stored = 0
    if facts.folder.responses.exists():
        store = ResponseStore(facts.folder.responses)
        stored = len(store)
        store.close()
    more = f"; {stored} answers are stored, and none of them is asked again" if stored else ""
    yield Fault(f"{facts.estimate} (an estimate){more}")


@check("waiver", "error")
def waiver(facts: Facts) -> Iterator[Fault]:
    """A gate is waived that cannot be: `test_set`, `baseline`, `overlap`, `judge` and `parity`."""
    for one in facts.project.waivers:
        if one.gate in NEVER_WAIVED:
            yield Fault(f"[[waivers]]: expected a gate that can be waived, got {one.gate!r}", "remove this waiver")
