"""Follow the next step that a verdict names, and say whether that settles the question within twice its cost."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from scripts.simulations.measure import Decided, simulate
from scripts.simulations.truth import World

from tuneworthy.money.economics import SET_TRAFFIC
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import NextAction
from tuneworthy.verdict.next_action import USD_PER_MINUTE

MOST_STEPS = 6
# Times its stated cost that a step may take.
ALLOWED = 2.0
# What a search finds once it was repaired.
REPAIRED = 0.9
# Sensitivity and specificity of another judge.
GOOD_JUDGE = 0.97


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
        decided = simulate(world, decided.plan)
    return Followed(decided.firm, tuple(steps), decided)


def price(action: NextAction) -> float:
    """Return what a step is said to cost, US dollars."""
    return (action.usd or 0.0) + (action.person_minutes or 0.0) * USD_PER_MINUTE


def after(world: World, action: NextAction) -> tuple[str, World | None]:
    """Return the names of the steps of an action, and the world in which they were taken; None if none can be."""
    why, steps, knows, rungs = action.why, [], set(world.knows), list(world.rungs)
    changed = world
    if more := re.search(r"Add (\d[\d,]*) test cases", why):
        steps.append("add cases")
        n = int(more[1].replace(",", ""))
        rated = n if "ratings of the answers" in why else 0
        changed = replace(changed, n_test=world.n_test + n, added=(*world.added, n), n_human=world.n_human + rated)
    wanted = re.findall(r"--rung (\w+)", action.command)
    if new := [rung for rung in wanted if rung not in rungs]:
        steps.append("run " + ", ".join(new))
        rungs += new
    if "--judge" in action.command:  # the answers to cases that are added too
        steps.append("judge")
        changed = replace(changed, n_human=2 * world.n_human)
    for name, sentence, known in (
        ("set traffic", SET_TRAFFIC, "traffic"),
        ("set price", "Set the price of the model", "prices"),
        ("set costs", messages.SET_COSTS, "costs"),
        ("set chance of success", "Narrow [economics.ranges]", "success"),
        ("documents", messages.GIVE_DOCUMENTS, "documents" if world.seed % 2 == 0 else "waiver"),
    ):
        if sentence in why:
            steps.append(name)
            knows.add(known)
    if again := re.search(r"Relabel up to (\d+) failed cases", why):
        steps.append("label suspects")
        changed = replace(changed, relabelled=world.relabelled + int(again[1]))
    if not more and (other := re.search(r"a target of (\d+)% is met", why)):
        steps.append("lower the target")
        changed = replace(changed, target=int(other[1]) / 100)
    if messages.FIX_SEARCH in why:
        steps.append("fix search")
        changed = replace(changed, search=REPAIRED)
    if messages.OTHER_JUDGE in why:
        steps.append("another judge")
        fair = {name: replace(model, likes=0.0) for name, model in world.models.items()}
        changed = replace(changed, sensitivity=GOOD_JUDGE, specificity=GOOD_JUDGE, models=fair)
    if not steps:
        return why[:40] or action.command, None
    return " + ".join(steps), replace(changed, knows=frozenset(knows), rungs=tuple(rungs))
