"""Ranked labels: candidates of the rung `prompt` for choice tasks without generation.

The ways to compare labels share their calls: a model is asked once for the log-probabilities of a case, whatever is
made of them.
"""

from dataclasses import replace

from tuneworthy.evaluate.ranking import content_free
from tuneworthy.ladder.rung import View
from tuneworthy.types import OutputFormat, Ranking, Variant

# Each label is read behind each prompt: with more of them a ranking costs more than it is likely to bring.
MOST_LABELS = 100


def ranked_variants(view: View) -> list[Variant]:
    """Return today's prompt with its labels ranked: by the sum of their log-probabilities, and by its mean a byte."""
    return [_variant(view.incumbent, _output(view, way)) for way in ("sum", "per_byte")] if can_rank(view) else []


def can_rank(view: View) -> bool:
    """Whether the labels are to be ranked, are known and few enough, and the model of the best variant ranks them."""
    best, labels = view.incumbent, view.task.labels
    return (
        view.project.prompt.rank_labels
        and view.task.structured.kind == "choice"
        and len(labels) <= MOST_LABELS
        and best.answer_after is None
        and "ranked" in view.models[best.model].provider.supports
    )


async def with_prior(view: View) -> Variant | None:
    """Return the variant that subtracts the prior of each label; None without one.

    Raises:
        OutsideFault: The answer to that question did not come, and would be asked for again.
    """
    session = view.session
    raw = _variant(view.incumbent, replace(_output(view, "sum"), ranking=""))
    with session.all_answered():
        trace = (await session.ask(raw, [content_free(view.dev[0])]))[0]
    worth = trace.response.label_logprobs if trace.response else None
    if worth is None:
        return None
    return _variant(
        view.incumbent, replace(_output(view, "prior"), prior=tuple(worth[label] for label in view.task.labels))
    )


def _output(view: View, way: Ranking) -> OutputFormat:
    return OutputFormat(kind="ranked", choices=view.task.labels, ranking=way)


def _variant(best: Variant, output: OutputFormat) -> Variant:
    name = f"ranked_{output.ranking}"
    return replace(best, name=f"prompt/{name}", output=output, decoding={"temperature": 0.0}, notes=(*best.notes, name))
