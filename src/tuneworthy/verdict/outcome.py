"""The outcome before training: rules on known facts, applied to every completion of the unknown ones. Pure.

Invariant: `decided` returns an outcome only if each completion gives it. A fact is completed only when a rule asks for
it, so that what cannot matter is never enumerated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tuneworthy.verdict.base import Option, Outcome
from tuneworthy.verdict.facts import DecisionFacts, FactKind, FactName
from tuneworthy.verdict.recommendation import rank, recommend

# Rungs whose variants may be so much cheaper than what meets the target that nothing needs to be trained.
CHEAPER_RUNGS = frozenset({"classical", "model"})
Ask = Callable[[FactKind, str], bool]


@dataclass(frozen=True, slots=True)
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
    """A rule asked for an unknown fact."""

    def __init__(self, fact: FactName) -> None:
        self.fact = fact


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


def completions(facts: DecisionFacts) -> Iterator[tuple[Ruling, dict[FactName, bool]]]:
    """Yield the ruling of each completion with the unknown facts that it supposes, the true ones first."""
    yield from _complete(facts, {})


def open_facts(facts: DecisionFacts) -> list[FactName]:
    """Return the unknown facts that a rule asks for in some completion, in the order of the rules."""
    return list(dict.fromkeys(fact for _, supposed in completions(facts) for fact in supposed))


def _complete(facts: DecisionFacts, supposed: dict[FactName, bool]) -> Iterator[tuple[Ruling, dict[FactName, bool]]]:
    def ask(kind: FactKind, subject: str) -> bool:
        value = supposed.get((kind, subject), facts.known(kind, subject))
        if value is None:
            raise _Open((kind, subject))
        return value

    try:
        ruling = _rule(facts, ask)
    except _Open as question:
        for value in (True, False):
            yield from _complete(facts, {**supposed, question.fact: value})
    else:
        yield ruling, supposed


def _rule(facts: DecisionFacts, ask: Ask) -> Ruling:
    """Return the first rule that applies (the letters are those of the contract)."""
    for gate in facts.subjects("sound"):  # (a)
        if not ask("sound", gate):
            return Ruling(Outcome.UNDECIDED, f"gate_{gate}", gate)
    ranked = rank(facts.options)
    winner = recommend(
        ranked,
        lambda option: (
            _may_be(facts, option, meets=True, eligible=True)
            and ask("eligible", option.option)
            and ask("meets", option.option)
        ),
        lambda option: ask("as_good", option.option),
    )
    untried = facts.subjects("could_meet")  # (e): `retrieval` is one where documents may be missing
    if winner is not None:  # (b)
        if not ask("cost", winner.option):
            return Ruling(Outcome.DO_NOT_FINE_TUNE, "target_met", winner.option)
        for rung in untried:
            if rung in CHEAPER_RUNGS and ask("could_meet", rung):
                return Ruling(Outcome.DO_NOT_FINE_TUNE, "rung_untried", rung)
        return Ruling(Outcome.FINE_TUNE, "cost", winner.option)
    for rung in untried:
        if ask("could_meet", rung):
            return Ruling(Outcome.DO_NOT_FINE_TUNE, "rung_untried", rung)
    return _none_meets(facts, ranked, ask)


def _may_be(facts: DecisionFacts, option: Option, *, meets: bool, eligible: bool) -> bool:
    """Return whether what is known of an option allows both values; if not, no other fact about it matters."""
    known = facts.known("meets", option.option), facts.known("eligible", option.option)
    return known[0] in {None, meets} and known[1] in {None, eligible}


def _none_meets(facts: DecisionFacts, ranked: Sequence[Option], ask: Ask) -> Ruling:
    """Return the first rule that applies where no eligible option meets the target, and no rung could."""
    for option in ranked:  # (c)
        name = option.option
        if not _may_be(facts, option, meets=True, eligible=False):
            continue
        if ask("distil", name) and not ask("eligible", name) and ask("meets", name):
            return Ruling(Outcome.FINE_TUNE, "constraint", name)
    for rung in facts.subjects("could_teach"):
        if ask("could_teach", rung):
            return Ruling(Outcome.FINE_TUNE, "constraint", rung)
    for name in facts.subjects("lever"):  # (d)
        if ask("lever", name):
            return Ruling(Outcome.DO_NOT_FINE_TUNE, f"errors_{name}", name)
    if not ask("pays", ""):  # (f)
        return Ruling(Outcome.DO_NOT_FINE_TUNE, "economics")
    return Ruling(Outcome.FINE_TUNE, "levers_exhausted")  # (g)
