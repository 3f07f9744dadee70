"""Rung `baseline`: prompt, model and sampling parameters as they are today."""

from __future__ import annotations

from tuneworthy.ladder.rung import Proposal, View, rung
from tuneworthy.types import Variant


@rung("baseline")
class Baseline:
    """The project's own prompt and parameters on the baseline model, nothing else set."""

    def propose(self, view: View) -> Proposal:
        """Return the one variant that the project file describes."""
        project = view.project
        name = project.ladder.baseline
        variant = Variant(
            name=f"baseline/{name}",
            model=name,
            model_identity=view.models[name].provider.identity,
            system=project.text(project.prompt.system),
            user=project.text(project.prompt.user) or "{{ input }}",
            decoding=dict(project.prompt.parameters),
            max_tokens=project.prompt.max_tokens,
            stop=tuple(project.prompt.stop),
        )
        return Proposal(candidates=[variant])
