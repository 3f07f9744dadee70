"""Rung `few_shot`: fixed shots, shots chosen per case, structured output, and sets of shots that are searched for."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from tuneworthy.config.retrieval import LocalEncoder
from tuneworthy.ladder.rung import Proposal, View, rung
from tuneworthy.ladder.rungs.shot_sets import ASKED, shot_sets, why_no_sets
from tuneworthy.ladder.session import Session
from tuneworthy.providers.capabilities import takes_temperature
from tuneworthy.types import OutputFormat, Shots, Variant


@rung("few_shot")
class FewShot:
    """k shots, fixed or nearest; free for every k, structured (and greedy) for the largest."""

    async def propose(self, view: View) -> Proposal:
        """Return the candidates; the first (nearest shots, largest k, free) is the preregistered one."""
        best, pool = view.best, view.pool
        assert best is not None
        structured = view.task.structured if _can_constrain(view, view.task.structured) else OutputFormat()
        if not len(pool):
            if structured.kind == "free" or structured == best.output:
                return Proposal(skipped="the project has no examples to show", skip_code="no_examples")
            return Proposal(candidates=[_variant(_greedy(view, best), None, structured)])
        sizes = sorted({min(k, len(pool)) for k in view.project.few_shot.k}, reverse=True)
        free = _free(best)
        candidates = [_variant(best, pool.per_case(k), free) for k in sizes]
        if encoder := _encoder(view):
            candidates += [_variant(best, pool.per_case(k, encoder), free, "by_meaning") for k in sizes]
        candidates += [_variant(best, pool.fixed(k, view.seed), free) for k in sizes]
        if structured.kind != "free":
            greedy = _greedy(view, best)
            candidates += [_variant(greedy, pool.per_case(sizes[0]), structured), _variant(greedy, None, structured)]
        return Proposal(candidates=[c for c in candidates if c.id != best.id])

    async def search(self, session: Session, view: View) -> list[Variant]:
        """Return one candidate for each set of shots that `few_shot.sets` asks for; why there is none is noted."""
        assert view.best is not None
        if why := why_no_sets(view.project, len(view.pool), searched=view.searched):
            view.notes.append(why)
            return []
        if not view.project.few_shot.sets:
            return []
        sets = await shot_sets(session, view, view.best)
        return [_variant(view.best, shots, _free(view.best), name) for name, shots in sets]

    def expected(self, view: View) -> list[tuple[Variant, int]]:
        """Return the calls of the sets: the examples that are asked, and a third of dev for each set."""
        assert view.best is not None
        sets = view.project.few_shot.sets
        if not sets or why_no_sets(view.project, len(view.pool), searched=view.searched):
            return []
        k = max(view.project.few_shot.k)
        shown = _variant(view.best, view.pool.fixed(k, view.seed), _free(view.best))
        return [(view.best, min(ASKED * k, len(view.pool)) if sets > 1 else 0), (shown, sets * (view.n_dev // 3))]


def _encoder(view: View) -> str:
    """Return the encoder that shots are to be chosen by; "" (and a note, if it is asked for) if none can be."""
    if not view.project.few_shot.encoder:
        return ""
    config = view.project.retrieval.encoder
    if isinstance(config, LocalEncoder) and find_spec("torch") is not None:
        return config.model
    why = (
        "torch is not installed (pip install 'tuneworthy[semantic]')"
        if isinstance(config, LocalEncoder)
        else ("[retrieval] names no local encoder")
    )
    view.notes.append(f"no shots are chosen by meaning: {why}")
    return ""


def _free(best: Variant) -> OutputFormat:
    return replace(best.output, kind="free", choices=(), schema=None)


def _variant(best: Variant, shots: Shots | None, output: OutputFormat, name: str = "") -> Variant:
    parts = [f"{name or shots.mode}-{shots.k}"] if shots else []
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
    effort = best.decoding.get("effort")
    if capabilities is None or not takes_temperature(capabilities, effort=effort):
        return best
    return replace(best, decoding={"temperature": 0.0} | ({"effort": effort} if effort else {}))


def _can_constrain(view: View, output: OutputFormat) -> bool:
    """Whether the best model's provider can enforce `output`."""
    assert view.best is not None
    return output.kind in view.models[view.best.model].provider.supports
