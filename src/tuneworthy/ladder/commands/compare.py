"""Two variants, paired, on dev or (as a test comparison) on test: for people, and as a gate in CI."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Literal

import numpy as np

from tuneworthy.engine.runner import usage
from tuneworthy.errors import Undecided
from tuneworthy.graders.dev_answers import DevCase, dev_cases, shortener
from tuneworthy.graders.judging import ScoredAnswers
from tuneworthy.ladder.comparisons import take_comparison
from tuneworthy.ladder.measurement import compare_scored, repeats_of
from tuneworthy.ladder.session import Session, shown_run
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.search.sweep import ADD_CASES
from tuneworthy.stats.paired import PairedResult, p_value
from tuneworthy.text import Shown, Summary, count, plural
from tuneworthy.types import MOST_UNSCORED, Cases, TextTuple, Variant, frozen

# One-sided, as all comparisons; on dev it agrees with the 95 % interval.
DEV_ALPHA = 0.025
FEWEST = 8


# How B gets further: it was measured on test, is in the project file, can be written into it, or cannot.
Step = Literal["decide", "run", "write", "test"]


class ComparisonOutcome(StrEnum):
    """How B did against A; `SAME`: they are one variant, so nothing was called."""

    SAME = "same"
    BETTER = "better"
    NO_WORSE = "no_worse"
    WORSE = "worse"
    UNRESOLVED = "unresolved"


@frozen
class ChangedCase:
    """A dev case that B scores otherwise than A; texts are short, and personal data is masked."""

    case: DevCase
    a: str
    b: str


@frozen
class VariantComparison(Shown):
    """The comparison of variant B with variant A.

    Attributes:
        on: `dev` or `test`.
        answer: How B did.
        margin: Of the project file.
        prompts: Characters of A's prompt and of B's.
        variants: A and B.
        paired: The numbers; None if A is B.
        lower: One-sided lower bound of the difference.
        unscored: Cases that one of the two has no score for.
        losses, gains: Ids of the cases on which B scores below, or above, A; on dev only.
        usd_per_1k: Price of a thousand answers of A and of B; None if unknown.
        changed: These cases with both answers.
        unvalidated: Why the scores may not decide (a judge that human verdicts do not correct).
        step: How B gets further.
    """

    a: str
    b: str
    a_id: str
    b_id: str
    on: str
    answer: ComparisonOutcome
    margin: float
    prompts: tuple[int, int] = (0, 0)
    variants: tuple[Variant, Variant] | None = None
    paired: PairedResult | None = None
    lower: float | None = None
    unscored: int = 0
    cost_usd: float = 0.0
    losses: TextTuple = ()
    gains: TextTuple = ()
    usd_per_1k: tuple[float | None, float | None] = (None, None)
    changed: Sequence[ChangedCase] = ()
    unvalidated: str = ""
    step: Step = "write"

    def summary(self) -> Summary:
        line, one = f"{self.b} against {self.a} on {self.on}: {self.answer.replace('_', ' ')}", self.paired
        if one:
            ends = f"[{100 * one.ci[0]:+.1f}, {100 * one.ci[1]:+.1f}]"
            line += f", {100 * one.delta:+.1f} points {ends}, {p_value(one.p_value)}, n = {one.n}"
        return [line, f"{self.unscored} without both scores" if self.unscored else "", self.unvalidated], []

    @property
    def passes(self) -> bool | None:
        return {ComparisonOutcome.WORSE: False, ComparisonOutcome.UNRESOLVED: None}.get(self.answer, True)


async def compare_variants(session: Session, a: Variant, b: Variant, *, on_test: bool = False) -> VariantComparison:
    """Compare B with A by the primary grader.

    B is better, or worse, by a one-sided test each at alpha; no worse if it is non-inferior by the margin at 5 %; else
    unresolved, as it is where more than 2% of the cases lack a score of either. On test each case is answered as often
    as in a run.

    Args:
        session: The opened project.
        a, b: Variants.
        on_test: Compare on test, which spends alpha, instead of dev.

    Raises:
        UserError: Too little alpha is left for a test comparison.
        Undecided: Too few cases have a score of both.
    """
    margin, on = session.project.task.margin, "test" if on_test else "dev"
    result = VariantComparison(
        a=a.name,
        b=b.name,
        a_id=a.id,
        b_id=b.id,
        on=on,
        answer=ComparisonOutcome.SAME,
        margin=margin,
        variants=(a, b),
        prompts=(len(f"{a.system or ''}{a.user}"), len(f"{b.system or ''}{b.user}")),
        step=_step(session, b),
    )
    if a.id == b.id:
        return result
    cases = session.split.test if on_test else session.split.dev
    if len(cases) < FEWEST:
        raise Undecided(
            (
                f"There {plural(len(cases), 'is', 'are')} {len(cases)} {on} {plural(len(cases), 'case', 'cases')}, "
                f"but a comparison needs at least {FEWEST}."
            ),
            hint=ADD_CASES if on_test else "Add cases, or pass --test to compare on the test set.",
        )
    alpha = take_comparison(session, "compare", a, b) if on_test else DEV_ALPHA
    sides = [await _answers(session, one, cases, repeats_of(session.project, one) if on_test else 1) for one in (a, b)]
    before, after = (side.scores for side in sides)
    both = ~np.isnan(before + after)
    if both.sum() < FEWEST:
        raise Undecided(
            (
                f"Only {count(int(both.sum()), 'case has', 'cases have')} a score for both variants, but a comparison "
                f"needs at least {FEWEST}."
            ),
            hint="Find out why the other answers could not be scored, or add cases.",
        )
    all_traces = [*sides[0].traces, *sides[1].traces]
    if session.judging:
        await session.judging.learn(cases, all_traces)
    paired, bound, unvalidated = compare_scored(session, cases, sides[0], sides[1], alpha)
    unscored = int((~both).sum())
    barred = bool(unvalidated) or unscored > MOST_UNSCORED * len(cases)
    ids, shown = np.array([case.id for case in cases]), not on_test
    return replace(
        result,
        answer=ComparisonOutcome.UNRESOLVED if barred else outcome_of(paired, bound.holds),
        paired=paired,
        lower=bound.lower,
        unscored=unscored,
        cost_usd=sum(trace.cost_usd for trace in all_traces),
        losses=tuple(ids[shown & (after < before)].tolist()),
        gains=tuple(ids[shown & (after > before)].tolist()),
        usd_per_1k=(usage(sides[0].traces).usd_per_1k, usage(sides[1].traces).usd_per_1k),
        changed=[] if on_test else _changed(cases, *sides),
        unvalidated=unvalidated,
    )


def _step(session: Session, variant: Variant) -> Step:
    last = shown_run(session.project)
    tested = [row.variant for row in last.rungs if row.score is not None] if last else []
    if variant.id in tested or variant.id == current(session).id:
        return "decide" if variant.id in tested else "run"
    return "test" if variant.shots or variant.retrieval or variant.tools or variant.cascade else "write"


def _changed(cases: Cases, a: ScoredAnswers, b: ScoredAnswers) -> list[ChangedCase]:
    short, differ = shortener(), np.abs(a.scores - b.scores) > 0  # False where one has no score
    return [
        ChangedCase(case=case, a=short(one.text), b=short(two.text))
        for case, one, two, is_changed in zip(dev_cases(cases), a.traces, b.traces, differ, strict=True)
        if is_changed
    ]


async def _answers(session: Session, variant: Variant, cases: Cases, repeats: int) -> ScoredAnswers:
    traces = await session.ask(variant, cases, repeats=repeats)
    num, den, _ = await session.score(traces, cases)
    return ScoredAnswers(traces=traces, num=num, den=den)


def outcome_of(paired: PairedResult, no_worse: bool) -> ComparisonOutcome:
    """Return how B did, from the tests of either side and whether it is non-inferior."""
    if paired.better:
        return ComparisonOutcome.BETTER
    if no_worse:
        return ComparisonOutcome.NO_WORSE
    return ComparisonOutcome.WORSE if paired.worse else ComparisonOutcome.UNRESOLVED
