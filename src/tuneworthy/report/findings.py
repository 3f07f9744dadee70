"""Findings of a run in plain words: the answer, the target, and the warnings.

Invariant: every sentence is computed from the record; two scores are said to differ only where they were compared
paired.
"""

from datetime import date

from tuneworthy.config import Project
from tuneworthy.ladder.record import RungRecord, RunRecord, target_of
from tuneworthy.providers.prices import price_for, table_date
from tuneworthy.report.names import in_sentence
from tuneworthy.report.tables import injection_warning
from tuneworthy.report.text import clean, percent, percent_range
from tuneworthy.stats.intervals import Target, target_bounds

# Graders whose score is the share of cases that are answered correctly.
RIGHT_OR_WRONG = frozenset(
    {"exact", "normalised_exact", "includes", "regex", "numeric", "squad_em", "choice", "tool_call"}
)
# Notes of the record at the head, at most; all are with the splits.
NOTES = 5
RETIRES_DAYS = 90
# Share of the most frequent label from which the report warns.
MAJORITY = 0.8
PRICES_DAYS = 90


def best_of(record: RunRecord) -> RungRecord | None:
    """Return the rung with the best variant, the classical baseline included."""
    rung = record.rung(record.best.rung) if record.best else None
    return rung if rung and measured(rung) else None


def measured(rung: RungRecord) -> bool:
    """Return whether at least one test case could be scored."""
    return rung.score is not None and rung.ci95 is not None


def target_sentence(record: RunRecord) -> str:
    """Say whether the best variant meets the target, and why; "" where not all that should be was compared."""
    best, target = best_of(record), record.target
    if record.quick or record.partial or target is None or best is None or best.score is None or not best.n_effective:
        return ""
    options = 1 if best.rung == "fine_tune" else record.options
    lower, upper = target_bounds(best.score, best.n_effective, options=options, additions=record.split.additions)
    bound = f"one-sided 95% bound{f', corrected for {options} options' if options > 1 else ''}"
    status, met = status_of(record, best), f"the target of {target:.1%} is met"
    score = percent(best.score)
    if best.has_holes:
        return (
            f"It is unresolved whether {met}. {best.unscored} of {best.n} test cases could not be scored, and the "
            f"score of {score} excludes them."
        )
    if _judge_open(record):
        return f"It is open whether {met}: the judge is not validated, so its scores decide nothing."
    if status == "met":
        return (
            f"T{met[1:]}: the score of {score} reaches it, and the lower limit of {lower:.1%} ({bound}) "
            f"is above {target - record.margin:.1%}, the target minus the margin."
        )
    if status == "missed":
        return (
            f"The target of {target:.1%} is missed: the score is {score}, and even its upper limit of "
            f"{upper:.1%} (one-sided 95% bound) is below the target."
        )
    return (
        f"It is unresolved whether {met}: the score is {score}, but with {best.n} test cases the true score may "
        f"lie anywhere in {percent_range((lower, upper))} ({bound}). More test cases would narrow "
        "this range."
    )


def _judge_open(record: RunRecord) -> bool:
    """Return whether a judge graded that is not validated."""
    return any(rung.reason_code == "judge" for rung in record.rungs)


def status_of(record: RunRecord, best: RungRecord) -> Target:
    """Say whether a measured rung meets the target, by the rule of the verdict."""
    if record.target is None or _judge_open(record):
        return "unresolved"
    return target_of(
        best,
        record.target,
        record.margin,
        options=record.options,
        additions=record.split.additions,
        groups=record.split.effective_groups,
        critical={},
        to_beat=best.beats_majority is False,
    )


def answer(record: RunRecord) -> str:
    """Return the answer in one sentence; the answer of a run that stopped early, or is outdated, says so."""
    if record.partial:
        return (
            f"The run is incomplete ({clean(record.partial).rstrip('.')}), so this answer is preliminary. "
            f"{_answer(record)}"
        )
    if record.stale:
        return (
            f"These results are out of date: {clean('; '.join(record.stale))}. "
            f"{record.accept or 'Run `tuneworthy run` again.'} The last answer was: {_answer(record)}"
        )
    return _answer(record)


def _answer(record: RunRecord) -> str:
    best, baseline = best_of(record), record.rung("baseline")
    if record.quick:
        candidates = [rung.candidates[0] for rung in record.rungs if rung.candidates]
        if not candidates:
            return "The quick run measured no variant on dev, so it gives no answer."
        first = max(candidates, key=lambda candidate: candidate.score)
        return (
            f"This quick run on {record.n_dev} dev cases gives no verdict. The best variant is {clean(first.name)} "
            f"with {first.score:.1%} (95% interval {percent_range(first.ci95)}, n = {first.n})."
        )
    if best is None or best.score is None:
        broken = [f"{clean(r.name)}: {clean(r.violated)}" for r in record.rungs if measured(r) and r.violated]
        if broken:
            return f"No variant compared on the test set meets the constraints ({'; '.join(broken)})."
        return "No test case could be scored, so there is no answer yet."
    share = percent(best.score)
    scores = (
        f"agrees with {clean(record.agreement)} on {share} of the test cases"
        if record.agreement
        else f"answers {share} of the test cases correctly"
        if record.primary in RIGHT_OR_WRONG
        else f"scores {share} on the test set ({clean(record.primary)})"
    )
    if best.rung == "baseline":
        return f"Today's setup ({clean(best.name)}) {scores}. No other option was adopted."
    barred = f" but violates a constraint ({clean(baseline.violated)})" if baseline and baseline.violated else ""
    today = (
        f"; today's setup ({clean(baseline.name)}) reaches {baseline.score:.1%}{barred}"
        if baseline and baseline.score is not None and measured(baseline)
        else ""
    )
    name = in_sentence(clean(best.name))
    return f"{name[0].upper()}{name[1:]} {scores}{today}."


def warnings(record: RunRecord, project: Project | None = None, today: date | None = None) -> list[str]:
    """Return the warnings before any use of the numbers."""
    lines = (
        ["This was a quick run on dev cases only. It did not use the test set and gives no verdict."]
        if record.quick
        else []
    )
    lines += [f"The run is unfinished: {clean(record.partial).rstrip('.')}. More results may follow."] * bool(
        record.partial
    )
    if record.agreement:
        lines.append(f"Nobody has labelled the cases: scores are the agreement with {record.agreement}, not accuracy.")
    lines += [majority_sentence(record)] if record.balance and record.balance.share >= MAJORITY else []
    lines += [constant_sentence(rung) for rung in record.rungs if rung.constant and rung.score is not None]
    lines += [
        f"{clean(rung.name)}: {rung.unscored} of {rung.n} test cases could not be scored."
        for rung in record.rungs
        if rung.has_holes
    ]
    if not record.quick and not record.explored:
        lines.append(
            "Too few dev cases to compare candidates: each rung measured one predefined candidate on the test set."
        )
    lines += filter(None, [injection_warning(record)])
    lines += [clean(note[:1].upper() + note[1:]) for note in record.notes[:NOTES]]
    return [*lines, *(_of_project(record, project, today or date.today()) if project else [])]


def constant_sentence(rung: RungRecord) -> str:
    return f"{clean(rung.name)} gives every case the same answer."


def majority_sentence(record: RunRecord) -> str:
    """Say how frequent the most frequent label is, and what always answering it scores."""
    balance = record.balance
    if balance is None:
        return ""
    return (
        f"The majority class `{clean(balance.label)}` makes up {balance.share:.1%} of {balance.n}"
        f" dev cases. Always predicting it scores {balance.score:.1%} on the test set."
    )


def _of_project(record: RunRecord, project: Project, today: date) -> list[str]:
    models = {variant.model for variant in record.variants.values()}
    used = {name: (model, price_for(model)) for name, model in project.models.items() if name in models}
    lines = [
        (
            f"The provider {'retired' if price.retires < today else 'will retire'} the model {clean(name)} "
            f"({clean(getattr(model, 'model', ''))}) on {price.retires}."
        )
        for name, (model, price) in used.items()
        if price and price.retires and price.retires_within(RETIRES_DAYS, today)
    ]
    priced = any(price and price.source == "table" and not price.free for _, price in used.values())
    if priced and (today - table_date()).days > PRICES_DAYS:
        lines.append(f"The price table dates from {table_date()}. Check the prices before you decide on cost.")
    return lines
