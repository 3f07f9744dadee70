"""Rung `few_shot`: fixed shots, shots chosen per case, and structured output."""

from dataclasses import replace
from functools import partial

from tuneworthy.ladder.rung import Proposal, Rung, View, rung
from tuneworthy.providers.capabilities import takes_temperature
from tuneworthy.types import OutputFormat, Shots, Variant


@rung("few_shot")
class FewShotRung(Rung):
    """k shots, fixed or nearest; free for every k, structured (and greedy) for the largest."""

    async def propose(self, view: View) -> Proposal:
        """Return the candidates; the first (nearest shots, largest k, free) is the preregistered one.

        Where shots may not be chosen for each case, fixed shots replace them.
        """
        best, pool = view.incumbent, view.pool
        per_case = view.project.few_shot.per_case
        chosen = pool.per_case if per_case else partial(pool.fixed, seed=view.seed)
        supported = view.task.structured.kind in view.models[best.model].provider.supports
        structured = view.task.structured if supported else OutputFormat()
        if not len(pool):
            if structured.kind == "free" or structured == best.output or best.output.kind == "ranked":
                return Proposal(skipped="the project has no examples for few-shot prompts", skip_code="no_examples")
            return Proposal(candidates=[_variant(_greedy(view, best), None, structured)])
        sizes = sorted({min(k, len(pool)) for k in view.project.few_shot.k}, reverse=True)
        free = OutputFormat()
        candidates = [_variant(best, chosen(k), free) for k in sizes]
        if per_case:
            candidates += [_variant(best, pool.fixed(k, view.seed), free) for k in sizes]
        if best.output.kind == "ranked":  # the prior of the labels differs after shots
            candidates.append(_variant(best, chosen(sizes[0]), replace(best.output, ranking="sum", prior=())))
        if structured.kind != "free":
            greedy = _greedy(view, best)
            candidates += [_variant(greedy, chosen(sizes[0]), structured), _variant(greedy, None, structured)]
        return Proposal(candidates=[c for c in candidates if c.id != best.id])


def _variant(best: Variant, shots: Shots | None, output: OutputFormat) -> Variant:
    parts = [f"{shots.mode}-{shots.k}"] if shots else []
    parts += [output.kind] if output.kind != "free" else []
    label = "+".join(parts)
    return replace(
        best,
        name=f"few_shot/{label}",
        shots=shots,
        output=output,
        answer_after=best.answer_after if output.kind == "free" else None,
        notes=(*best.notes, label),
    )


def _greedy(view: View, best: Variant) -> Variant:
    """Return `best` at temperature 0 where the model takes one: structured output has nothing to sample for."""
    capabilities = view.models[best.model].capabilities
    effort = best.decoding.get("effort")
    if capabilities is None or not takes_temperature(capabilities, effort=effort):
        return best
    return replace(best, by_tag={}, decoding={"temperature": 0.0} | ({"effort": effort} if effort else {}))
