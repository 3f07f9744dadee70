"""The outcome before training: rules on known facts, applied to every completion of the unknown ones. Pure.

Invariant: `decided` returns an outcome only if each completion gives it. A fact is completed only when a rule asks for
it, so that what cannot matter is never enumerated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from tuneworthy.types import positional
from tuneworthy.verdict.base import Outcome
from tuneworthy.verdict.facts import DecisionFacts, FactName
from tuneworthy.verdict.options import Options, rank, recommend

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
