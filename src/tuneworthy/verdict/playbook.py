"""Two weeks from cases to real traffic as a checklist: each step done or open by what was measured, and the cheapest next one.

Pure: `checklist` looks at `Seen`, which `verdict.seen` reads from the project folder. The steps before the decision ask
the gates of `verdict.gates`, so that the list and the verdict never disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import reduce
from typing import Any

from tuneworthy.verdict.base import GateResult, GateStatus, Outcome, Stage
from tuneworthy.verdict.evidence import Evidence, target_of
from tuneworthy.verdict.gates import FEWEST_CASES, run_gates

MINUTES_A_CASE = 2.0
"""Time a person takes to write or label a case: assumed."""
LEVERS = ("prompt", "model", "retrieval", "decoding")
"""Steps that may be taken in any order."""
ORDER_NOTE = "`run` tries retrieval before the stronger model; the next step named here is the cheapest open one."


class StepStatus(StrEnum):
    """What is known of a step."""

    DONE = "done"
    OPEN = "open"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a step takes; each pair is the least and the most.

    Attributes:
        calls, usd, minutes: Of the models. person_minutes: Of a person.
    """

    calls: tuple[float, float] = (0, 0)
    usd: tuple[float, float] = (0.0, 0.0)
    minutes: tuple[float, float] = (0.0, 0.0)
    person_minutes: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Return both together."""

        def both(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
            return a[0] + b[0], a[1] + b[1]

        return Cost(
            calls=both(self.calls, other.calls),
            usd=both(self.usd, other.usd),
            minutes=both(self.minutes, other.minutes),
            person_minutes=self.person_minutes + other.person_minutes,
        )

    @property
    def order(self) -> tuple[float, float, float]:
        """What is cheaper comes first: money, then time, then calls, each at its upper end."""
        return self.usd[1], self.minutes[1] + self.person_minutes, self.calls[1]

    def __str__(self) -> str:
        if self.person_minutes:
            return f"about {self.person_minutes:.0f} minutes of a person ({MINUTES_A_CASE:g} a case, assumed)"
        if not self.calls[1]:
            return "no calls, no money, seconds"
        calls = _span(*(f"{value:,.0f}" for value in self.calls))
        usd = _span(*(f"${value:.2f}" for value in self.usd)) if self.usd[1] else "no money"
        minutes = _span(*(f"{value:.0f}" for value in self.minutes))
        return f"{calls} calls, {usd}, {'less than a minute' if minutes == '0' else f'about {minutes} minutes'}"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a project folder shows.

    Attributes:
        evidence: What the gates look at; without rungs before a run.
        n_cases, n_unlabelled: Cases with and without a right answer. fault: Why they cannot be read, or "".
        quick: Rung to (score, cases of dev), of the last quick run.
        outcome, reason, next_action: Of the last verdict; None before one.
        verdict_stale: What changed since it was computed, in words.
        costs: Rung to what walking it takes; without those that cannot be estimated.
    """

    evidence: Evidence
    n_cases: int = 0
    n_unlabelled: int = 0
    fault: str = ""
    quick: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    outcome: str | None = None
    reason: str = ""
    next_action: str = ""
    verdict_stale: Sequence[str] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def decided(self) -> bool:
        """Whether a verdict that still holds says yes or no."""
        return self.outcome not in {None, Outcome.UNDECIDED} and not self.verdict_stale


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step.

    Attributes:
        step: Its name. day, title: Of the two weeks.
        status: What is known of it. evidence: The numbers, in one line.
        do: What to run or do, if it is open. cost: What that takes; None if not known, or nothing is to be done.
    """

    step: str
    day: str
    title: str
    status: StepStatus
    evidence: str
    do: str = ""
    cost: Cost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """All steps in order, the next one (None if none is open), and what a reader must know."""

    steps: Sequence[Step]
    next: Step | None
    notes: Sequence[str] = (ORDER_NOTE,)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `next` is the name of the step."""
        return {**asdict(self), "next": self.next.step if self.next else None}


Found = tuple[StepStatus, str]
Look = Callable[[Seen, Mapping[str, GateResult]], Step]
DONE, OPEN = StepStatus.DONE, StepStatus.OPEN
NOT_APPLICABLE = StepStatus.NOT_APPLICABLE


def checklist(seen: Seen) -> Checklist:
    """Return the checklist of what was seen."""
    stages: tuple[Stage, ...] = ("to_decide", "to_train", "to_ship")
    gates = {result.gate: result for stage in stages for result in run_gates(seen.evidence, stage)}
    steps = [look(seen, gates) for look in _STEPS]
    return Checklist(steps=steps, next=_next(seen, steps))


def _next(seen: Seen, steps: Sequence[Step]) -> Step | None:
    """Return the cheapest open step whose turn it is: cases, baseline, the levers in any order, then one by one.

    Once the verdict says yes or no, or the target is met, levers that are still open need not be tried.
    """
    needless = seen.decided or target_of(seen.evidence.top, seen.evidence.target, seen.evidence.margin) == "met"
    ready = [step for step in steps if step.status is OPEN and not (needless and step.step in LEVERS)]
    if not ready or ready[0].step not in LEVERS:
        return ready[0] if ready else None
    levers = [step for step in ready if step.step in LEVERS]
    return min(levers, key=lambda step: step.cost.order if step.cost else (float("inf"),) * 3)


def _of_gates(results: Sequence[GateResult]) -> Found:
    """Return what gates say of a step together; the sentence is that of those that weigh most."""
    open_ones = [r for r in results if r.status in {GateStatus.FAIL, GateStatus.UNKNOWN}]
    passed = [r for r in results if r.status is GateStatus.PASS]
    shown = open_ones or passed or results
    words = "; ".join(dict.fromkeys(result.detail for result in shown))
    return OPEN if open_ones else DONE if passed else NOT_APPLICABLE, words


def _cases(seen: Seen, gates: Mapping[str, GateResult]) -> Step:
    n_test = seen.evidence.n_test
    words = f"{seen.n_cases} cases with a right answer, {n_test} of them in test"
    done = gates["test_set"].status is GateStatus.PASS and not seen.n_unlabelled and not seen.fault
    missing = max(0, FEWEST_CASES - n_test)
    if seen.fault:
        words = seen.fault
    elif seen.n_unlabelled:
        words += f"; {seen.n_unlabelled} without"
        missing = seen.n_unlabelled
    elif not done:
        words += f"; {gates['test_set'].detail}"
    do = "tuneworthy cases label" if seen.n_unlabelled else "tuneworthy cases sample, then cases label"
    return Step(
        step="cases",
        day="1",
        title="Build the eval set",
        status=DONE if done else OPEN,
        evidence=words,
        do="" if done else "tuneworthy check" if seen.fault else do,
        cost=None if done or seen.fault else Cost(person_minutes=missing * MINUTES_A_CASE),
    )


def _lever(name: str, day: str, title: str, *of: str, rungs: Sequence[str]) -> Look:
    """Return a step that is done when the gates `of` pass, by walking `rungs`."""

    def look(seen: Seen, gates: Mapping[str, GateResult]) -> Step:
        status, words = _of_gates([gates[gate] for gate in of])
        walk = _to_walk(seen, rungs) if status is OPEN else []
        if status is DONE:
            words += f" (n = {seen.evidence.n_test})"
        elif status is OPEN:
            words += "".join(
                f"; {rung}: {seen.quick[rung][0]:.3f} on {seen.quick[rung][1]} dev cases in a quick run"
                for rung in walk
                if rung in seen.quick
            )
        do = " ".join(["tuneworthy run", *(f"--rung {rung}" for rung in walk)]) if walk else ""
        if walk and name == "model" and not seen.evidence.other_models:
            do = "add a stronger model to [models], or waive the gate other_models with the reason"
        return Step(step=name, day=day, title=title, status=status, evidence=words, do=do, cost=_cost_of(seen, walk))

    return look


def _to_walk(seen: Seen, rungs: Sequence[str]) -> list[str]:
    """Return the rungs of a step to walk: those not put to test (else all), without those that have nothing to try."""
    known = seen.evidence.rungs
    left = [name for name in rungs if not (name in known and known[name].tested)] or list(rungs)
    return [name for name in left if name in seen.costs] or left


def _cost_of(seen: Seen, rungs: Sequence[str]) -> Cost | None:
    """Return what walking `rungs` takes; None if nothing is to be walked, or one cannot be estimated."""
    if not rungs or any(name not in seen.costs for name in rungs):
        return None
    return reduce(Cost.plus, (seen.costs[name] for name in rungs))


def _decision(seen: Seen, gates: Mapping[str, GateResult]) -> Step:
    if seen.decided:
        status, words = DONE, f"{seen.outcome}: {seen.reason}"
    elif seen.outcome is None:
        status, words = OPEN, "nothing was decided"
    elif seen.verdict_stale:
        status, words = OPEN, f"{seen.outcome} was said before a change: {'; '.join(seen.verdict_stale)}"
    else:
        status, words = OPEN, f"{seen.outcome}: {seen.reason}"
    fresh = status is OPEN and seen.outcome is not None and not seen.verdict_stale
    return Step(
        step="decision",
        day="7",
        title="Decide",
        status=status,
        evidence=words,
        do="" if status is DONE else f"{seen.next_action}; then tuneworthy decide" if fresh else "tuneworthy decide",
        cost=None if status is DONE else Cost(),
    )


def _later(name: str, day: str, title: str, do: str, *of: str) -> Look:
    """Return a step after the decision: done when the gates `of` pass or are waived."""

    def look(seen: Seen, gates: Mapping[str, GateResult]) -> Step:
        results = [gates[gate] for gate in of]
        closed = [one for one in results if one.status in {GateStatus.FAIL, GateStatus.UNKNOWN}]
        words = ", ".join(f"{one.gate}: {one.status}" for one in results)
        if seen.decided and seen.outcome == Outcome.DO_NOT_FINE_TUNE:
            status, words = NOT_APPLICABLE, "the verdict is do_not_fine_tune"
        elif not closed:
            status = DONE
        else:
            status, words = OPEN, f"{words}; {closed[0].detail}"
        return Step(step=name, day=day, title=title, status=status, evidence=words, do=do if status is OPEN else "")

    return look


def _training(seen: Seen, gates: Mapping[str, GateResult]) -> Step:
    """Done when a tuned variant was put to test; the pilot is shown beside it."""
    step = _later("training", "11-12", "Train", "tuneworthy train", "pilot")(seen, gates)
    tuned, adapter = seen.evidence.tuned, seen.evidence.training.adapter
    pilot = f"pilot: {gates['pilot'].status}"
    if step.status is NOT_APPLICABLE:
        return step
    if tuned is not None and not seen.evidence.stale:
        words = f"{tuned.name}: {tuned.score:.3f}, {tuned.status} (n = {seen.evidence.n_test}); {pilot}"
        return replace(step, status=DONE, evidence=words, do="")
    if adapter is not None:
        do = "tuneworthy merge, export gguf, then run --rung fine_tune"
        words = f"the adapter {adapter} was not put to test; {pilot}"
        return replace(step, status=OPEN, evidence=words, do=do)
    words = f"nothing was trained; {pilot}"
    return replace(step, status=OPEN, evidence=words, do="tuneworthy train")


_STEPS: tuple[Look, ...] = (
    _cases,
    _lever("baseline", "1-2", "Measure the baseline", "baseline", rungs=["baseline"]),
    _lever("prompt", "1-2", "Max out prompting", "prompt", "few_shot", rungs=["prompt", "few_shot"]),
    _lever("model", "3", "Try a stronger model", "other_models", rungs=["model"]),
    _lever("retrieval", "4-5", "Add retrieval, if it is a knowledge task", "retrieval", rungs=["retrieval"]),
    _lever("decoding", "6", "Tune decoding", "decoding", rungs=["decoding"]),
    _decision,
    _later(
        "dataset",
        "8-10",
        "Build the dataset",
        "tuneworthy data build, then data review",
        "dataset_frozen",
        "dataset_review",
        "dataset_contamination",
        "teacher_terms",
    ),
    _training,
    _later(
        "parity",
        "13",
        "Merge, deploy, measure again",
        "tuneworthy merge, export gguf, parity, serve",
        "parity",
        "improvement",
        "regressions",
        "serving",
    ),
    _later(
        "shadow",
        "14",
        "Shadow real traffic",
        "answer a copy of your traffic with both models, then waive the gate",
        "shadow",
    ),
)
