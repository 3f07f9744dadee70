"""Rung `model`: every other eligible model of the project, at each of its efforts, with the best prompt so far."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from tuneworthy.config.models import QUANTISED
from tuneworthy.config.project import Project
from tuneworthy.config.serving import keeps_p95
from tuneworthy.decoding.presets import accepted
from tuneworthy.engine.runner import usage
from tuneworthy.errors import TuneworthyError
from tuneworthy.ladder import messages
from tuneworthy.ladder.measurement import describe_on_dev, latency_of
from tuneworthy.ladder.rung import Proposal, Rung, View, rung
from tuneworthy.ladder.rung_details import ModelDetail, ModelResult
from tuneworthy.providers.base import Provider
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.providers.models import file_type_of, pull
from tuneworthy.providers.prices import price_for
from tuneworthy.search.racing import Race
from tuneworthy.text import count
from tuneworthy.types import Cases, JsonObject, OutputFormat, Texts, TextTuple, Variant

RETIRES_DAYS = 90
# The record of a hosted model that may not serve and may teach.
TEACHER = "teacher"


@rung("model")
class ModelRung(Rung):
    """Each configured model that is not the best one's; a model that only judges is left out."""

    async def propose(self, view: View) -> Proposal:
        best, project = view.incumbent, view.project
        others = [name for name in project.untuned if name != best.model]
        forbidden = [name for name in others if not project.may_serve(name)]
        eligible = [name for name in others if name not in forbidden]
        reasons = [messages.say("hosted_forbidden", model=name) for name in forbidden]
        notes = [
            f"{name} is used only as a judge; to try it as a candidate, add it to [models] under a second name"
            for name in project.models
            if name in project.judging
        ] + _stored_small(project)
        if not eligible:
            why, code = "the project file defines no other candidate model", "no_other_model"
            if forbidden:
                why, code = "no other model in the project file can run on the device", "constraint"
            return Proposal(skipped=why, skip_code=code, ineligible=reasons, notes=notes)
        notes += filter(None, (retirement(project, name) for name in eligible))
        candidates: list[Variant] = []
        for name in eligible:
            if why := _unopened(view, name):
                reasons.append(why)
                continue
            variants, dropped = _variants(view, best, name)
            candidates += variants
            notes += [messages.say("not_accepted", model=name, what=", ".join(dropped))] if dropped else []
        if not candidates:
            return Proposal(skipped="; ".join(reasons), skip_code="unavailable", notes=notes)
        candidates, slow = await _fast(view, candidates)
        return Proposal(candidates=candidates, ineligible=[*reasons, *slow], notes=notes)

    async def combine(self, view: View, raced: Race, dev: Cases) -> tuple[Race, Texts]:
        """Prefer a quantised form that may meet the target to a winner that breaks the latency limit.

        The winner answers all of dev for its comparison: here already, so that a repeated run shows the same table.
        """
        if not view.searched:
            return raced, ()
        project, winner, target = view.project, raced.winner, view.project.task.target or 0.0
        rivals = [
            one.variant
            for one in raced.entries
            if project.constraints.p95_ms and winner.model not in project.forms
            if one.variant.model in project.forms and one.ci[1] >= target
            if await _keeps_limit(view, one.variant) is not False
        ]
        is_slow = bool(rivals) and await _keeps_limit(view, winner) is False
        chosen = rivals[0] if is_slow else winner
        await view.session.ask(chosen, dev)
        return replace(raced, winner=chosen), [f"{winner.name}: it exceeds constraints.p95_ms"] if is_slow else []

    async def examine(self, view: View, tried: Sequence[Variant], winner: Variant) -> ModelDetail:
        """Set score, cost and time of all models side by side, on their dev cases, and mark the Pareto front.

        A model that left the race early has seen fewer cases, and is not on the front.
        """
        rows = [
            row for row in [await _on_dev(view, variant) for variant in (view.incumbent, *tried)] if row is not None
        ]
        whole = [row for row in rows if row.n == max(one.n for one in rows)]
        front = [row for row in whole if not any(_dominates(other, row) for other in whole)]
        return ModelDetail(models=[replace(row, pareto=row in front) for row in rows])


def _unopened(view: View, name: str) -> str:
    """Write a quantised form that is not there yet; return why it cannot be used, "" if it can."""
    if name in view.project.forms and view.opened:
        try:
            pull(view.project.models[name].local_file or "", view.project.root)
            view.models[name]
        except (TuneworthyError, OSError) as error:  # a missing package, or a full disk
            return f"{name}: {error}"
    return ""


def _stored_small(project: Project) -> list[str]:
    return [
        f"{name} is stored as {kind}: this file contains no better form, and a smaller one loses more"
        for name in project.answering
        if project.needs_small and name not in project.forms and f"{name}:{QUANTISED[-1]}" not in project.models
        if (kind := file_type_of(project.models[name].local_file or "", project.root))
    ]


async def _fast(view: View, candidates: list[Variant]) -> tuple[list[Variant], list[str]]:
    """Drop quantised forms that break the latency limit, where the best variant so far may and another form does not.

    Another model races untimed: a slow one may still teach. Where nothing races, only one candidate is compared, so
    that one that is shown to break the limit is dropped as well.
    """
    limit, forms = view.project.constraints.p95_ms, [one for one in candidates if one.model in view.project.forms]
    if not limit or not forms or not view.measured or await _keeps_limit(view, view.incumbent):
        return candidates, []
    keeps = {one.id: await _keeps_limit(view, one) for one in (forms if view.searched else candidates)}
    best = max((keeps[one.id] for one in forms), key=(False, None, True).index)
    slow = [
        one for one in candidates if (kept := keeps.get(one.id, best)) is not best and (one in forms or kept is False)
    ]
    return [one for one in candidates if one not in slow], [
        f"{one.name}: it may exceed constraints.p95_ms" for one in slow
    ]


async def _keeps_limit(view: View, variant: Variant) -> bool | None:
    limits, latency = view.project.constraints, await latency_of(view.session, variant, view.dev)
    return keeps_p95(limits, latency.quantile_ms(0.95), latency.interval_ms(0.95))


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
        output = replace(output, ranking="sum", prior=()) if "ranked" in provider.supports else OutputFormat()
    return replace(
        base,
        output=output,
        model=model,
        model_identity=provider.identity,
        tools=base.tools and replace(base.tools, native="tools" in provider.supports),
        by_tag={},
        decoding=accepted(capabilities, {**_sampling(base), **({"effort": effort} if effort else {})})[0],
        max_tokens=base.max_tokens + capabilities.thinking_tokens(effort),
    )


def teachers(view: View) -> list[Variant]:
    project = view.project
    return [
        replace(on_model(view.incumbent, name, view.models[name].provider), name=f"model/{name}")
        for name in project.answering
        if not project.may_serve(name) and name != project.ladder.baseline
    ]


def _sampling(variant: Variant) -> JsonObject:
    return {key: value for key, value in variant.decoding.items() if key != "effort"}


def _capabilities(provider: Provider) -> Capabilities:
    return getattr(provider, "capabilities", None) or Capabilities(family="none")


def _variants(view: View, best: Variant, name: str) -> tuple[list[Variant], TextTuple]:
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


async def _on_dev(view: View, variant: Variant) -> ModelResult | None:
    session, dev = view.session, view.dev
    traces = session.runner.stored(variant, dev)
    answered = {trace.case_id for trace in traces}
    if not traces:
        return None
    num, den, _ = await session.score(traces, [case for case in dev if case.id in answered])
    seconds, possible = [one.response.seconds for one in traces if one.response], float(den[~np.isnan(num)].sum())
    gain = (
        await describe_on_dev(session, view.incumbent, variant, dev[: len(traces)])
        if variant.model in session.project.forms
        else None
    )
    return ModelResult(
        name=variant.name,
        variant=variant.id,
        n=len(traces),
        score=float(np.nansum(num)) / possible if possible else None,
        usd_per_1k=usage(traces).usd_per_1k,
        p50_ms=1000 * float(np.median(seconds)) if seconds else None,
        retires=retirement(session.project, variant.model),
        pareto=False,
        memory_mib=session.memory_mib(variant.model),
        delta=gain.delta if gain else None,
        delta_ci=gain.ci if gain else None,
    )


def _dominates(one: ModelResult, other: ModelResult) -> bool:
    ours, theirs = _goods(one), _goods(other)
    return all(a >= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs


def _goods(row: ModelResult) -> list[float]:
    signed = ((row.score, 1), (row.usd_per_1k, -1), (row.p50_ms, -1))
    return [float("-inf") if value is None else sign * value for value, sign in signed]


def retirement(project: Project, name: str, today: date | None = None) -> str:
    now = today or date.today()
    price = price_for(project.models[name]) if name in project.models else None
    if price is None or price.retires is None or not price.retires_within(RETIRES_DAYS, now):
        return ""
    days = (price.retires - now).days
    return (
        f"the provider retired {name} on {price.retires}"
        if days < 0
        else f"the provider retires {name} on {price.retires} (in {count(days, 'day')})"
    )
