"""The next step: the one with the best chance of settling the answer per dollar and minute of a person. Pure.

An action finds out some of the unknown facts. Its chance is that of all completions of these facts after which the
remaining ones no longer matter, weighed by how likely each completion is. Where no single action is likely enough to
settle the answer, several are named together, with their cost in all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import Any, Final

from tuneworthy.errors import join_sentences
from tuneworthy.money.economics import SET_TRAFFIC, chance_to_settle, has_smaller, open_ranges, required_usd
from tuneworthy.stats.intervals import chance_of_status, settling_targets
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import GateResult, NextAction
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.facts import DEV, DecisionFacts, FactKind, FactName, today_usd
from tuneworthy.verdict.gates.to_decide import lacks_shots
from tuneworthy.verdict.options import Option, open_latency
from tuneworthy.verdict.outcome import decided, open_facts
from tuneworthy.verdict.suspects import RELABELLED

# What a minute of a person and a step of any kind are worth when actions are compared, US dollars: assumed.
USD_PER_MINUTE: Final = 1.5
USD_PER_STEP: Final = 1.0
# Of a person, assumed: to write or label a case, to rate an answer, to edit the project file, to find costs out.
MINUTES_PER_CASE: Final = 2.0
MINUTES_PER_VERDICT: Final = 0.5
MINUTES_TO_EDIT: Final = 2.0
MINUTES_FOR_COSTS: Final = 20.0
MINUTES_TO_FIX_SEARCH: Final = 60.0
MINUTES_TO_FIX_GRADER: Final = 10.0
# Answers of a variant that people rate at least, before its failures count.
RATED: Final = 50
# Test cases that are offered to be added, as multiples of those there are.
GROWTH: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
# Chance from which a step is likely enough to settle the answer, and most steps that are named together.
ENOUGH: Final = 0.8
MOST_TOGETHER: Final = 3
# Actions that are tried together: the best for their price.
MOST_COMBINED: Final = 8
# What a person does about an unknown fact, and how long that takes, minutes.
EDITS: Final[Mapping[FactKind, tuple[str, float]]] = {
    FactKind.PAYS: (SET_TRAFFIC, MINUTES_TO_EDIT),
    FactKind.DISTIL: (
        "Add a smaller or faster model to [models] and run the ladder to see whether it meets the constraints.",
        15.0,
    ),
}
# Facts that a better search settles.
SEARCH: Final = frozenset({(FactKind.COULD_MEET, "retrieval"), (FactKind.LEVER, "knowledge")})
# The highest chance that is stated of a step: what such steps settled alone, of 451 (`scripts.simulations`, seeds 31,
# 33 and 57, 200 test cases). They leave open what is not known before: a new option may be close to the target.
MAX_DOCUMENTS, MAX_RUN, MAX_MONEY, MAX_LABELS = 0.5, 0.85, 0.75, 0.7
# The same of any other step.
SURE: Final = 0.95
# Results of an action that are less likely are not looked at, so that many open options take seconds.
FAINT: Final = 1e-3
# Chance below which further cases are not the only step that is offered.
HARDLY: Final = 0.5
# Part of the questions of cost that a price or the traffic settles while costs are assumed: simulated.
ALONE: Final = 0.7
# How likely an unknown fact is true where nothing was measured: assumed.
PRIORS: Final[Mapping[FactKind, float]] = {
    FactKind.SOUND: 0.9,
    FactKind.COULD_MEET: 0.15,
    FactKind.COULD_TEACH: 0.15,
    FactKind.COST: 0.4,
    FactKind.DISTIL: 0.5,
    FactKind.LEVER: 0.3,
    FactKind.PAYS: 0.5,
    FactKind.ELIGIBLE: 0.5,
    FactKind.AS_GOOD: 0.5,
    FactKind.MEETS: 0.3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RungCost:
    """What running a rung takes at most."""

    calls: int
    usd: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An action with the chances that it shows each of its facts true, and false, and the highest that is stated."""

    action: NextAction
    chances: Mapping[FactName, tuple[float, float]]
    most: float = SURE

    @property
    def price(self) -> float:
        minutes = self.action.person_minutes or 0.0
        return USD_PER_STEP + (self.action.usd or 0.0) + minutes * USD_PER_MINUTE


def next_action(
    facts: DecisionFacts, evidence: Evidence, gates: Sequence[GateResult], costs: Mapping[str, RungCost]
) -> NextAction:
    """Return the next step of an undecided project.

    Args:
        facts: That leave the outcome open.
        evidence: What was measured.
        gates: Of the stage `to_decide`.
        costs: What each rung takes, by name; an unknown one is left out.
    """
    unknown = open_facts(facts)
    copied = _of_copies(unknown, facts, gates)
    candidates = [*_candidates([fact for fact in unknown if fact not in copied], facts, evidence, gates, costs)]
    if copied:
        fix = next(result.fix for result in gates if result.gate == "classical")
        candidates.append(_edit(fix, copied, minutes=MINUTES_TO_FIX_GRADER))
    futures = _Futures(facts)
    single = [(futures.chance(candidate.chances), candidate) for candidate in candidates]
    if not single:
        return _with_prices(NextAction(command="tuneworthy run", why="Run the ladder again."), evidence)
    single.sort(key=lambda pair: -pair[0] / pair[1].price)
    together = _together([candidate for _, candidate in single[:MOST_COMBINED]])
    plans = [(futures.chance(plan.chances), plan) for plan in together]
    # The cheapest that is likely enough; else the likeliest, steps of a tenth apart.
    chance, best = max([*single, *plans], key=lambda pair: (round(min(pair[0], ENOUGH), 1), -pair[1].price))
    return replace(_with_prices(best.action, evidence), chance_to_settle=round(min(chance, best.most), 2))


def _with_prices(action: NextAction, evidence: Evidence) -> NextAction:
    first = _set_prices(evidence)
    if not action.command or not first:
        return action
    return replace(action, why=join_sentences(first, action.why.replace(f" {first}", "")))


def _set_prices(evidence: Evidence) -> str:
    sections = ", ".join(f"[models.{name}]" for name in evidence.unpriced)
    return f"Set `input_usd_per_mtok` and `output_usd_per_mtok` in {sections}." if evidence.unpriced else ""


def _together(candidates: Sequence[_Candidate]) -> Iterator[_Candidate]:
    for some in chain.from_iterable(combinations(candidates, size) for size in range(2, MOST_TOGETHER + 1)):
        plan = sorted(some, key=lambda candidate: candidate.price)
        facts = [fact for candidate in plan for fact in candidate.chances]
        if len(set(facts)) == len(facts):
            actions = [candidate.action for candidate in plan]
            command = next((action.command for action in actions if action.command), "")
            yield _Candidate(
                NextAction(
                    command=command,
                    why=join_sentences(*map(str, actions)),
                    calls=_total([action.calls for action in actions]),
                    usd=_total([action.usd for action in actions]),
                    person_minutes=_total([action.person_minutes for action in actions]),
                ),
                {fact: pair for candidate in plan for fact, pair in candidate.chances.items()},
                min(candidate.most for candidate in plan),
            )


def _total(numbers: Sequence[float | None]) -> Any:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


class _Futures:
    """What is open after each result of an action; actions share results, so that each is looked at once.

    Args:
        facts: That are known now.
    """

    def __init__(self, facts: DecisionFacts) -> None:
        self._facts = facts
        self._open: dict[frozenset[tuple[FactName, bool]], Sequence[FactName]] = {}

    def chance(
        self,
        chances: Mapping[FactName, tuple[float, float]],
        results: frozenset[tuple[FactName, bool]] = frozenset(),
        likely: float = 1.0,
    ) -> float:
        """Return the chance that an action settles the answer; what no longer matters is not split.

        Args:
            chances: That it shows a fact to be true, and to be false.
            results: What is known by then.
            likely: How likely that is; less than `FAINT` counts as settling nothing.
        """
        if likely < FAINT:
            return 0.0
        if results not in self._open:
            then = replace(self._facts, values={**self._facts.values, **dict(results)})
            self._open[results] = [] if decided(then) else open_facts(then)
        still_open = self._open[results]
        fact = next((name for name in still_open if name in chances), None)
        if fact is None:
            return 0.0 if still_open else 1.0
        rest = {name: pair for name, pair in chances.items() if name != fact}
        true, false = chances[fact]
        weights = {results | {(fact, True)}: true, results | {(fact, False)}: false, results: 1 - true - false}
        return sum(weight * self.chance(rest, after, likely * weight) for after, weight in weights.items())


def _prior(facts: Iterable[FactName]) -> dict[FactName, tuple[float, float]]:
    return {fact: (PRIORS[fact[0]], 1 - PRIORS[fact[0]]) for fact in facts}


def _candidates(
    unknown: Sequence[FactName],
    facts: DecisionFacts,
    evidence: Evidence,
    gates: Sequence[GateResult],
    costs: Mapping[str, RungCost],
) -> Iterator[_Candidate]:
    missing = {"model"} if evidence.other_models == 0 else set()
    if evidence.search is not None or not evidence.documents:
        missing.add("retrieval")  # the search was measured: to compare it again shows nothing new
    if lacks_shots(gates):
        missing.add("prompt")
    runnable = [fact for fact in unknown if fact[0] is FactKind.COULD_MEET and fact[1] not in missing]
    if runnable:
        yield _Candidate(_run([rung for _, rung in runnable], costs), _prior(runnable), MAX_RUN)
        for fact in runnable:
            yield _Candidate(_run([fact[1]], costs), _prior([fact]), MAX_RUN)
    for fact in unknown:
        if fact not in runnable:
            yield from _for_fact(fact, unknown, facts, evidence, gates)
    if moving := [fact for fact in unknown if fact[0] in {FactKind.MEETS, FactKind.AS_GOOD}]:
        yield from _more_cases(moving, facts, evidence)


def _for_fact(
    fact: FactName,
    unknown: Sequence[FactName],
    facts: DecisionFacts,
    evidence: Evidence,
    gates: Sequence[GateResult],
) -> Iterator[_Candidate]:
    kind, subject = fact
    if evidence.search is not None and fact in SEARCH:
        same = [other for other in unknown if other in SEARCH]
        yield _edit(messages.FIX_SEARCH, same, minutes=MINUTES_TO_FIX_SEARCH)
    elif kind is FactKind.COULD_MEET and subject != "prompt":
        yield _name_what_is_missing(subject, unknown)
    elif kind in {FactKind.SOUND, FactKind.COULD_MEET}:
        gate = next(result for result in gates if result.gate == subject)
        command = "tuneworthy run" if subject in {"baseline", "prompt"} else ""
        yield _Candidate(NextAction(command=command, why=gate.fix or gate.detail), _prior([fact]))
    elif kind is FactKind.COST:
        yield from _money(fact, facts, evidence)
    elif kind is FactKind.LEVER:
        yield _lever(fact, evidence)
    elif kind is FactKind.ELIGIBLE:
        yield _eligible(fact, unknown, facts, evidence)
    elif kind is FactKind.PAYS and evidence.economics.requests_per_month is not None:
        chosen = facts.recommendation
        yield _edit(_set_prices(evidence) or messages.set_price(chosen.option if chosen else ""), [fact])
    elif kind in EDITS:
        why, minutes = EDITS[kind]
        yield _edit(why, [fact], minutes=minutes)


def _of_copies(unknown: Sequence[FactName], facts: DecisionFacts, gates: Sequence[GateResult]) -> list[FactName]:
    if not any(result.gate == "classical" and result.status == "fail" for result in gates):
        return []
    names = {"classical", *(one.option for one in facts.options if one.kind == "classical")}
    return [fact for fact in unknown if fact[0] in {FactKind.COULD_MEET, FactKind.MEETS} and fact[1] in names]


def _name_what_is_missing(rung: str, unknown: Sequence[FactName]) -> _Candidate:
    same = [fact for fact in unknown if fact[1] == rung]
    if rung == "retrieval":
        return replace(_edit(messages.GIVE_DOCUMENTS, same, minutes=60.0), most=MAX_DOCUMENTS)
    return replace(_edit(messages.ADD_MODEL, same, minutes=10.0), most=MAX_RUN)


def _run(rungs: Sequence[str], costs: Mapping[str, RungCost]) -> NextAction:
    known = [costs[rung] for rung in rungs if rung in costs]
    complete = len(known) == len(rungs)
    command = " ".join(["tuneworthy run", *(f"--rung {rung}" for rung in rungs)])
    return NextAction(
        command=command,
        why=f"Compare these rungs on the test set: {', '.join(rungs)}.",
        calls=sum(cost.calls for cost in known) if complete else None,
        usd=sum(cost.usd for cost in known) if complete else None,
        person_minutes=0.0,
    )


def _edit(why: str, facts: Sequence[FactName], minutes: float = MINUTES_TO_EDIT) -> _Candidate:
    action = NextAction(command="", why=why, calls=0, usd=0.0, person_minutes=minutes)
    return _Candidate(action, _prior(facts))


def _eligible(fact: FactName, unknown: Sequence[FactName], facts: DecisionFacts, evidence: Evidence) -> _Candidate:
    option, limits = next(one for one in facts.options if one.option == fact[1]), evidence.limits
    if (rung := evidence.rungs[option.rung]).may_be_barred(limits):
        same = [one.option for one in facts.options if evidence.rungs[one.rung].model == rung.model]
        return _edit(
            (
                f"Set `models.{rung.model}.forwards` to true if the server at this local address passes calls on "
                "to a hosted model, and to false if it runs the model."
            ),
            [one for one in unknown if one[0] is FactKind.ELIGIBLE and one[1] in same],
        )
    if limits.usd_per_1k is not None and option.usd_per_1k is None:
        unpriced = option.usd_by_answer is None
        return _edit(messages.set_price(option.option) if unpriced else SET_TRAFFIC, [fact])
    if option.latency_p95_ms is None or option.latency_p95_ci is None:
        return _Candidate(NextAction(command="tuneworthy run", why="Run the ladder again."), _prior([fact]))
    why = open_latency(limits, option.latency_p95_ms, option.latency_p95_ci)
    fix = (
        "Add test cases: up to 200 calls are timed."
        if option.latency_p95_ci[1] is None
        else "Set `constraints.p95_ms` to a limit outside this interval."
    )
    return _edit(join_sentences(f"Whether {option.option} meets the latency limit is open: {why}.", fix), [fact])


def _money(fact: FactName, facts: DecisionFacts, evidence: Evidence) -> Iterator[_Candidate]:
    option = next((one for one in facts.options if one.option == fact[1]), None)
    open_costs = [one for one in open_facts(facts) if one[0] is FactKind.COST]
    if unpriced := _unpriced(fact, facts):
        model = evidence.rungs[unpriced.rung].model
        lacking = ((one, _unpriced(one, facts)) for one in open_costs)
        same = [one for one, other in lacking if other and evidence.rungs[other.rung].model == model]
        if fact == same[0]:  # one price is that of all options of its model
            yield from _with_costs(messages.set_price(unpriced.option), same, evidence)
    elif evidence.economics.requests_per_month is None:
        same = [one for one in open_facts(facts) if one[0] in {FactKind.COST, FactKind.PAYS}]
        yield from _with_costs(SET_TRAFFIC, same, evidence)
    elif option is not None and has_smaller(option.usd_by_answer, evidence.smaller_usd):
        yield from _narrow(fact, option, facts, evidence)
    else:
        yield _edit("Add a smaller model to [models] as a candidate for training.", [fact], minutes=10.0)


def _unpriced(fact: FactName, facts: DecisionFacts) -> Option | None:
    compared = (one for one in facts.options if one.option == fact[1] or one.kind == "today")
    return next((one for one in compared if one.usd_by_answer is None), None)


def _narrow(fact: FactName, option: Option, facts: DecisionFacts, evidence: Evidence) -> Iterator[_Candidate]:
    settings, bill = evidence.economics, evidence.bill(evidence.rungs[option.rung])
    names, required = open_ranges(settings), required_usd(bill, today_usd(facts.options), settings)
    for some in chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1)):
        keys = [name for name in some if name != "costs"]
        pairs = [(name, *settings.spread(name)) for name in keys]
        shown = [f"{name} = [{low:g}, {high:g}]" for name, low, high in pairs]
        why = join_sentences(
            messages.SET_COSTS if "costs" in some else "",
            (f"Narrow [economics.ranges]: within these ranges, training may or may not break even: {', '.join(shown)}.")
            if keys
            else "",
        )
        minutes = MINUTES_TO_EDIT * len(keys) + MINUTES_FOR_COSTS * ("costs" in some)
        yield _weigh(_edit(why, [fact], minutes=minutes), chance_to_settle(bill, settings, required, some))


def _with_costs(why: str, facts: Sequence[FactName], evidence: Evidence) -> Iterator[_Candidate]:
    ranges = open_ranges(evidence.economics)
    most = MAX_MONEY if set(ranges) - {"costs"} else SURE
    yield replace(_weigh(_edit(why, facts), ALONE if "costs" in ranges else 1.0), most=most)
    if "costs" in ranges:
        both = join_sentences(why, messages.SET_COSTS)
        yield replace(_edit(both, facts, minutes=MINUTES_TO_EDIT + MINUTES_FOR_COSTS), most=most)


def _weigh(candidate: _Candidate, chance: float) -> _Candidate:
    chances = {fact: (chance * yes, chance * no) for fact, (yes, no) in candidate.chances.items()}
    return replace(candidate, chances=chances)


def _lever(fact: FactName, evidence: Evidence) -> _Candidate:
    name = fact[1]
    if name == "unanalysed" and evidence.judge is not None:
        action = NextAction(command="tuneworthy cases label --judge", why=messages.LABEL_JUDGE)
        return _Candidate(replace(action, person_minutes=RATED * MINUTES_PER_VERDICT), {fact: (0.2, 0.6)})
    if name == "unanalysed":
        action = NextAction(
            command="tuneworthy decide --probe", why="Analyse the causes of wrong answers on dev.", person_minutes=0.0
        )
        return _Candidate(action, {fact: (0.2, 0.7)})
    if name == DEV:
        action = NextAction(command="", why=messages.DEV_DIFFERS_FIX, person_minutes=RELABELLED * MINUTES_PER_CASE)
        return _Candidate(action, {fact: (0.0, 0.6)})
    if name == "label_or_grader":
        if evidence.suspects == 0:  # all are labelled, and the failures are too few to settle it
            return _Candidate(
                NextAction(
                    command="tuneworthy cases label --suspects --apply",
                    why="Apply the corrected labels, then run the ladder and the error analysis again.",
                    calls=0,
                    usd=0.0,
                    person_minutes=MINUTES_TO_EDIT,
                ),
                {fact: (0.0, 0.8)},  # the failures that are left have other causes
            )
        n = evidence.suspects or RELABELLED
        minutes = n * MINUTES_PER_CASE
        why = (
            f"Relabel up to {n} failed cases without seeing the expected answers ({minutes:.0f} min at most: it "
            "ends as soon as they settle the question)."
        )
        return _Candidate(
            NextAction(command="tuneworthy cases label --suspects", why=why, calls=0, usd=0.0, person_minutes=minutes),
            {fact: evidence.relabel_chances},
            MAX_LABELS,
        )
    row = next(row for row in evidence.errors or () if row.name == name)
    action = NextAction(
        command=f"tuneworthy run --rung {row.fixed_by}", why=f"Try `{row.fixed_by}`, which may fix most failures."
    )
    return _Candidate(replace(action, person_minutes=0.0), {fact: (0.0, 0.8)})


def _more_cases(moving: Sequence[FactName], facts: DecisionFacts, evidence: Evidence) -> Iterator[_Candidate]:
    """Offer to add test cases: for each number, the chances that they settle what the scores leave open.

    Where a score lies so near the target that many cases may not settle it, the targets that would are named too; where
    they hardly can, that is the offer.
    """
    if evidence.target is None:
        return
    on_target: list[FactName] = []
    offers = []
    for factor in reversed(GROWTH):
        more = max(50, round(factor * evidence.n_test / 50) * 50)
        chances = {fact: _chance_with(more, fact, facts, evidence) for fact in moving}
        near = [fact for fact, chance in chances.items() if fact[0] is FactKind.MEETS and sum(chance) < ENOUGH]
        on_target = near if factor == GROWTH[-1] else on_target
        options = len([rung for rung in evidence.rungs.values() if rung.tested])
        # Where a judge grades, further cases say nothing before people rate the answers to them.
        rating = 0.0 if evidence.judge is None else options * MINUTES_PER_VERDICT
        minutes = more * (MINUTES_PER_CASE + rating)
        added = messages.add_cases(more, minutes, rated=bool(rating))
        why = join_sentences(added, _other_targets(on_target, facts, evidence))
        calls = more * options
        usd = sum((rung.usd_per_1k or 0.0) / 1000 * more for rung in evidence.rungs.values() if rung.tested)
        action = NextAction(command="tuneworthy cases add", why=why, calls=calls, usd=usd, person_minutes=minutes)
        offers.append(_Candidate(action, chances))
    yield from reversed(offers)
    if on_target and max(sum(offers[0].chances[fact]) for fact in on_target) < HARDLY:
        why = join_sentences(
            "Decide whether another target would do, and set task.target.", _other_targets(on_target, facts, evidence)
        )
        yield _edit(why, on_target)


def _chance_with(more: int, fact: FactName, facts: DecisionFacts, evidence: Evidence) -> tuple[float, float]:
    kind, subject = fact
    rung = evidence.rungs[next(one for one in facts.options if one.option == subject).rung]
    if kind is FactKind.AS_GOOD or rung.score is None or rung.n_effective is None or evidence.target is None:
        return 0.3, 0.3
    return chance_of_status(
        rung.score,
        rung.n_effective,
        max(1, round(more * rung.n_effective / max(1, rung.n))),
        evidence.target,
        evidence.margin,
        options=evidence.n_options,
        additions=evidence.additions,
    )


def _other_targets(on_target: Sequence[FactName], facts: DecisionFacts, evidence: Evidence) -> str:
    spans = {}
    for _, subject in on_target:
        rung = evidence.rungs[next(one for one in facts.options if one.option == subject).rung]
        if rung.score is not None and rung.n_effective is not None:
            spans[subject] = settling_targets(
                rung.score, rung.n_effective, evidence.margin, options=evidence.n_options, additions=evidence.additions
            )
    if not spans:
        return ""
    best = max(spans, key=lambda subject: spans[subject])
    missed = max(missed for _, missed in spans.values())
    also = "" if missed > 1 else f" and one of {missed:.0%} is missed"
    return (
        f"The score of {best} is close to the target of {evidence.target or 0.0:.1%}. With a margin of "
        f"{100 * evidence.margin:.1f} points and without further cases, a target of {spans[best][0]:.0%} is met{also}."
    )
