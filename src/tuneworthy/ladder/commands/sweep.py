"""`decode sweep` over a project: the search space, the objective, and the stored result.

The objective of a case is its mean score, plus a tenth of the agreement of its repeats, plus a tenth of their share of
valid answers, over 1.2: of two settings with the same score the steadier wins. A failed answer says nothing about a
setting: it is excluded from all of these and counted.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from tuneworthy.decoding.presets import accepted
from tuneworthy.engine.runner import usage
from tuneworthy.errors import UserError
from tuneworthy.ladder.own_models import config_of
from tuneworthy.ladder.rungs.decoding import prompt_key, settings_for, store_sweep, with_setting
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.variant_lookup import describe
from tuneworthy.providers.capabilities import takes_temperature
from tuneworthy.search.racing import DevScores
from tuneworthy.search.sweep import WIDTH, Sweep, SweepPlan, space, sweep
from tuneworthy.types import Cases, JsonMapping, JsonObject, Score, Traces, Variant, frozen

# Of consistency, and of validity, against 1 of the score.
WEIGHT = 0.1


@frozen
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


@frozen
class SweepReport:
    base: Variant
    found: Sweep
    before: ObjectiveParts | None
    after: ObjectiveParts | None
    cost_usd: float

    def to_dict(self) -> JsonObject:
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
        capabilities = session.models[base.model].capabilities
        if capabilities is None or not (takes_temperature(capabilities) or capabilities.efforts):
            raise UserError(
                (
                    f"{base.model} supports neither sampling parameters nor reasoning effort, so there is nothing to "
                    "sweep."
                ),
                hint="Choose a variant that uses a different model.",
            )
        self.session, self.base, self.repeats, self.capabilities = session, base, repeats, capabilities
        self.provider = config_of(session.project, base.model).provider
        self.parts: dict[tuple[str, int], ObjectiveParts] = {}

    async def run(self, calls: int) -> SweepReport:
        """Sweep within so many calls.

        Raises:
            UserError: As `search.sweep`.
            Undecided: As `search.sweep`.
            BudgetSpent: The next call could exceed the budget; run again to go on.
        """
        session = self.session
        suggest = space(self.provider, self.capabilities, long_answers=session.task.kind == "free_text")
        first = [one for one in settings_for(session.project, session.task, self.base.model, self.capabilities) if one]
        plan = SweepPlan(
            calls=calls,
            repeats=self.repeats,
            seed=session.project.split.seed,
            # all levels of effort meet in one race
            width=WIDTH if takes_temperature(self.capabilities) else len(self.capabilities.efforts),
            first=first,
        )
        found = await sweep(self.base, self._make, suggest, session.split.dev, measure=self._measure, plan=plan)
        before, after = (
            self.parts.get((one.id, found.n_confirm)) if found.paired else None for one in (self.base, found.winner)
        )
        report = SweepReport(
            base=self.base, found=found, before=before, after=after, cost_usd=session.runner.spending.usd
        )
        store_sweep(session.folder, self.base, report.to_dict())
        return report

    def _make(self, setting: JsonMapping) -> Variant:
        kept, _ = accepted(self.capabilities, setting)
        return with_setting(self.base, kept, self.capabilities)

    async def _measure(self, variant: Variant, cases: Cases) -> DevScores:
        traces = await self.session.ask(variant, cases, repeats=self.repeats)
        num, den, scores = await self.session.score(traces, cases)
        steady, valid = steadiness(scores, self.repeats), validity(traces, scores, self.repeats)
        scored = ~np.isnan(num)
        if scored.any():
            self.parts[variant.id, len(cases)] = ObjectiveParts(
                score=float(num[scored].sum() / max(den[scored].sum(), 1e-12)),
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


def steadiness(scores: Sequence[Score], repeats: int) -> np.ndarray:
    """Return for each case 1 less the mean difference of the scores of two of its repeats, `(n_cases,)`.

    Pairs with a failed answer are excluded; NaN where no pair remains.
    """
    values = _values(scores, repeats)
    n = (~np.isnan(values)).sum(axis=1)
    apart = np.nansum(np.abs(values[:, :, None] - values[:, None, :]), axis=(1, 2))
    return np.asarray(1.0 - np.divide(apart, n * (n - 1), out=np.full(len(values), np.nan), where=n >= 2))


def validity(traces: Traces, scores: Sequence[Score], repeats: int) -> np.ndarray:
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
    return np.array([np.nan if one.value is None else one.value for one in scores], dtype=float).reshape(-1, repeats)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
