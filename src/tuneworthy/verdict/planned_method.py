"""The method of training that `plan` names: that of the last verdict; full training where LoRA fell short on test."""

from tuneworthy.config.project import Project
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import find_artifact
from tuneworthy.train.gpus import GIB
from tuneworthy.train.plan import Planned, advised
from tuneworthy.types import positional
from tuneworthy.verdict.answer import load_verdict
from tuneworthy.verdict.base import Method
from tuneworthy.verdict.training_method import METHODS


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
