"""Rung `model`: every other eligible model of the project, at each of its efforts, with the best prompt so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from tuneworthy.config.project import Project
from tuneworthy.evaluate.runner import usage
from tuneworthy.ladder.base import Proposal, View, rung
from tuneworthy.ladder.session import Session
from tuneworthy.providers.prices import price_for
from tuneworthy.types import Case, Trace, Variant

RETIRES_DAYS = 90


@rung("model")
class Model:
    """Each configured model that is not the best one's; a model that is only there to judge is none."""

    def __init__(self) -> None:
        self.tried: list[Variant] = []

    def propose(self, view: View) -> Proposal:
        """Return the candidates of each other model that the constraints allow: one for each effort, if it has any."""
        best, project = view.best, view.project
        assert best is not None
        others = [name for name in project.answering if name != best.model]
        forbidden = [name for name in others if project.constraints.on_device and project.models[name].hosted]
        eligible = [name for name in others if name not in forbidden]
        reasons = [f"{name}: hosted, and the task must run on the device" for name in forbidden]
        judges = [name for name in project.models if name not in project.answering]
        view.notes.extend(f"{name} only judges: give it a second name in [models] to try it as well" for name in judges)
        if not eligible:
            why = "no other model may run on the device" if forbidden else "the project file names no other model"
            code = "constraint" if forbidden else "no_other_model"
            return Proposal(skipped=why, skip_code=code, not_eligible=reasons)
        view.notes.extend(filter(None, (retirement(project, name) for name in eligible)))
        candidates = [variant for name in eligible for variant in _variants(view, best, name)]
        self.tried = [best, *candidates]
        return Proposal(candidates=candidates, not_eligible=reasons)

    async def examine(self, session: Session, winner: Variant, dev: Sequence[Case]) -> dict[str, Any]:
        """Set score, cost and time of all models side by side, on what each saw of dev, and mark the Pareto front."""
        rows = []
        for variant in self.tried:
            traces = session.runner.stored(variant, dev)
            if traces:
                rows.append(await _row(session, variant, traces, dev))
        for row in rows:
            row["pareto"] = not any(_dominates(other, row) for other in rows)
        return {"models": rows}


def _variants(view: View, best: Variant, name: str) -> list[Variant]:
    """Return the model as it comes, and at each effort but the one that it has by itself."""
    provider = view.models[name].provider
    capabilities = getattr(provider, "capabilities", None)
    efforts: list[str | None] = [None]
    if capabilities is not None:
        efforts += [effort for effort in capabilities.efforts if effort != capabilities.default_effort]
    return [
        replace(
            best,
            name=f"model/{name}" + (f",effort={effort}" if effort else ""),
            model=name,
            model_identity=provider.identity,
            decoding={"effort": effort} if effort else {},
            notes=(*best.notes, f"model {name}", *([f"effort {effort}"] if effort else [])),
        )
        for effort in efforts
    ]


async def _row(session: Session, variant: Variant, traces: Sequence[Trace], dev: Sequence[Case]) -> dict[str, Any]:
    """Return what the stored answers of a variant tell."""
    by_id = {case.id: case for case in dev}
    num, den, _ = await session.score(traces, [by_id[trace.case_id] for trace in traces])
    scored = ~np.isnan(num)
    total = float(den[scored].sum())
    seconds = [trace.response.seconds for trace in traces if trace.response]
    return {
        "name": variant.name,
        "variant": variant.id,
        "n": len(traces),
        "score": float(num[scored].sum()) / total if total else None,
        "usd_per_1k": usage(traces)["usd_per_1k"],
        "p50_ms": 1000 * float(np.quantile(seconds, 0.5)) if seconds else None,
        "retires": retirement(session.project, variant.model),
    }


def _dominates(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether `one` is at least as good in score, cost and time, and better in one of them."""
    left, right = _goods(one), _goods(other)
    return all(a >= b for a, b in zip(left, right, strict=True)) and left != right


def _goods(row: dict[str, Any]) -> tuple[float, float, float]:
    """Return score, cost and time so that more is better; what is not known is worst."""
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
        return f"{name} was switched off on {price.retires}"
    return f"{name} is switched off on {price.retires} (in {days} days)"
