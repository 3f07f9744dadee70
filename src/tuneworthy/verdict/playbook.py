"""Two weeks from cases to real traffic as a plan: each step done or open by its measurements, with its cost.

Pure: `checklist` looks at `ProjectState`, which `gather` reads from the project folder. The steps follow the
gates of `verdict.gates`, so that the list and the verdict never disagree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Literal, NamedTuple, get_args

from tuneworthy.errors import join_sentences
from tuneworthy.text import count
from tuneworthy.types import JsonObject, Texts, frozen, positional
from tuneworthy.verdict import messages
from tuneworthy.verdict.answer import Verdict, answer_of
from tuneworthy.verdict.base import Cost, GateResult, NextAction, Outcome, Stage
from tuneworthy.verdict.decide import expiries, ship
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.gates.to_decide import FEWEST_CASES
from tuneworthy.verdict.next_action import MINUTES_PER_CASE


class StepRow(NamedTuple):
    """A step of the two weeks: its day and title, the gates that judge it, the rungs or the command that pass them."""

    day: str
    title: str
    gates: Texts = ()
    rungs: Texts = ()
    do: str = ""


# The levers may be taken in any order.
LEVERS = {
    "prompt": StepRow("1-2", "Improve the prompt", ["prompt", "few_shot"], ["prompt", "few_shot"]),
    "model": StepRow("3", "Try a different model", ["other_models"], ["model"]),
    "retrieval": StepRow("4-5", "Add retrieval if documents help", ["retrieval"], ["retrieval"]),
    "decoding": StepRow("6", "Tune sampling", ["decoding"], ["decoding"]),
}
STEPS = {
    "cases": StepRow("1", "Build the test set"),
    "baseline": StepRow("1-2", "Measure the baseline", ["baseline"], ["baseline"]),
    **LEVERS,
    "decision": StepRow("7", "Decide"),
    "dataset": StepRow(
        "8-10",
        "Build the dataset",
        ["dataset_frozen", "dataset_review", "dataset_contamination", "dataset_effect", "teacher_terms"],
        do="tuneworthy data build, then tuneworthy label review",
    ),
    "training": StepRow("11-12", "Train", ["pilot"], do="tuneworthy train"),
    "parity": StepRow(
        "13",
        "Merge, deploy and measure again",
        ["parity", "improvement", "regressions", "serving"],
        do="tuneworthy train",
    ),
    "shadow": StepRow("14", "Shadow real traffic", ["shadow"], do=messages.DO_SHADOW),
}
# Steps after the decision; the hours of `economics.hours_engineering` are taken in equal parts for all but the dataset.
LATER = ("dataset", "training", "parity", "shadow")

StepStatus = Literal["done", "open", "not_applicable"]
# Status, evidence, command and cost of a step.
Judged = tuple[StepStatus, str, str, Cost | None]


@frozen
class ProjectState:
    """Contents of a project folder.

    Attributes:
        evidence: Input of the gates; without rungs before a run.
        n_cases: Cases with a right answer.
        n_unlabelled: Cases without one.
        fault: Why they cannot be read, or "".
        quick: Rung to (score, cases of dev), of the last quick run.
        labelling: Queue to the rows that people labelled and their usual seconds for a row, where these are known.
        training_s: Seconds of the finished phases of `train`.
        verdict: The last one; None before it.
        verdict_stale: What changed since it was computed, in words.
        costs: Rung to its cost; without those that cannot be estimated.
        notes: How far unfinished runs are.
    """

    evidence: Evidence
    n_cases: int = 0
    n_unlabelled: int = 0
    fault: str = ""
    quick: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    labelling: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    training_s: float = 0.0
    verdict: Verdict | None = None
    verdict_stale: Texts = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)
    notes: Texts = ()

    @property
    def decided(self) -> bool:
        """Whether a valid verdict says yes or no."""
        return self.verdict is not None and self.verdict.outcome is not Outcome.UNDECIDED and not self.verdict_stale

    @property
    def action(self) -> NextAction | None:
        # once there are releases, the stored next step may be done
        if self.verdict and self.verdict.outcome is Outcome.SHIP and self.evidence.training.release is not None:
            return ship(self.evidence)
        return self.verdict.next_action if self.verdict else None


@positional
class Step:
    """A step.

    Attributes:
        step: Its name.
        day: Of the two weeks.
        title: Short name.
        status: Done, open or unknown.
        evidence: The numbers, in one line.
        do: What to run or do, if it is open.
        cost: An estimate, if it is open; None if not known, or nothing is to be done.
        spent: Measured cost so far; None without a measurement.
    """

    step: str
    day: str
    title: str
    status: StepStatus
    evidence: str
    do: str = ""
    cost: Cost | None = None
    spent: Cost | None = None


@frozen
class Checklist:
    """All steps in order, the next one (None if every step is done), and notes for the reader.

    Attributes:
        remaining: Known cost of the open steps: `to_decide`, and `to_ship` if the verdict is to fine-tune.
        action: Next action of a verdict that says yes or no, where no step is open.
    """

    steps: Sequence[Step]
    next: Step | None
    action: str
    notes: Texts
    remaining: Mapping[str, Cost]

    def to_dict(self) -> JsonObject:
        """Return plain JSON-able data; `next` is the name of the step."""
        return {**asdict(self), "next": self.next.step if self.next else None}


Gates = Mapping[str, GateResult]


def checklist(state: ProjectState) -> Checklist:
    gates = {result.gate: result for stage in get_args(Stage) for result in run_gates(state.evidence, stage)}
    special = {"cases": _cases, "decision": _decision, "training": _training}
    judges = {name: special.get(name) or (_lever if row.rungs else _later) for name, row in STEPS.items()}
    steps = [
        _priced(state, Step(name, STEPS[name].day, STEPS[name].title, *judge(state, gates, name)))
        for name, judge in judges.items()
    ]
    following = _next(state, steps)
    stale = state.evidence.stale  # any rung may need new answers, whichever --rung names
    if (stale or state.evidence.incomplete) and following and following.step in {*LEVERS, "baseline", "decision"}:
        rest = sum((cost for rung, cost in state.costs.items() if stale or rung not in state.evidence.rungs), Cost())
        following = replace(
            following, title="Repeat the run" if stale else "Finish the run", do="tuneworthy run", cost=rest
        )
    note = (
        "The next step is the cheapest open one. Without --rung, `tuneworthy run` runs all rungs in ladder order, with "
        "retrieval before other models."
    )
    return Checklist(
        steps=steps,
        next=following,
        action=str(state.action) if following is None and state.decided else "",
        notes=[
            *state.notes,
            *(
                [f"The answer expires. {' '.join(expiries(state.evidence, None))}"]
                if state.verdict and state.evidence.expires
                else []
            ),
            *([note] if following is not None and following.step in LEVERS else []),
        ],
        remaining=_remaining(state, steps),
    )


def _remaining(state: ProjectState, steps: Sequence[Step]) -> dict[str, Cost]:
    waiting = [step for step in steps if step.status == "open" and step.cost]
    on_steps = {rung for row in STEPS.values() for rung in row.rungs} | state.evidence.rungs.keys()
    before = [cost for rung, cost in state.costs.items() if rung not in on_steps]
    # A decision that waits for a rung costs no more than this rung.
    rungs = [step for step in waiting if step.step == "decision" and "`tuneworthy run" in step.do]
    before += [step.cost for step in waiting if step.cost and step.step not in LATER and step not in rungs]
    after = [step.cost for step in waiting if step.cost and step.step in LATER]
    return {"to_decide": Cost() if state.decided else sum(before, Cost()), "to_ship": sum(after, Cost())}


def _priced(state: ProjectState, step: Step) -> Step:
    """Return a step with its measured cost; after the decision, with the estimate of `[economics]` too."""
    settings, rungs = state.evidence.economics, state.evidence.rungs
    rows, seconds = state.labelling.get({"cases": "cases", "dataset": "review"}.get(step.step, ""), (0, 0.0))
    run = [rungs[rung].cost_usd for rung in STEPS[step.step].rungs if rung in rungs]
    minutes = state.training_s / 60 if step.step == "training" else 0.0
    spent = Cost(usd=sum(run, 0.0), minutes=minutes, person_minutes=rows * seconds / 60)
    cost = step.cost
    if step.status == "open" and step.step in LATER:
        hours = settings.hours_data if step.step == "dataset" else settings.hours_engineering / (len(LATER) - 1)
        gpu_hours = settings.train_hours if step.step == "training" else 0.0
        cost = Cost(usd=gpu_hours * settings.gpu_usd_per_hour, minutes=60 * gpu_hours, person_minutes=60 * hours)
    return replace(step, cost=cost, spent=spent if run or rows or minutes else None)


def _next(state: ProjectState, steps: Sequence[Step]) -> Step | None:
    """Return the cheapest open step whose turn it is: cases, baseline, the levers in any order, then one by one.

    A verdict that is up to date names the next step. Once it says yes or no, or the target is met, levers that are
    still open need not be tried.
    """
    evidence, verdict = state.evidence, state.verdict
    if state.decided and verdict and verdict.stage == "to_ship":
        return None  # the verdict names the next action
    if verdict is not None and verdict.outcome is Outcome.UNDECIDED and not state.verdict_stale:
        return next(step for step in steps if step.step == "decision")
    needless = state.decided or evidence.target_of(evidence.top) == "met"
    ready = [step for step in steps if step.status == "open" and not (needless and step.step in LEVERS)]
    if not ready or ready[0].step not in LEVERS:
        return ready[0] if ready else None
    return min(
        [step for step in ready if step.step in LEVERS],
        key=lambda step: step.cost.order if step.cost else (float("inf"),) * 3,
    )


def _cases(state: ProjectState, gates: Gates, name: str) -> Judged:
    n_test, gate = state.evidence.n_test, gates["test_set"]
    minutes = state.labelling["cases"][1] / 60 if "cases" in state.labelling else MINUTES_PER_CASE
    whose = "today's" if state.evidence.agreement else "an expected"
    text = f"{count(state.n_cases, 'case')} with {whose} answer, {n_test} of them in the test set"
    if state.fault:
        return "open", state.fault, "tuneworthy check", None
    if state.n_unlabelled:
        cost = Cost(person_minutes=state.n_unlabelled * minutes)
        return "open", f"{text}; {state.n_unlabelled} without an expected answer", "tuneworthy label cases", cost
    if gate.status == "pass":
        return "done", text, "", None
    cost = Cost(person_minutes=max(0, FEWEST_CASES - n_test) * minutes)
    return "open", f"{text}. {gate.message}", "tuneworthy cases sample, then tuneworthy label cases", cost


def _lever(state: ProjectState, gates: Gates, name: str) -> Judged:
    results, rungs = [gates[gate] for gate in STEPS[name].gates], state.evidence.rungs
    open_gates, passed = [r for r in results if r.is_open], [r for r in results if r.status == "pass"]
    text = " ".join(dict.fromkeys(result.message for result in open_gates or passed or results))
    if not open_gates:
        return (
            "done" if passed else "not_applicable",
            text + (f" Test cases: {state.evidence.n_test}." if passed else ""),
            "",
            None,
        )
    do = (
        state.evidence.accept
        if name == "baseline"
        else ("" if name != "model" or state.evidence.other_models or state.evidence.forms_open else messages.ADD_MODEL)
    )
    return _compare(
        state,
        [rung for rung in STEPS[name].rungs if rung not in rungs or not rungs[rung].tested] or STEPS[name].rungs,
        text,
        do,
    )


def _compare(state: ProjectState, untested: Texts, text: str, do: str) -> Judged:
    run = [rung for rung in untested if rung in state.costs] or untested
    for rung in run:
        if rung in state.quick:
            score, n_dev = state.quick[rung]
            text += f" {rung}: {score:.1%} on {n_dev} dev cases in a quick run."
    do = do or " ".join(["tuneworthy run", *(f"--rung {rung}" for rung in run)])
    costs = [state.costs[rung] for rung in run if rung in state.costs]
    return "open", text, do, sum(costs, Cost()) if len(costs) == len(run) else None


def _decision(state: ProjectState, gates: Gates, name: str) -> Judged:
    verdict = state.verdict
    if verdict is None:
        return "open", "There is no verdict yet.", "tuneworthy decide", Cost()
    answer = answer_of(verdict)
    text = join_sentences(answer, *verdict.reasons[:1])
    if state.decided:
        return "done", text, "", None
    if state.verdict_stale:
        text = f"The last verdict ({answer}) is out of date: {'; '.join(state.verdict_stale)}."
        return "open", text, "tuneworthy decide", Cost()
    action = verdict.next_action
    cost = Cost(calls=action.calls or 0, usd=action.usd or 0.0, person_minutes=action.person_minutes or 0.0)
    again = "" if action.command.startswith("tuneworthy decide") else "Then run `tuneworthy decide`."
    is_unknown = action.calls is None and not action.person_minutes
    return "open", text, join_sentences(str(action), again), None if is_unknown else cost


def _later(state: ProjectState, gates: Gates, name: str) -> Judged:
    results = [gates[gate] for gate in STEPS[name].gates]
    open_gates = [result for result in results if result.is_open]
    text = ", ".join(f"{result.gate}: {result.status}" for result in results)
    verdict = state.verdict if state.decided else None
    if verdict and verdict.outcome is Outcome.DO_NOT_FINE_TUNE:
        return "not_applicable", "The verdict is not to fine-tune, so this step is not needed.", "", None
    if name != "training" and all(result.status in {"waived", "not_applicable"} for result in results):
        return "not_applicable", text, "", None
    do = (verdict.next_action.command if verdict and name == "dataset" else "") or STEPS[name].do
    return ("open", join_sentences(open_gates[0].message, text), do, None) if open_gates else ("done", text, "", None)


def _training(state: ProjectState, gates: Gates, name: str) -> Judged:
    evidence, pilot = state.evidence, f"; pilot: {gates['pilot'].status}"
    tuned, adapter = evidence.tuned, evidence.training.adapter
    if (judged := _later(state, gates, name))[0] == "not_applicable":
        return judged
    if tuned is not None and tuned.score is not None and not evidence.stale:
        score = f"{tuned.name}: {tuned.score:.1%} (n = {evidence.n_test})"
        return "done", f"{score}{evidence.difference_words(tuned)}{pilot}", "", None
    if adapter is not None:
        return (
            "open",
            f"The fine-tuned model {adapter} has not been compared on the test set{pilot}",
            STEPS["training"].do,
            None,
        )
    return "open", f"No model has been trained yet{pilot}", STEPS[name].do, None
