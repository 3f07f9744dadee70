"""Whether `plan` offers full fine-tuning: only where LoRA was measured on test and fell short."""

from tuneworthy.config.project import Project
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import find_artifact
from tuneworthy.train.gpus import GIB
from tuneworthy.train.plan import Planned, advised


def full_offer(project: Project, planned: Planned, gpu_gib: float | None = None) -> str:
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
