"""Rung `prompt`: deterministic rewrites of the prompt (structure, role, contract, half, thinking aloud)."""

from __future__ import annotations

from dataclasses import replace

from tuneworthy.ladder.base import Proposal, View, rung
from tuneworthy.prompts.transforms import TRANSFORMS, applicable


@rung("prompt")
class Prompt:
    """Each rewrite alone, and structure and contract together."""

    def propose(self, view: View) -> Proposal:
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
