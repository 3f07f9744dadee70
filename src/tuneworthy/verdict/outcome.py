"""The outcome before training: rules on known facts, applied to every completion of the unknown ones. Pure.

A fact is a kind and its subject: `("meets", "few_shot/fixed-4")`. A fact that is not listed is false, or true where
`TRUE_UNLESS_LISTED` has its kind.

Invariant: `decided` returns an outcome only if each completion gives it. A fact is completed only when a rule asks for
it, so that what cannot matter is never enumerated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from tuneworthy.config.serving import keeps_p95, may_serve
from tuneworthy.money.economics import can_pay, cost_is_a_reason
from tuneworthy.types import Bounds, NamedTexts, frozen, positional
from tuneworthy.verdict.base import ErrorShare, GateResult, Outcome
from tuneworthy.verdict.error_analysis import LABELS
from tuneworthy.verdict.evidence import LEVER_ALPHA, Evidence, most_of
from tuneworthy.verdict.messages import READERS
from tuneworthy.verdict.options import (
    MADE_UP,
    Better,
    Option,
    Options,
    best_unmet,
    best_within_bill,
    options_of,
    rank,
    recommend,
    tuned_score,
)

# Kinds of facts; each is about a subject.
FactKind = Literal[
    "sound",  # a gate that any answer needs
    "meets",  # an option meets the target
    "eligible",  # the constraints allow an option
    "could_meet",  # a rung that was not compared; also `retrieval` where documents may be missing
    "could_teach",  # a model that a constraint bars from serving, where no other model is named
    "cost",  # a smaller fine-tuned model would save more than it costs against an option
    "distil",  # a smaller model would keep the constraint that an option breaks
    "lever",  # something other than training fixes most failures of a class
    "pays",  # training pays
]
FactName = tuple[FactKind, str]
TRUE_UNLESS_LISTED = frozenset({"sound", "eligible", "pays"})


@frozen
class DecisionFacts:
    """Facts of a project before training.

    Attributes:
        values: None where a fact is unknown.
        options: Options measured on test, in the order of the ladder.
        better: Which are shown to be better than which; see `Evidence.better`.
    """

    values: Mapping[FactName, bool | None]
    options: Options
    better: Better = frozenset()

    def known(self, kind: FactKind, subject: str = "") -> bool | None:
        return self.values.get((kind, subject), kind in TRUE_UNLESS_LISTED)

    def subjects(self, kind: FactKind) -> list[str]:
        """Return the subjects of the listed facts of a kind, in their order."""
        return [subject for name, subject in self.values if name == kind]

    def suppose(self, fact: FactName, value: bool | None) -> "DecisionFacts":
        """Return the same with one fact decided."""
        return replace(self, values={**self.values, fact: value})

    def with_options(self, options: Options) -> "DecisionFacts":
        """Return the same with further options, of which only is known whether they may serve and meet the target."""
        new = {one.option: one for one in options if one not in self.options}
        values: dict[FactName, bool | None] = {("eligible", name): one.eligible for name, one in new.items()}
        values |= {("meets", name): _MEETS[one.target or "unresolved"] for name, one in new.items()}
        return replace(self, options=[*self.options, *new.values()], values={**self.values, **values})

    def works(self, option: Option, *, eligible: bool | None = True) -> bool:
        """Return whether an option is shown to meet the target, and the constraints allow it or rule it out."""
        return self.known("meets", option.option) is True and self.known("eligible", option.option) is eligible

    def allows(self, option: Option) -> bool:
        """Return whether the constraints are known to allow an option."""
        return self.known("eligible", option.option) is True

    @property
    def recommendation(self) -> Option | None:
        """The option that is shown to meet the target and should run; else see `best_unmet`."""
        if self.known("sound", "baseline") is False:  # nothing is shown to be better than today
            return next((option for option in self.options if option.kind == "today"), None)
        return recommend(self.options, self.works, self.better) or best_unmet(self.options, self.allows, self.better)

    @property
    def within_bill(self) -> Option | None:
        return best_within_bill(self.options, self.allows, self.recommendation)


# The lever that represents all others where dev is unlike test.
DEV = "dev"
# Gates that any answer needs.
SOUND = ("test_set", "baseline", "contamination", "judge")
# Gate to the rung whose measurement it asks for.
RUNG_OF = {
    "classical": "classical",
    "prompt": "prompt",
    "retrieval": "retrieval",
    "other_models": "model",
    "few_shot": "few_shot",
    "decoding": "decoding",
}
# Class of failures to whether its lever fixes most.
Levers = dict[str, bool | None]
_SOUND = {"fail": False, "unknown": None}
_MEETS = {"met": True, "missed": False, "unresolved": None}


def facts_of(evidence: Evidence, gates: Sequence[GateResult], options: Options) -> DecisionFacts:
    """Return the facts of a project before training.

    Args:
        evidence: Measurements of the project.
        gates: Of the stage `to_decide`, waivers applied.
        options: From `options_of`.
    """
    status = {result.gate: result.status for result in gates}
    measured = [option for option in options if option.kind != "tuned"]
    values: dict[FactName, bool | None] = {("sound", gate): _SOUND.get(status[gate], True) for gate in SOUND}
    for option in measured:
        values["eligible", option.option] = option.eligible
        values["meets", option.option] = _MEETS[option.target or "unresolved"]
        values["cost", option.option] = cost_is_a_reason(
            evidence.bill(evidence.rungs[option.rung]), today_usd(measured), evidence.economics, evidence.smaller_usd
        )
        if option.eligible is not True:
            values["distil", option.option] = _can_distil(evidence, option, measured)
    values |= {
        ("could_meet", rung): None
        for gate, rung in RUNG_OF.items()
        # a waiver of other models says nothing of another form of the same model
        if status[gate] in {"fail", "unknown"} or (rung == "model" and evidence.forms_open)
    }
    limits = evidence.limits
    needs_small = limits.p95_ms or (limits.on_device and not limits.data_stays)
    if status["other_models"] == "unknown" and needs_small and not evidence.other_models and not evidence.barred_models:
        values["could_teach", "model"] = None
    values |= {("lever", name): value for name, value in _levers(evidence, status).items()}
    facts = DecisionFacts(values=values, options=measured, better=evidence.better)
    chosen = facts.recommendation
    return facts.suppose(
        ("pays", ""),
        can_pay(
            evidence.bill(evidence.rungs[chosen.rung] if chosen else None),
            (0.0, most_gain(evidence, chosen)),
            evidence.economics,
        ),
    )


def winner_of(evidence: Evidence) -> Option | None:
    """Return the option that is shown to meet the target and should run, whatever the gates say; None without one."""
    return recommend(
        [option for option in options_of(evidence) if option.kind != "tuned"],
        lambda option: option.eligible is True and option.target == "met",
        evidence.better,
    )


def gain_over(evidence: Evidence, reference: Option | None) -> Bounds | None:
    """Return the bounds of what training gains over an option, as measured on test or else by the pilot.

    The pilot forecasts the score of a tuned model; its gain depends on the option that it is compared with.
    """
    if not reference or reference.score is None:
        return None
    if evidence.tuned:
        row = evidence.difference(evidence.rungs[reference.rung], evidence.tuned)
        return row.ci95 if row else None
    bounds = tuned_score(evidence)
    return (bounds[0] - reference.score, bounds[1] - reference.score) if bounds else None


def most_gain(evidence: Evidence, reference: Option | None) -> float:
    """Return the most that training can gain over an option."""
    gain = gain_over(evidence, reference)
    score = reference.score if reference and reference.score is not None else 0.0
    return max(0.0, gain[1] if gain else 1.0 - score)


def today_usd(options: Options) -> float | None:
    return next((one.usd_by_answer for one in options if one.kind == "today"), None)


def _can_distil(evidence: Evidence, option: Option, measured: Options) -> bool | None:
    limits, rung = evidence.limits, evidence.rungs[option.rung]
    if not may_serve(limits, hosted=rung.hosted) or rung.may_be_barred(limits):
        return not limits.data_stays
    if keeps_p95(limits, option.latency_p95_ms, option.latency_p95_ci):
        return False
    return (
        any(
            keeps_p95(limits, one.latency_p95_ms, one.latency_p95_ci)
            for one in (one for one in measured if one is not option and one.kind not in MADE_UP and one.eligible)
        )
        or None
    )


def _levers(evidence: Evidence, status: NamedTexts) -> Levers:
    """Return for each class of failures whether an untried lever fixes most of its failures.

    A rung that can still be compared is left to `could_meet`: once it was compared, the lever is spent.
    """
    audit = evidence.label_ceiling
    if evidence.labels_in_doubt:  # of people, so that no gate, open or waived, hides it
        return {LABELS: (evidence.labels_confirmed or None) if status["dev"] != "unknown" else None}
    if audit and audit.decides is not False:
        return {LABELS: audit.decides}
    if evidence.errors is None:
        return {"unanalysed": None}
    if status["dev"] == "unknown":
        return {DEV: None}  # the fix for errors on dev may not fix those on test
    return _untried(evidence, evidence.errors, status)


def _untried(evidence: Evidence, errors: Sequence[ErrorShare], status: NamedTexts) -> Levers:
    settled = {rung for gate, rung in RUNG_OF.items() if status[gate] in {"waived", "fail", "unknown"}}
    if status["decoding"] == "not_applicable":
        settled.add("decoding")
    reaches = _oracle_reaches(evidence)
    levers: Levers = {}
    for row in errors:
        rung, is_knowledge = evidence.rungs.get(row.fixed_by), row.name == "knowledge"
        if is_knowledge and reaches and status["retrieval"] == "fail":
            levers[row.name] = most_of(row)  # the search fails, and the documents are worth finding
        if not row.fixed_by or row.fixed_by in settled:
            continue
        if row.name == LABELS:  # that a grader cannot read right answers is certain, that labels are wrong is not
            is_grader = row.fixed_by in READERS
            levers[row.name] = row.share > 0.5 if is_grader else _labels_are_wrong(evidence, row)
        elif not rung or not rung.tested or (is_knowledge and reaches):
            levers[row.name] = most_of(row)
    return levers | _unprobed_levers(evidence, findable=reaches and "retrieval" not in settled)


def _unprobed_levers(evidence: Evidence, *, findable: bool) -> Levers:
    levers: Levers = {}
    probed = {row.name for row in evidence.errors or ()}
    people_must_tell = evidence.relabelled or (evidence.suspects and not evidence.answers_open)
    if LABELS not in probed and not evidence.label_ceiling and people_must_tell:
        levers[LABELS] = evidence.labels_confirmed  # no model could tell, so people must
    if "knowledge" not in probed and evidence.documents and findable:
        levers["knowledge"] = None  # the share of failures without their document is unknown
    return levers


def _labels_are_wrong(evidence: Evidence, row: ErrorShare) -> bool | None:
    if evidence.label_ceiling:
        return False
    is_few = most_of(row) is False and evidence.label_chance < LEVER_ALPHA and not evidence.labels_matter(row.share)
    return False if is_few and not evidence.relabelled else evidence.labels_confirmed


def _oracle_reaches(evidence: Evidence) -> bool:
    upper = evidence.search.oracle_upper if evidence.search else None
    rung, top = evidence.rungs.get("retrieval"), evidence.top
    if upper is None or evidence.target is None:
        return False
    gain = top.score - rung.score if top and rung and top.score is not None and rung.score is not None else 0.0
    return upper + max(0.0, gain) >= evidence.target


# Rungs whose variants may be so much cheaper than what meets the target that nothing needs to be trained.
CHEAPER_RUNGS = frozenset({"classical", "model"})
# The values that facts must all have.
Condition = Mapping[FactName, bool]
Ask = Callable[[Condition], bool]


@positional
class Ruling:
    """What the rules say.

    Attributes:
        outcome: The answer.
        code: The rule that decided.
        subject: The option, rung, gate or class of failures that it is about.
    """

    outcome: Outcome
    code: str
    subject: str = ""


class _Open(Exception):
    """A rule asked for unknown facts."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition


def decided(facts: DecisionFacts) -> Ruling | None:
    """Return the ruling if every completion of the unknown facts gives its outcome, else None.

    Where completions agree by different rules, it is the ruling of the one in which all unknown facts are false.
    """
    rulings = (ruling for ruling, _ in completions(facts))
    last = next(rulings)
    for ruling in rulings:
        if ruling.outcome is not last.outcome:
            return None
        last = ruling
    return last


def open_facts(facts: DecisionFacts) -> list[FactName]:
    """Return the unknown facts that a rule asks for in some completion, in the order of the rules."""
    return list(dict.fromkeys(fact for _, names in completions(facts) for fact in names))


def completions(
    facts: DecisionFacts, names: Sequence[FactName] = (), refused: Sequence[Condition] = ()
) -> Iterator[tuple[Ruling, Sequence[FactName]]]:
    """Yield the ruling of each completion with the unknown facts that its rules asked for, the true ones first.

    What a rule wants of several facts is one question, which is true or false, so that the options make a chain of
    questions and not a product of the values of all their facts.

    Args:
        facts: To be completed.
        names: Of the facts that rules have asked for so far.
        refused: Conditions that are false though each of their facts may be true.
    """

    def ask(condition: Condition) -> bool:
        unknown = {fact: wanted for fact, wanted in condition.items() if facts.known(*fact) is None}
        if any(facts.known(*fact) is not wanted for fact, wanted in condition.items() if fact not in unknown):
            return False
        if not unknown:
            return True
        if any(
            all(facts.known(*fact) is value or unknown.get(fact) is value for fact, value in no.items())
            for no in refused
        ):
            return False
        raise _Open(unknown)

    try:
        ruling = _rule(facts, ask)
    except _Open as question:
        wanted = question.condition
        now = [*names, *(fact for fact in wanted if fact not in names)]
        yield from completions(replace(facts, values={**facts.values, **wanted}), now, refused)
        if len(wanted) == 1:
            ((fact, value),) = wanted.items()
            yield from completions(facts.suppose(fact, not value), now, refused)
        else:
            yield from completions(facts, now, [*refused, wanted])
    else:
        yield ruling, names


def _rule(facts: DecisionFacts, ask: Ask) -> Ruling:
    """Return the first rule that applies (the letters are those of the contract)."""
    for gate in facts.subjects("sound"):  # (a)
        if not ask({("sound", gate): True}):
            return Ruling(Outcome.UNDECIDED, f"gate_{gate}", gate)
    # By the answer, so that the outcome does not hang on the traffic: whoever runs a model that meets the target on a
    # server of one's own has no bill that another model on such a server could reduce.
    ranked = rank([replace(option, usd_per_month=None) for option in facts.options])
    winner = recommend(
        ranked,
        lambda option: ask({("eligible", option.option): True, ("meets", option.option): True}),
        facts.better,
    )
    untried = facts.subjects("could_meet")  # (e): `retrieval` is one where documents may be missing
    if winner:  # (b)
        if not ask({("cost", winner.option): True}):
            return Ruling(Outcome.DO_NOT_FINE_TUNE, "target_met", winner.option)
        for option in ranked:  # one of a model without a price counted as the dearest above, and may be the cheapest
            name, same = option.option, option is winner or (option.model and option.model == winner.model)
            wanted: Condition = {("eligible", name): True, ("meets", name): True, ("cost", name): False}
            if option.usd_by_answer is None and not same and ask(wanted):
                return Ruling(Outcome.DO_NOT_FINE_TUNE, "target_met", name)
        untried = [rung for rung in untried if rung in CHEAPER_RUNGS]
    for rung in untried:
        if ask({("could_meet", rung): True}):
            return Ruling(Outcome.DO_NOT_FINE_TUNE, "rung_untried", rung)
    return Ruling(Outcome.FINE_TUNE, "cost", winner.option) if winner else _none_meets(facts, ranked, ask)


def _none_meets(facts: DecisionFacts, ranked: Options, ask: Ask) -> Ruling:
    for option in ranked:  # (c)
        name = option.option
        if ask({("distil", name): True, ("eligible", name): False, ("meets", name): True}):
            return Ruling(Outcome.FINE_TUNE, "constraint", name)
    for rung in facts.subjects("could_teach"):
        if ask({("could_teach", rung): True}):
            return Ruling(Outcome.FINE_TUNE, "constraint", rung)
    for name in facts.subjects("lever"):  # (d)
        if ask({("lever", name): True}):
            return Ruling(Outcome.DO_NOT_FINE_TUNE, f"errors_{name}", name)
    pays = ask({("pays", ""): True})  # (f), else (g)
    return Ruling(Outcome.FINE_TUNE, "levers_exhausted") if pays else Ruling(Outcome.DO_NOT_FINE_TUNE, "economics")
