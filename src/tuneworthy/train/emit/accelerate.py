"""For several GPUs: a config of `accelerate` beside the TRL script, and the list of arguments that starts it."""

from dataclasses import replace
from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.train.emit import trl
from tuneworthy.train.emit.base import EmitPlan, Emitted

LEAST: Final = 2


def config(plan: EmitPlan) -> dict[str, Any]:
    """Return the config: each GPU holds the whole model and takes its share of a step's rows."""
    return {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "mixed_precision": {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}[plan.settings.dtype],
        "num_machines": 1,
        "machine_rank": 0,
        "num_processes": plan.n_devices,
        "use_cpu": False,
    }


def emit(plan: EmitPlan) -> Emitted:
    """Write the script and the config, for two GPUs unless the plan names more.

    Raises:
        UserError: A step's rows cannot be shared out.
    """
    import yaml

    plan = _shared(replace(plan, n_devices=max(LEAST, plan.n_devices)))
    script = trl.emit(plan)
    files = {**script.files, "accelerate.yaml": yaml.safe_dump(config(plan), sort_keys=False)}
    return Emitted(files, ("accelerate", "launch", "--config_file", "accelerate.yaml", "train_trl.py"), script.notes)


def _shared(plan: EmitPlan) -> EmitPlan:
    """Return the plan with fewer rows at once where that is needed for all GPUs to have their share of a step."""
    chosen, n = plan.settings, plan.n_devices
    share, rest = divmod(chosen.batch_size, n)
    if rest:
        raise UserError(
            f"{n} GPUs cannot split a batch of {chosen.batch_size} rows evenly.",
            hint=f"Set [train] batch_size to a multiple of {n}.",
        )
    most = max(size for size in range(1, min(chosen.micro_batch_size, share) + 1) if share % size == 0)
    return replace(plan, settings=replace(chosen, micro_batch_size=most))
