"""The decision after training: ship the tuned model or not. Pure; used as soon as one was compared on test."""

from collections.abc import Sequence

from tuneworthy.errors import join_sentences
from tuneworthy.verdict import messages
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.base import GateResult, NextAction, Outcome, TrainingAdvice
from tuneworthy.verdict.evidence import Evidence, RungEvidence
from tuneworthy.verdict.facts import SOUND, DecisionFacts
from tuneworthy.verdict.gates import NEVER_WAIVED, run_gates, stage_gates
from tuneworthy.verdict.next_action import MINUTES_PER_CASE
from tuneworthy.verdict.options import Option, Options

KEEP = "Keep {}. Decide again when the target, the prices or the models change."


def decide_shipping(evidence: Evidence, options: Options, facts: DecisionFacts) -> Verdict:
    """Decide after training.

    `ship` if the test is sound and every gate of `to_ship` passes or is waived; `do_not_ship` if one failed; else
    `undecided`, with what the first unknown one needs.

    Args:
        evidence: With the reasons and the economics, whose tuned variant was compared on test by a current run.
        options: From `options_of`.
        facts: Of the options without training.
    """
    tuned, without = evidence.tuned, facts.recommendation
    if not tuned:
        raise ValueError("no tuned variant was compared on test")
    before, training = run_gates(evidence), run_gates(evidence, "to_train")
    gates = run_gates(evidence, "to_ship")
    needed = {*SOUND, *stage_gates("to_ship")}
    all_open = [result for result in [*before, *training, *gates] if result.is_open]
    still_open = [result for result in all_open if result.gate in needed]
    still_open.sort(key=lambda result: result.status != "fail")
    names, all_names = ([result.gate for result in some] for some in (still_open, all_open))
    worst = still_open[0].status if still_open else "pass"
    outcome = {"pass": Outcome.SHIP, "fail": Outcome.DO_NOT_SHIP}.get(worst, Outcome.UNDECIDED)
    if outcome is not Outcome.DO_NOT_SHIP and "improvement" not in names:
        facts = facts.with_options(options)
    chosen, within = facts.recommendation, facts.within_bill
    if outcome is Outcome.SHIP:
        chosen = next(one for one in options if one.kind == "tuned")
    return Verdict(
        outcome=outcome,
        stage="to_ship",
        reason_code=f"gate_{names[0]}" if names else "tuned_improves",
        reasons=[
            *_reasons(evidence, tuned, still_open, options, messages.waived_gates([*before, *training, *gates])),
            *(
                [f"Open, though shipping does not require them: {', '.join(all_names)}."]
                if all_names and outcome is Outcome.SHIP
                else []
            ),
        ],
        gates=[*before, *training, *gates],
        errors=evidence.errors or (),
        forecast=evidence.forecast,
        economics=evidence.money,
        next_action=_next_action(evidence, outcome, still_open, without),
        valid_until=min(evidence.expires, default=("", ""))[0],
        options=options,
        recommendation=chosen.option if chosen else None,
        best_within_bill=within.option if within else None,
        after_gates=names if chosen and chosen.kind == "tuned" else [],
        training=TrainingAdvice(reasons=evidence.training_reasons),
        domain_text=evidence.domain,
        label_ceiling=evidence.label_ceiling,
        would_change=[
            f"Passing these gates: {', '.join(names)}."
            if names
            else "A new adapter, a new export, or a cheaper model that is as good.",
            *expiries(evidence),
        ],
        stale=[*evidence.errors_stale, *evidence.training.all_changes],
    )


def expiries(evidence: Evidence, most: int | None = 2) -> list[str]:
    """Say what changes in the evidence, and when: the first dates, `most` at most."""
    return [f"On {date}: {what}." for date, what in sorted(evidence.expires)[:most]]


def _reasons(
    evidence: Evidence,
    tuned: RungEvidence,
    still_open: Sequence[GateResult],
    options: Options,
    waived_gates: str,
) -> list[str]:
    n, top = evidence.n_test, evidence.without_training
    untrained = f"; {top.label}, the choice without training, reaches {top.score_on(n)}" if top else ""
    reached = f"The score of {tuned.label} is {tuned.score_on(n)}{untrained}."
    if not still_open:
        improves = next(result.message for result in run_gates(evidence, "to_ship") if result.gate == "improvement")
        waived = f" or are waived. Waived by the project file: {waived_gates}" if waived_gates else ""
        below = ""
        status = next((option.target for option in options if option.kind == "tuned"), None)
        if status == "missed":
            below = f"The target of {evidence.target:.1%} is still missed."
        elif status == "unresolved":
            below = f"Whether the target of {evidence.target:.1%} is met is still open."
        absent = [
            name
            for name in (("classical", "prompt", "few_shot") if evidence.has_examples else ("prompt",))
            if name not in evidence.rungs and name not in evidence.waivers
        ]
        not_run = f"Not run, and may do as well: {', '.join(absent)}. Run `tuneworthy run`." if absent else ""
        return [join_sentences(f"All required checks before shipping pass{waived}.", improves, below, not_run), reached]
    first = f"The required check `{still_open[0].gate}` has not passed. {still_open[0].message}"
    also = ", ".join(result.gate for result in still_open[1:])
    return [first, reached, *([f"Other gates that have not passed: {also}."] if also else [])]


def _next_action(
    evidence: Evidence, outcome: Outcome, still_open: Sequence[GateResult], without: Option | None
) -> NextAction:
    is_classifier = bool(evidence.training.tuned and evidence.training.tuned.classifier)
    if not still_open:
        return ship(evidence)
    first = still_open[0]
    if outcome is Outcome.DO_NOT_SHIP and first.gate == "improvement":
        return take_home(without, beside=is_classifier)
    if first.gate == "improvement" and first.evidence.get("more_cases"):
        n = max(50, evidence.n_test)
        return NextAction(
            command="tuneworthy cases add",
            why=messages.add_cases(n, n * MINUTES_PER_CASE),
            person_minutes=n * MINUTES_PER_CASE,
        )
    return NextAction(
        command=messages.command_in(first.fix),
        why=join_sentences(
            first.fix or first.message,
            ""
            if first.gate in NEVER_WAIVED or "rolled_back" in first.evidence
            else f"Or list `{first.gate}` in [[waivers]] of tuneworthy.toml with a reason.",
        ),
    )


def ship(evidence: Evidence) -> NextAction:
    """Return how to release and serve the fine-tuned model, as far as that is not done."""
    tuned, dataset, number = evidence.training.tuned, evidence.training.dataset, evidence.training.release
    if number and number == evidence.training.started:
        return NextAction(command="", why=KEEP.format(f"release {number}"))
    rows = (
        (tuned and tuned.classifier, "serve --what classifier", "Serve the fine-tuned classifier"),
        (number, f"serve --release {number}", f"Serve release {number}"),
        (number == 0, "export card", "Release the fine-tuned model"),
        (True, "export card && tuneworthy serve", "Release the fine-tuned model and serve it"),
    )
    command, step = next((f"tuneworthy {command}", step) for applies, command, step in rows if applies)
    more = (
        f"`tuneworthy train --all-rows` trains it once more with {dataset.n_overlapping} rows that overlap cases."
        if dataset and dataset.n_overlapping
        else ""
    )
    return NextAction(command=command, why=join_sentences(f"{step}: run `{command}`.", more))


def take_home(option: Option | None, *, beside: bool = False) -> NextAction:
    """Return how to put the recommended option to work.

    Args:
        option: It.
        beside: Whether the run has a fine-tuned classifier that is not recommended.
    """
    if not option or option.kind == "today":
        return NextAction(command="", why=KEEP.format(option.option if option else messages.RUNG_LABELS["baseline"]))
    export = {"classical": "classifier classical" if beside else "classifier", "cascade": "router"}.get(
        option.kind, f"variant {option.rung}"
    )
    return NextAction(command=f"tuneworthy export {export}", why=f"Deploy {option.option}.")
