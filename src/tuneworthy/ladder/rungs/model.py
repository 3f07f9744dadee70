"""Rung `model`: every other eligible model of the project, at each of its efforts, with the best prompt so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from tuneworthy.config.project import Project
from tuneworthy.ladder import messages
from tuneworthy.ladder.rung import Proposal, Rung, View, rung
from tuneworthy.ladder.rung_details import ModelDetail, ModelResult
from tuneworthy.ladder.rungs.decoding import accepted
from tuneworthy.ladder.session import Session
from tuneworthy.messages import say
from tuneworthy.providers.base import Provider
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.providers.prices import price_for
from tuneworthy.text import count
from tuneworthy.types import Case, OutputFormat, Variant

RETIRES_DAYS = 90
# The record of a hosted model that may not serve and may teach.
TEACHER = "teacher"


@rung("model")
class ModelRung(Rung):
    """Each configured model that is not the best one's; a model that only judges is left out."""

    async def propose(self, view: View) -> Proposal:
        """Return the candidates of every other model that the constraints allow: one per effort, if it has efforts."""
        best, project = view.incumbent, view.project
        others = [name for name in project.untuned if name != best.model]
        forbidden = [name for name in others if not project.may_serve(name)]
        eligible = [name for name in others if name not in forbidden]
        reasons = [say("hosted_forbidden", model=name) for name in forbidden]
        notes = [
            f"{name} is used only as a judge; to try it as a candidate, add it to [models] under a second name"
            for name in project.models
            if name in project.judging
        ]
        if not eligible:
            why, code = "the project file defines no other candidate model", "no_other_model"
            if forbidden:
                why, code = "no other model in the project file can run on the device", "constraint"
            return Proposal(skipped=why, skip_code=code, ineligible=reasons, notes=notes)
        notes += filter(None, (retirement(project, name) for name in eligible))
        candidates: list[Variant] = []
        for name in eligible:
            variants, dropped = _variants(view, best, name)
            candidates += variants
            notes += [messages.say("not_accepted", model=name, what=", ".join(dropped))] if dropped else []
        return Proposal(candidates=candidates, ineligible=reasons, notes=notes)

    async def examine(self, view: View, tried: Sequence[Variant], winner: Variant) -> ModelDetail:
        """Set score, cost and time of all models side by side, on their dev cases, and mark the Pareto front.

        A model is held against those that saw as many cases at least, on the cases that both answered and scored.
        """
        session = view.session
        shown = [
            one
            for one in [await _on_dev(session, variant, view.dev) for variant in (view.incumbent, *tried)]
            if one.answered.any()
        ]
        rows = [
            ModelResult(
                name=one.variant.name,
                variant=one.variant.id,
                n=int(one.answered.sum()),
                **one.on(one.answered),
                retires=retirement(session.project, one.variant.model),
                pareto=not any(_dominates(other, one) for other in shown),
            )
            for one in shown
        ]
        return ModelDetail(models=rows)


@dataclass(frozen=True, slots=True)
class DevAnswers:
    """Stored dev answers of a variant as arrays, `(n_cases,)`: NaN where missing."""

    variant: Variant
    answered: np.ndarray
    num: np.ndarray
    den: np.ndarray
    usd: np.ndarray
    seconds: np.ndarray

    def on(self, cases: np.ndarray) -> dict[str, float | None]:
        """Return score, US dollars a thousand answers and median milliseconds on `cases`, `(n_cases,)` of bool."""
        scored, timed = cases & ~np.isnan(self.num), cases & ~np.isnan(self.seconds)
        total = float(self.den[scored].sum())
        return {
            "score": float(self.num[scored].sum()) / total if total else None,
            "usd_per_1k": 1000 * float(self.usd[timed].mean()) if timed.any() else None,
            "p50_ms": 1000 * float(np.median(self.seconds[timed])) if timed.any() else None,
        }


def on_model(base: Variant, model: str, provider: Provider, effort: str | None = None) -> Variant:
    """Return a variant on another model, with additional tokens for thinking.

    Sampling parameters are kept as far as the model accepts them.

    Args:
        base: The variant to move.
        model: Key of `[models]`.
        provider: Of the model.
        effort: The model's own if None.
    """
    capabilities = _capabilities(provider)
    output = base.output
    if output.kind == "ranked":  # the prior of a label differs by model
        ranks = output.kind in provider.supports
        output = replace(output, ranking="sum", prior=()) if ranks else OutputFormat()
    return replace(
        base,
        output=output,
        model=model,
        model_identity=provider.identity,
        decoding=accepted(capabilities, {**_sampling(base), **({"effort": effort} if effort else {})})[0],
        max_tokens=base.max_tokens + capabilities.thinking_tokens(effort),
    )


def teachers(view: View) -> list[Variant]:
    """Return the prompt so far on each model that may be called and may not serve; today's is measured already."""
    project = view.project
    return [
        replace(on_model(view.incumbent, name, view.models[name].provider), name=f"model/{name}")
        for name in project.answering
        if not project.may_serve(name) and name != project.ladder.baseline
    ]


def _sampling(variant: Variant) -> dict[str, Any]:
    """Return the parameters of a variant without its effort, which is another thing on each model."""
    return {key: value for key, value in variant.decoding.items() if key != "effort"}


def _capabilities(provider: Provider) -> Capabilities:
    return getattr(provider, "capabilities", None) or Capabilities(family="none")


def _variants(view: View, best: Variant, name: str) -> tuple[list[Variant], tuple[str, ...]]:
    """Return the model at its default effort and at each other one, and the parameters that it does not accept."""
    provider = view.models[name].provider
    capabilities = _capabilities(provider)
    variants = [
        replace(
            on_model(best, name, provider, effort),
            name=f"model/{name}" + (f",effort={effort}" if effort else ""),
            notes=(*best.notes, f"model {name}", *([f"effort {effort}"] if effort else [])),
        )
        for effort in (None, *(one for one in capabilities.efforts if one != capabilities.default_effort))
    ]
    return variants, accepted(capabilities, _sampling(best))[1]


async def _on_dev(session: Session, variant: Variant, dev: Sequence[Case]) -> DevAnswers:
    place = {case.id: number for number, case in enumerate(dev)}
    traces = session.runner.stored(variant, dev)
    at = [place[trace.case_id] for trace in traces]
    num, den, usd, seconds = np.full((4, len(dev)), np.nan)
    if traces:
        num[at], den[at], _ = await session.score(traces, [dev[number] for number in at])
    usd[at] = [trace.cost_usd for trace in traces]
    seconds[at] = [trace.response.seconds if trace.response else np.nan for trace in traces]
    return DevAnswers(variant, ~np.isnan(usd), num, den, usd, seconds)


def _dominates(one: DevAnswers, other: DevAnswers) -> bool:
    """Whether `one` is at least as good as `other` in score, cost and time where both were asked, and better in one.

    A candidate with fewer cases dominates no other: it left the race early.
    """
    if one.answered.sum() < other.answered.sum():
        return False
    both = ~np.isnan(one.num) & ~np.isnan(other.num)
    ours, theirs = _goods(one.on(both)), _goods(other.on(both))
    return all(a >= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs


def _goods(row: Mapping[str, float | None]) -> tuple[float, float, float]:
    """Return score, cost and time so that more is better; unknown is worst."""
    cost, time = row["usd_per_1k"], row["p50_ms"]
    worst = float("-inf")
    return (
        row["score"] if row["score"] is not None else worst,
        -cost if cost is not None else worst,
        -time if time is not None else worst,
    )


def retirement(project: Project, name: str, today: date | None = None) -> str:
    """Say that a model is switched off within 90 days; "" if it is not."""
    now = today or date.today()
    price = price_for(project.models[name]) if name in project.models else None
    if price is None or price.retires is None or not price.retires_within(RETIRES_DAYS, now):
        return ""
    days = (price.retires - now).days
    if days < 0:
        return f"the provider retired {name} on {price.retires}"
    return f"the provider retires {name} on {price.retires} (in {count(days, 'day')})"
