"""Follow the next step that a verdict names, and say whether that settles the question within twice its cost."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from scripts.simulations.measure import Decided, simulate
from scripts.simulations.truth import World

from tuneworthy.verdict import messages
from tuneworthy.verdict.base import NextAction
from tuneworthy.verdict.next_action import USD_PER_MINUTE

MOST_STEPS = 6
# Times its stated cost that a step may take.
ALLOWED = 2.0
# What a search finds once it was repaired.
REPAIRED = 0.9


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of following a step: whether the question is settled, and what was done."""

    settled: bool
    steps: tuple[str, ...]
    last: Decided


def follow(decided: Decided) -> Followed:
    """Follow the next steps until the outcome is firm, or twice the cost of the first is spent."""
    first = price(decided.verdict.next_action)
    spent, steps = 0.0, []
    while not decided.firm and len(steps) < MOST_STEPS:
        action = decided.verdict.next_action
        spent += price(action)
        name, world = after(decided.world, action)
        steps.append(name)
        if world is None or spent > ALLOWED * first + 1e-9:
            break
        decided = simulate(world)
    return Followed(decided.firm, tuple(steps), decided)


def price(action: NextAction) -> float:
    """Return what a step is said to cost, US dollars."""
    return (action.usd or 0.0) + (action.person_minutes or 0.0) * USD_PER_MINUTE


def after(world: World, action: NextAction) -> tuple[str, World | None]:
    """Return the name of a step, and the world in which it was taken; None if it names nothing that can be done."""
    command, why = action.command, action.why
    if command == "tuneworthy cases add":
        more = int(re.findall(r"\d[\d,]*", why)[0].replace(",", ""))
        return "add cases", replace(world, n_test=world.n_test + more)
    if rungs := re.findall(r"--rung (\w+)", command):
        new = tuple(rung for rung in rungs if rung not in world.rungs)
        return "run " + ", ".join(rungs), replace(world, rungs=(*world.rungs, *new)) if new else None
    if command == "tuneworthy cases label --suspects":
        return "label suspects", replace(world, knows=world.knows | {"labels"})
    if command == "tuneworthy cases label --judge":
        return "judge", replace(world, n_human=world.n_human * 2)
    if why == messages.say("set_traffic"):
        return "set traffic", replace(world, knows=world.knows | {"traffic"})
    if why.startswith("Set the price"):
        return "set price", replace(world, knows=world.knows | {"prices"})
    if why == messages.say("give_documents"):
        exist = world.seed % 2 == 0
        return "documents", replace(world, knows=world.knows | {"documents" if exist else "waiver"})
    if why == messages.say("fix_search"):
        return "fix search", replace(world, search=REPAIRED)
    return why[:40] or command, None
