"""For several cards: a config of `accelerate` beside the TRL script, and the list of arguments that starts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.train.emit import trl
from tuneworthy.train.emit.base import EmitPlan, Emitted

LEAST: Final = 2


def config(plan: EmitPlan) -> dict[str, Any]:
    """Return the config: each card holds the whole model and takes its share of a step's rows."""
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
    """Write the script and the config, for two cards unless the plan names more.

    Raises:
        UserError: A step's rows cannot be shared out.
    """
    import yaml

    plan = _shared(replace(plan, n_devices=max(LEAST, plan.n_devices)))
    script = trl.emit(plan)
    files = {**script.files, "accelerate.yaml": yaml.safe_dump(config(plan), sort_keys=False)}
    return Emitted(files, ("accelerate", "launch", "--config_file", "accelerate.yaml", "train_trl.py"), script.notes)


def _shared(plan: EmitPlan) -> EmitPlan:
    """Return the plan with fewer rows at once where that is needed for all cards to have their share of a step."""
    told = plan.settings
    share, rest = divmod(told.batch_size, plan.n_devices)
    if rest:
        raise UserError(
            f"expected a batch_size that {plan.n_devices} cards can share, got {told.batch_size}",
            hint=f"set [train] batch_size to a multiple of {plan.n_devices}",
        )
    most = max(n for n in range(1, min(told.micro_batch_size, share) + 1) if share % n == 0)
    return replace(plan, settings=replace(told, micro_batch_size=most))
