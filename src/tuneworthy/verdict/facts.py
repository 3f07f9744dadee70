"""The facts that an outcome hangs on, each true, false or unknown. Pure.

A fact is a kind and its subject: `("meets", "few_shot/fixed-4")`. One that is not listed is true or false as
`ABSENT` says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from tuneworthy.constraints import keeps_p95, may_serve
from tuneworthy.money.economics import can_pay, cost_is_a_reason
from tuneworthy.verdict.base import GateResult, Option
from tuneworthy.verdict.evidence import LEVER_ALPHA, Evidence, most_of
from tuneworthy.verdict.options import measured_options, tuned_score
from tuneworthy.verdict.recommendation import PROVEN, is_saving, rank, recommend

FactKind = Literal[
    "sound", "meets", "eligible", "as_good", "could_meet", "could_teach", "cost", "distil", "lever", "pays"
]
FactName = tuple[FactKind, str]
ABSENT: Final[Mapping[FactKind, bool]] = {
    "sound": True,
    "meets": False,
    "eligible": True,
    "as_good": True,
    "could_meet": False,
    "could_teach": False,
    "cost": False,
    "distil": False,
    "lever": False,
    "pays": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFacts:
    """What is known of a project before training.

    Kinds of facts: `sound` (a gate that any answer needs); of an option `meets` the target, `eligible` by the
    constraints, `as_good` (the classical baseline is non-inferior to the best; the cascade was adopted), `cost` (a
    smaller model, tuned, would save more than it costs) and `distil` (a smaller model would keep the constraint that it
    breaks); of a rung that was not compared `could_meet` (of `retrieval` also where documents may be missing); of a
    class of failures `lever` (something else fixes most of them); `pays` (training pays). `could_teach` of the rung
    `model`, where no other model is named: one that a constraint bars from serving may meet the target.

    Attributes:
        values: None where a fact is unknown.
        options: What was measured on test, in the order of the ladder.
        fallback: Name of the option that runs where none meets the target: the last one adopted.
    """

    values: Mapping[FactName, bool | None]
    options: Sequence[Option] = ()
    fallback: str | None = None

    def known(self, kind: FactKind, subject: str = "") -> bool | None:
        """Return the value of a fact."""
        return self.values.get((kind, subject), ABSENT[kind])

    def subjects(self, kind: FactKind) -> list[str]:
        """Return what the listed facts of a kind are about, in their order."""
        return [subject for name, subject in self.values if name == kind]

    def suppose(self, fact: FactName, value: bool) -> "DecisionFacts":
        """Return the same with one fact decided."""
        return replace(self, values={**self.values, fact: value})

    @property
    def recommendation(self) -> Option | None:
        """The option that is shown to meet the target and should run; else the last one adopted."""

        def works(option: Option) -> bool:
            return bool(self.known("meets", option.option) and self.known("eligible", option.option))

        shown = recommend(rank(self.options), works, lambda option: bool(self.known("as_good", option.option)))
        return shown or next((option for option in self.options if option.option == self.fallback), None)


# Gates that any answer needs.
DEV: Final = "dev"  # the lever that stands for all of them where dev is unlike test
SOUND: Final = ("test_set", "baseline", "contamination", "judge")
# Gate to the rung whose measurement it asks for.
RUNG_OF: Final[Mapping[str, str]] = {
    "classical": "classical",
    "prompt": "prompt",
    "retrieval": "retrieval",
    "other_models": "model",
    "few_shot": "few_shot",
    "decoding": "decoding",
}


def facts_of(evidence: Evidence, gates: Sequence[GateResult], options: Sequence[Option]) -> DecisionFacts:
    """Return the facts of a project before training.

    Args:
        evidence: What was measured.
        gates: Of the stage `to_decide`, waivers applied.
        options: From `options_of`.
    """
    status = {result.gate: result.status for result in gates}
    measured = measured_options(options)
    top = evidence.top
    last = next((option for option in measured if top is not None and option.rung == top.rung), None)
    copied = status["classical"] == "fail"
    last = best_model(measured) if copied and last is not None and last.kind == "classical" else last
    values: dict[FactName, bool | None] = {("sound", gate): _SOUND.get(status[gate], True) for gate in SOUND}
    for option in measured:
        values[("eligible", option.option)] = option.eligible
        values[("meets", option.option)] = _MEETS[option.target or "unresolved"]
        values |= _of_option(evidence, option, measured)
    for option in measured:
        saves = option.kind == "classical" and option.eligible and not copied and (option.score or 0.0) > 0
        if saves and values[("as_good", option.option)] and last:
            last = option if is_saving(option, last) else last
    values |= {("could_meet", rung): None for gate, rung in RUNG_OF.items() if status[gate] in {"fail", "unknown"}}
    limits, named = evidence.limits, evidence.other_models or evidence.barred_models
    if (
        status["other_models"] == "unknown"
        and not named
        and (limits.p95_ms or (limits.on_device and not limits.data_stays))
    ):
        values[("could_teach", "model")] = None
    values |= {("lever", name): value for name, value in _levers(evidence, status).items()}
    facts = DecisionFacts(values=values, options=measured, fallback=last.option if last else None)
    chosen = facts.recommendation
    bill = evidence.bill(evidence.rungs[chosen.rung] if chosen else None)
    values[("pays", "")] = can_pay(bill, (0.0, most_gain(evidence, chosen)), evidence.economics)
    return replace(facts, values=values)


_SOUND: Final[Mapping[str, bool | None]] = {"fail": False, "unknown": None}
_MEETS: Final[Mapping[str, bool | None]] = {"met": True, "missed": False, "unresolved": None}


def gain_over(evidence: Evidence, reference: Option | None) -> tuple[float, float] | None:
    """Return the bounds of what training gains over an option, as measured on test or else by the pilot.

    The pilot says what a tuned model scores; what that gains depends on the option that it is compared with.
    """
    if reference is None or reference.score is None:
        return None
    if evidence.tuned is not None:
        row = evidence.difference(evidence.rungs[reference.rung], evidence.tuned)
        return row.ci95 if row else None
    bounds = tuned_score(evidence)
    return (bounds[0] - reference.score, bounds[1] - reference.score) if bounds else None


def most_gain(evidence: Evidence, reference: Option | None) -> float:
    """Return the most that training can gain over an option."""
    gain = gain_over(evidence, reference)
    score = reference.score if reference and reference.score is not None else 0.0
    return max(0.0, gain[1] if gain else 1.0 - score)


def today_usd(options: Sequence[Option]) -> float | None:
    """Return what is paid for a thousand answers of today's option."""
    return next((one.usd_by_answer for one in options if one.kind == "today"), None)


def best_model(measured: Sequence[Option]) -> Option | None:
    """Return the best option that was measured with a language model: what the classical baseline is compared with."""
    return max((one for one in measured if one.kind != "classical"), key=lambda one: one.score or 0.0, default=None)


def _of_option(evidence: Evidence, option: Option, measured: Sequence[Option]) -> dict[FactName, bool | None]:
    """Return what is known of an option beside the target."""
    values: dict[FactName, bool | None] = {}
    best = best_model(measured)
    values[("cost", option.option)] = cost_is_a_reason(
        evidence.bill(evidence.rungs[option.rung]),
        today_usd(measured),
        evidence.economics,
        evidence.smaller_usd,
    )
    if option.kind == "classical" and best:
        row = evidence.difference(evidence.rungs[best.rung], evidence.rungs[option.rung])
        values[("as_good", option.option)] = row is not None and row.no_worse
    elif option.kind == "classical":
        values[("as_good", option.option)] = True
    elif option.kind == "cascade":
        values[("as_good", option.option)] = evidence.rungs[option.rung].status == "adopted"
    if option.eligible is not True:
        values[("distil", option.option)] = _can_distil(evidence, option, measured)
    return values


def _can_distil(evidence: Evidence, option: Option, measured: Sequence[Option]) -> bool | None:
    """Return whether a smaller model would keep the constraint that an option breaks, so that it can be taught."""
    limits, rung = evidence.limits, evidence.rungs[option.rung]
    if not may_serve(limits, hosted=rung.hosted) or rung.may_be_barred(limits):
        return not limits.data_stays
    if keeps_p95(limits, option.latency_p95_ms, option.latency_p95_ci) is not True:
        fast = any(
            other.kind not in PROVEN
            and other.eligible
            and keeps_p95(limits, other.latency_p95_ms, other.latency_p95_ci)
            for other in measured
            if other is not option
        )
        return True if fast else None
    return False


def _levers(evidence: Evidence, status: Mapping[str, str]) -> dict[str, bool | None]:
    """Return of each class of failures whether something that was not tried fixes most of them.

    A rung that can still be compared is left to `could_meet`: once it was, the lever is spent.
    """
    if evidence.errors is None:
        return {"unanalysed": None}
    if status["dev"] == "unknown":
        return {DEV: None}  # what fixes the errors of dev may not fix those of test
    settled = {rung for gate, rung in RUNG_OF.items() if status[gate] in {"waived", "fail", "unknown"}}
    settled |= {"decoding"} if status["decoding"] == "not_applicable" else set()  # it has nothing to change
    levers: dict[str, bool | None] = {}
    for row in evidence.errors:
        value, rung = most_of(row), evidence.rungs.get(row.fixed_by)
        if row.name == "knowledge" and status["retrieval"] == "fail" and _oracle_reaches(evidence):
            levers[row.name] = value  # the search fails, and the documents are worth finding
        if not row.fixed_by or row.fixed_by in settled:
            continue
        if row.name == "label_or_grader":
            unlikely = value is False and evidence.label_chance < LEVER_ALPHA and not evidence.relabelled
            levers[row.name] = False if unlikely else evidence.labels_confirmed
        elif rung is None or not rung.tested or (row.name == "knowledge" and _oracle_reaches(evidence)):
            levers[row.name] = value
    probed = {row.name for row in evidence.errors}
    if "label_or_grader" not in probed and (evidence.relabelled or (evidence.suspects and not evidence.answers_open)):
        levers["label_or_grader"] = evidence.labels_confirmed  # no model could say it, so people must
    if "knowledge" not in probed and evidence.documents and "retrieval" not in settled and _oracle_reaches(evidence):
        levers["knowledge"] = None  # nothing says how many failures lack a document
    return levers


def _oracle_reaches(evidence: Evidence) -> bool:
    """Return whether the right documents may reach the target, with what later rungs gained on top."""
    upper, rung, top = (
        (evidence.search.oracle_upper if evidence.search else None),
        evidence.rungs.get("retrieval"),
        evidence.top,
    )
    if upper is None or evidence.target is None:
        return False
    gain = top.score - rung.score if top and rung and top.score is not None and rung.score is not None else 0.0
    return upper + max(0.0, gain) >= evidence.target
