"""Rung `tools`: the model may call the project's tools before it answers.

A model whose API takes tools gets them there. Any other model that answers a prompt gets them described in the prompt,
and calls one by a JSON object.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tuneworthy.engine.toolbox import Toolbox
from tuneworthy.ladder.rung import Proposal, Rung, View, rung
from tuneworthy.ladder.rung_details import ToolsDetail
from tuneworthy.providers.base import Provider
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import OutputFormat, Trace, Variant

# Tokens of an answer that calls need in addition.
CALL_TOKENS = 256


@rung("tools")
class ToolsRung(Rung):
    """The best variant so far with all tools of the project."""

    async def propose(self, view: View) -> Proposal:
        best, toolbox = view.incumbent, view.toolbox
        if toolbox is None or not view.project.tools:
            return Proposal(skipped="the project has no tools", skip_code="no_tools")
        if view.dev and all(case.replays_tools for case in view.dev):
            return Proposal(
                skipped="tools were recorded with all cases, and a replay runs no tool", skip_code="recorded_tools"
            )
        if view.project.models[best.model].own_pipeline:
            return Proposal(
                skipped=f"{best.model} is your own pipeline, which has its own tools", skip_code="own_pipeline"
            )
        return Proposal(candidates=[with_tools(best, toolbox, view.models[best.model].provider)])

    async def examine(self, view: View, tried: Sequence[Variant], winner: Variant) -> ToolsDetail:
        session, dev, pair = view.session, view.dev, (view.incumbent, winner)
        a, b = [one.num / one.den for one in [await session.measure(variant, dev) for variant in pair]]
        traces = await session.ask(winner, dev)
        calls, used = [call for one in traces for call in one.calls], used_tools(traces)
        failed, right = (a < 1) & ~np.isnan(b), (b >= (1 + a) / 2) & [one.id in used for one in dev]
        n, fixed = int(failed.sum()), int((failed & right).sum())
        return ToolsDetail(
            n=int((~np.isnan(a + b)).sum()),
            failed=n,
            fixed=fixed,
            fixed_ci95=clopper_pearson(fixed, n) if n else None,
            calls=dict(Counter(call["function"]["name"] for call in calls).most_common()),
            errors=sum(call["failed"] for call in calls),
        )


def used_tools(traces: Sequence[Trace]) -> set[str]:
    """Return the ids of cases with a tool call that did not fail; without one, tools did not fix the case."""
    return {one.case_id for one in traces if not all(call["failed"] for call in one.calls)}


def with_tools(variant: Variant, toolbox: Toolbox, provider: Provider) -> Variant:
    """Return a variant with tools; labels that were ranked are generated, since a ranking calls no tool.

    Raises:
        UserError: A tool cannot be used.
    """
    use = replace(toolbox.read[0], native="tools" in provider.supports)
    return replace(
        variant,
        name=f"tools/{'api' if use.native else 'prompt'}-{use.max_steps}",
        tools=use,
        output=OutputFormat() if variant.output.kind == "ranked" else variant.output,
        max_tokens=variant.max_tokens + CALL_TOKENS,
        notes=(*variant.notes, f"{len(use.schemas)} tools, at most {use.max_steps} requests"),
    )
