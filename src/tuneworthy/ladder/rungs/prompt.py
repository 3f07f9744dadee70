"""Rung `prompt`: rewrites of the prompt, deterministic ones (structure, role, contract, half, thinking aloud) and,
where the project file asks for them, one by GEPA and one without the paragraphs that earn nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tuneworthy.ladder.rung import Proposal, View, rung
from tuneworthy.ladder.rung_details import PromptDetail
from tuneworthy.ladder.rungs.prompt_search import (
    cut_prompt,
    optimise_prompt,
    searched_cases,
    why_not_ablated,
    why_not_optimised,
)
from tuneworthy.ladder.session import Session
from tuneworthy.prompts.transforms import TRANSFORMS, applicable
from tuneworthy.search.ablate import may_go
from tuneworthy.search.optimise import ASK, MINIBATCH
from tuneworthy.types import Case, Variant


@rung("prompt")
class Prompt:
    """Each rewrite alone, and structure and contract together; then what is found by asking."""

    def __init__(self) -> None:
        self.detail = PromptDetail()

    async def propose(self, view: View) -> Proposal:
        """Return the rewrites that apply to the prompt so far."""
        best, task = view.best, view.task
        assert best is not None
        candidates = []
        for name in applicable(best, task.kind):
            if "contract" in name and not task.closed:
                continue  # it would forbid the labels that are not known
            made = TRANSFORMS[name](best, task.kind, task.labels, task.schema)
            candidates.append(replace(made, name=f"prompt/{name}", notes=(*best.notes, name)))
        return Proposal(candidates=[c for c in candidates if c.id != best.id])

    async def search(self, session: Session, view: View) -> list[Variant]:
        """Return what GEPA found, and the prompt without what earns nothing; what cannot be done is noted."""
        assert view.best is not None
        ablated, optimised = _wanted(view)
        found = []
        if ablated:
            variant, ablation = await cut_prompt(session, view.best, view.dev)
            self.detail = replace(self.detail, ablation=ablation)
            found.append(variant)
        if optimised:
            variant, gepa = await optimise_prompt(session, view)
            self.detail = replace(self.detail, gepa=gepa)
            found.append(variant)
        found = [variant for variant in found if variant.id != view.best.id]
        if found:
            view.made_from.update(case.id for case in searched_cases(view.dev))
        return found

    def expected(self, view: View) -> list[tuple[Variant, int]]:
        """Return the calls of both: today's prompt on the searched half, and all that GEPA may take beside it."""
        assert view.best is not None
        ablated, optimised = _wanted(view, quiet=True)
        calls = []
        if ablated:
            calls.append((view.best, (1 + len(may_go(view.best.system or ""))) * (view.n_dev // 2) + view.n_dev // 3))
        section = view.project.reflection
        if optimised and section is not None:
            rewrites = section.calls // (2 * MINIBATCH + 1)
            asked = f"{ASK}\n{view.best.system or ''}"
            writer = replace(view.best, model=section.model, system=asked, max_tokens=section.max_tokens)
            today = 0 if ablated else view.n_dev // 2
            calls += [(view.best, today + section.calls - rewrites + view.n_dev // 3), (writer, rewrites)]
        return calls

    async def examine(self, session: Session, winner: Variant, dev: Sequence[Case]) -> PromptDetail:
        """Return what was tried beside the fixed rewrites, and what came of it."""
        return self.detail

    def examined(self, view: View, winner: Variant, dev: Sequence[Case], raced: int) -> list[tuple[Variant, int]]:
        """Return nothing: the search has asked it all."""
        return []


def _wanted(view: View, *, quiet: bool = False) -> tuple[bool, bool]:
    """Say whether the prompt is ablated, and whether it is optimised; why not is noted."""
    best, project = view.best, view.project
    assert best is not None
    bars = (
        why_not_ablated(project, best.model, best.system, view.dev, searched=view.searched),
        why_not_optimised(project, best.model, view.dev, searched=view.searched),
    )
    if not quiet:
        view.notes.extend(filter(None, bars))
    return project.prompt.ablate and not bars[0], project.reflection is not None and not bars[1]
