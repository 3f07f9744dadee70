"""Training method for a verdict to train: SFT, preference, continued, RL, distillation or classifier. Pure."""

from collections.abc import Iterable, Sequence

from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.errors import join_sentences
from tuneworthy.types import Example, positional
from tuneworthy.verdict.base import Method, TrainingAdvice, TrainingReason
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.outcome import Ruling

# Share of right samples between which a model can learn from its own answers.
LEARNABLE = (0.1, 0.7)
# Pairs or rated answers from which there is something to prefer, and the keys of a row or turn that rate an answer.
FEWEST_PREFERENCES = 50
RATINGS = ("rating", "feedback", "score", "thumbs")


@positional
class TrainingMethod:
    """Why a method of training fits, the source of that, and the next step for it."""

    why: str
    source: str
    step: str


METHODS = {
    "sft": TrainingMethod(
        "Training on labelled examples is the default, and nothing measured speaks for another method.",
        "https://arxiv.org/abs/2405.00732",
        "Run `tuneworthy train`.",
    ),
    "preference": TrainingMethod(
        f"At least {FEWEST_PREFERENCES} rows have a worse answer beside their own, or ratings that differ, so the "
        "model can learn which answer is better.",
        "https://arxiv.org/abs/2305.18290",
        'Set [train] method to "preference" and run `tuneworthy train`.',
    ),
    "continued": TrainingMethod(
        "The same rows score better after raw text of the documents.",
        "https://arxiv.org/abs/2004.10964",
        'Set [train] method to "continued" and run `tuneworthy train`.',
    ),
    "rl": TrainingMethod(
        "There are few labelled examples, {share:.1%} of the answers sampled on dev pass, and a grader says right or "
        "wrong. So the grader can reward answers that the model draws. Import questions that it can grade.",
        "https://arxiv.org/abs/2503.14476",
        "Run `tuneworthy plan --emit trl`, and use TRL's GRPOTrainer with the first grader as the reward.",
    ),
    "distil": TrainingMethod(
        "An option meets the target, so a smaller model is trained on its answers.",
        "https://arxiv.org/abs/2305.02301",
        "Run `tuneworthy data distill`, then `tuneworthy data build` and `tuneworthy train`.",
    ),
    "classifier": TrainingMethod(
        "The answers are labels, and the classical baseline is as good as any language model measured.",
        "https://arxiv.org/abs/2406.08660",
        'Set [train] method to "classifier" and run `tuneworthy train`.',
    ),
}


def advice_of(evidence: Evidence, ruling: Ruling, reasons: Sequence[TrainingReason]) -> TrainingAdvice:
    method = method_of(evidence, ruling)
    fits, share, pilot = METHODS[method], evidence.pass_rate or 0.0, evidence.training.pilot
    compared = pilot.continued.detail if pilot and evidence.documents and method in {"sft", "continued"} else ""
    why = join_sentences(fits.why.format(share=share), compared)
    return TrainingAdvice(method=method, why=why, source=fits.source, reasons=reasons)


def method_of(evidence: Evidence, ruling: Ruling) -> Method:
    """Return the method: distil from what meets the target; else pairs, then a grader, then labelled examples.

    Without enough examples a grader may teach instead (`rl`), if 10 to 70% of the samples on dev pass and the grader
    says right or wrong: overlap with a reference text does not. For a label task a classifier is tuned where the
    classical baseline is as good as any language model that was measured. Raw text comes first (`continued`) only where
    a pilot shows that it helps.
    """
    if ruling.code in {"cost", "constraint"}:
        return "distil"
    if evidence.preferences:
        return "preference"
    rate = evidence.pass_rate
    if (
        (evidence.only_dev or not evidence.has_examples)
        and (evidence.judge.valid if evidence.judge else evidence.kind != "free_text")
        and rate is not None
        and LEARNABLE[0] <= rate <= LEARNABLE[1]
    ):
        return "rl"
    pilot = evidence.training.pilot
    rows: Method = "continued" if pilot and pilot.continued.helps else "sft"
    return "classifier" if evidence.kind == "label" and evidence.best == "classical" else rows


def has_preferences(examples: Iterable[Example]) -> bool:
    """Return whether enough rows have a rejected answer next to theirs, or a rating, and the ratings differ."""
    pairs, ratings = 0, []
    for example in examples:
        pairs += bool(rejected_answer(example))
        ratings += [
            str(place[key])
            for place in (example.meta, example.messages[-1])
            for key in RATINGS
            if place.get(key) is not None
        ][:1]
    return pairs >= FEWEST_PREFERENCES or (len(ratings) >= FEWEST_PREFERENCES and len(set(ratings)) > 1)
