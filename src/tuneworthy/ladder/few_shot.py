"""Rung `few_shot`: fixed shots, shots chosen per case, and structured output."""

from __future__ import annotations

from dataclasses import replace

from tuneworthy.ladder.base import Proposal, View, rung
from tuneworthy.types import OutputFormat, Shots, Variant


@rung("few_shot")
class FewShot:
    """k shots, fixed or nearest; free for every k, structured (and greedy) for the largest."""

    def propose(self, view: View) -> Proposal:
        """Return the candidates; the first (nearest shots, largest k, free) is the preregistered one."""
        best, pool = view.best, view.pool
        assert best is not None
        structured = view.task.structured if _can_constrain(view, view.task.structured) else OutputFormat()
        if not len(pool):
            if structured.kind == "free" or structured == best.output:
                return Proposal(skipped="the project has no examples to show", skip_code="no_examples")
            return Proposal(candidates=[_variant(_greedy(view, best), None, structured)])
        sizes = sorted({min(k, len(pool)) for k in view.project.few_shot.k}, reverse=True)
        free = replace(best.output, kind="free", choices=(), schema=None)
        candidates = [_variant(best, pool.per_case(k), free) for k in sizes]
        candidates += [_variant(best, pool.fixed(k, view.seed), free) for k in sizes]
        if structured.kind != "free":
            greedy = _greedy(view, best)
            candidates += [_variant(greedy, pool.per_case(sizes[0]), structured), _variant(greedy, None, structured)]
        return Proposal(candidates=[c for c in candidates if c.id != best.id])


def _variant(best: Variant, shots: Shots | None, output: OutputFormat) -> Variant:
    parts = [f"{shots.mode}-{shots.k}"] if shots else []
    parts += [output.kind] if output.kind != "free" else []
    label = "+".join(parts)
    answer_after = best.answer_after if output.kind == "free" else None
    return replace(
        best,
        name=f"few_shot/{label}",
        shots=shots,
        output=output,
        answer_after=answer_after,
        notes=(*best.notes, label),
    )


def _greedy(view: View, best: Variant) -> Variant:
    """Return `best` at temperature 0 where the model takes one: structured output has nothing to sample for."""
    capabilities = getattr(view.models[best.model].provider, "capabilities", None)
    if capabilities is None or "temperature" not in capabilities.parameters:
        return best
    return replace(best, decoding={"temperature": 0.0})


def _can_constrain(view: View, output: OutputFormat) -> bool:
    """Whether the best model's provider can enforce `output`."""
    assert view.best is not None
    return output.kind in view.models[view.best.model].provider.supports
