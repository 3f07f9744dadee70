"""Two weeks from cases to real traffic as a checklist: each step done or open by what was measured, and the next one.

Pure: `checklist` looks at `ProjectState`, which `project_state` reads from the project folder. The steps ask the gates
of `verdict.gates`, so that the list and the verdict never disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import reduce
from typing import Final, get_args

from tuneworthy.errors import join_sentences
from tuneworthy.text import count
from tuneworthy.types import JsonObject
from tuneworthy.verdict import messages
from tuneworthy.verdict.answer import Verdict, answer_of
from tuneworthy.verdict.base import GateResult, Outcome, Stage
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.gates.to_decide import FEWEST_CASES
from tuneworthy.verdict.next_action import MINUTES_PER_CASE

# Steps that may be taken in any order.
STEP_TITLES: Final[Mapping[str, str]] = {
    "cases": "Build the test set",
    "baseline": "Measure the baseline",
    "prompt": "Improve the prompt",
    "model": "Try a different model",
    "retrieval": "Add retrieval if the answers are in documents",
    "decoding": "Tune sampling",
    "decision": "Decide",
    "dataset": "Build the dataset",
    "training": "Train",
    "parity": "Merge, deploy and measure again",
    "shadow": "Shadow real traffic",
}

LEVERS = ("prompt", "model", "retrieval", "decoding")
Span = tuple[float, float]


class StepStatus(StrEnum):
    """What is known of a step."""

    DONE = "done"
    OPEN = "open"
    NOT_APPLICABLE = "not_applicable"


DONE, OPEN, NOT_APPLICABLE = StepStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a step takes; each pair is the least and the most.

    Attributes:
        calls: Of the models, like US dollars and minutes.
        person_minutes: Of a person.
    """

    calls: Span = (0, 0)
    usd: Span = (0.0, 0.0)
    minutes: Span = (0.0, 0.0)
    person_minutes: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Return both together."""
        return Cost(
            calls=(self.calls[0] + other.calls[0], self.calls[1] + other.calls[1]),
            usd=(self.usd[0] + other.usd[0], self.usd[1] + other.usd[1]),
            minutes=(self.minutes[0] + other.minutes[0], self.minutes[1] + other.minutes[1]),
            person_minutes=self.person_minutes + other.person_minutes,
        )

    @property
    def order(self) -> tuple[float, float, float]:
        """What is cheaper comes first: money, then time, then calls, each at its upper end."""
        return self.usd[1], self.minutes[1] + self.person_minutes, self.calls[1]

    def __str__(self) -> str:
        if self.person_minutes:
            usd = f", {_span(self.usd, '${:.2f}')}" if self.usd[1] else ""
            return f"about {self.person_minutes:.0f} min of manual work" + usd
        if not self.calls[1]:
            return "no calls, no cost, a few seconds"
        minutes = _span(self.minutes, "{:.0f}")
        return (
            f"{_span(self.calls, '{:,.0f}')} calls, {_span(self.usd, '${:.2f}') if self.usd[1] else 'no cost'}, "
            f"{'less than a minute' if minutes == '0' else f'about {minutes} min'}"
        )


def _span(values: Span, form: str) -> str:
    low, high = map(form.format, values)
    return low if low == high else f"{low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """What a project folder shows.

    Attributes:
        evidence: What the gates look at; without rungs before a run.
        n_cases: Cases with a right answer.
        n_unlabelled: Cases without one.
        fault: Why they cannot be read, or "".
        quick: Rung to (score, cases of dev), of the last quick run.
        verdict: The last one; None before it.
        verdict_stale: What changed since it was computed, in words.
        costs: Rung to what it takes; without those that cannot be estimated.
    """

    evidence: Evidence
    n_cases: int = 0
    n_unlabelled: int = 0
    fault: str = ""
    quick: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    verdict: Verdict | None = None
    verdict_stale: Sequence[str] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def decided(self) -> bool:
        """Whether a verdict that still holds says yes or no."""
        return self.verdict is not None and self.verdict.outcome is not Outcome.UNDECIDED and not self.verdict_stale


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step.

    Attributes:
        step: Its name.
        day: Of the two weeks.
        title: What it is.
        status: What is known of it.
        evidence: The numbers, in one line.
        do: What to run or do, if it is open.
        cost: What that takes; None if not known, or nothing is to be done.
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
    """All steps in order, the next one (None if none is open), and what a reader must know.

    Attributes:
        action: What a verdict that says yes or no asks for where no step is open.
    """

    steps: Sequence[Step]
    next: Step | None
    action: str = ""
    notes: Sequence[str] = ()

    def to_dict(self) -> JsonObject:
        """Return plain JSON-able data; `next` is the name of the step."""
        return {**asdict(self), "next": self.next.step if self.next else None}


Gates = Mapping[str, GateResult]


@dataclass(frozen=True, slots=True)
class _Part:
    """How a step is judged: by the gates `of`, which running `rungs` (or doing `do`) passes."""

    day: str
    of: Sequence[str] = ()
    rungs: Sequence[str] = ()
    do: str = ""
    look: Callable[[str, _Part, ProjectState, Gates], Step] | None = None

    def step(self, name: str, status: StepStatus, evidence: str, do: str = "", cost: Cost | None = None) -> Step:
        return Step(
            step=name,
            day=self.day,
            title=STEP_TITLES[name],
            status=status,
            evidence=evidence,
            do=do,
            cost=cost,
        )


def checklist(state: ProjectState) -> Checklist:
    """Return the checklist of a project."""
    gates = {result.gate: result for stage in get_args(Stage) for result in run_gates(state.evidence, stage)}
    steps = [(part.look or _lever)(name, part, state, gates) for name, part in _PARTS.items()]
    following = _next(state, steps)
    action = str(state.verdict.next_action) if following is None and state.verdict and state.decided else ""
    notes = (
        (
            (
                "The next step is the cheapest open one. Without --rung, `tuneworthy run` runs all rungs in ladder "
                "order, with retrieval before other models."
            ),
        )
        if following and following.step in LEVERS
        else ()
    )
    return Checklist(steps=steps, next=following, action=action, notes=notes)


def _next(state: ProjectState, steps: Sequence[Step]) -> Step | None:
    """Return the cheapest open step whose turn it is: cases, baseline, the levers in any order, then one by one.

    A verdict that is up to date names the next step. Once it says yes or no, or the target is met, levers that are
    still open need not be tried.
    """
    evidence, verdict = state.evidence, state.verdict
    if verdict is not None and verdict.outcome is Outcome.UNDECIDED and not state.verdict_stale:
        return next(step for step in steps if step.step == "decision")
    needless = state.decided or evidence.target_of(evidence.top) == "met"
    ready = [step for step in steps if step.status is OPEN and not (needless and step.step in LEVERS)]
    if not ready or ready[0].step not in LEVERS:
        return ready[0] if ready else None
    return min(
        [step for step in ready if step.step in LEVERS],
        key=lambda step: step.cost.order if step.cost else (float("inf"),) * 3,
    )


def _cases(name: str, part: _Part, state: ProjectState, gates: Gates) -> Step:
    n_test, gate = state.evidence.n_test, gates["test_set"]
    text = f"{count(state.n_cases, 'case')} with an expected answer, {n_test} of them in the test set"
    if state.fault:
        return part.step(name, OPEN, state.fault, "tuneworthy check")
    if state.n_unlabelled:
        cost = Cost(person_minutes=state.n_unlabelled * MINUTES_PER_CASE)
        text += f"; {state.n_unlabelled} without an expected answer"
        return part.step(name, OPEN, text, "tuneworthy cases label", cost)
    if gate.status == "pass":
        return part.step(name, DONE, text)
    cost = Cost(person_minutes=max(0, FEWEST_CASES - n_test) * MINUTES_PER_CASE)
    return part.step(
        name, OPEN, f"{text}. {gate.message}", "tuneworthy cases sample, then tuneworthy cases label", cost
    )


def _lever(name: str, part: _Part, state: ProjectState, gates: Gates) -> Step:
    results = [gates[gate] for gate in part.of]
    open_gates, passed = [r for r in results if r.is_open], [r for r in results if r.status == "pass"]
    text = " ".join(dict.fromkeys(result.message for result in open_gates or passed or results))
    if open_gates:
        return _open_lever(name, part, state, text)
    if passed:
        return part.step(name, DONE, f"{text} Test cases: {state.evidence.n_test}.")
    return part.step(name, NOT_APPLICABLE, text)


def _open_lever(name: str, part: _Part, state: ProjectState, text: str) -> Step:
    rungs = state.evidence.rungs
    untested = [rung for rung in part.rungs if rung not in rungs or not rungs[rung].tested] or list(part.rungs)
    run = [rung for rung in untested if rung in state.costs] or untested
    for rung in run:
        if rung in state.quick:
            score, n_dev = state.quick[rung]
            text += f" {rung}: {score:.1%} on {n_dev} dev cases in a quick run."
    do = " ".join(["tuneworthy run", *(f"--rung {rung}" for rung in run)])
    if name == "model" and not state.evidence.other_models:
        do = messages.ADD_MODEL
    costs = [state.costs[rung] for rung in run if rung in state.costs]
    return part.step(name, OPEN, text, do, reduce(Cost.plus, costs) if len(costs) == len(run) else None)


def _decision(name: str, part: _Part, state: ProjectState, gates: Gates) -> Step:
    verdict = state.verdict
    if verdict is None:
        return part.step(name, OPEN, "There is no verdict yet.", "tuneworthy decide", Cost())
    answer = answer_of(verdict)
    text = join_sentences(answer, *verdict.reasons[:1])
    if state.decided:
        return part.step(name, DONE, text)
    if state.verdict_stale:
        text = f"The last verdict ({answer}) is out of date: {'; '.join(state.verdict_stale)}."
        return part.step(name, OPEN, text, "tuneworthy decide", Cost())
    action = verdict.next_action
    calls, usd, minutes = action.calls or 0, action.usd or 0.0, action.person_minutes or 0.0
    cost = Cost(calls=(calls, calls), usd=(usd, usd), person_minutes=minutes)
    again = "" if action.command.startswith("tuneworthy decide") else "Then run `tuneworthy decide`."
    unknown = action.calls is None and not action.person_minutes
    return part.step(name, OPEN, text, join_sentences(str(action), again), None if unknown else cost)


def _later(name: str, part: _Part, state: ProjectState, gates: Gates) -> Step:
    results = [gates[gate] for gate in part.of]
    open_gates = [result for result in results if result.is_open]
    text = ", ".join(f"{result.gate}: {result.status}" for result in results)
    if state.decided and state.verdict is not None and state.verdict.outcome is Outcome.DO_NOT_FINE_TUNE:
        return part.step(name, NOT_APPLICABLE, "The verdict is not to fine-tune, so this step is not needed.")
    if not open_gates:
        return part.step(name, DONE, text)
    return part.step(name, OPEN, join_sentences(text, open_gates[0].message), part.do)


def _training(name: str, part: _Part, state: ProjectState, gates: Gates) -> Step:
    step, pilot = _later(name, part, state, gates), gates["pilot"].status
    tuned, adapter = state.evidence.tuned, state.evidence.training.adapter
    if step.status is NOT_APPLICABLE:
        return step
    if tuned is not None and tuned.score is not None and not state.evidence.stale:
        text = (
            f"{tuned.name}: {tuned.score:.1%} (n = "
            f"{state.evidence.n_test}){state.evidence.difference_words(tuned)}; pilot: {pilot}"
        )
        return replace(step, status=DONE, evidence=text, do="")
    if adapter is not None:
        text = f"The fine-tuned model {adapter} has not been compared on the test set; pilot: {pilot}"
        return replace(
            step,
            status=OPEN,
            evidence=text,
            do="tuneworthy merge, tuneworthy export gguf, then tuneworthy run --rung fine_tune",
        )
    return replace(step, status=OPEN, evidence=f"No model has been trained yet; pilot: {pilot}", do=part.do)


_DATA = ("dataset_frozen", "dataset_review", "dataset_contamination", "dataset_effect", "teacher_terms")
_SHIP = ("parity", "improvement", "regressions", "serving")
_PARTS: Mapping[str, _Part] = {
    "cases": _Part("1", look=_cases),
    "baseline": _Part("1-2", ["baseline"], ["baseline"]),
    "prompt": _Part("1-2", ["prompt", "few_shot"], ["prompt", "few_shot"]),
    "model": _Part("3", ["other_models"], ["model"]),
    "retrieval": _Part("4-5", ["retrieval"], ["retrieval"]),
    "decoding": _Part("6", ["decoding"], ["decoding"]),
    "decision": _Part("7", look=_decision),
    "dataset": _Part("8-10", _DATA, do="tuneworthy data build, then tuneworthy data review start", look=_later),
    "training": _Part("11-12", ["pilot"], do="tuneworthy train", look=_training),
    "parity": _Part(
        "13",
        _SHIP,
        do="tuneworthy merge, tuneworthy export gguf, tuneworthy parity, then tuneworthy serve",
        look=_later,
    ),
    "shadow": _Part("14", ["shadow"], do=messages.DO_SHADOW, look=_later),
}
