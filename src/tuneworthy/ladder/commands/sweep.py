"""`decode sweep` over a project: the search space, the objective, and the stored result.

The objective of a case is its mean score, plus a tenth of the agreement of its repeats, plus a tenth of their share of
valid answers, over 1.2: of two settings with the same score the steadier wins. The model's noise at temperature 0 is
measured separately and reported as a component of the variance. A failed answer says nothing about a setting: it is
excluded from all of these and counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuneworthy.errors import UserError
from tuneworthy.evaluate.runner import usage
from tuneworthy.ladder.rungs.decoding import accepted, prompt_key, provider_of, settings_for, store_sweep, with_setting
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.variant_lookup import describe
from tuneworthy.providers.capabilities import Capabilities, takes_temperature
from tuneworthy.search.racing import DevScores
from tuneworthy.search.space import space
from tuneworthy.search.sweep import WIDTH, Sweep, SweepPlan, halves, sweep
from tuneworthy.types import Case, Score, Trace, Variant

# Of consistency, and of validity, against 1 of the score.
WEIGHT = 0.1
GREEDY_REPEATS, GREEDY_CASES = 5, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveParts:
    """The parts of a variant's objective, on the cases outside the search.

    Attributes:
        score: Mean over the cases.
        consistency: Mean agreement of repeats.
        validity: Mean share of valid repeats.
        n: Cases.
        failed: Answers that failed, which are excluded.
    """

    score: float
    consistency: float
    validity: float
    n: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """How a model varies at temperature 0.

    Attributes:
        rate: Share of cases whose answers are not all the same.
        cases: Cases with at least two answers.
        repeats: Answers requested for each case.
        failed: Answers that failed, which are excluded.
        variance: Variance of the score within a case.
        share: Its share of the whole variance of a single answer's score.
    """

    rate: float
    cases: int
    repeats: int
    failed: int
    variance: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """The result of `decode sweep`; `flips` is None where the model cannot be greedy."""

    base: Variant
    found: Sweep
    before: ObjectiveParts | None
    after: ObjectiveParts | None
    flips: Flips | None
    cost_usd: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        found = self.found
        return {
            "base": {"variant": self.base.id, "name": self.base.name, "prompt": prompt_key(self.base)},
            "tried": len(found.tried),
            "settings": [asdict(one) for one in found.tried],
            "winner": {"setting": dict(found.setting), "variant": describe(found.winner)},
            "adopted": found.adopted,
            "paired": asdict(found.paired) if found.paired else None,
            "before": asdict(self.before) if self.before else None,
            "after": asdict(self.after) if self.after else None,
            "flips_at_0": asdict(self.flips) if self.flips else None,
            "calls": found.calls,
            "budget": found.budget,
            "n_search": found.n_search,
            "n_confirm": found.n_confirm,
            "stopped": found.stopped,
            "cost_usd": self.cost_usd,
        }  # fmt: skip


class DecodingSweep:
    """One sweep of one variant.

    Args:
        session: The opened project.
        base: Today's variant.
        repeats: Answers to each case, at least 2: consistency needs them.
    """

    def __init__(self, session: Session, base: Variant, repeats: int = 2) -> None:
        if repeats < 2:
            raise UserError(f"Measuring consistency needs at least 2 repeats, not {repeats}.")
        provider = session.models[base.model].provider
        capabilities = getattr(provider, "capabilities", None)
        if not isinstance(capabilities, Capabilities) or not (takes_temperature(capabilities) or capabilities.efforts):
            raise UserError(
                (
                    f"{base.model} supports neither sampling parameters nor reasoning effort, so there is nothing to "
                    "sweep."
                ),
                hint="Choose a variant that uses a different model.",
            )
        self.session, self.base, self.repeats, self.capabilities = session, base, repeats, capabilities
        self.provider = provider_of(session.project, base.model)
        self.parts: dict[tuple[str, int], ObjectiveParts] = {}

    async def run(self, calls: int) -> SweepReport:
        """Sweep within so many calls.

        Raises:
            UserError: As `search.sweep`.
            Undecided: As `search.sweep`.
            BudgetSpent: The next call could exceed the budget; run again to go on.
        """
        session = self.session
        seed = session.project.split.seed
        suggest = space(self.provider, self.capabilities, long_answers=session.task.kind == "free_text")
        first = [one for one in settings_for(session.project, session.task, self.base.model, self.capabilities) if one]
        greedy = takes_temperature(self.capabilities)
        aside = GREEDY_REPEATS * GREEDY_CASES if greedy else 0
        width = WIDTH if greedy else len(self.capabilities.efforts)  # all levels meet in one race
        plan = SweepPlan(calls=calls, repeats=self.repeats, seed=seed, width=width, aside=aside, first=first)
        found = await sweep(self.base, self._make, suggest, session.split.dev, measure=self._measure, plan=plan)
        flips = None
        if greedy:
            search, _ = halves(session.split.dev, seed)
            cases = search[:GREEDY_CASES]
            traces = await session.ask(self._make({"temperature": 0.0}), cases, repeats=GREEDY_REPEATS)
            _, _, scores = await session.score(traces, cases)
            flips = flips_of(traces, scores, GREEDY_REPEATS)
        cost = session.runner.spending.usd
        parts = [
            self.parts.get((one.id, found.n_confirm)) if found.paired else None for one in (self.base, found.winner)
        ]
        report = SweepReport(base=self.base, found=found, before=parts[0], after=parts[1], flips=flips, cost_usd=cost)
        store_sweep(session.folder, self.base, report.to_dict())
        return report

    def _make(self, setting: Mapping[str, Any]) -> Variant:
        kept, _ = accepted(self.capabilities, setting)
        return with_setting(self.base, kept, self.capabilities)

    async def _measure(self, variant: Variant, cases: Sequence[Case]) -> DevScores:
        traces = await self.session.ask(variant, cases, repeats=self.repeats)
        num, den, scores = await self.session.score(traces, cases)
        steady, valid = steadiness(scores, self.repeats), validity(traces, scores, self.repeats)
        scored = ~np.isnan(num)
        if scored.any():
            level = float(num[scored].sum() / max(den[scored].sum(), 1e-12))
            self.parts[variant.id, len(cases)] = ObjectiveParts(
                score=level,
                consistency=_mean(steady),
                validity=_mean(valid),
                n=len(cases),
                failed=sum(one.value is None for one in scores),
            )
        return DevScores(
            num=num + WEIGHT * den * (np.nan_to_num(steady) + valid),
            den=den * (1 + WEIGHT * (1 + ~np.isnan(steady))),
            cost_usd=sum(trace.cost_usd for trace in traces),
            weight=usage(traces).weight,
        )


def flips_of(traces: Sequence[Trace], scores: Sequence[Score], repeats: int) -> Flips:
    """Return how often answers change, and how much of the variance of a score that is.

    Failed answers are excluded, and so are cases with fewer than two other answers.
    """
    values = _values(scores, repeats)
    texts = np.array([trace.text for trace in traces], dtype=object).reshape(values.shape)
    scored = ~np.isnan(values)
    n = scored.sum(axis=1)
    repeated = n >= 2
    changed = [len(set(row[mask])) > 1 for row, mask in zip(texts[repeated], scored[repeated], strict=True)]
    within, between = _variances(values[repeated], n[repeated])
    total = within + between
    return Flips(
        rate=float(np.mean(changed)) if changed else 0.0,
        cases=len(changed),
        repeats=repeats,
        failed=int((~scored).sum()),
        variance=within,
        share=within / total if total else 0.0,
    )


def _variances(values: np.ndarray, n: np.ndarray) -> tuple[float, float]:
    """Return the variance within a case and between cases of scores, `(n_cases, repeats)`; `n` are known."""
    if not len(values):
        return 0.0, 0.0
    within = float(np.nanvar(values, axis=1, ddof=1).mean())
    if len(values) < 2:
        return within, 0.0
    return within, max(0.0, float(np.nanmean(values, axis=1).var(ddof=1)) - within * float((1 / n).mean()))


def steadiness(scores: Sequence[Score], repeats: int) -> np.ndarray:
    """Return for each case 1 less the mean difference of the scores of two of its repeats, `(n_cases,)`.

    Pairs with a failed answer are excluded; NaN where no pair remains.
    """
    values = _values(scores, repeats)
    n = (~np.isnan(values)).sum(axis=1)
    apart = np.nansum(np.abs(values[:, :, None] - values[:, None, :]), axis=(1, 2))
    return np.asarray(1.0 - np.divide(apart, n * (n - 1), out=np.full(len(values), np.nan), where=n >= 2))


def validity(traces: Sequence[Trace], scores: Sequence[Score], repeats: int) -> np.ndarray:
    """Return for each case the share of repeats that are readable and were not cut off, `(n_cases,)`.

    Failed answers are excluded; NaN where there is no other.
    """
    there = ~np.isnan(_values(scores, repeats))
    good = np.array(
        [
            score.reason != "format" and trace.response is not None and trace.response.finish_reason != "length"
            for trace, score in zip(traces, scores, strict=True)
        ]
    ).reshape(there.shape)
    n = there.sum(axis=1)
    return np.asarray(np.divide((good & there).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0))


def _values(scores: Sequence[Score], repeats: int) -> np.ndarray:
    """Return the scores, `(n_cases, repeats)`; NaN where the answer failed."""
    return np.array([np.nan if one.value is None else one.value for one in scores], dtype=float).reshape(-1, repeats)


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if all are."""
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if len(finite) else float("nan")
