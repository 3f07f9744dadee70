"""Rung `baseline`: prompt, model and sampling parameters as they are today."""

from tuneworthy.config.project import Project
from tuneworthy.engine.models import Models
from tuneworthy.ladder.rung import Proposal, Rung, View, rung
from tuneworthy.types import Variant


@rung("baseline")
class BaselineRung(Rung):
    """The project's own prompt and parameters on the baseline model, nothing else set."""

    async def propose(self, view: View) -> Proposal:
        return Proposal(candidates=[baseline_variant(view.project, view.models)])


def baseline_variant(project: Project, models: Models) -> Variant:
    name = project.ladder.baseline
    return project.variant(f"baseline/{name}", name, models[name].provider.identity)
