"""What must be answered where all is known: the rules of the contract, written a second time, on the drawn truth.

No code of the package is used, so that a fault in its rules shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from scripts.simulations.truth import CAPACITY, HORIZON, MONTHLY_USD, ONE_OFF_USD, SERVER_USD, World

MOST_REQUESTS = 10_000_000
# An option displaces another if it costs at most this share of it; a class is a lever above one half of the failures.
SAVING, MOST = 0.8, 0.5
# How far a share is from one half, and money and latency from their thresholds, to be near.
NEAR_SHARE, NEAR = 0.1, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is true of an option that was measured, or of a rung that was not run yet.

    Attributes:
        score: By the labels of the files.
        usd_per_1k: None where the project does not know it.
        today: Whether it is today's. classical: whether it is the classical baseline.
        tried: Whether it was compared.
    """

    name: str
    score: float
    usd_per_1k: float | None
    p95_ms: float
    hosted: bool = False
    today: bool = False
    classical: bool = False
    tried: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """The right outcome, and the rule that gives it."""

    outcome: str
    by: str


def right_answer(world: World, options: Sequence[Measured], failures: Mapping[str, float], oracle: float) -> Answer:
    """Return the right outcome.

    Args:
        world: The truth.
        options: What was measured, and what was not yet.
        failures: True shares of the failures of the best language model.
        oracle: True score where the right documents are handed over.
    """
    answers = {_known(one, options, failures, oracle) for one in _supposed(world)}
    if len({answer.outcome for answer in answers}) > 1:
        return Answer("undecided", "unknown")
    return min(answers, key=lambda answer: answer.by)


def is_near(world: World, options: Sequence[Measured], failures: Mapping[str, float], oracle: float) -> bool:
    """Return whether half a margin, or a tenth of a share, of money or of latency, would change the right outcome."""
    now = right_answer(world, options, failures, oracle).outcome
    half = world.margin / 2
    for changed in _shifted(world, options, half):
        if right_answer(world, changed, failures, oracle).outcome != now:
            return True
    for by in (-NEAR_SHARE, NEAR_SHARE):
        moved = {name: share + by for name, share in failures.items()}
        if right_answer(world, options, moved, oracle).outcome != now:
            return True
    for factor in (1 - 2 * NEAR, 1 / (1 - 2 * NEAR)):
        worth = None if world.worth is None else world.worth * factor
        moved_world = replace(world, requests=world.requests * factor, worth=worth)
        if right_answer(moved_world, options, failures, oracle).outcome != now:
            return True
    return any(right_answer(world, options, failures, oracle + by).outcome != now for by in (-half, half))


def _shifted(world: World, options: Sequence[Measured], half: float) -> Iterator[list[Measured]]:
    for by in (-half, half):
        yield [replace(one, score=one.score + by) for one in options]
        for moved in options:
            yield [replace(one, score=one.score + by) if one is moved else one for one in options]


def _supposed(world: World) -> Iterator[World]:
    """Yield the worlds that the project's keys leave possible."""
    traffic = [world] if "traffic" in world.knows else [replace(world, requests=x) for x in (0.0, 3e5, MOST_REQUESTS)]
    yield from traffic


def _known(world: World, options: Sequence[Measured], failures: Mapping[str, float], oracle: float) -> Answer:
    def eligible(one: Measured) -> bool:
        return not (world.on_device and one.hosted) and (world.p95_ms is None or one.p95_ms <= world.p95_ms)

    def meets(one: Measured) -> bool:
        return one.score >= world.target and one.score > world.majority

    tried = [one for one in options if one.tried]
    working = [one for one in tried if eligible(one) and meets(one)]
    if working:
        return _met(world, working, [one for one in options if not one.tried and eligible(one) and meets(one)])
    if any(not one.tried and eligible(one) and meets(one) for one in options):
        return Answer("do_not_fine_tune", "untried")
    if any(meets(one) for one in tried):
        return Answer("fine_tune", "constraint")
    if failures["label"] > MOST:
        return Answer("do_not_fine_tune", "labels")
    if "documents" in world.knows and failures["knowledge"] > MOST and oracle >= world.target:
        return Answer("do_not_fine_tune", "knowledge")
    hidden = failures["knowledge"] + failures["unexplained"] + failures["prompt"] + failures["shots"]
    if world.kind == "short_answer" and not {"documents", "waiver"} & world.knows and hidden > MOST:
        return Answer("undecided", "documents")
    if world.worth is not None and not _pays(world, max((one.score for one in tried), default=0.0)):
        return Answer("do_not_fine_tune", "money")
    return Answer("fine_tune", "quality")


def _met(world: World, working: Sequence[Measured], untried: Sequence[Measured]) -> Answer:
    best = max(one.score for one in working)
    fit = [one for one in working if not one.classical or one.score > best - world.margin] or list(working)
    cheapest = min(fit, key=lambda one: (inf if one.usd_per_1k is None else one.usd_per_1k, one.p95_ms))
    today = next((one for one in working if one.today), None)
    chosen = cheapest
    if today is not None and not _saves(cheapest, today):
        chosen = today
    if chosen.usd_per_1k is None:
        # With the price of the answer open, cost may be a reason or not.
        return Answer("undecided", "price") if world.requests > 0 else Answer("do_not_fine_tune", "met")
    if chosen.usd_per_1k and _cost(world, chosen.usd_per_1k):
        cheaper = any(_saves(one, chosen) for one in untried)
        return Answer("do_not_fine_tune", "untried") if cheaper else Answer("fine_tune", "cost")
    return Answer("do_not_fine_tune", "met")


def _saves(one: Measured, other: Measured) -> bool:
    mine, theirs = (inf if usd is None else usd for usd in (one.usd_per_1k, other.usd_per_1k))
    return (mine < theirs and mine <= SAVING * theirs) or (mine <= theirs and one.p95_ms <= SAVING * other.p95_ms)


def _monthly(requests: float) -> float:
    return MONTHLY_USD + SERVER_USD * max(1.0, requests / CAPACITY) + ONE_OFF_USD / HORIZON


def _cost(world: World, usd_per_1k: float) -> bool:
    bill = usd_per_1k / 1000 * world.requests
    return bill - _monthly(world.requests) >= (1 - SAVING) * bill


def _pays(world: World, score: float) -> bool:
    gain = (1 - score) * (world.worth or 0.0) * world.requests
    return gain >= _monthly(world.requests)
