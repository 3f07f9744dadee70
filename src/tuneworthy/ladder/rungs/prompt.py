"""Rung `prompt`: rewrites of the system prompt.

The rewrites are deterministic (structure, role, contract, half, chain of thought). For a choice task the labels are
ranked too, where the model can do that. Where the project file asks for it, GEPA makes one more.
"""

from collections import Counter
from dataclasses import replace

from tuneworthy.engine.ranking import content_free
from tuneworthy.ladder.rung import Proposal, Rung, SearchResult, View, rung
from tuneworthy.ladder.rung_details import GepaDetail, PromptDetail
from tuneworthy.ladder.rungs.prompt_search import optimise_prompt, searched_cases, why_not_optimised
from tuneworthy.prompts.transforms import TRANSFORMS, AnswerForm, applicable
from tuneworthy.search.optimise import MINIBATCH
from tuneworthy.types import OutputFormat, Ranking, Variant

# Each label is read behind each prompt: with more labels a ranking costs more than it is likely to bring.
MOST_LABELS = 100
# Ways to rank that need no further call.
RANKED: tuple[Ranking, ...] = ("sum", "per_byte")


@rung("prompt")
class PromptRung(Rung):
    """Single rewrites, and structure and contract together; then results of searches."""

    async def propose(self, view: View) -> Proposal:
        best, task = view.incumbent, view.task
        form = AnswerForm(task.kind, task.labels, task.schema)
        candidates = [
            replace(TRANSFORMS[name](best, form), name=f"prompt/{name}", notes=(*best.notes, name))
            for name in applicable(best, task.kind)
            if task.closed or "contract" not in name  # it would forbid the labels that are not known
        ]
        if can_rank(view):
            candidates += [_variant(best, _output(view, way)) for way in RANKED]
        corrected = view.searched and can_rank(view)
        optimised, _ = _optimises(view)
        section, calls = view.project.reflection, Counter[str]()
        if optimised and section:
            calls += Counter({best.model: view.n_dev // 2 + section.calls})
            calls += Counter({section.model: section.calls // MINIBATCH})
        return Proposal(
            candidates=[c for c in candidates if c.id != best.id],
            more_candidates=optimised + corrected,
            more_calls=calls,
        )

    async def search(self, view: View) -> SearchResult:
        optimised, why_not = _optimises(view)
        notes = [why_not] if why_not else []
        variants: list[Variant] = []
        gepa: GepaDetail | None = None
        if optimised:
            variant, gepa, note = await optimise_prompt(view)
            variants += [variant] if variant.id != view.incumbent.id else []
            notes += [note] if note else []
        made_from = frozenset(case.id for case in searched_cases(view.dev)) if variants else frozenset[str]()
        if view.searched and can_rank(view) and (corrected := await with_prior(view)):
            variants.append(corrected)
        return SearchResult(
            candidates=variants, made_from=made_from, detail=PromptDetail(gepa=gepa) if gepa else None, notes=notes
        )


def _optimises(view: View) -> tuple[bool, str]:
    """Return whether the prompt is optimised, and what bars that although the project file asks for it."""
    why_not = why_not_optimised(view.project, view.incumbent.model, view.dev, searched=view.searched)
    return view.project.reflection is not None and not why_not, why_not


# Ranked labels: the ways to compare labels share their calls, whatever is made of the log-probabilities.


def can_rank(view: View) -> bool:
    best, labels = view.incumbent, view.task.labels
    return (
        view.project.prompt.rank_labels
        and view.task.structured.kind == "choice"
        and len(labels) <= MOST_LABELS
        and best.answer_after is None
        and "ranked" in view.models[best.model].provider.supports
    )


async def with_prior(view: View) -> Variant | None:
    """Return the variant that subtracts each label's prior; None without one.

    Raises:
        OutsideFault: The answer to that question did not come, and would be asked for again.
    """
    session = view.session
    raw = _variant(view.incumbent, replace(_output(view, "sum"), ranking=""))
    with session.all_answered():
        trace = (await session.ask(raw, [content_free(view.dev[0])]))[0]
    worth = trace.response.label_logprobs if trace.response else None
    return (
        _variant(
            view.incumbent, replace(_output(view, "prior"), prior=tuple(worth[label] for label in view.task.labels))
        )
        if worth is not None
        else None
    )


def _output(view: View, way: Ranking) -> OutputFormat:
    return OutputFormat(kind="ranked", choices=view.task.labels, ranking=way)


def _variant(best: Variant, output: OutputFormat) -> Variant:
    name = f"ranked_{output.ranking}"
    return replace(best, name=f"prompt/{name}", output=output, decoding={"temperature": 0.0}, notes=(*best.notes, name))
