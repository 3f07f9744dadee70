"""Rung `decoding`: sampling parameters, or effort where the model takes none; a first small grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tuneworthy.ladder.base import Proposal, View, rung
from tuneworthy.providers.capabilities import Capabilities, filter_parameters

GRID: tuple[dict[str, Any], ...] = (
    {"temperature": 0.0},
    {"temperature": 0.3, "top_p": 1.0},
    {"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.1},
)
"""Greedy first: it is the preregistered candidate. min_p needs top_k off where the engine has a default
(facts.md C1)."""


@rung("decoding")
class Decoding:
    """The grid of the project file, or a small one; a setting that the model rejects is never a candidate.

    Constrained output that is decoded greedily is left as it is unless the project file names a grid.
    """

    def propose(self, view: View) -> Proposal:
        """Return the settings that this model accepts, each as a variant."""
        best = view.best
        assert best is not None
        capabilities = getattr(view.models[best.model].provider, "capabilities", None)
        if capabilities is None:
            return Proposal(skipped=f"{best.model} takes no sampling parameters", skip_code="no_parameters")
        if not view.project.decoding.grid and best.output.kind != "free" and best.decoding.get("temperature") == 0:
            words = "the answer is constrained and greedy: sampling could only add noise; name settings in [decoding]"
            return Proposal(skipped=words, skip_code="constrained")
        grid = view.project.decoding.grid or _default_grid(capabilities)
        candidates = []
        for setting in grid:
            kept, dropped = _accepted(capabilities, setting)
            if dropped:
                view.notes.append(f"{best.model} does not accept {', '.join(dropped)}")
            if kept and kept != dict(best.decoding):
                label = ",".join(
                    f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in kept.items()
                )
                candidates.append(replace(best, name=f"decoding/{label}", decoding=kept, notes=(*best.notes, label)))
        unique = list({candidate.id: candidate for candidate in candidates}.values())
        if not unique:
            return Proposal(skipped=f"{best.model} accepts none of the settings", skip_code="no_parameters")
        return Proposal(candidates=unique)


def _default_grid(capabilities: Capabilities) -> Sequence[Mapping[str, Any]]:
    if "temperature" in capabilities.parameters or not capabilities.efforts:
        return GRID
    return [{"effort": value} for value in capabilities.efforts]


def _accepted(capabilities: Capabilities, setting: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Split a setting into what the model accepts and, in words, what it does not."""
    _, dropped = filter_parameters(capabilities, setting)
    names = {words.partition(":")[0] for words in dropped}
    return {name: value for name, value in setting.items() if name not in names}, dropped
