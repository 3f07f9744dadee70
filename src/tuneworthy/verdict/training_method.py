"""Training method for a verdict to train: SFT, preference, continued, RL, distillation or classifier.

`plan` names that of the last verdict, and full training where LoRA fell short on test.
"""

from collections.abc import Iterable, Sequence

from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.config.project import Project
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import find_artifact
from tuneworthy.train.gpus import GIB
from tuneworthy.train.plan import Planned, advised
from tuneworthy.types import Example, positional
from tuneworthy.verdict.answer import load_verdict
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


@positional
class PlannedMethod:
    """A method, or why no method is named.

    Attributes:
        method: None where no verdict advises to train.
        why: Why this method, or why there is no method.
        source: A document that can be opened; "" without a method.
        step: What to do for it.
    """

    method: Method | None
    why: str
    source: str = ""
    step: str = ""

    @property
    def sentence(self) -> str:
        """The whole for people; "" if there is nothing to say."""
        return (
            join_sentences(self.why, self.step)
            if self.method is None
            else f"Method: {self.method}. {self.why} {self.step} [{self.source}]"
        )


def planned_method(project: Project) -> PlannedMethod:
    """Return the method that the last verdict of a project advises; nothing is measured for it."""
    stored = load_verdict(project)
    if stored is None:
        return PlannedMethod(
            None,
            "No verdict has named a method yet, so the plan follows `[train] method`.",
            step=f"Run `tuneworthy {'decide' if read_record(Folder(project.root)) else 'run'}`.",
        )
    verdict, advice = stored.verdict, stored.verdict.training
    if advice.method is None:
        return PlannedMethod(
            None,
            "The last verdict does not advise training, so it names no method." if verdict.stage == "to_decide" else "",
        )
    return PlannedMethod(
        advice.method,
        join_sentences(
            advice.why,
            "" if stored.holds else f"The verdict is out of date ({stored.changed[0]}). Run `tuneworthy decide`.",
        ),
        advice.source,
        METHODS[advice.method].step,
    )


def full_offer(project: Project, planned: Planned, gpu_gib: float | None) -> str:
    """Return the sentence that offers full fine-tuning; "" where it is not offered.

    It is offered if an adapter on the base of this plan was compared on test, its score is below the target, and full
    fine-tuning fits into the memory.

    Args:
        project: The project.
        planned: Its plan.
        gpu_gib: Memory of the GPU that was planned for.
    """
    store, target = Folder(project.root), project.task.target
    record = read_record(store)
    rung = record.rung("fine_tune") if record else None
    adapter = find_artifact(store, rung.detail.adapter or "") if rung and isinstance(rung.detail, TunedDetail) else None
    base = find_artifact(store, adapter.parent) if adapter and adapter.parent else None
    if rung is None or rung.score is None or adapter is None or base is None or target is None or rung.score >= target:
        return ""
    method = adapter.about.method
    if "full" in {method, planned.advice.settings.method} or base.about.source.spec != planned.base:
        return ""
    train = project.train.model_copy(update={"method": "full", "learning_rate": None})
    memory = advised(project.model_copy(update={"train": train}), planned.shape, planned.rows, gpu_gib)[1].memory
    if memory.fit == "does not fit":
        return ""
    low, high = rung.ci95 or (rung.score, rung.score)
    return (f"Full fine-tuning is an option, because {method} scores {rung.score:.1%} [{low:.1%}, {high:.1%}] on test "
f"(n = {rung.n}), below the target of {target:.1%}. It needs up to {memory.estimate.high / GIB:.1f} GiB "
"and fits. Set [train] method to \"full\" and run `tuneworthy train`.")  # fmt: skip
