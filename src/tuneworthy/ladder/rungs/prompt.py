"""Rung `prompt`: rewrites of the system prompt.

The rewrites are deterministic (structure, role, contract, half, chain of thought). For a choice task the labels are
ranked too, where the model can do that. Where the project file asks for them there are two more: one by GEPA, and one
without the paragraphs that earn nothing.
"""

from collections import Counter
from dataclasses import replace

from tuneworthy.ladder.rung import Proposal, Rung, SearchResult, View, rung
from tuneworthy.ladder.rung_details import AblationDetail, GepaDetail, PromptDetail
from tuneworthy.ladder.rungs.prompt_search import (
    cut_prompt,
    optimise_prompt,
    searched_cases,
    why_not_ablated,
    why_not_optimised,
)
from tuneworthy.ladder.rungs.ranked_labels import can_rank, ranked_variants, with_prior
from tuneworthy.prompts.transforms import TRANSFORMS, applicable
from tuneworthy.search.ablate import may_go
from tuneworthy.search.optimise import MINIBATCH
from tuneworthy.types import Variant


@rung("prompt")
class PromptRung(Rung):
    """Single rewrites, and structure and contract together; then results of searches."""

    async def propose(self, view: View) -> Proposal:
        """Return the rewrites that apply to the prompt so far."""
        best, task = view.incumbent, view.task
        candidates = []
        for name in applicable(best, task.kind):
            if "contract" in name and not task.closed:
                continue  # it would forbid the labels that are not known
            candidates.append(
                replace(
                    TRANSFORMS[name](best, task.kind, task.labels, task.schema),
                    name=f"prompt/{name}",
                    notes=(*best.notes, name),
                )
            )
        candidates += ranked_variants(view)
        ablated, optimised, _ = _wanted(view)
        corrected = view.searched and can_rank(view)
        section, half = view.project.reflection, view.n_dev // 2
        calls = Counter({best.model: (1 + len(may_go(best.system or ""))) * half} if ablated else {})
        if optimised and section:
            calls += Counter({best.model: half + section.calls})
            calls += Counter({section.model: section.calls // MINIBATCH})
        return Proposal(
            candidates=[c for c in candidates if c.id != best.id],
            more_candidates=ablated + optimised + corrected,
            more_calls=calls,
        )

    async def search(self, view: View) -> SearchResult:
        """Return what GEPA found, and the prompt without the paragraphs that earn nothing."""
        session = view.session
        ablated, optimised, notes = _wanted(view)
        variants: list[Variant] = []
        ablation: AblationDetail | None = None
        gepa: GepaDetail | None = None
        if ablated:
            variant, ablation = await cut_prompt(session, view.incumbent, view.dev)
            variants.append(variant)
        if optimised:
            variant, gepa, note = await optimise_prompt(view)
            variants.append(variant)
            notes += [note] if note else []
        variants = [variant for variant in variants if variant.id != view.incumbent.id]
        made_from = frozenset(case.id for case in searched_cases(view.dev)) if variants else frozenset[str]()
        if view.searched and can_rank(view) and (corrected := await with_prior(view)):
            variants.append(corrected)
        return SearchResult(
            candidates=variants,
            made_from=made_from,
            detail=PromptDetail(ablation=ablation, gepa=gepa) if ablation or gepa else None,
            notes=notes,
        )


def _wanted(view: View) -> tuple[bool, bool, list[str]]:
    """Return whether the prompt is ablated, whether it is optimised, and what bars either although it is asked for."""
    best, project = view.incumbent, view.project
    bars = (
        why_not_ablated(project, best.model, best.system, view.dev, searched=view.searched),
        why_not_optimised(project, best.model, view.dev, searched=view.searched),
    )
    ablated, optimised = project.prompt.ablate and not bars[0], project.reflection is not None and not bars[1]
    return ablated, optimised, [bar for bar in bars if bar]
