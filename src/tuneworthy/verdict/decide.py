"""The verdict: options, facts and rules put together. Pure.

Once a tuned variant was compared on test, by a run that is up to date, `decide_shipping` decides instead.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from tuneworthy.errors import join_sentences
from tuneworthy.ladder.label_sample import N_LABELS
from tuneworthy.money.economics import (
    FEWEST_SAVED,
    MOST_REQUESTS,
    economics,
    has_smaller,
    monthly_saving,
    paid_bill,
    required_usd,
    worth_from,
)
from tuneworthy.money.serving import RunningCost
from tuneworthy.money.sources import EconomicsResult
from tuneworthy.text import rounded
from tuneworthy.verdict import messages
from tuneworthy.verdict.answer import TodaysAgreement, Verdict
from tuneworthy.verdict.base import Cost, GateResult, NextAction, Outcome, TrainingAdvice
from tuneworthy.verdict.error_analysis import LABELS
from tuneworthy.verdict.evidence import Evidence, RungEvidence
from tuneworthy.verdict.gates import NEVER_WAIVED, run_gates, stage_gates
from tuneworthy.verdict.next_action import MINUTES_PER_CASE, MINUTES_PER_RATING, label_step, next_action, relabel_step
from tuneworthy.verdict.options import Option, Options, options_of, pilot_option
from tuneworthy.verdict.outcome import (
    SOUND,
    DecisionFacts,
    FactName,
    Ruling,
    decided,
    facts_of,
    gain_over,
    most_gain,
    open_facts,
    today_usd,
)
from tuneworthy.verdict.sentences import Deliberation, reasons_in_sentences
from tuneworthy.verdict.training_method import advice_of
from tuneworthy.verdict.training_reasons import reasons_of

NO_TARGET = "no_target"
AGREEMENT_ONLY = "agreement_only"
# A cost of a wrong answer below which no team decides, US dollars.
LEAST_WORTH = 0.005


def decide(evidence: Evidence, costs: Callable[[], Mapping[str, Cost]] = dict, tried: Container[str] = ()) -> Verdict:
    """Decide, before training or after it.

    Args:
        evidence: What was measured.
        costs: Returns what each rung that was not compared takes; what is not named is not known.
        tried: Commands that were run on this evidence and changed nothing.
    """
    if evidence.agreement:  # a target is of right answers
        evidence = replace(evidence, target=None, critical={})
    gates = run_gates(evidence)
    options = options_of(evidence)
    facts = facts_of(evidence, gates, options)
    ruling = decided(facts) if evidence.target is not None else None
    reasons = reasons_of(evidence, facts)
    chosen, within = facts.recommendation, facts.within_bill
    money = money_of(evidence, facts, ruling)
    options = options if evidence.tuned else [*options, pilot_option(evidence, money)]
    if evidence.tuned and not evidence.stale and not evidence.agreement:
        return decide_shipping(
            replace(evidence, recommended=chosen.rung if chosen else None, training_reasons=reasons, money=money),
            options,
            facts,
        )
    unknown = [] if ruling else open_facts(facts)
    evidence = replace(evidence, facts_open=unknown, training_reasons=reasons, money=money)
    gates = run_gates(evidence, known=gates)
    step = None
    if unknown and evidence.target is not None and not evidence.accept:
        step = next_action(facts, evidence, gates, costs(), tried)
        if not step and chosen:
            ruling = _unsettled(evidence, facts, chosen)
    outcome = ruling.outcome if ruling else Outcome.UNDECIDED
    if outcome is Outcome.FINE_TUNE:
        gates += run_gates(evidence, "to_train")
    agreement = _agreement(evidence, options) if evidence.agreement else None
    case = Deliberation(evidence, facts, gates, ruling, unknown)
    action = step or _next(case)
    if action.command and action.command in tried:
        why = f"Change the project first, as `{action.command}` changed nothing. {action.why}"
        action = replace(action, command="", why=why)
    return Verdict(
        outcome=outcome,
        stage="to_decide",
        reason_code=_code(evidence, ruling, unknown),
        reasons=agreement.reasons if agreement else reasons_in_sentences(case),
        gates=gates,
        errors=evidence.errors or (),
        forecast=evidence.forecast,
        economics=money,
        next_action=action,
        valid_until=min(evidence.expires, default=("", ""))[0],
        options=options,
        recommendation=chosen.option if chosen and not agreement else None,
        best_within_bill=within.option if within and not agreement else None,
        training=advice_of(evidence, ruling, reasons)
        if ruling and outcome is Outcome.FINE_TUNE
        else TrainingAdvice(reasons=reasons),
        domain_text=evidence.domain,
        label_ceiling=evidence.label_ceiling,
        agreement=agreement,
        would_change=[*_would_change(facts, outcome, money), *expiries(evidence)],
        stale=[*evidence.stale, *evidence.errors_stale],
    )


def _agreement(evidence: Evidence, options: Options) -> TodaysAgreement:
    found = [(name, one) for name, rung in evidence.rungs.items() if (one := rung.certificate)]
    found.sort(key=lambda pair: -pair[1].share)
    costs = {option.rung: option.usd_per_month for option in options}
    today, own = costs.get("baseline"), costs.get(found[0][0]) if found else None
    saved = None if today is None or own is None else found[0][1].share * (today - own)
    return TodaysAgreement(model=evidence.agreement, certificates=[one for _, one in found], saved_usd_per_month=saved)


def _unsettled(evidence: Evidence, facts: DecisionFacts, chosen: Option) -> Ruling:
    """Return the ruling where no step is worth its cost: not to train, unless a smaller model pays mid-range."""
    bill, required = evidence.bill(evidence.rungs[chosen.rung]), evidence.money.required_usd_per_1k or 0.0
    pays = sum(monthly_saving(bill, evidence.economics, required) or ()) > 0
    trained = (
        decided(facts.suppose(("cost", chosen.option), True))
        if pays and has_smaller(chosen.usd_by_answer, evidence.smaller_usd)
        else None
    )
    return trained or Ruling(Outcome.DO_NOT_FINE_TUNE, "not_worth_knowing", chosen.option)


def money_of(evidence: Evidence, facts: DecisionFacts, ruling: Ruling | None) -> EconomicsResult:
    """Return what training costs and saves against one option: the bill and the score are both of that option.

    Where that option meets the target, the saving is the question; where none does, the value of a better answer;
    where one does that a constraint rules out, neither.
    """
    settings, reference = evidence.economics, facts.recommendation
    bill = evidence.bill(evidence.rungs[reference.rung] if reference else None)
    gain, valued = gain_over(evidence, reference), settings.usd_per_wrong_answer is not None
    if evidence.tuned:
        return economics(bill, settings, gain, evidence.bill(evidence.tuned))
    if reference and facts.works(reference):
        found = economics(bill, settings, gain, required=required_usd(bill, today_usd(facts.options), settings))
        return _because(found, "The target is met, so the value of better answers does not count." if valued else "")
    most = most_gain(evidence, reference)
    found = economics(bill, settings, gain, most=most if valued else None)
    if (
        ruling
        and ruling.code in {"constraint", *(() if valued else ("levers_exhausted",))}
        and any(facts.works(option, eligible=False) for option in facts.options)
    ):
        return replace(
            found,
            status="not_applicable",
            why="",
            break_even_requests_per_month=None,
            break_even_band=(None, None),
            break_even_month=None,
        )
    score = min(1.0, most + (reference.score or 0.0)) if reference else 1.0
    if valued:
        return _because(found, f"The best case assumes a score of {score:.1%}.")
    worth = worth_from(bill, most, settings)
    if worth is None or worth < LEAST_WORTH:  # it pays whatever a wrong answer costs
        return found
    return _because(
        found, f"Training that reaches a score of {score:.1%} pays off if a wrong answer costs at least ${worth:,.2f}."
    )


def _because(found: EconomicsResult, why: str) -> EconomicsResult:
    return replace(found, why=join_sentences(found.why, why))


def _code(evidence: Evidence, ruling: Ruling | None, unknown: Sequence[FactName]) -> str:
    if evidence.agreement:
        return AGREEMENT_ONLY
    if evidence.target is None:
        return NO_TARGET
    if ruling:
        return ruling.code
    kind, subject = unknown[0]
    prefixes = {"sound": "gate", "could_meet": "rung", "lever": "errors"}
    return f"{prefixes[kind]}_{subject}" if kind in prefixes else f"{kind}_unknown"


def _next(case: Deliberation) -> NextAction:
    evidence, facts, ruling = case.evidence, case.facts, case.ruling
    if evidence.agreement:
        n = min(N_LABELS, evidence.n_test)
        why = (
            f"Label {n} test cases with `tuneworthy label`, a weighted random sample with many where options differ. "
            "Then `tuneworthy run` measures accuracy."
        )
        minutes = MINUTES_PER_RATING * n
        return NextAction(command=messages.command_in(why), why=why, calls=0, usd=0.0, person_minutes=minutes)
    if evidence.target is None:
        return NextAction(
            command="",
            why="Set `task.target` in tuneworthy.toml to the score that is good enough.",
            calls=0,
            usd=0.0,
            person_minutes=2.0,
        )
    if evidence.accept:
        return NextAction(command=messages.command_in(evidence.accept), why=evidence.accept, calls=0, usd=0.0)
    assert ruling, "an open outcome has a step"
    if ruling.outcome is Outcome.UNDECIDED:
        gate = case.gate(ruling.subject)
        return NextAction(command=messages.command_in(gate.fix), why=gate.fix or gate.message)
    if ruling.outcome is Outcome.FINE_TUNE:
        return _train(evidence, [result for result in case.gates if result.stage == "to_train"])
    if ruling.code.startswith("errors_"):
        lever, relabel = case.lever(ruling.subject), messages.LEVERS["label cases"]
        if lever == relabel or (ruling.subject == LABELS and evidence.label_ceiling):
            step = label_step(evidence)
            return replace(step, why=join_sentences(f"{relabel}.", step.why))
        return NextAction(command="tuneworthy run", why=f"{lever}, then run the ladder and decide again.")
    why = _setting_chooses(evidence, facts)
    return NextAction(command="", why=why, calls=0, usd=0.0) if why else take_home(facts.recommendation)


def _setting_chooses(evidence: Evidence, facts: DecisionFacts) -> str:
    """Name the setting that the recommendation depends on: the traffic, or the price of a model; "" without one."""
    chosen, traffic = facts.recommendation, evidence.economics.requests_per_month
    if not chosen:
        return ""
    for requests, how in ((1.0, "low"), (float(MOST_REQUESTS), "high")) if traffic is None else ():
        other = _at(facts, facts.options, requests)
        if other and other.option != chosen.option:
            return (
                f"Set `economics.requests_per_month` and run `tuneworthy decide` again. At {how} traffic, "
                f"{other.option} would be recommended instead of {chosen.option}."
            )
    free = [
        replace(one, running=RunningCost(usd_per_1k=0.0)) if one.usd_by_answer is None else one for one in facts.options
    ]
    other = _at(facts, free, traffic)
    return (
        ""
        if not other or other.option == chosen.option
        else f"{messages.set_price(other.option)} If that is low, {other.option} would be recommended."
    )


def _at(facts: DecisionFacts, options: Options, requests: float | None) -> Option | None:
    """Return the recommendation among options with their costs at this traffic."""
    priced = [
        replace(
            one,
            usd_per_1k=cost.usd_per_1k_at(requests),
            usd_per_month=None if requests is None else cost.monthly_usd(requests),
        )
        for one in options
        for cost in [one.running or RunningCost(usd_per_1k=None)]
    ]
    return replace(facts, options=priced).recommendation


def _train(evidence: Evidence, gates: Sequence[GateResult]) -> NextAction:
    if evidence.labels_matter(evidence.contradicted):
        step, why = relabel_step(evidence), "Check labels before you train: models contradict so many that these may "
        return replace(step, why=f"{why}decide about the target. {step.why}")
    if evidence.training.adapter is not None:
        return NextAction(
            command="tuneworthy train",
            why="Run `tuneworthy train`, which checks the fine-tuned model and compares it on the test set.",
        )
    still_open = [result for result in gates if result.is_open]
    if not still_open:
        waived = f" or are waived ({names})" if (names := messages.waived_gates(gates)) else ""
        return NextAction(command="tuneworthy train", why=f"Run `tuneworthy train`: all required checks pass{waived}.")
    first = still_open[0]
    fix = join_sentences(first.fix, evidence.forecast.cost) if first.gate == "pilot" else first.fix
    return NextAction(command=messages.command_in(fix), why=fix or first.message)


def _would_change(facts: DecisionFacts, outcome: Outcome, money: EconomicsResult) -> list[str]:
    chosen = facts.recommendation
    if outcome is Outcome.FINE_TUNE:
        return ["A new or cheaper model that meets the target, or a pilot whose forecast gain is too small."]
    if outcome is Outcome.DO_NOT_FINE_TUNE and chosen and chosen.score is not None and chosen.target == "met":
        changes = [
            f"A target above {chosen.score:.1%}, or a constraint that rules out all options that meet the target."
        ]
        usd, required = money.usd_per_1k.reference or 0.0, money.required_usd_per_1k or 0.0
        if money.status == "never" and usd > required:
            volume = money.break_even_band[0]
            changes.append(
                "Lower costs of training, serving and upkeep."
                if volume is None
                else f"Traffic above {rounded(volume)} requests per month, or lower costs of training, serving and "
                f"upkeep: training may then save the required {FEWEST_SAVED:.0%} of {paid_bill(usd, required)}."
            )
        return changes
    return []


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
