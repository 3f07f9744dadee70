"""The verdict: options, facts and rules put together. Pure.

Once a tuned variant was compared on test, by a run that is up to date, `shipping` decides instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tuneworthy.errors import join_sentences
from tuneworthy.money.economics import (
    FEWEST_SAVED,
    MOST_REQUESTS,
    economics,
    money_sentence,
    monthly_saving,
    paid_bill,
    required_usd,
    worth_from,
)
from tuneworthy.money.results import EconomicsResult
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import (
    ErrorShare,
    GateResult,
    NextAction,
    Option,
    Outcome,
    TrainingAdvice,
    Verdict,
)
from tuneworthy.verdict.error_analysis import FIXED_BY
from tuneworthy.verdict.evidence import Evidence, most_of
from tuneworthy.verdict.facts import (
    DEV,
    DecisionFacts,
    FactKind,
    FactName,
    best_model,
    facts_of,
    gain_over,
    most_gain,
    today_usd,
)
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.gates.to_decide import lacks_shots
from tuneworthy.verdict.next_action import RungCost, next_action
from tuneworthy.verdict.options import open_latency, options_of, shown_better, training_option
from tuneworthy.verdict.outcome import Ruling, decided, open_facts
from tuneworthy.verdict.recommendation import PROVEN, is_saving
from tuneworthy.verdict.shipping import command_in, decide_shipping, expiries, take_home
from tuneworthy.verdict.training_method import advice_of
from tuneworthy.verdict.training_reasons import reasons_of

NO_TARGET = "no_target"
LABELS: Final = "label_or_grader"
# A cost of a wrong answer below which no team decides, US dollars.
LEAST_WORTH: Final = 0.005


def decide(evidence: Evidence, costs: Callable[[], Mapping[str, RungCost]] = dict) -> Verdict:
    """Decide, before training or after it.

    Args:
        evidence: What was measured.
        costs: Returns what each rung that was not compared takes; what is not named is not known.
    """
    gates = run_gates(evidence)
    options = options_of(evidence)
    facts = facts_of(evidence, gates, options)
    ruling = decided(facts) if evidence.target is not None else None
    reasons = reasons_of(evidence, facts)
    chosen = facts.recommendation
    money = money_of(evidence, facts, ruling)
    options = options if evidence.tuned else [*options, training_option(evidence, money)]
    if evidence.tuned is not None and not evidence.stale:
        rung = chosen.rung if chosen else None
        trained = replace(evidence, recommended=rung, training_reasons=reasons, money=money)
        return decide_shipping(trained, options, chosen, reasons, money)
    unknown = [] if ruling else open_facts(facts)
    evidence = replace(evidence, facts_open=unknown, training_reasons=reasons, money=money)
    gates = run_gates(evidence, known=gates)
    outcome = ruling.outcome if ruling else Outcome.UNDECIDED
    training = run_gates(evidence, "to_train") if outcome is Outcome.FINE_TUNE else []
    return Verdict(
        outcome=outcome,
        stage="to_decide",
        reason_code=_code(evidence, ruling, unknown),
        reasons=_sentences(evidence, facts, ruling, unknown, [*gates, *training]),
        gates=[*gates, *training],
        errors=evidence.errors or (),
        forecast=evidence.forecast,
        economics=money,
        next_action=_next(evidence, facts, ruling, [*gates, *training], costs),
        valid_until=min((date for date, _ in evidence.expires), default=""),
        options=options,
        recommendation=chosen.option if chosen else None,
        training=advice_of(evidence, ruling, reasons)
        if ruling and outcome is Outcome.FINE_TUNE
        else TrainingAdvice(reasons=reasons),
        domain_text=evidence.domain,
        would_change=[*_would_change(facts, outcome, money), *expiries(evidence)],
        stale=[*evidence.stale, *evidence.errors_stale],
    )


def money_of(evidence: Evidence, facts: DecisionFacts, ruling: Ruling | None) -> EconomicsResult:
    """Return what training costs and saves against one option: the bill and the score are both of that option.

    Where that option meets the target, the saving is the question; where none does, the value of a better answer;
    where one does that a constraint rules out, neither.
    """
    settings, reference = evidence.economics, facts.recommendation
    bill = evidence.bill(evidence.rungs[reference.rung] if reference else None)
    gain, valued = gain_over(evidence, reference), settings.usd_per_wrong_answer is not None
    if evidence.tuned is not None:
        return economics(bill, settings, gain, evidence.bill(evidence.tuned))
    if reference is not None and _works(facts, reference, eligible=True):
        required = required_usd(bill, today_usd(facts.options), settings)
        found = economics(bill, settings, gain, required=required)
        return replace(
            found,
            why=join_sentences(
                found.why, "The target is met, so the value of better answers does not count." if valued else ""
            ),
        )
    most = most_gain(evidence, reference)
    found = economics(bill, settings, gain, most=most if valued else None)
    barred = any(_works(facts, option, eligible=False) for option in facts.options)
    if barred and ruling and ruling.code in {"constraint", *(() if valued else ("levers_exhausted",))}:
        return replace(
            found,
            status="not_applicable",
            why="",
            break_even_requests_per_month=None,
            break_even_band=(None, None),
            break_even_month=None,
            sensitivity=(),
        )
    score = min(1.0, most + (reference.score or 0.0)) if reference else 1.0
    if valued:
        return replace(found, why=join_sentences(found.why, f"The best case assumes a score of {score:.1%}."))
    worth = worth_from(bill, most, settings)
    if worth is None or worth < LEAST_WORTH:  # it pays whatever a wrong answer costs
        return found
    return replace(
        found,
        why=join_sentences(
            found.why,
            f"Training that reaches a score of {score:.1%} pays off if a wrong answer costs at least ${worth:,.2f}.",
        ),
    )


def _works(facts: DecisionFacts, option: Option, *, eligible: bool) -> bool:
    """Return whether an option is shown to meet the target, and the constraints allow it or rule it out."""
    return facts.known("meets", option.option) is True and facts.known("eligible", option.option) is eligible


def _code(evidence: Evidence, ruling: Ruling | None, unknown: Sequence[FactName]) -> str:
    if evidence.target is None:
        return NO_TARGET
    if ruling is not None:
        return ruling.code
    kind, subject = unknown[0]
    names = {"sound": f"gate_{subject}", "could_meet": f"rung_{subject}", "lever": f"errors_{subject}"}
    return names.get(kind, f"{kind}_unknown")


def _sentences(
    evidence: Evidence,
    facts: DecisionFacts,
    ruling: Ruling | None,
    unknown: Sequence[FactName],
    gates: Sequence[GateResult],
) -> list[str]:
    """Return at most three sentences: what decided, the reason that the team has in mind, what else weighs."""
    if evidence.target is None:
        first = (
            "The project sets no target, so the verdict is undecided. The options and their prices are listed below."
        )
    elif ruling is None:
        first = _open_sentence(evidence, facts, unknown, gates)
    else:
        first = _decided_sentence(evidence, facts, ruling, gates)
    sentences = [join_sentences(first, _passed_over(evidence, facts))]
    named = next((row for row in evidence.training_reasons if row.reason == evidence.motivation), None)
    if named is not None:
        words = messages.STATUS_WORDS[named.status]
        sentences.append(f"Your reason to train ({named.reason}) is {words}: {named.evidence}")
    return [*sentences, *_scores(evidence, facts)][:3]


def _scores(evidence: Evidence, facts: DecisionFacts) -> list[str]:
    """Say what today's option scores, and the recommended one where it is another."""
    base, chosen, n = evidence.rungs.get("baseline"), facts.recommendation, evidence.n_test
    sentences = []
    if base is not None and base.tested and not base.eligible:
        sentences.append(f"A constraint rules out today's setup: {base.violated or base.reason.rstrip('.')}.")
    if base is not None and base.tested and chosen is not None:
        best = evidence.rungs[chosen.rung]
        if best is base:
            sentences.append(f"Today's setup scores {base.score_on(n)}.")
        else:
            sentences.append(f"Today's setup scores {base.score_on(n)}; {best.label} scores {best.score_on(n)}.")
    marked = next((one for one in facts.options if one.notes and one.eligible is not None and one is not chosen), None)
    if marked is not None:
        sentences.append(messages.marked(marked))
    return sentences


def _decided_sentence(evidence: Evidence, facts: DecisionFacts, ruling: Ruling, gates: Sequence[GateResult]) -> str:
    target, chosen = evidence.target or 0.0, facts.recommendation
    if ruling.code.startswith("gate_"):
        return next(result.message for result in gates if result.gate == ruling.subject)
    if ruling.code == "target_met":
        if chosen is None or not facts.known("meets", chosen.option):
            return f"Training is not needed: an option meets the target of {target:.1%}, or a cheaper fix remains."
        met = messages.say("target_met", name=chosen.option, target=target, other=_better(evidence, facts, chosen))
        return join_sentences(met, _saves_too_little(evidence, chosen))
    if ruling.code == "cost":
        row = next(row for row in evidence.training_reasons if row.reason == "cost")
        return f"The target is met, but a smaller model may be worth training. {row.evidence}"
    if ruling.code == "constraint":
        rows = {row.reason: row for row in evidence.training_reasons if row.status == "measured"}
        reason = rows.get("latency") or rows.get("locality")
        if reason is None:  # whether it keeps the constraint is open, and cost is a reason if it does
            return (
                "It is unknown whether the option that meets the target also meets the constraints. Either way, "
                "a smaller model may be worth training."
            )
        return join_sentences(messages.say("constraint_decides"), reason.evidence)
    if ruling.code == "rung_untried":
        return messages.say("rung_open", rungs=ruling.subject)
    if ruling.code == "economics":
        return money_sentence(evidence.money)
    if ruling.code.startswith("errors_"):
        row_of, lever = _class(evidence, ruling.subject), _lever(evidence, ruling.subject)
        if row_of is None or (ruling.subject == LABELS and not most_of(row_of)):
            return (
                f"People relabelled {evidence.relabelled} wrong answers and found most of the expected answers to "
                f"be wrong. {lever}."
            )
        return f"A cheaper fix exists for most failures. Their cause: {messages.error_share(row_of)}. {lever}."
    sentence = (
        f"No measured option that the constraints allow meets the target of {target:.1%}, and whether training "
        "would meet it is untested."
    )
    if (pilot := messages.passed_pilot(gates)) is not None:
        sentence = (
            f"No measured option that the constraints allow meets the target of {target:.1%}. {pilot.message} "
            "Whether the fine-tuned model meets the target is known only after training."
        )
    waived = evidence.waivers.get("retrieval") and not evidence.documents and evidence.answers_open
    return (
        join_sentences(
            sentence,
            (
                "The project has no documents. Fine-tuning teaches new facts slowly and makes models hallucinate more "
                "(https://arxiv.org/abs/2405.05904)."
            ),
        )
        if waived
        else sentence
    )


def _saves_too_little(evidence: Evidence, chosen: Option) -> str:
    """Say that training saves something, but less than is required, unless that is the reason the team has in mind."""
    row = next(row for row in evidence.training_reasons if row.reason == "cost")
    saving = monthly_saving(evidence.bill(evidence.rungs[chosen.rung]), evidence.economics)
    some = bool(chosen.usd_by_answer and saving and saving[1] > 0)
    return row.evidence if some and row.status == "refuted" and evidence.motivation != "cost" else ""


def _passed_over(evidence: Evidence, facts: DecisionFacts) -> str:
    """Say why a cheaper classical baseline that meets the target is not recommended, and what would settle it."""
    chosen, option = facts.recommendation, next((one for one in facts.options if one.kind == "classical"), None)
    if chosen is None or option is None or option is chosen or not is_saving(option, chosen):
        return ""
    best = best_model(facts.options)
    row = evidence.difference(evidence.rungs[best.rung], evidence.rungs[option.rung]) if best else None
    works = all(facts.known(kind, option.option) for kind in ("meets", "eligible"))
    works = works and all(facts.known("sound", gate) for gate in facts.subjects("sound"))
    if not works or facts.known("as_good", option.option) or best is None or row is None:
        return ""
    margin, (low, high) = evidence.margin, row.ci95
    next_step = (
        "A larger `task.margin` would allow it."
        if high < -margin
        else "More test cases would settle it (`tuneworthy cases add`)."
    )
    return (
        f"{option.option} meets the target too, at {_price(option)} instead of {_price(chosen)}, but "
        f"{'scores' if high < -margin else 'may score'} more than {100 * margin:.1f} points below {best.option} "
        f"(difference {100 * row.delta:+.1f} points, 95% interval [{100 * low:+.1f}, {100 * high:+.1f}]). "
        f"{next_step}"
    )


def _price(option: Option) -> str:
    if option.usd_per_month is not None:
        return f"${option.usd_per_month:,.2f} a month"
    if option.usd_per_1k is not None:
        return messages.say("usd_per_1k", usd=option.usd_per_1k)
    return "an unknown price" if option.usd_by_answer is None else "the price of a server"


def _better(evidence: Evidence, facts: DecisionFacts, chosen: Option) -> str:
    """Name the option that is shown to be better than the recommended one, and the price of the difference."""
    found = shown_better(evidence, facts.options, chosen)
    if found is None:
        return ""
    option, delta = found
    known = chosen.usd_by_answer is not None and option.usd_by_answer is not None
    price = "and costs more or less, depending on the traffic" if known else "at an unknown price"
    for mine, theirs, unit in (
        (chosen.usd_per_month, option.usd_per_month, "a month"),
        (chosen.usd_per_1k, option.usd_per_1k, "per 1,000 answers"),
    ):
        if mine is not None and theirs is not None:
            more = theirs - mine
            usd = f"${abs(more):,.0f}" if abs(more) >= 10 or unit == "a month" else f"${abs(more):,.4f}"
            price = f"and costs {usd} {'more' if more > 0 else 'less'} {unit}"
            if more == 0:
                price = "at the same price"
            break
    value, traffic = evidence.economics.usd_per_wrong_answer, evidence.economics.requests_per_month
    if value and traffic:
        price += f" (worth ${value * delta * traffic:,.0f} a month at ${value:,.10g} per wrong answer)"
    return f"; {option.option} scores {100 * delta:.1f} points higher {price}"


def _open_sentence(
    evidence: Evidence, facts: DecisionFacts, unknown: Sequence[FactName], gates: Sequence[GateResult]
) -> str:
    kind, subject = unknown[0]
    if kind == "sound":
        return next(result.message for result in gates if result.gate == subject)
    if kind in {"meets", "as_good"}:
        option = next(one for one in facts.options if one.option == subject)
        copies = next((one for one in gates if one.gate == "classical" and one.status == "fail"), None)
        if option.kind == "classical" and copies is not None:
            return copies.message
        score = evidence.rungs[option.rung].score_on(evidence.n_test)
        return f"{subject} scores {score}, so it may or may not meet the target of {evidence.target:.1%}."
    if kind == "could_meet":
        rungs = [name for fact, name in unknown if fact == "could_meet"]
        lacking = messages.say("documents_missing") if "retrieval" in rungs and not evidence.documents else ""
        rungs = [name for name in rungs if not (lacking and name == "retrieval")]
        if "prompt" in rungs and (few := lacks_shots(gates)):
            lacking = join_sentences(few.message, lacking)
            rungs = [name for name in rungs if name != "prompt"]
        if "model" in rungs and not evidence.other_models:
            lacking = join_sentences(messages.say("no_other_model"), "A stronger one may meet the target.", lacking)
            rungs = [name for name in rungs if name != "model"]
        several = "rungs_open" if len(rungs) > 1 else "rung_open"
        return join_sentences(messages.say(several, rungs=messages.listed(rungs)) if rungs else "", lacking)
    if kind == "cost":
        option = next(one for one in facts.options if one.option == subject)
        if option.usd_by_answer is None and option != facts.recommendation:
            return messages.say("price_open", name=subject)
        return next(row.evidence for row in evidence.training_reasons if row.reason == "cost")
    if kind == "lever":
        return _open_lever(evidence, subject)
    if kind == "eligible" and (sentence := _open_limit(evidence, facts, subject)):
        return sentence
    if kind in {"eligible", "distil"} and (sentence := _open_latency(evidence, facts, kind, subject)):
        return sentence
    chosen = facts.recommendation
    if kind == "pays" and evidence.economics.requests_per_month is not None and chosen is not None:
        return f"Whether training pays off depends on the price of {chosen.option}, which is unknown."
    return messages.OPEN[kind]


def _open_limit(evidence: Evidence, facts: DecisionFacts, subject: str) -> str:
    """Say what leaves open whether the constraints allow an option: where its model runs, or its server's share."""
    option = next(one for one in facts.options if one.option == subject)
    rung, limit = evidence.rungs[option.rung], evidence.limits.usd_per_1k
    if rung.may_be_barred(evidence.limits):
        return (
            f"models.{rung.model} has a price and a local address. If its server passes calls on to a hosted "
            "model, the constraints forbid it in production."
        )
    if limit is not None and option.usd_per_1k is None and option.usd_by_answer is not None:
        return (
            f"Whether {subject} meets the limit of ${limit:,.4g} per 1,000 answers depends on the traffic, which "
            "is not set."
        )
    return ""


def _open_latency(evidence: Evidence, facts: DecisionFacts, kind: FactKind, subject: str) -> str:
    """Name the option whose latency leaves the limit open: the subject, or the fastest that could be trained."""
    options = [one for one in facts.options if one.option == subject or (kind == "distil" and one.kind not in PROVEN)]
    for one in sorted(options, key=lambda one: one.latency_p95_ms or 0.0):
        if why := open_latency(evidence.limits, one.latency_p95_ms, one.latency_p95_ci):
            return messages.say("limit_open", name=one.option, why=why)
    return ""


def _open_lever(evidence: Evidence, name: str) -> str:
    if name == DEV and (gap := evidence.dev_gap) is not None:
        return messages.say("dev_differs", dev=gap.dev, n_dev=gap.n_dev, test=gap.test, n_test=gap.n_test)
    row = _class(evidence, name)
    if name == LABELS and evidence.relabelled:
        return (
            f"People relabelled {evidence.relabelled} wrong answers. Whether most of the expected answers are "
            "wrong is still open."
        )
    if row is None:
        return "The causes of wrong answers have not been analysed. A cheaper fix may exist for most of them."
    share = messages.error_share(row)
    return (
        f"Most failures may be label errors, but people have not confirmed enough of them. Cause: {share}."
        if name == LABELS
        else f"A cheaper fix may exist for most failures, but the evidence is inconclusive. Possible cause: {share}."
    )


def _class(evidence: Evidence, name: str) -> ErrorShare | None:
    return next((row for row in evidence.errors or () if row.name == name), None)


def _lever(evidence: Evidence, name: str) -> str:
    """Say what fixes a class of failures; only that of wrong labels may have no row: people found it, no probe did."""
    row = _class(evidence, name)
    return messages.LEVERS[row.fixed_by if row else FIXED_BY[LABELS]]


def _next(
    evidence: Evidence,
    facts: DecisionFacts,
    ruling: Ruling | None,
    gates: Sequence[GateResult],
    costs: Callable[[], Mapping[str, RungCost]],
) -> NextAction:
    if evidence.target is None:
        return NextAction(
            command="",
            why="Set `task.target` in tuneworthy.toml to the score that is good enough.",
            calls=0,
            usd=0.0,
            person_minutes=2.0,
        )
    if ruling is None:
        return next_action(facts, evidence, gates, costs())
    if ruling.outcome is Outcome.UNDECIDED:
        gate = next(result for result in gates if result.gate == ruling.subject)
        return NextAction(command=command_in(gate.fix), why=gate.fix or gate.message)
    if ruling.outcome is Outcome.FINE_TUNE:
        return _train(evidence, [result for result in gates if result.stage == "to_train"])
    if ruling.code.startswith("errors_"):
        command = "tuneworthy cases label --suspects --apply" if ruling.subject == LABELS else "tuneworthy run"
        return NextAction(
            command=command, why=f"{_lever(evidence, ruling.subject)}, then run the ladder and decide again."
        )
    why = _traffic_chooses(evidence, facts)
    return NextAction(command="", why=why, calls=0, usd=0.0) if why else take_home(facts.recommendation)


def _traffic_chooses(evidence: Evidence, facts: DecisionFacts) -> str:
    """Ask for the traffic, if it is not set and another option would be recommended at little or at much of it."""
    chosen = facts.recommendation
    if chosen is None or evidence.economics.requests_per_month is not None:
        return ""
    for requests, how in ((1.0, "low"), (float(MOST_REQUESTS), "high")):
        months = [one.running.monthly_usd(requests) if one.running else None for one in facts.options]
        options = [replace(one, usd_per_month=usd) for one, usd in zip(facts.options, months, strict=True)]
        other = replace(facts, options=options).recommendation
        if other is not None and other.option != chosen.option:
            return (
                f"Set `economics.requests_per_month` and run `tuneworthy decide` again. At {how} traffic, "
                f"{other.option} would be recommended, because it costs less than {chosen.option}."
            )
    return ""


def _train(evidence: Evidence, gates: Sequence[GateResult]) -> NextAction:
    """Return what comes next where training is worth a try: the first gate that is open, or the training."""
    if evidence.training.adapter is not None:
        return NextAction(
            command="tuneworthy run --rung fine_tune",
            why=(
                "Measure the fine-tuned model on the test set: run `tuneworthy merge`, `tuneworthy export gguf`, "
                "`tuneworthy parity` and `tuneworthy run --rung fine_tune`. A classifier needs only the last."
            ),
        )
    still_open = [result for result in gates if result.is_open]
    if not still_open:
        waived = messages.waived_gates(gates)
        passed = (
            f"All required checks before training pass or are waived ({waived}). Run `tuneworthy train`."
            if waived
            else messages.say("train")
        )
        return NextAction(command="tuneworthy train", why=passed)
    fix = still_open[0].fix
    if still_open[0].gate == "pilot":
        fix = join_sentences(fix, evidence.forecast.cost)
    return NextAction(command=command_in(fix), why=fix or still_open[0].message)


def _would_change(facts: DecisionFacts, outcome: Outcome, money: EconomicsResult) -> list[str]:
    chosen = facts.recommendation
    if outcome is Outcome.FINE_TUNE:
        return ["A new or cheaper model that meets the target, or a pilot whose forecast gain is too small."]
    if outcome is Outcome.DO_NOT_FINE_TUNE and chosen and chosen.score is not None and chosen.target == "met":
        higher, volume = (
            f"A target above {chosen.score:.1%}, or a constraint that rules out the recommended option.",
            money.break_even_band[0],
        )
        usd, required = money.usd_per_1k.reference or 0.0, money.required_usd_per_1k or 0.0
        if money.status != "never" or usd <= required:
            return [higher]
        if volume is None:
            return [higher, "Lower costs of training, serving and upkeep."]
        paid = paid_bill(usd, required)
        return [
            higher,
            (
                f"Traffic above {volume:,.0f} requests per month, or lower costs of training, serving and upkeep: "
                f"training may then save the required {FEWEST_SAVED:.0%} of {paid}."
            ),
        ]
    return []
