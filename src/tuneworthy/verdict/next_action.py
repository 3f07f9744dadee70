"""The next step: the one with the best chance of settling the answer per dollar and minute of a person. Pure.

A step finds out some of the unknown facts. Its chance is the probability that the remaining facts no longer matter
afterwards. Where no single step is likely enough to settle the answer, several are named together, with their cost.
Where an option is good enough, a step that costs more than it can save in a year is not offered.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, combinations
from math import floor, inf
from typing import Any

from tuneworthy.errors import join_sentences
from tuneworthy.money.economics import SET_TRAFFIC, has_smaller, monthly_saving, one_off, open_ranges
from tuneworthy.stats.intervals import chance_of_status
from tuneworthy.types import Bounds, positional
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import Cost, GateResult, NextAction
from tuneworthy.verdict.error_analysis import LABELS
from tuneworthy.verdict.evidence import Evidence, RungEvidence
from tuneworthy.verdict.gates.to_decide import lacks_shots
from tuneworthy.verdict.label_audit import RELABELLED, SESSION
from tuneworthy.verdict.options import FEWEST_TIMED, Option, open_latency
from tuneworthy.verdict.outcome import DEV, RUNG_OF, DecisionFacts, FactName, decided, open_facts

# The worth of a minute of a person and of a step of any kind when steps are compared, US dollars: assumed.
USD_PER_MINUTE, USD_PER_STEP = 1.5, 1.0
# Of a person, assumed: to write or label a case, to rate an answer, to edit the project file.
MINUTES_PER_CASE, MINUTES_PER_RATING, MINUTES_TO_EDIT = 2.0, 0.5, 2.0
# The same: to find out own costs, to fix the search or get documents, to add a model or fix a grader, to try a model.
MINUTES_FOR_COSTS, MINUTES_FOR_DOCUMENTS, MINUTES_TO_FIX, MINUTES_TO_TRY = 20.0, 60.0, 10.0, 15.0
# Answers of a variant that people rate at least, before its failures count.
MIN_RATED = 50
# Test cases that are offered to be added, as multiples of the present number.
GROWTH = (0.25, 0.5, 1.0, 2.0, 4.0)
# Additions after which another target is offered too, and where an option is good enough, no further cases.
MAX_ADDITIONS = 2
OTHER_TARGET = "Decide whether another target would do, and set `task.target`."
# Chance from which a step is likely enough to settle the answer, and below which further cases are not the only step.
LIKELY, UNLIKELY = 0.8, 0.5
# Steps that are named together, at most, and steps that are combined: the best for their price.
MAX_TOGETHER, MAX_COMBINED = 3, 8
# Facts that a better search settles.
SEARCH = frozenset({("could_meet", "retrieval"), ("lever", "knowledge")})
# The highest chance that is stated of a step: the share of such steps that settled the question, of 451
# (`scripts.simulations`, seeds 31, 33 and 57, 200 test cases), and of any other step.
MAX_DOCUMENTS, MAX_RUN, MAX_MONEY, MAX_LABELS, SURE = 0.5, 0.85, 0.75, 0.7, 0.95
# Chance below which a step is not offered where an option is good enough, or where a likelier step failed.
MIN_CHANCE = 0.05
# Results of a step that are less likely are ignored, so that many open options take seconds.
NEGLIGIBLE = 1e-3
# Part of the questions of cost that a price or the traffic settles while costs are assumed: simulated.
SETTLED_BY_TRAFFIC = 0.7
# How likely an unknown fact is true where nothing was measured: assumed.
PRIORS = {
    "sound": 0.9,
    "could_meet": 0.15,
    "could_teach": 0.15,
    "cost": 0.4,
    "distil": 0.5,
    "lever": 0.3,
    "pays": 0.5,
    "eligible": 0.5,
    "meets": 0.3,
}
Chances = Mapping[FactName, Bounds]
FactNames = Sequence[FactName]
Results = frozenset[tuple[FactName, bool]]


@positional
class Offer:
    """An action with the chances that it shows each of its facts true, and false.

    Attributes:
        most: The highest chance that is stated.
        known_usd: Of a cost that is partly unknown, the known part.
    """

    action: NextAction
    chances: Chances
    most: float = SURE
    known_usd: float = 0.0

    @property
    def price(self) -> float:
        """Its cost in US dollars, a person's time included."""
        return USD_PER_STEP + (self.action.usd or self.known_usd) + (self.action.person_minutes or 0.0) * USD_PER_MINUTE


def next_action(
    facts: DecisionFacts,
    evidence: Evidence,
    gates: Sequence[GateResult],
    costs: Mapping[str, Cost],
    tried: Container[str] = (),
) -> NextAction | None:
    """Return the next step of an undecided project; None if an option is good enough and no step is worth its cost.

    A step that was tried and changed nothing is named again where no other step is left: its question is still open.

    Args:
        facts: That leave the outcome open.
        evidence: The measurements.
        gates: Of the stage `to_decide`.
        costs: Upper limits of the cost per rung, by name; an unknown one is left out.
        tried: Commands that were run on this evidence and changed nothing.
    """
    if evidence.incomplete:
        return _with_prices(_finish(evidence, costs), evidence)
    futures, offered = _Futures(facts), _Steps(facts, evidence, gates, costs).offered()
    good_enough = _good_enough(facts) and all(kind != "sound" for kind, _ in open_facts(facts))
    steps = [step for step in offered if step.action.command not in tried]
    ranked = sorted(((futures.chance(step.chances), step) for step in steps), key=lambda pair: -pair[0] / pair[1].price)
    ranked += [
        (futures.chance(plan.chances), plan)
        for plan in _together([step for _, step in ranked[:MAX_COMBINED]])
        if plan.price <= _worth(facts, evidence, plan)
    ]
    failed = next((step.action for step in offered if step not in steps), None)
    if good_enough or failed:
        ranked = [pair for pair in ranked if pair[0] >= MIN_CHANCE]
    if not ranked:
        return failed if failed or good_enough else replace(_step(OTHER_TARGET, []).action, chance_to_settle=SURE)
    # The cheapest that is likely enough; else the likeliest, steps of a tenth apart.
    chance, best = max(ranked, key=lambda pair: (round(min(pair[0], LIKELY), 1), -pair[1].price))
    action = replace(best.action, chance_to_settle=round(min(chance, best.most), 2))
    return _with_prices(action, evidence) if action.command else action


def _finish(evidence: Evidence, costs: Mapping[str, Cost]) -> NextAction:
    rest = sum((cost for rung, cost in costs.items() if rung not in evidence.rungs), Cost())
    budget = "Raise `ladder.budget_usd` or `--max-usd`. " if "The budget of $" in evidence.incomplete else ""
    why = f"{budget}Finish the run: not all rungs have been compared."
    return NextAction(command="tuneworthy run", why=why, calls=rest.calls, usd=rest.usd)


def _worth(facts: DecisionFacts, evidence: Evidence, step: Offer) -> float:
    """Return the most that a step can save in a year, US dollars: by training, and by options that it may show to do.

    Where quality or the bill is open, the cost of training in vain. Infinite where the test may be unsound.
    """
    chosen, shown = facts.recommendation, step.chances.items()
    if any(kind == "sound" for (kind, _), _ in shown):
        return inf
    if chosen is None or chosen.usd_per_month is None or not facts.works(chosen):
        return sum(one_off(evidence.economics).values())
    bill, months = chosen.usd_per_month, {one.option: one.usd_per_month or 0.0 for one in facts.options}
    pays = facts.known("cost", chosen.option) is not False
    saving = monthly_saving(evidence.bill(evidence.rungs[chosen.rung]), evidence.economics) if pays else None
    by_options = (
        true * (bill - months.get(name, 0.0))
        for (kind, name), (true, _) in shown
        if kind in {"meets", "eligible", "could_meet"}
    )
    return 12 * (max(0.0, saving[1] if saving else 0.0) + sum(max(0.0, usd) for usd in by_options))


def _good_enough(facts: DecisionFacts) -> bool:
    """Return whether the recommended option is shown to meet the target, so that only money is open."""
    return facts.recommendation is not None and facts.works(facts.recommendation)


def _with_prices(action: NextAction, evidence: Evidence) -> NextAction:
    first = _set_prices(evidence)
    return replace(action, why=join_sentences(first, action.why.replace(f" {first}", ""))) if first else action


def _set_prices(evidence: Evidence) -> str:
    sections = ", ".join(f"[models.{name}]" for name in evidence.unpriced)
    return f"Set `input_usd_per_mtok` and `output_usd_per_mtok` in {sections}." if sections else ""


def _together(steps: Sequence[Offer]) -> Iterator[Offer]:
    for some in chain.from_iterable(combinations(steps, size) for size in range(2, MAX_TOGETHER + 1)):
        # The traffic first, as it may settle the question without the rest.
        plan = sorted(some, key=lambda step: (SET_TRAFFIC not in step.action.why, step.price))
        chances = {fact: pair for step in plan for fact, pair in step.chances.items()}
        if len(chances) < sum(len(step.chances) for step in plan):  # two steps for one fact
            continue
        actions = [step.action for step in plan]
        commands = dict.fromkeys(action.command for action in actions if action.command)
        action = NextAction(
            command=" && ".join(one for one in commands if one != "tuneworthy run" or len(commands) == 1),
            why=join_sentences(*map(str, actions)),
            **{name: _total(actions, name) for name in ("calls", "usd", "person_minutes")},
        )
        yield Offer(action, chances, min(step.most for step in plan), sum(step.action.usd or 0.0 for step in plan))


def _total(actions: Sequence[NextAction], name: str) -> Any:
    parts = [getattr(action, name) for action in actions]
    return None if None in parts else sum(parts)


class _Futures:
    """The open facts after each result of a step; steps share results, so that each is computed once.

    Options of one model share most of their answers, so that one draw says which of them meet the target.

    Args:
        facts: That are known now.
    """

    def __init__(self, facts: DecisionFacts) -> None:
        self._facts = facts
        self._open: dict[Results, FactNames] = {}
        self._draw = {("meets", one.option): one.model for one in facts.options if one.model}

    def chance(
        self,
        chances: Chances,
        results: Results = frozenset(),
        likely: float = 1.0,
        drawn: Mapping[FactName | str, Bounds] | None = None,
    ) -> float:
        """Return the chance that a step settles the answer.

        Args:
            chances: That it shows a fact to be true, and to be false.
            results: Facts that are known by then.
            likely: How likely that is; less than `NEGLIGIBLE` counts as settling nothing.
            drawn: Fact or model to the part of (0, 1) that its draw is known to be in: low draws show a fact true.
        """
        if likely < NEGLIGIBLE:
            return 0.0
        if results not in self._open:
            then = replace(self._facts, values={**self._facts.values, **dict(results)})
            self._open[results] = [] if decided(then) else open_facts(then)
        still_open = self._open[results]
        fact = next((name for name in still_open if name in chances), None)
        if fact is None:
            return 0.0 if still_open else 1.0
        (true, false), rest = chances[fact], {name: pair for name, pair in chances.items() if name != fact}
        draw = self._draw.get(fact, fact)
        low, high = (drawn or {}).get(draw, (0.0, 1.0))
        parts = {
            results | {(fact, True)}: (0.0, true),
            results: (true, 1 - false),
            results | {(fact, False)}: (1 - false, 1.0),
        }
        return sum(
            weight * self.chance(rest, after, likely * weight, {**(drawn or {}), draw: (start, end)})
            for after, part in parts.items()
            for start, end in [(max(low, part[0]), min(high, part[1]))]
            if (weight := (end - start) / (high - low)) > 0
        )


def _step(
    why: str,
    facts: FactNames,
    minutes: float | None = MINUTES_TO_EDIT,
    *,
    command: str = "",
    usd: float | None = 0.0,
    calls: int | None = 0,
    weight: float = 1.0,
    most: float = SURE,
) -> Offer:
    """Return a step that shows facts by their priors, as far as it shows them: with the chance `weight`."""
    return Offer(
        NextAction(command=command, why=why, calls=calls, usd=usd, person_minutes=minutes),
        {fact: (weight * PRIORS[fact[0]], weight * (1 - PRIORS[fact[0]])) for fact in facts},
        most,
    )


def relabel_step(evidence: Evidence) -> NextAction:
    """Return the step that finds out whether failures of dev are the label's."""
    minutes = (n := evidence.suspects or RELABELLED) * MINUTES_PER_CASE
    why = (
        f"Relabel up to {n} failed cases without seeing the expected answers ({minutes:.0f} min at most: it ends "
        "as soon as they settle the question)."
    )
    return NextAction(command="tuneworthy label suspects", why=why, calls=0, usd=0.0, person_minutes=minutes)


def label_step(evidence: Evidence) -> NextAction:
    """Return the next step on labels: audit test, correct the labels that people contradict, or find why dev differs.

    Test is audited before a label is corrected, so that dev and test are corrected together.
    """
    audit = evidence.label_ceiling
    if audit is not None and audit.uncorrected:
        return NextAction(
            command="tuneworthy label audit --apply",
            why=(
                "Write the labels of `label audit` into the cases, and correct by hand those that it lists. "
                "Then run the ladder and `decide --probe`."
            ),
            calls=0,
            usd=0.0,
            person_minutes=2.0,
        )
    if audit is not None and audit.decides is False:
        return relabel_step(evidence) if evidence.suspects else _step(messages.WAIVE_DEV, []).action
    score = evidence.top.score if evidence.top and evidence.top.score is not None else 0.5
    failed = round(evidence.n_test * (1 - score))
    n = audit.to_label if audit else min(SESSION[True], failed) + min(SESSION[False], evidence.n_test - failed)
    minutes = n * MINUTES_PER_CASE
    why = (
        f"Audit the labels of test with `tuneworthy label audit`: label {n} test cases, drawn at random, "
        f"without seeing the expected answers (about {minutes:.0f} min). Then correct dev and test together with "
        "`tuneworthy label audit --apply`."
    )
    return NextAction(command="tuneworthy label audit", why=why, calls=0, usd=0.0, person_minutes=minutes)


# A step whose calls are not counted.
_uncounted = partial(_step, usd=None, calls=None)


@positional
class _Steps:
    """The steps that may settle the open facts of a project."""

    facts: DecisionFacts
    evidence: Evidence
    gates: Sequence[GateResult]
    costs: Mapping[str, Cost]

    def offered(self) -> list[Offer]:
        """Return the steps that cost no more than they can save; steps in the same words are one step."""
        by_words: dict[str, Offer] = {}
        for step in self.all():
            same = by_words.setdefault(step.action.why, step)
            by_words[step.action.why] = replace(same, chances={**same.chances, **step.chances})
        return [step for step in by_words.values() if step.price <= _worth(self.facts, self.evidence, step)]

    def all(self) -> Iterator[Offer]:
        classical = next((one for one in self.gates if one.gate == "classical" and one.status == "fail"), None)
        copied = self._copied() if classical and not self.evidence.stale else []
        still_open: FactNames = [("sound", "baseline")] if self.evidence.stale else open_facts(self.facts)
        unknown = [fact for fact in still_open if fact not in copied]  # of a stale record, the run comes first
        runnable = [fact for fact in unknown if fact[0] == "could_meet" and self._can_run(self._rung_for(fact))]
        for some in filter(None, [runnable, *([fact] for fact in runnable)]):
            yield self._run(some)
        for fact in unknown:
            if fact not in runnable:
                yield from self._of_fact(fact, unknown)
        if not (("lever", LABELS) in unknown and self._labels_found):  # else the labels of further cases are wrong too
            yield from self._more_cases(unknown)
        if classical and copied:
            yield _step(classical.fix, copied, MINUTES_TO_FIX)

    def _copied(self) -> list[FactName]:
        """Return the open question about the target while classical baselines may have copied test cases."""
        names = {"classical", *(one.option for one in self.facts.options if one.kind == "classical")}
        return [fact for fact in open_facts(self.facts) if fact[0] in {"could_meet", "meets"} and fact[1] in names]

    def _rung(self, option: str) -> RungEvidence:
        return self.evidence.rungs[next(one for one in self.facts.options if one.option == option).rung]

    def _rung_for(self, fact: FactName) -> str:
        """Return the rung that answers a question; shots that `prompt` lacks are tried by the rung `few_shot`."""
        few_shot = self.evidence.rungs.get("few_shot")
        is_shots = fact == ("could_meet", "prompt") and lacks_shots(self.gates) and not (few_shot and few_shot.tested)
        return "few_shot" if is_shots else fact[1]

    def _can_run(self, rung: str) -> bool:
        evidence = self.evidence
        if rung in evidence.left_out or (rung in evidence.rungs and evidence.rungs[rung].blocked):
            return False
        return {
            "model": evidence.other_models > 0 or evidence.forms_open,
            "retrieval": evidence.search is None and evidence.documents,  # measured again it shows nothing new
            "prompt": not lacks_shots(self.gates),
        }.get(rung, True)

    def _run(self, some: FactNames) -> Offer:
        rungs = list(dict.fromkeys(map(self._rung_for, some)))
        known = [self.costs[rung] for rung in rungs if rung in self.costs]
        is_known = len(known) == len(rungs)
        return _step(
            f"Compare these rungs on the test set: {', '.join(rungs)}.",
            some,
            0.0,
            command=" ".join(["tuneworthy run", *(f"--rung {rung}" for rung in rungs)]),
            calls=sum(cost.calls for cost in known) if is_known else None,
            usd=sum(cost.usd for cost in known) if is_known else None,
            most=MAX_RUN,
        )

    def _of_fact(self, fact: FactName, unknown: FactNames) -> Iterator[Offer]:
        kind, evidence = fact[0], self.evidence
        probed = {row.name for row in evidence.errors or ()}
        if fact == ("lever", "knowledge") and "knowledge" not in probed:
            yield self._unprobed_documents(fact, probed)
        elif evidence.search is not None and fact in SEARCH:
            yield _step(messages.FIX_SEARCH, [one for one in unknown if one in SEARCH], MINUTES_FOR_DOCUMENTS)
        elif kind in {"sound", "could_meet"}:
            yield self._fix(fact, unknown)
        elif kind == "cost":
            yield from self._money(fact)
        elif kind == "lever":
            yield self._lever(fact, unknown)
        elif kind == "eligible":
            yield self._eligible(fact, unknown)
        elif kind == "pays":
            chosen = self.facts.recommendation
            price = _set_prices(evidence) or messages.set_price(chosen.option if chosen else "")
            yield _step(SET_TRAFFIC if evidence.economics.requests_per_month is None else price, [fact])
        elif kind == "distil":
            yield _step(
                "Add a smaller or faster model to [models] and run the ladder to see whether it meets the constraints.",
                [fact],
                MINUTES_TO_TRY,
            )

    def _unprobed_documents(self, fact: FactName, probed: Container[str]) -> Offer:
        """Name the documents of the cases; where people overrule the judge too often to probe, replace it first."""
        why, minutes = messages.NAME_DOCUMENTS, MINUTES_FOR_DOCUMENTS
        command = "tuneworthy run && tuneworthy decide --probe"
        if self.evidence.judge is not None and "unexplained" in probed and "format" not in probed:
            why, minutes, command = messages.OTHER_JUDGE, MINUTES_TO_TRY, "tuneworthy run"
        return _uncounted(why, [fact], minutes, command=command, most=MAX_DOCUMENTS)

    def _fix(self, fact: FactName, unknown: FactNames) -> Offer:
        kind, subject = fact[0], self._rung_for(fact)
        same = [other for other in unknown if other[1] in {subject, fact[1]}]
        if fact == ("could_meet", "retrieval") and not self.evidence.documents:
            return _step(messages.GIVE_DOCUMENTS, same, MINUTES_FOR_DOCUMENTS, most=MAX_DOCUMENTS)
        if fact == ("could_meet", "model") and not (self.evidence.other_models or self.evidence.forms_open):
            return _step(messages.ADD_MODEL, same, MINUTES_TO_FIX, most=MAX_RUN)
        gate = next(result for result in self.gates if subject in {result.gate, RUNG_OF.get(result.gate)})
        fix, record = gate.fix or gate.detail, self.evidence.rungs.get(subject)
        reason = "" if subject in self.evidence.left_out else record.reason if record and record.blocked else None
        if kind == "could_meet" and reason is not None:
            fix = messages.fix_rung(subject, gate.gate, reason)
        return _uncounted(fix, [fact] if kind == "sound" else same, None, command=messages.command_in(fix))

    def _eligible(self, fact: FactName, unknown: FactNames) -> Offer:
        option, limits = next(one for one in self.facts.options if one.option == fact[1]), self.evidence.limits
        if (rung := self._rung(fact[1])).may_be_barred(limits):
            why = (
                f"Set `models.{rung.model}.forwards` to true if the server at this local address passes calls on "
                "to a hosted model, and to false if it runs the model."
            )
            return _step(
                why, [one for one in unknown if one[0] == "eligible" and self._rung(one[1]).model == rung.model]
            )
        if limits.usd_per_1k is not None and option.usd_per_1k is None:
            return _step(messages.set_price(option.option) if option.usd_by_answer is None else SET_TRAFFIC, [fact])
        if option.latency_p95_ms is None or option.latency_p95_ci is None:
            return _uncounted("Run the ladder again.", [fact], None, command="tuneworthy run")
        why = f"{option.option}: {open_latency(limits, option.latency_p95_ms, option.latency_p95_ci)}."
        if option.latency_p95_ci[1] is not None:
            return _step(join_sentences("Set `constraints.p95_ms` to a limit outside this interval.", why), [fact])
        minutes = FEWEST_TIMED * MINUTES_PER_CASE
        why = join_sentences(messages.add_cases(FEWEST_TIMED, minutes), why)
        return _uncounted(why, [fact], minutes, command="tuneworthy cases add")

    def _money(self, fact: FactName) -> Iterator[Offer]:
        evidence, open_costs = self.evidence, [one for one in open_facts(self.facts) if one[0] == "cost"]
        option = next((one for one in self.facts.options if one.option == fact[1]), None)
        if unpriced := self._unpriced(fact):
            model = evidence.rungs[unpriced.rung].model
            same = [
                one
                for one in open_costs
                if (other := self._unpriced(one)) and evidence.rungs[other.rung].model == model
            ]
            if fact == same[0]:  # one price is that of all options of its model
                yield from self._with_costs(messages.set_price(unpriced.option), same)
        elif evidence.economics.requests_per_month is None:
            yield from self._with_costs(
                SET_TRAFFIC, [*open_costs, *[one for one in open_facts(self.facts) if one[0] == "pays"]]
            )
        elif option is not None and has_smaller(option.usd_by_answer, evidence.smaller_usd):
            yield from self._narrow(fact)
        elif (evidence.other_models or evidence.forms_open) and self.facts.known("could_meet", "model") is None:
            rung: FactName = ("could_meet", "model")
            yield replace(
                self._run([rung]) if self._can_run("model") else self._fix(rung, [rung]),
                chances=_step("", [fact]).chances,
            )
        elif "other_models" not in evidence.waivers:
            yield _step(messages.ADD_MODEL.replace("a model", "a smaller model"), [fact], MINUTES_TO_FIX, most=MAX_RUN)

    def _unpriced(self, fact: FactName) -> Option | None:
        return next(
            (
                one
                for one in self.facts.options
                if one.usd_by_answer is None and (one.option == fact[1] or one.kind == "today")
            ),
            None,
        )

    def _narrow(self, fact: FactName) -> Iterator[Offer]:
        settings = self.evidence.economics
        names = [name for name in open_ranges(settings) if name != "success"]  # no one knows whether training succeeds
        if not names:
            return
        spans = [(name, *settings.spread(name)) for name in names if name != "costs"]
        shown = ", ".join(f"{name} = [{low:g}, {high:g}]" for name, low, high in spans)
        ranges = f"Narrow [economics.ranges]: within these ranges, training may or may not break even: {shown}."
        yield _step(
            join_sentences(messages.SET_COSTS if "costs" in names else "", ranges if spans else ""),
            [fact],
            MINUTES_TO_EDIT * len(spans) + MINUTES_FOR_COSTS * ("costs" in names),
        )

    def _with_costs(self, why: str, facts: FactNames) -> Iterator[Offer]:
        ranges = open_ranges(self.evidence.economics)
        most = MAX_MONEY if {*ranges} - {"costs"} else SURE
        yield _step(why, facts, weight=SETTLED_BY_TRAFFIC if "costs" in ranges else 1.0, most=most)
        if "costs" in ranges:
            yield _step(join_sentences(why, messages.SET_COSTS), facts, MINUTES_TO_EDIT + MINUTES_FOR_COSTS, most=most)

    @property
    def _labels_found(self) -> bool:
        """Whether people found wrong labels on dev, or audited test."""
        return self.evidence.labels_in_doubt or self.evidence.label_ceiling is not None

    def _lever(self, fact: FactName, unknown: FactNames) -> Offer:
        evidence, name, minutes, chances = self.evidence, fact[1], 0.0, (0.0, 0.8)
        if name == DEV or (name == LABELS and (self._labels_found or evidence.suspects == 0)):
            action = label_step(evidence)
            settles = (0.6, 0.3) if name == LABELS and "--apply" not in action.command else (0.0, 0.6)
            scores = {one: (0.4, 0.4) for one in unknown if one[0] == "meets"}  # right labels change them
            return Offer(action, {fact: settles, **scores}, MAX_LABELS)
        if name == LABELS:
            return Offer(relabel_step(evidence), {fact: evidence.relabel_chances}, MAX_LABELS)
        if name == "unanalysed" and evidence.judge is not None and evidence.suspects is not None:
            why, command, chances = messages.LABEL_JUDGE, "tuneworthy label judge", (0.2, 0.6)
            minutes = MIN_RATED * MINUTES_PER_RATING
        elif name == "unanalysed":
            why, command = "Analyse the causes of wrong answers on dev.", "tuneworthy decide --probe"
            chances = (0.2, 0.7)
        else:
            rung = next(row for row in evidence.errors or () if row.name == name).fixed_by
            why, command = f"Try `{rung}`, which may fix most failures.", f"tuneworthy run --rung {rung}"
        return replace(_uncounted(why, [], minutes, command=command), chances={fact: chances})

    def _more_cases(self, unknown: FactNames) -> Iterator[Offer]:
        """Offer to add test cases, or to change a target that is so near that many cases may not settle it."""
        evidence, moving = self.evidence, [fact for fact in unknown if fact[0] == "meets"]
        for fact in moving:
            yield from self._cases_of_label(fact, unknown)
        moving = [fact for fact in moving if not self._open_recalls(fact)]  # other cases settle no recall
        often = evidence.additions >= MAX_ADDITIONS
        if evidence.target is None or not moving or (often and _good_enough(self.facts)):
            return
        if easy := [one for one in moving if evidence.to_beat(self._rung(one[1])) >= evidence.target]:
            yield _step(
                "Set `task.critical`, another grader or a higher `task.target`: the most frequent answer will do.",
                easy,
                most=UNLIKELY,
            )
            moving = [fact for fact in moving if fact not in easy]
        yield from self._added_cases(moving, evidence.target, often=often)

    def _added_cases(self, moving: FactNames, target: float, *, often: bool) -> Iterator[Offer]:
        chances: Chances = {}
        for factor in GROWTH:
            more = max(50, round(factor * self.evidence.n_test / 50) * 50)
            chances = {fact: self._chance_with(more, fact) for fact in moving}
            yield replace(self._cases(more), chances=chances)
        near = [fact for fact, pair in chances.items() if sum(pair) < LIKELY]
        if near and (often or max(sum(chances[fact]) for fact in near) < UNLIKELY) and not _good_enough(self.facts):
            yield _step(self._other_target([self._rung(name) for _, name in near], target), near)

    def _cases(self, more: int) -> Offer:
        # Where a judge grades, further cases say nothing before people rate the answers to them.
        tested = [rung for rung in self.evidence.rungs.values() if rung.tested]
        rating = 0.0 if self.evidence.judge is None else len(tested) * MINUTES_PER_RATING
        minutes = more * (MINUTES_PER_CASE + rating)
        why = messages.add_cases(more, minutes, rated=bool(rating))
        return _step(
            why,
            [],
            minutes,
            command="tuneworthy cases add",
            usd=sum((rung.usd_per_1k or 0.0) / 1000 * more for rung in tested),
            calls=more * len(tested),
        )

    def _other_target(self, rungs: Sequence[RungEvidence], target: float) -> str:
        for percent in range(floor(100 * target), 0, -1):
            lower = replace(self.evidence, target=percent / 100)
            if name := next((rung.name for rung in rungs if lower.target_of(rung) == "met"), ""):
                return f"Set `task.target` to {percent}% if that is good enough: {name} meets a target of {percent}%."
        return OTHER_TARGET

    def _cases_of_label(self, fact: FactName, unknown: FactNames) -> Iterator[Offer]:
        """Offer to add cases of a critical label, as many as show the recall that was measured to be enough."""
        evidence, rung = self.evidence, self._rung(fact[1])
        for label in self._open_recalls(fact):
            more = next((n for n in range(10, 500, 10) if evidence.recall_of(rung, label, n) == "met"), 100)
            minutes = more * MINUTES_PER_CASE
            why = f"Add {more} test cases with the label `{label}` (about {minutes:.0f} min of labelling)."
            step, facts = _step(why, [], minutes, command="tuneworthy cases add"), [fact]
            if label not in evidence.label_cases:
                step = _step(f"Correct `task.critical`: no case or example has the label `{label}`.", [])
                facts = [one for one in unknown if one[0] == "meets"]
            yield replace(step, chances=dict.fromkeys(facts, (0.6, 0.2)))

    def _open_recalls(self, fact: FactName) -> list[str]:
        """Return the critical labels that leave open whether an option meets the target."""
        rung = self._rung(fact[1])
        return [label for label in self.evidence.critical if self.evidence.recall_of(rung, label) == "unresolved"]

    def _chance_with(self, more: int, fact: FactName) -> Bounds:
        evidence, rung = self.evidence, self._rung(fact[1])
        if rung.score is None or rung.n_effective is None or evidence.target is None:
            return 0.3, 0.3
        chance = partial(
            chance_of_status,
            rung.score,
            rung.n_effective,
            max(1, round(more * rung.n_effective / max(1, rung.n))),
            additions=evidence.additions,
        )
        met, missed = chance(evidence.target, evidence.margin, options=evidence.options)
        return min(met, chance(evidence.to_beat(rung), 0.0)[0]), missed
