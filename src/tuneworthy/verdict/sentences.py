"""Reasons of a verdict in sentences: what decided, the reason that the team has in mind, the scores. Pure."""

from collections.abc import Callable, Mapping, Sequence

from tuneworthy.errors import join_sentences
from tuneworthy.ladder.record import NOT_REACHED
from tuneworthy.money.economics import money_sentence, monthly_saving
from tuneworthy.text import plural
from tuneworthy.types import Texts, positional
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import ErrorShare, GateResult
from tuneworthy.verdict.error_analysis import FIXED_BY, LABELS
from tuneworthy.verdict.evidence import Evidence, most_of
from tuneworthy.verdict.gates.to_decide import lacks_shots
from tuneworthy.verdict.options import (
    MADE_UP,
    MISSED_RECALL,
    MOST_RECALLS,
    Option,
    Options,
    is_saving,
    marked,
    more_usd,
    open_latency,
    per_point,
    rank,
)
from tuneworthy.verdict.outcome import DEV, DecisionFacts, FactKind, FactName, Ruling

# Test cases of a label from which a missed one is named in the first sentence.
FEWEST_MISSED = 5
COULD_TEACH = (
    f"{messages.NO_OTHER_MODEL} A model that the constraints rule out in production could still teach a smaller one."
)
STATUS_WORDS = {
    "measured": "confirmed",
    "refuted": "not confirmed",
    "unknown": "not measured yet",
}


@positional
class Deliberation:
    """Everything that a verdict before training is made of.

    Attributes:
        evidence: Measurements, with the training reasons and the economics.
        facts: Facts of the project.
        gates: Results of all gates.
        ruling: None where facts leave the outcome open.
        unknown: These facts.
    """

    evidence: Evidence
    facts: DecisionFacts
    gates: Sequence[GateResult]
    ruling: Ruling | None
    unknown: Sequence[FactName]

    def gate(self, name: str) -> GateResult:
        return next(result for result in self.gates if result.gate == name)

    def option(self, name: str) -> Option:
        return next(option for option in self.facts.options if option.option == name)

    def failures(self, name: str) -> ErrorShare | None:
        return next((row for row in self.evidence.errors or () if row.name == name), None)

    def lever(self, name: str) -> str:
        """Return the fix for a class of failures; wrong labels, which people find, may have no row."""
        row = self.failures(name)
        return messages.LEVERS[row.fixed_by if row else FIXED_BY[LABELS]]

    @property
    def cost(self) -> str:
        return next(row.evidence for row in self.evidence.training_reasons if row.reason == "cost")

    @property
    def target(self) -> float:
        """The target; 0 without one."""
        return self.evidence.target or 0.0


def reasons_in_sentences(case: Deliberation) -> list[str]:
    """Return at most three sentences: what decided, the reason that the team has in mind, what else weighs."""
    evidence = case.evidence
    if evidence.target is None:
        first = (
            "The project sets no target, so the verdict is undecided. The options and their prices are listed below."
        )
    elif not case.ruling:
        kind, subject = case.unknown[0]
        first = OPEN[kind](case, subject)
    elif case.ruling.code.startswith("gate_"):
        first = case.gate(case.ruling.subject).message
    elif case.ruling.code.startswith("errors_"):
        row, lever = case.failures(case.ruling.subject), case.lever(case.ruling.subject)
        if evidence.label_ceiling and case.ruling.subject == LABELS:
            relabel = messages.LEVERS["label cases"]
            first = join_sentences(str(evidence.label_ceiling), f"{relabel}, or lower the target.")
        elif row and row.fixed_by in messages.READERS:
            first = f"{lever}. The cause of most failures: {messages.error_share(row)}."
        elif not row or (case.ruling.subject == LABELS and not most_of(row)):
            first = (
                f"People relabelled {evidence.relabelled} wrong answers and found most of the expected answers to "
                f"be wrong. {lever}."
            )
        else:
            first = f"A cheaper fix exists for most failures. Their cause: {messages.error_share(row)}. {lever}."
    else:
        first = DECIDED[case.ruling.code](case, case.ruling)
    named = [
        f"Your reason to train ({row.reason}) is {STATUS_WORDS[row.status]}: {row.evidence}"
        for row in evidence.training_reasons
        if row.reason == evidence.motivation
    ]
    said = case.ruling and case.ruling.code == "target_met"
    if late := [name for name, rung in evidence.upstream.items() if rung.reason_code == NOT_REACHED]:
        first = join_sentences(
            first,
            f"Not run, as the target was already met: {', '.join(late)}.",
            "`tuneworthy run` compares them and may find a better or cheaper option.",
        )
    return [first, *named, *_scores(evidence, case.facts, "" if said else _second_row(case.facts))][:3]


def _scores(evidence: Evidence, facts: DecisionFacts, second: str) -> list[str]:
    base, chosen, n = evidence.rungs.get("baseline"), facts.recommendation, evidence.n_test
    sentences = []
    if base and base.tested:
        if not base.eligible:
            sentences.append(f"A constraint rules out today's setup: {base.violated or base.reason.rstrip('.')}.")
        if chosen:
            best = evidence.rungs[chosen.rung]
            other = "" if best is base else f"; {best.label} scores {best.score_on(n)}"
            sentences.append(join_sentences(f"Today's setup scores {base.score_on(n)}{other}.", second))
    noted = next((one for one in facts.options if one.notes and one.eligible is not None and one is not chosen), None)
    return [*sentences, marked(noted)] if noted else sentences


# --- decided ------------------------------------------------------------------------------------------------------


def target_met(case: Deliberation, ruling: Ruling) -> str:
    chosen = case.facts.recommendation
    if not chosen or not case.facts.known("meets", chosen.option):
        return f"Training is not needed: an option meets the target of {case.target:.1%}, or a cheaper fix remains."
    met = (
        f"{chosen.option} meets the target of {case.target:.1%} without fine-tuning"
        f"{_missed_labels(case, chosen)}{_better(case.evidence, case.facts, chosen)}{_regret(case, chosen)}. "
        f"{_second_row(case.facts)}"
    ).rstrip()
    row = next(row for row in case.evidence.training_reasons if row.reason == "cost")
    saving = monthly_saving(case.evidence.bill(case.evidence.rungs[chosen.rung]), case.evidence.economics)
    is_news = row.status == "refuted" and case.evidence.motivation != "cost" and chosen.usd_by_answer
    return join_sentences(met, row.evidence) if is_news and saving is not None and saving[1] > 0 else met


def constraint_decides(case: Deliberation, ruling: Ruling) -> str:
    rows = {row.reason: row for row in case.evidence.training_reasons if row.status == "measured"}
    reason = rows.get("latency") or rows.get("locality")
    return (
        f"Only an option that violates a constraint meets the target. {reason.evidence}"
        if reason  # else it is open whether it keeps the constraint, and cost is a reason if it does
        else "It is unknown whether the option that meets the target also meets the constraints. Either way, "
        "a smaller model may be worth training."
    )


def levers_exhausted(case: Deliberation, ruling: Ruling) -> str:
    evidence, pilot = case.evidence, messages.passed_pilot(case.gates)
    sentence = f"No measured option that the constraints allow meets the target of {case.target:.1%}"
    if not pilot:
        sentence += ", and whether training would meet it is untested."
    else:
        sentence += f". {pilot.message} Whether the fine-tuned model meets the target is known only after training."
    if evidence.waivers.get("retrieval") and not evidence.documents and evidence.answers_open:
        sentence += (
            " The project has no documents. Fine-tuning teaches new facts slowly and makes models hallucinate more "
            "(https://arxiv.org/abs/2405.05904)."
        )
    return sentence


def not_worth_knowing(case: Deliberation, ruling: Ruling) -> str:
    """Name the option that is good enough, and the regret."""
    chosen = case.option(ruling.subject)
    saving = monthly_saving(case.evidence.bill(case.evidence.rungs[chosen.rung]), case.evidence.economics)
    regret = _regret(case, chosen)
    if not regret and saving is not None and saving[1] > 0:
        regret = f"; a smaller fine-tuned model may save up to ${saving[1]:,.0f} a month"
        regret += f" or cost ${-saving[0]:,.0f} more" if saving[0] < 0 else ""
    return f"{chosen.option} is good enough{regret}. No step that would settle more is worth its cost."


def _regret(case: Deliberation, chosen: Option) -> str:
    """Say what an option that may do saves, the cheapest of several, as the end of a sentence."""
    facts = case.facts
    open_options = [one for one in rank(facts.options) if one.eligible and facts.known("meets", one.option) is None]
    other = next((one for one in open_options if is_saving(one, chosen) and one.usd_by_answer is not None), None)
    if not other or other.score is None or chosen.score is None or other.kind in MADE_UP:
        return ""
    if _price(other) == _price(chosen):  # it saves time, or less than is printed
        return ""
    points = 100 * (other.score - chosen.score)
    return (
        f"; {other.option} scores {abs(points):.1f} points {'higher' if points > 0 else 'lower'} and costs "
        f"{_price(other)} instead of {_price(chosen)}: take it if {other.score:.1%} will do"
    )


DECIDED: Mapping[str, Callable[[Deliberation, Ruling], str]] = {
    "target_met": target_met,
    "not_worth_knowing": not_worth_knowing,
    "cost": lambda case, ruling: f"The target is met, but a smaller model may be worth training. {case.cost}",
    "constraint": constraint_decides,
    "rung_untried": lambda case, ruling: _rungs_open([ruling.subject]),
    "economics": lambda case, ruling: money_sentence(case.evidence.money),
    "levers_exhausted": levers_exhausted,
}


def _price(option: Option) -> str:
    if option.usd_per_month is not None:
        return f"${option.usd_per_month:,.2f} a month"
    if option.usd_per_1k is not None:
        return f"${option.usd_per_1k:,.4f} per 1,000 answers"
    return "an unknown price" if option.usd_by_answer is None else "the price of a server"


def _better(evidence: Evidence, facts: DecisionFacts, chosen: Option) -> str:
    """Name the best option that is shown to be better than the chosen one, with the price of the difference."""
    ahead = [one for one in rank(facts.options) if (one.option, chosen.option) in facts.better and facts.allows(one)]
    if not ahead:
        return ""
    option = max(ahead, key=lambda one: one.score or 0.0)
    delta = (option.score or 0.0) - (chosen.score or 0.0)
    value, traffic = evidence.economics.usd_per_wrong_answer, evidence.economics.requests_per_month
    worth = (
        f" (worth ${value * delta * traffic:,.0f} a month at ${value:,.10g} per wrong answer)"
        if value and traffic
        else ""
    )
    return f"; {option.option} scores {100 * delta:.1f} points higher {_dearer(chosen, option)}{worth}"


def _missed_labels(case: Deliberation, chosen: Option) -> str:
    """Name the labels that the chosen option rarely finds, and an option that finds the first more often."""
    cases, options = case.evidence.label_cases, case.facts.options
    recall = {one.option: case.evidence.rungs[one.rung].recall for one in options}
    rare = [label for label, share in recall[chosen.option].items() if share <= MISSED_RECALL]
    rare = [label for label in rare if label in case.evidence.critical or cases.get(label, 0) >= FEWEST_MISSED]
    if not rare:
        return ""
    missed = [f"`{label}` ({recall[chosen.option][label] * cases[label]:.0f} of {cases[label]})" for label in rare]
    finds = max(options, key=lambda one: recall[one.option].get(rare[0], 0.0))
    n = recall[finds.option].get(rare[0], 0.0) * cases[rare[0]]
    other = f"; {finds.option} finds {n:.0f} of {cases[rare[0]]}" if finds is not chosen else ""
    return f", but rarely or never finds {', '.join(missed[:MOST_RECALLS])}{other}"


def _second_row(facts: DecisionFacts) -> str:
    """Name the best option within today's bill, and the price of a point between it and the recommended one."""
    chosen, best = facts.recommendation, facts.within_bill
    if not chosen or not best or best.score is None or chosen.score is None:
        return ""
    if best.option == chosen.option:
        return "It also scores highest within today's bill."
    point = per_point(chosen, best)
    is_more = best.score > chosen.score and (best.option, chosen.option) not in facts.better
    shown, name = ", not shown to be better" * is_more, "today's setup" if best.kind == "today" else best.option
    return (
        f"Within today's bill, {name} scores highest: {best.score:.1%} "
        f"({100 * (best.score - chosen.score):+.1f} points {_dearer(chosen, best)}{point and '; '}{point}{shown})."
    )


def _dearer(chosen: Option, option: Option) -> str:
    more = more_usd(chosen, option)
    if more is None:
        is_unknown = chosen.usd_by_answer is None or option.usd_by_answer is None
        return "at an unknown price" if is_unknown else "for more or less, depending on the traffic"
    if more == 0:
        return "at the same price"
    is_month = chosen.usd_per_month is not None and option.usd_per_month is not None
    usd = f"${abs(more):,.{0 if abs(more) >= 10 else 2 if is_month else 4}f}"
    return f"for {usd} {'more' if more > 0 else 'less'} {'a month' if is_month else 'per 1,000 answers'}"


# --- open ---------------------------------------------------------------------------------------------------------


def target_open(case: Deliberation, subject: str) -> str:
    option = case.option(subject)
    copies = next((one for one in case.gates if one.gate == "classical" and one.status == "fail"), None)
    if option.kind == "classical" and copies:
        return copies.message
    evidence, rung = case.evidence, case.evidence.rungs[option.rung]
    for label, needed in evidence.critical.items():
        if evidence.recall_of(rung, label) == "unresolved":
            found = (
                f"{rung.recall[label]:.1%} of {rung.recall_n[label]:.0f} effective test cases"
                if label in rung.recall_n
                else "no test case with this label was scored"
            )
            return f"Whether {subject} finds at least {needed:.1%} of the critical label `{label}` is open: {found}."
    score = rung.score_on(evidence.n_test)
    if (bar := evidence.to_beat(rung)) and (rung.score or 0.0) >= case.target:
        return (
            f"{subject} scores {score}. It is not shown to beat always giving the most frequent answer"
            f"{', which is enough for the target' * (bar >= case.target)}."
        )
    return f"{subject} scores {score}, so it may or may not meet the target of {case.target:.1%}."


def could_meet(case: Deliberation, subject: str) -> str:
    rungs = [name for fact, name in case.unknown if fact == "could_meet"]
    few = lacks_shots(case.gates)
    missing = {
        "model": messages.FORMS_OPEN
        if case.evidence.forms_open
        else ("" if case.evidence.other_models else f"{messages.NO_OTHER_MODEL} A stronger one may meet the target."),
        "prompt": few.message if few else "",
        "retrieval": "" if case.evidence.documents else messages.DOCUMENTS_MISSING,
    }
    return join_sentences(
        _rungs_open([name for name in rungs if not missing.get(name)]),
        *(missing[name] for name in missing if name in rungs),
    )


def _rungs_open(rungs: Texts) -> str:
    if not rungs:
        return ""
    names, n = ", ".join(rungs), len(rungs)
    return (
        f"The {plural(n, 'rung', 'rungs')} {names} {plural(n, 'has', 'have')} not been compared on the test set. "
        f"{plural(n, 'It', 'Each')} may meet the target."
    )


def cost_open(case: Deliberation, subject: str) -> str:
    option = case.option(subject)
    return (
        f"{subject} may be good enough at a lower price, but its price is unknown."
        if option.usd_by_answer is None and option != case.facts.recommendation
        else case.cost
    )


def limit_open(case: Deliberation, subject: str) -> str:
    option, evidence = case.option(subject), case.evidence
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
    return (
        _latency_open(evidence, [option])
        or "The price of an option, or its latency, has not been measured, so the constraints are open."
    )


def distil_open(case: Deliberation, subject: str) -> str:
    return (
        _latency_open(
            case.evidence, [one for one in case.facts.options if one.option == subject or one.kind not in MADE_UP]
        )
        or "It has not been measured whether a smaller model meets the latency limit."
    )


def _latency_open(evidence: Evidence, options: Options) -> str:
    for one in sorted(options, key=lambda one: one.latency_p95_ms or 0.0):
        if why := open_latency(evidence.limits, one.latency_p95_ms, one.latency_p95_ci):
            return f"Whether {one.option} meets the latency limit is open: {why}."
    return ""


def lever_open(case: Deliberation, name: str) -> str:
    row = case.failures(name)
    if name == DEV:
        return case.gate("dev").message
    wrong, n = case.evidence.wrong_labels
    if name == LABELS and case.evidence.label_ceiling:
        return f"{case.evidence.label_ceiling} Whether wrong labels decide about the target is still open."
    if name == LABELS and case.evidence.labels_in_doubt:
        return (
            f"People found the label of {wrong} of {n} failed dev cases to be wrong. The labels of test have not been "
            "audited."
        )
    if name == LABELS and case.evidence.relabelled:
        return (
            f"People relabelled {case.evidence.relabelled} wrong answers. Whether most of the expected answers are "
            "wrong is still open."
        )
    if not row:
        return "The causes of wrong answers have not been analysed. A cheaper fix may exist for most of them."
    if name == LABELS:
        return (
            f"Models suspect {row.n_failed} of {row.n} wrong answers to be label errors. Only people can tell whether "
            "most are, and they have not checked enough of them."
        )
    share = messages.error_share(row)
    return f"A cheaper fix may exist for most failures, but the evidence is inconclusive. Possible cause: {share}."


def pays_open(case: Deliberation, subject: str) -> str:
    chosen = case.facts.recommendation
    priced = chosen and case.evidence.economics.requests_per_month is not None
    unknown = (
        f"the price of {chosen.option}, which is unknown" if chosen and priced else "the traffic, which is not set"
    )
    return f"Whether training pays off depends on {unknown}."


OPEN: Mapping[FactKind, Callable[[Deliberation, str], str]] = {
    "sound": lambda case, subject: case.gate(subject).message,
    "meets": target_open,
    "could_meet": could_meet,
    "could_teach": lambda case, subject: COULD_TEACH,
    "cost": cost_open,
    "lever": lever_open,
    "eligible": limit_open,
    "distil": distil_open,
    "pays": pays_open,
}
