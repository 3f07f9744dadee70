"""Which training fits, where the answer is to train. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.types import Example
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import Method, TrainingAdvice, TrainingReason
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.outcome import Ruling

# Share of right samples between which a model can learn from its own answers.
LEARNABLE: Final = (0.1, 0.7)
# Pairs or rated answers from which there is something to prefer, and the keys of a row or turn that rate an answer.
FEWEST_PREFERENCES: Final = 50
RATINGS: Final = ("rating", "feedback", "score", "thumbs")


def advice_of(evidence: Evidence, ruling: Ruling, reasons: Sequence[TrainingReason]) -> TrainingAdvice:
    """Return the method with why it fits and what that rests on."""
    method, rate = method_of(evidence, ruling), evidence.pass_rate
    why = messages.METHOD_REASONS[method].format(n=FEWEST_PREFERENCES, share=0.0 if rate is None else rate)
    return TrainingAdvice(method=method, why=why, source=messages.METHOD_SOURCES[method], reasons=reasons)


def method_of(evidence: Evidence, ruling: Ruling) -> Method:
    """Return the method: distil from what meets the target; else pairs, then a grader, then labelled examples.

    Without enough examples a grader may teach instead (`rl`), if 10 to 70% of the samples on dev pass and the grader
    says right or wrong: overlap with a reference text does not. For a label task a classifier is tuned where the
    classical baseline is as good as any language model that was measured.
    """
    if ruling.code in {"cost", "constraint"}:
        return "distil"
    if evidence.preferences:
        return "preference"
    rate = evidence.pass_rate
    checked = evidence.judge.valid if evidence.judge else evidence.kind != "free_text"
    if (
        (evidence.only_dev or not evidence.has_examples)
        and checked
        and rate is not None
        and LEARNABLE[0] <= rate <= LEARNABLE[1]
    ):
        return "rl"
    if evidence.kind == "label" and evidence.best == "classical":
        return "classifier"
    return "sft"


def has_preferences(examples: Iterable[Example]) -> bool:
    """Return whether enough rows hold a rejected answer beside theirs, or a rating, and the ratings differ."""
    pairs, ratings = 0, []
    for example in examples:
        pairs += bool(rejected_answer(example))
        places = (example.meta, example.messages[-1])
        ratings += [str(place[key]) for place in places for key in RATINGS if place.get(key) is not None][:1]
    return pairs >= FEWEST_PREFERENCES or (len(ratings) >= FEWEST_PREFERENCES and len(set(ratings)) > 1)
