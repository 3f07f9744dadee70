"""Rung `classical`: what methods without a language model score. A reference: no rung builds on it."""

from tuneworthy import classical
from tuneworthy.ladder import messages
from tuneworthy.ladder.own_models import EMBEDDING, PREFIX, add_classical_models
from tuneworthy.ladder.rung import Proposal, Rung, View, rung
from tuneworthy.retrieval.encoder import SPEC
from tuneworthy.types import Variant


@rung("classical")
class ClassicalRung(Rung):
    """All classical baselines for the kind of task; the strongest is preregistered where dev is too small."""

    async def propose(self, view: View) -> Proposal:
        providers = add_classical_models(view.models, view.task, view.pool, view.seed)
        if not providers:
            return Proposal(
                skipped="the project has no examples to train a classical baseline on", skip_code="no_examples"
            )
        user = view.project.text(view.project.prompt.user) or "{{ input }}"
        candidates = [
            Variant(
                name=f"classical/{name}",
                model=PREFIX + name,
                model_identity=provider.identity,
                system=None,
                user=user,
                max_tokens=1,
            )
            for name, provider in providers.items()
        ]
        missing = EMBEDDING & set(classical.candidates(view.task.kind)) - set(providers)
        return Proposal(candidates=candidates, notes=[messages.say("no_embedding", spec=SPEC)] if missing else [])
