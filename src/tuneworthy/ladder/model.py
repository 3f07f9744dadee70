"""Rung `model`: every other eligible model of the project, with the best prompt so far."""

from __future__ import annotations

from dataclasses import replace

from tuneworthy.ladder.base import Proposal, View, rung


@rung("model")
class Model:
    """Each configured model that is not the best one's; a model that is only there to judge is none."""

    def propose(self, view: View) -> Proposal:
        """Return one candidate for each other model that the constraints allow."""
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
        candidates = [
            replace(
                best,
                name=f"model/{name}",
                model=name,
                model_identity=view.models[name].provider.identity,
                decoding={},
                notes=(*best.notes, f"model {name}"),
            )
            for name in eligible
        ]
        return Proposal(candidates=candidates, not_eligible=reasons)
