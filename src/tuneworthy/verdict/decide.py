"""The decision: the first line of the truth table that applies to the evidence. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuneworthy.verdict.base import GateResult, GateStatus, Headroom, Outcome, Target, Verdict
from tuneworthy.verdict.evidence import Evidence, RungEvidence, target_of
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.matrix import row

TRAIN_GATES = "dataset_frozen, dataset_review, dataset_leak, teacher_terms, pilot"
ARTICLE_GAPS = (0.10, 0.15)
_ANSWERING = frozenset({"eval_set", "baseline", "leak", "judge"})
"""Gates that even "the target is met already" needs."""
_BLOCKED = frozenset({GateStatus.FAIL, GateStatus.UNKNOWN})


@dataclass(frozen=True, slots=True)
class _Case:
    """The evidence with what follows from it at once."""

    evidence: Evidence
    gates: Sequence[GateResult]
    target: Target

    def gate(self, name: str) -> GateResult:
        return next(result for result in self.gates if result.gate == name)

    @property
    def blocked(self) -> list[GateResult]:
        """Needed gates that are unknown or failed; the two whose failure is an answer block only while unknown."""
        needed = _ANSWERING | ({"floor"} if self.evidence.best == "floor" else set()) if self.target == "met" else None
        return [
            result
            for result in self.gates
            if (needed is None or result.gate in needed)
            and result.status in _BLOCKED
            and not (result.gate in {"motivation", "economics"} and result.status is GateStatus.FAIL)
        ]

    @property
    def lever(self) -> Headroom | None:
        """The class that most failures belong to, if another lever than training mends it."""
        for found in self.evidence.headroom or ():
            if found.ci95[0] > 0.5 and found.name != "other":
                return found
        return None


Answer = tuple[Outcome, str, str]


def decide(evidence: Evidence) -> Verdict:
    """Decide before training.

    The first that applies: a needed gate is unknown or failed; the best eligible variant or the floor meets the
    target; the matrix says that training does not help, or the motivation is not evidenced; another lever mends
    most failures; it never pays; the target is unresolved; else training is worth a try.
    """
    gates = run_gates(evidence)
    case = _Case(evidence, gates, target_of(evidence.top, evidence.target, evidence.margin))
    outcome, code, reason = next(answer for line in _TABLE if (answer := line(case)))
    return Verdict(
        outcome=outcome,
        stage="to_decide",
        reason_code=code,
        reasons=_reasons(case, reason),
        target=case.target,
        gates=gates,
        headroom=evidence.headroom or (),
        forecast=evidence.forecast,
        economics=evidence.economics,
        next_action=_next_action(case, outcome, code),
        valid_until=min(date for date, _ in evidence.expires) if evidence.expires else "",
        would_change=_would_change(case, outcome),
        article=_article(case),
    )


def _gates(case: _Case) -> Answer | None:
    if not case.blocked:
        return None
    first = case.blocked[0]
    return Outcome.NOT_ENOUGH_EVIDENCE, f"gate_{first.gate}", f"Not decided yet: {first.detail}."


def _target_met(case: _Case) -> Answer | None:
    top = case.evidence.top
    if case.target != "met" or top is None:
        return None
    if case.evidence.best == "floor":
        words = (
            f"No language model is needed: {top.name} reaches {top.score:.3f}, the target is {case.evidence.target:g}."
        )
        return Outcome.DO_NOT_FINE_TUNE, "target_met_by_floor", words
    words = f"The target of {case.evidence.target:g} is met without training: {top.name} reaches {top.score:.3f}."
    return Outcome.DO_NOT_FINE_TUNE, "target_met", words


def _not_a_training_problem(case: _Case) -> Answer | None:
    problem = case.evidence.problem
    if problem is not None:
        found = row(problem)
        if found.training == "no":
            words = f"Training does not help with {problem.replace('_', ' ')}: use {found.primary.value} first."
            return Outcome.DO_NOT_FINE_TUNE, "matrix", words
    gate = case.gate("motivation")
    if gate.status is GateStatus.FAIL:
        return Outcome.DO_NOT_FINE_TUNE, "motivation", f"Nothing measured speaks for training: {gate.detail}."
    return None


def _another_lever(case: _Case) -> Answer | None:
    found = case.lever
    if found is None:
        return None
    words = f"{found.share:.0%} of the failures on dev are of the class {found.name}, which {found.mended_by} mends."
    return Outcome.DO_NOT_FINE_TUNE, f"headroom_{found.name}", words


def _never_pays(case: _Case) -> Answer | None:
    gate = case.gate("economics")
    if gate.status is not GateStatus.FAIL:
        return None
    return Outcome.DO_NOT_FINE_TUNE, "economics", f"It does not pay: {gate.detail}."


def _unresolved(case: _Case) -> Answer | None:
    if case.target != "unresolved":
        return None
    return Outcome.NOT_ENOUGH_EVIDENCE, "target_unresolved", "The test cases do not settle whether the target is met."


def _fine_tune(case: _Case) -> Answer | None:
    top = case.evidence.top
    best = f"{top.name} reaches {top.score:.3f}" if top and top.score is not None else "nothing reaches the target"
    words = f"Every cheaper lever was tried and misses the target of {case.evidence.target:g}: {best}."
    return Outcome.FINE_TUNE, "levers_exhausted", words


_TABLE: tuple[Callable[[_Case], Answer | None], ...] = (
    _gates,
    _target_met,
    _not_a_training_problem,
    _another_lever,
    _never_pays,
    _unresolved,
    _fine_tune,
)


def _reasons(case: _Case, first: str) -> list[str]:
    """At most three sentences: the one that decided, then what else weighs."""
    sentences = [first]
    top, base = case.evidence.top, case.evidence.rungs.get("baseline")
    if top and base and top.score is not None and base.score is not None and top is not base:
        sentences.append(f"From {base.score:.3f} as it is today to {top.score:.3f} without training ({top.name}).")
    floor = case.evidence.rungs.get("floor")
    if floor and floor.score is not None and case.evidence.best != "floor":
        sentences.append(f"Without any language model: {floor.score:.3f} ({floor.name}).")
    motivation = case.gate("motivation")
    if motivation.status is GateStatus.PASS:
        sentences.append(f"The reason to train is measured: {motivation.detail}.")
    return sentences[:3]


def _next_action(case: _Case, outcome: Outcome, code: str) -> str:
    if outcome is Outcome.NOT_ENOUGH_EVIDENCE:
        return case.blocked[0].detail if case.blocked else "add test cases until the interval settles the target"
    if outcome is Outcome.FINE_TUNE:
        return f"build the dataset and run a pilot; gates to pass before training: {TRAIN_GATES}"
    if code.startswith("headroom_") and case.lever:
        return f"use {case.lever.mended_by}, then `tuneworthy climb` and `tuneworthy decide` again"
    if code in {"target_met", "target_met_by_floor"} and case.evidence.top:
        return f"ship {case.evidence.top.name}"
    return "keep the best variant so far; come back when the reasons below change"


def _would_change(case: _Case, outcome: Outcome) -> list[str]:
    """What would change the answer."""
    changes = [f"{what} on {date}" for date, what in sorted(case.evidence.expires)[:2]]
    if outcome is Outcome.DO_NOT_FINE_TUNE and case.target == "met" and case.evidence.top:
        changes.insert(0, f"a target above {case.evidence.top.score:.3f}, or a constraint that forbids what meets it")
    if outcome is Outcome.FINE_TUNE:
        changes.insert(0, "a new or cheaper model that meets the target; a pilot whose forecast gain is too small")
    if outcome is Outcome.NOT_ENOUGH_EVIDENCE:
        changes.insert(0, "the open gates")
    return changes


def _article(case: _Case) -> dict[str, object]:
    """The article's own decision point: the gap of the best to the target against 10 and 15 points."""
    top: RungEvidence | None = case.evidence.top
    if top is None or top.score is None:
        return {}
    gap = case.evidence.target - top.score
    says = (
        "keep on with prompt and retrieval"
        if gap < ARTICLE_GAPS[0]
        else "train"
        if gap > ARTICLE_GAPS[1]
        else "undefined"
    )
    return {"gap": gap, "says": says, "mark": "article, unsupported (facts.md 0, rows 32 and 33)"}
