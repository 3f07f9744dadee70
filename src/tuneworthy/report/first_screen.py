"""The first screen of the report: the answer, why, three cards, the next step, and the paragraph to paste.

Invariant: an outdated verdict gives no answer, only the changes. Without a valid verdict, options are the measurements
of the run, and the answer is that nothing was decided.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.money.serving import RunningCost
from tuneworthy.report import findings
from tuneworthy.report.charts import price_words, score_of
from tuneworthy.report.render import Card, NextStep
from tuneworthy.report.text import clean, dollars, integer, percent, percent_range, plain
from tuneworthy.text import plural
from tuneworthy.verdict.answer import StoredVerdict, Verdict, answer_of
from tuneworthy.verdict.options import Option, Options, per_point, recorded_option

TRAINED = frozenset({"tuned", "fine_tune"})
# Words of a name in the paragraph; characters of a name on a card.
MOST_WORDS, MOST_CHARS = 6, 80
# A sentence that is shorter takes the next one along, characters.
SHORT = 60
# Without a verdict: of a run, of an unfinished run, of a quick run.
UNDECIDED = ("Not decided yet", "Unfinished run: no verdict yet", "Quick run: no verdict")
BREAKS_LIMIT = "violates a constraint"
_STOP = re.compile(r"(?<=[.!?]) (?=[A-Z])")


def option_of(options: Options, kinds: Collection[str]) -> Option | None:
    return next((option for option in options if option.kind in kinds), None)


def holding(stored: StoredVerdict | None, record: RunRecord) -> Verdict | None:
    return stored.verdict if stored and stored.holds and not record.quick else None


def options_in(
    record: RunRecord,
    verdict: Verdict | None,
    requests_per_month: float | None,
    costs: Mapping[str, RunningCost],
) -> list[Option]:
    """Return the options of the verdict; without one, the measurements on test (on dev in a quick run)."""
    if verdict is not None:
        return list(verdict.options)
    return [
        _option(record, rung, requests_per_month, costs.get(rung.rung))
        for rung in record.rungs
        if rung.score is not None or _lead(record, rung)
    ]


def _lead(record: RunRecord, rung: RungRecord) -> bool:
    return record.quick and bool(rung.candidates)


def _option(record: RunRecord, rung: RungRecord, traffic: float | None, cost: RunningCost | None) -> Option:
    option = recorded_option(rung, cost or RunningCost(usd_per_1k=rung.usd_per_1k), traffic or None)
    if _lead(record, rung):
        lead = rung.candidates[0]
        return replace(option, option=lead.name, score=lead.score if lead.ci95 else None, ci95=lead.ci95)
    is_measured = findings.measured(rung)
    target = findings.status_of(record, rung) if record.target is not None and is_measured else None
    return replace(option, score=rung.score if is_measured else None, target=target)


def best_untrained(record: RunRecord, options: Options, verdict: Verdict | None) -> Option | None:
    """Return the best option that needs no training: the recommended option, else the rival of the tuned option."""
    chosen = verdict.recommendation if verdict else None
    rung, tuned = findings.best_of(record), record.rung("fine_tune")
    against = next((r.name for r in record.rungs if tuned and r.variant and r.variant == tuned.compared_to), None)
    names = [chosen, *([against] if rung and rung.rung == "fine_tune" else []), rung.name if rung else None, against]
    untrained = [option for option in options if option.kind not in TRAINED]
    named = [option for name in names for option in untrained if option.option == name]
    scored = sorted((o for o in untrained if o.score is not None), key=lambda o: (bool(o.violates), -(o.score or 0.0)))
    return next(iter([*named, *scored]), None)


def answer_and_reasons(record: RunRecord, stored: StoredVerdict | None) -> tuple[str, str, list[str]]:
    """Return the style, the answer, and sentences on why, the weightiest first."""
    if record.quick or stored is None or (record.partial and not stored.holds):
        words = UNDECIDED[1 if record.partial else 2 if record.quick else 0]
        return "quick" if record.quick else "none", words, [findings.answer(record)]
    answer = answer_of(stored.verdict)
    if stored.holds:
        return stored.verdict.outcome, answer, [plain(reason) for reason in stored.verdict.reasons]
    was = f"The last verdict was: {answer[0].lower() + answer[1:]}."
    changes = f"Changes since then: {clean('; '.join(stored.changed), 0)}."
    return "stale", "The last verdict is out of date", [f"{was} {changes}", findings.answer(record)]


def in_short(reason: str) -> str:
    """Return the first sentence of a reason, and the second where the first is short.

    >>> in_short("All gates pass. It scores 85.0% on the test set, which is better. The target is missed.")
    'All gates pass. It scores 85.0% on the test set, which is better.'
    """
    first, *others = _STOP.split(reason)
    return " ".join([first, *(others[:1] if len(first) < SHORT else [])])


def lead(record: RunRecord, reason: str, options: Options, verdict: Verdict | None) -> str:
    """Return the sentence under the answer; where a model ships that misses the target, that too."""
    tuned = option_of(options, {"tuned"})
    ships_below = verdict is not None and verdict.outcome == "ship" and tuned is not None and tuned.target == "missed"
    if not ships_below or record.target is None:
        return in_short(reason)
    target = percent(record.target)
    return f"{in_short(reason)} It is better than the other options, but still misses the target of {target}."


def next_step(record: RunRecord, stored: StoredVerdict | None) -> NextStep:
    verdict = holding(stored, record)
    if verdict is not None:
        action = verdict.next_action
        command, why = clean(action.command, 0), plain(action.why)
        return NextStep(command, "" if why == f"Run {command}." else why)
    if record.accept:
        return NextStep("tuneworthy doctor", plain(record.accept))
    if record.quick or record.partial or record.stale:
        why = "A verdict needs the test set." if record.quick else "The results are incomplete or out of date."
        return NextStep("tuneworthy run", why)
    return NextStep("tuneworthy decide", "The run is complete, but no verdict has been computed from it.")


def basis(record: RunRecord, verdict: Verdict | None) -> str:
    """Return the evidence of the scores, and the end of the answer's validity."""
    n, cases = (record.n_dev, "dev") if record.quick else (record.n_test, "test")
    text = f"{n} {cases} {plural(n, 'case', 'cases')}, grader {clean(record.primary)}"
    if record.target is not None:
        text += f", target {record.target:.1%}"
    return text + (f"; valid until {verdict.valid_until}" if verdict and verdict.valid_until else "")


def cards(record: RunRecord, options: Options, verdict: Verdict | None) -> list[Card]:
    """Return today, the best without training, and with training."""
    today = option_of(options, {"today"})
    best, tuned = best_untrained(record, options, verdict), option_of(options, TRAINED)
    rule = _rule(best, options, verdict) if best else ""
    with_training = _card("With training", tuned, record)
    if tuned is not None and tuned.kind != "tuned":
        detail = (
            "no pilot yet, so there is no forecast"
            if tuned.score is None or verdict is None
            else f"lower bound of the pilot's forecast for {integer(verdict.forecast.n_examples)} examples"
        )
        with_training = Card(
            "With training",
            score_of(tuned),
            "fine-tuned model",
            [detail, _with_once(tuned)],
        )
    without = _card("Without training", best, record, rule, "today's setup" if best is today else "")
    if best and (words := _within_bill(options, verdict, best)):
        without = replace(without, details=[*without.details, words])
    return [_card("Today", today, record), without, with_training]


def _within_bill(options: Options, verdict: Verdict | None, best: Option) -> str:
    """Name the option with the highest score within today's bill, and the price of a point; "" if it is `best`."""
    within = next((one for one in options if verdict and one.option == verdict.best_within_bill), None)
    if within is None or within.option == best.option:
        return ""
    point = per_point(best, within)
    return f"best within today's bill: {_few(within.option)}, {score_of(within)}" + (f", {point}" if point else "")


def _rule(best: Option, options: Options, verdict: Verdict | None) -> str:
    if verdict and best.option == verdict.recommendation and best.target == "met":
        return (
            "recommended: it meets the target, and no other option is shown to be better or 20% cheaper or faster"
            if best.kind == "today"
            else "recommended: it meets the target at the lowest cost"
            if all(_usd(best) <= _usd(one) for one in options if one.target == "met")
            else "recommended: it meets the target and is significantly better than a cheaper option that does"
        )
    most = max((option.score or 0.0 for option in options if option.kind not in TRAINED), default=0.0)
    return (
        "the highest score measured"
        if (best.score or 0.0) >= most
        else "adopted: no other option scores significantly higher"
    )


def _usd(option: Option) -> float:
    return math.inf if option.usd_per_1k is None else option.usd_per_1k


def _card(label: str, option: Option | None, record: RunRecord, rule: str = "", name: str = "") -> Card:
    if option is None:
        return Card(label, "unknown", "not measured")
    bounds = [f"95% interval {percent_range(option.ci95)}"] if option.ci95 else []
    if record.agreement and option.score is not None:
        bounds.insert(0, f"agreement with {clean(record.agreement)}")
    if option.share_sent is not None:
        bounds.append(f"the large model answers {option.share_sent:.1%} of the cases")
    price = price_words(option)
    if option.usd_per_month and option.usd_per_1k:
        price += f" ({dollars(option.usd_per_1k)} per 1,000 answers)"
    mark = option.target or ""
    words = f"target {mark}" if mark else ""
    if option.violates:
        mark, words = "missed", BREAKS_LIMIT
    elif mark == "met" and record.target is not None and option.ci95 and option.ci95[0] < record.target:
        words = f"target met: the lower limit is above {record.target - record.margin:.1%}"
    return Card(
        label,
        score_of(option),
        name or clean(option.option, MOST_CHARS),
        [*([rule] if rule else []), *bounds, price],
        status=mark,
        mark=words,
    )


def _with_once(option: Option) -> str:
    price = price_words(option)
    return f"{price}, {dollars(option.one_off_usd)} once" if option.one_off_usd else price


def paragraph(
    record: RunRecord,
    requests_per_month: float | None = None,
    stored: StoredVerdict | None = None,
    costs: Mapping[str, RunningCost] = {},
) -> str:
    """Return the paragraph to paste: plain text, one line, at most 65 words.

    Args:
        record: Of the run.
        requests_per_month: Adds the monthly bill.
        stored: The last verdict; its answer is used if it is still valid.
        costs: Of the rungs, for the servers of one's own where there is no verdict.
    """
    verdict = holding(stored, record)
    options = options_in(record, verdict, requests_per_month, costs)
    _, answer, _ = answer_and_reasons(record, stored)
    parts = [f"{clean(' '.join(record.task.split()[:5]), MOST_CHARS)}: {answer}."]
    if record.agreement:
        parts.append(f"Agreement with {clean(record.agreement)}, not accuracy.")
    if record.partial or record.stale:
        parts.append("The run is incomplete." if record.partial else "The results are out of date.")
    parts += _options_to_paste(record, options, verdict)
    if verdict:
        why = next((row for row in verdict.training.reasons if row.reason == "cost"), None)
        if why and why.status == "refuted" and why.evidence in verdict.reasons[0]:
            parts.append(why.evidence)
    if record.target is not None and not record.quick:
        parts.append(f"Target: {record.target:.1%}.")
    if verdict and verdict.valid_until:
        parts.append(f"Valid until {verdict.valid_until}.")
    step = next_step(record, stored)
    if step.command and len(step.command.split()) <= 2 * MOST_WORDS:
        parts.append(f"Next: {step.command}")
    return " ".join(parts)


def _options_to_paste(record: RunRecord, options: Options, verdict: Verdict | None) -> Iterator[str]:
    today, best = option_of(options, {"today"}), best_untrained(record, options, verdict)
    tuned = option_of(options, TRAINED)
    where = f" (n = {record.n_dev} dev)" if record.quick else f" (n = {record.n_test} test)"
    words = _within_bill(options, verdict, best) if best else ""
    is_today = today is not None and today.option in words
    if today and today is not best:
        yield _scored(f"Today{', best within its bill' * is_today}", today, where)
        where = ""
    if best:
        yield _scored("Without training", best, where)
    if words and not is_today:
        yield f"{words[0].upper()}{words[1:]}."
    if tuned:
        yield _scored("With training", tuned, "")


def _few(name: object) -> str:
    """Return the first two parts of a name; of a long name, the first words."""
    first, *others = re.split("(?=[,;] )", clean(name, MOST_CHARS))
    few = first + "".join(others[:1])
    return few if len(few.split()) <= 2 * MOST_WORDS else " ".join(first.split()[:MOST_WORDS])


def _scored(label: str, option: Option, where: str) -> str:
    bounds = f" {percent_range(option.ci95)}{where}" if option.ci95 else ""
    name = "" if option.kind in {"today", *TRAINED} else f" ({_few(option.option)})"
    price = _with_once(option)
    price += f", {BREAKS_LIMIT}" if option.violates else ""
    return f"{label}{name}: {score_of(option)}{bounds}, {price}."
