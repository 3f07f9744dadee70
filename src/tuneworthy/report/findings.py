"""What a run found, in plain words: the answer, the target, the warnings, and the paragraph to paste.

Invariant: every sentence is computed from the record; two scores are said to differ only where they were compared
paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from tuneworthy.classical.messages import METHODS
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.report import numbers
from tuneworthy.report.retrieval import injection_warning
from tuneworthy.report.text import clean
from tuneworthy.report.verdict import in_a_sentence
from tuneworthy.types import MOST_UNSCORED, RungStatus
from tuneworthy.verdict.base import Target as TargetStatus
from tuneworthy.verdict.evidence import target_status

if TYPE_CHECKING:
    from tuneworthy.config import Project
    from tuneworthy.verdict.last_verdict import StoredVerdict

# Graders whose score is the share of cases that are answered correctly.
RIGHT_OR_WRONG = frozenset(
    {"exact", "normalised_exact", "includes", "regex", "numeric", "squad_em", "choice", "tool_call"}
)
# What the best variant is, by the rung that found it.
STEPS: Mapping[str, str] = {
    "prompt": "A rewritten prompt",
    "retrieval": "A prompt with retrieved documents",
    "model": "A stronger model",
    "few_shot": "A prompt with examples",
    "decoding": "Other sampling settings",
    "fine_tune": "A fine-tuned model",
}
# Notes of the record at the head, at most; all stand with the splits.
NOTES = 5
RETIRES_DAYS = 90
PRICES_DAYS = 90


@dataclass(frozen=True, slots=True)
class Target:
    """Whether the best variant is good enough, with the sentence that says why."""

    status: TargetStatus
    sentence: str


@dataclass(frozen=True, slots=True)
class KeyNumber:
    """One of the three numbers at the head: what it is, the number, and what stands behind it."""

    label: str
    value: str
    detail: str


def best_of(record: RunRecord) -> RungRecord | None:
    """Return the rung that holds the best variant, the classical baseline included."""
    if not record.best:
        return None
    return next((r for r in record.rungs if r.rung == record.best.rung and measured(r)), None)


def best_model_of(record: RunRecord) -> RungRecord | None:
    """Return the rung that holds the best language-model variant: the best, or what the best classical baseline was compared with.

    Where nothing is eligible, it is the one adopted last, else the baseline.
    """
    best = best_of(record)
    if best and best.rung != "classical":
        return best
    if best and (against := [r for r in record.rungs if r.variant == best.compared_to and measured(r)]):
        return against[0]
    adopted = [r for r in record.rungs if r.status is RungStatus.ADOPTED and r.rung != "classical" and measured(r)]
    baseline = record.rung("baseline")
    return adopted[-1] if adopted else (baseline if baseline and measured(baseline) else None)


def measured(rung: RungRecord) -> bool:
    """Whether at least one test case could be scored."""
    return rung.score is not None and rung.ci95 is not None


def target_of(record: RunRecord) -> Target | None:
    """Say whether the best variant meets the target; None where nothing was put to test, or not all that should be."""
    return _target_of(record, best_of(record))


def _target_of(record: RunRecord, best: RungRecord | None) -> Target | None:
    """Say whether what a rung put to test meets the target."""
    if record.quick or record.partial or best is None or best.score is None or best.ci95 is None:
        return None
    lower, upper = best.bounds95 or best.ci95
    bound = "one-sided 95 % bound" if best.bounds95 else "end of the 95 % interval"
    status = target_status(best.score, lower, upper, record.target, record.margin)
    goal, reached = numbers.percent(record.target), numbers.percent(best.score)
    if best.unscored > MOST_UNSCORED * best.n:
        words = (
            f"Whether the target of {goal} is met is not resolved: {best.unscored} of {best.n} test cases could not be "
            f"scored, and the score of {reached} leaves them out."
        )
        return Target("unresolved", words)
    if status == "met":
        words = (
            f"The target of {goal} is met: the score is {reached}, and at least {numbers.percent(lower)} ({bound}), "
            f"which is above {numbers.percent(record.target - record.margin)} (target less margin)."
        )
    elif status == "missed":
        words = (
            f"The target of {goal} is missed: the score is {reached}, and at most {numbers.percent(upper)} ({bound})."
        )
    else:
        words = (
            f"Whether the target of {goal} is met is not resolved: the score is {reached}, and the {best.n} test cases "
            f"leave {numbers.percent_range((lower, upper))} open ({bound}s). More test cases would narrow it."
        )
    return Target(status, words)


def answer(record: RunRecord) -> str:
    """Return the answer in one sentence; that of a run that stopped early, or no longer holds, says so."""
    if record.partial:
        return f"The run stopped early ({clean(record.partial)}), so there is no answer yet. So far: {_answer(record)}"
    if record.stale:
        return f"Since this was measured, {clean('; '.join(record.stale))}: run again. It was: {_answer(record)}"
    return _answer(record)


def _answer(record: RunRecord) -> str:
    best, model, baseline = best_of(record), best_model_of(record), record.rung("baseline")
    if record.quick:
        return _quick_answer(record)
    if best is None or best.score is None:
        return _no_answer(record)
    if best.rung == "classical" and model and model.score is not None:
        return _classical_answer(record, best, model)
    if best.rung == "baseline":
        tried = sum(1 for r in record.rungs if r.score is not None and r.rung not in {"classical", "baseline"})
        steps = "No step" if tried == 1 else f"None of {tried} steps"
        more = f" {steps} that was put to test is shown to be better." if tried else " Nothing else was put to test."
        return f"What is in use today ({clean(best.name)}) {does(record, best)}.{more}"
    today = ""
    enough = _swap_words(record, best)
    if baseline and baseline.score is not None and measured(baseline):
        today = f"; what is in use today ({clean(baseline.name)}) reaches {numbers.percent(baseline.score)}"
        today += f" and is not eligible ({clean(baseline.violated)})" if baseline.violated else ""
    return f"{STEPS.get(best.rung, 'The best variant')} ({clean(best.name)}) {does(record, best)}{today}.{enough}"


def _swap_words(record: RunRecord, best: RungRecord) -> str:
    """Say that another model alone meets the target, whatever was adopted on top of it; "" if none does."""
    model = record.rung("model")
    goal = _target_of(record, model)
    if model is None or model.status is not RungStatus.ADOPTED or goal is None or goal.status != "met":
        return ""
    named = "" if best is model else f" ({clean(model.name)})"
    return f" The swap is enough: another model{named} meets the target by itself, without training."


def _no_answer(record: RunRecord) -> str:
    """Say why nothing is the best."""
    broken = [f"{clean(r.name)}: {clean(r.violated)}" for r in record.rungs if measured(r) and r.violated]
    if broken:
        return f"Nothing that was put to test keeps the constraints ({'; '.join(broken)})."
    return "Nothing could be measured on the test cases, so there is no answer yet."


def _classical_answer(record: RunRecord, classical: RungRecord, model: RungRecord) -> str:
    """Say that no language model is needed, as strongly as it was shown."""
    name = f"{classical_words(classical)} without any language model"
    what = "language model" if model.rung == "model" else "prompt"
    reaches = f"the best {what} ({clean(model.name)}) reaches {numbers.percent(model.score or 0.0)}"
    if model.violated:
        return f"{name} {does(record, classical)}; {reaches} and is not eligible ({clean(model.violated)})."
    if record.classical_wins:
        return f"{name} {does(record, classical)}; {reaches}."
    return f"{name} {does(record, classical)}, no worse than language models by the margin and cheaper or faster; {reaches}."


def _quick_answer(record: RunRecord) -> str:
    seen = [r for r in record.rungs if r.candidates]
    if not seen:
        return "A quick look on dev found nothing to measure; nothing is decided."
    lead = max(seen, key=lambda r: r.candidates[0].score)
    first = lead.candidates[0]
    return (
        f"A quick look at {record.n_dev} dev cases, so nothing is decided: {clean(first.name)} leads with "
        f"{numbers.percent(first.score)} (95 % interval {numbers.percent_range(first.ci95)}, n = {first.n})."
    )


def classical_words(classical: RungRecord) -> str:
    """Name a classical baseline in plain words.

    >>> floor_words(RungRecord(rung="classical baseline", status=RungStatus.REFERENCE, name="classical/linear"))
    'A classifier'
    """
    return METHODS.get(str(classical.name).removeprefix("classical/"), f"A method ({clean(classical.name)})")


def does(record: RunRecord, rung: RungRecord) -> str:
    """Say what a variant scores: `answers 84 % of the test cases correctly`."""
    share = numbers.percent(rung.score or 0.0)
    if record.primary in RIGHT_OR_WRONG:
        return f"answers {share} of the test cases correctly"
    return f"scores {share} on the test cases ({clean(record.primary)})"


def key_numbers(record: RunRecord, requests_per_month: float | None = None) -> list[KeyNumber]:
    """Return three numbers for the head of the page."""
    if record.quick:
        return _quick_numbers(record)
    best = best_of(record)
    if best is None or best.score is None or best.ci95 is None:
        return []
    found = [KeyNumber("Best", numbers.percent(best.score), _behind(best))]
    baseline, classical, model = record.rung("baseline"), record.rung("classical"), best_model_of(record)
    beside = ("In use today", baseline)
    if best.rung == "classical":
        found = [KeyNumber("Without any language model", numbers.percent(best.score), _behind(best))]
        beside = ("Best with a language model", model)
    elif best.rung == "baseline":
        beside = ("Without any language model", classical)
    label, rung = beside
    if rung and rung.score is not None and measured(rung):
        found.append(KeyNumber(label, numbers.percent(rung.score), _behind(rung)))
    found.append(_cost_number(best, requests_per_month))
    return found


def _behind(rung: RungRecord) -> str:
    bounds = f"95 % interval {numbers.percent_range(rung.ci95)}, " if rung.ci95 else ""
    return f"{clean(rung.name)}; {bounds}n = {rung.n}"


def _cost_number(best: RungRecord, requests_per_month: float | None) -> KeyNumber:
    """Return what the best variant costs; its time where it costs nothing."""
    time = f"{numbers.milliseconds(best.latency_p50_ms)} ms" if best.latency_p50_ms is not None else ""
    half = f"half of the answers come within {time}" if time else "its latency was not measured"
    if best.usd_per_1k:
        if requests_per_month:
            month = numbers.dollars(best.usd_per_1k * requests_per_month / 1000)
            behind = f"{numbers.count(requests_per_month)} requests at {numbers.dollars(best.usd_per_1k)} per 1,000"
            return KeyNumber("Its price a month", month, f"{behind}; {half}")
        return KeyNumber("Its price for 1,000 answers", numbers.dollars(best.usd_per_1k), half)
    unpriced = "it runs here: no price per call (the machine itself is not counted)"
    if best.usd_per_1k is None:
        unpriced = "its price is not known"
    return KeyNumber("Its median time for an answer", time or numbers.NONE, unpriced)


def _quick_numbers(record: RunRecord) -> list[KeyNumber]:
    found = []
    for name, label in (("classical", "Without any language model"), ("baseline", "In use today")):
        rung = record.rung(name)
        if rung and rung.candidates:
            found.append(_quick_number(label, rung))
    others = [r for r in record.rungs if r.rung not in {"classical", "baseline"} and r.candidates]
    if others:
        found.append(_quick_number("Best step", max(others, key=lambda r: r.candidates[0].score)))
    return found


def _quick_number(label: str, rung: RungRecord) -> KeyNumber:
    first = rung.candidates[0]
    behind = f"{clean(first.name)}; dev only, 95 % interval {numbers.percent_range(first.ci95)}, n = {first.n}"
    return KeyNumber(label, numbers.percent(first.score), behind)


def warnings(record: RunRecord, project: Project | None = None, today: date | None = None) -> list[str]:
    """Return what a reader must know before using the numbers."""
    found: list[str] = []
    if record.quick:
        found.append("This was a quick look: dev cases only, the test set was not touched, nothing is decided.")
    if record.classical_wins:
        found.append(clean(record.classical_wins))
    for rung in record.rungs:
        if rung.n and rung.unscored > MOST_UNSCORED * rung.n:
            found.append(f"{clean(rung.name)}: {rung.unscored} of {rung.n} test cases could not be scored.")
    if not record.quick and not record.explored:
        found.append("There were too few dev cases to explore: each step put one preregistered candidate to test.")
    found += filter(None, [injection_warning(record)])
    found += [clean(note[:1].upper() + note[1:]) for note in record.notes[:NOTES]]
    return [*found, *(_of_project(record, project, today) if project else [])]


def _of_project(record: RunRecord, project: Project, today: date | None) -> list[str]:
    """Say which models retire soon, whether prices are old, and whether the project file was changed since."""
    from tuneworthy.providers.prices import price_for, table_date
    from tuneworthy.types import content_hash

    now = today or date.today()
    found = []
    used = {variant.model for variant in record.variants.values()}
    priced = False
    for name, model in project.models.items():
        price = price_for(model) if name in used else None
        if price and price.retires and price.retires_within(RETIRES_DAYS, now):
            when = "was switched off" if price.retires < now else "is switched off"
            found.append(f"The model {clean(name)} ({clean(getattr(model, 'model', ''))}) {when} on {price.retires}.")
        priced = priced or bool(price and price.source == "table" and not price.free)
    if priced and (now - table_date()).days > PRICES_DAYS:
        found.append(f"The price table is of {table_date()}: check the prices before you decide on money.")
    if record.provenance.project != content_hash(project.model_dump(mode="json")):
        found.append("The project file was changed after this run; the numbers are those of the run.")
    return found


def paragraph(record: RunRecord, requests_per_month: float | None = None, verdict: StoredVerdict | None = None) -> str:
    """Return the paragraph to paste: plain text, one line, with n, intervals, cost and what was not scored.

    Args:
        record: Of the run.
        requests_per_month: Adds the monthly bill.
        verdict: Is put after the answer, if it still holds.
    """
    if record.quick:
        return f"{clean(record.task)} ({clean(record.primary)}, dev only): {answer(record)}"
    parts = [f"{clean(record.task)} ({clean(record.primary)}, n = {record.n_test} test cases): {answer(record)}"]
    parts.append(in_a_sentence(verdict))
    best, model, classical = best_of(record), best_model_of(record), record.rung("classical")
    shown: list[tuple[str, RungRecord | None]] = [("Best", best), ("today", record.rung("baseline"))]
    if best and best.rung == "classical":
        shown.insert(1, ("best language-model variant", model))
    elif classical:
        shown.append(("no language model", classical))
    parts.append(_intervals(shown))
    parts.append(_gain(best))
    goal = target_of(record)
    parts.append(goal.sentence if goal else "")
    parts.append(_price(best, requests_per_month))
    tried = sum(rung.candidates_tried for rung in record.rungs)
    parts.append(
        f"{tried} candidates were tried on {record.n_dev} dev cases, {record.comparisons.made} comparisons were made on test"
        + (f" (α = {record.alpha:g} each)" if record.alpha else "")
        + f"; all calls cost {numbers.dollars(record.cost_usd)}."
    )
    parts.append(f"tuneworthy {clean(record.provenance.tuneworthy)}, project {_project(record)}.")
    return " ".join(part for part in parts if part)


def _intervals(shown: Sequence[tuple[str, RungRecord | None]]) -> str:
    """List scores with their intervals, each variant once."""
    seen: set[str] = set()
    words = []
    for label, rung in shown:
        if rung is None or rung.score is None or rung.ci95 is None or rung.rung in seen:
            continue
        seen.add(rung.rung)
        unscored = f", {rung.unscored} unscored" if rung.unscored else ""
        bounds = numbers.percent_range(rung.ci95)
        words.append(f"{label} {clean(rung.name)} {numbers.percent(rung.score)} [{bounds}{unscored}]")
    return f"With 95 % intervals: {'; '.join(words)}." if words else ""


def _gain(best: RungRecord | None) -> str:
    """Say by how much the best is better than what it was compared with."""
    if best is None or best.delta is None or best.delta_ci is None or best.alpha is None:
        return ""
    against = "the best language-model variant" if best.rung == "classical" else "the best variant before it"
    bounds = f"{numbers.points(best.delta_ci[0])} to {numbers.points(best.delta_ci[1])}"
    p = numbers.p_value(best.p_value)
    return (
        f"Paired gain over {against}: {numbers.points(best.delta)} points "
        f"({numbers.level(best.alpha)} interval {bounds}; p {p if p.startswith('<') else '= ' + p})."
    )


def _price(best: RungRecord | None, requests_per_month: float | None) -> str:
    """Say what the best costs, and how long it takes."""
    if best is None:
        return ""
    words = "no price per call" if best.usd_per_1k == 0 else f"{numbers.dollars(best.usd_per_1k)} for 1,000 answers"
    if best.usd_per_1k and requests_per_month:
        month = numbers.dollars(best.usd_per_1k * requests_per_month / 1000)
        words += f" ({month} a month at {numbers.count(requests_per_month)} requests)"
    if best.latency_p50_ms is not None and best.latency_p95_ms is not None:
        words += (
            f", p50 {numbers.milliseconds(best.latency_p50_ms)} ms, p95 {numbers.milliseconds(best.latency_p95_ms)} ms"
        )
    return f"It costs: {words}."


def _project(record: RunRecord) -> str:
    return clean(record.provenance.project)
