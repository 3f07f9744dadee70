"""For several cards: a config of `accelerate` beside the TRL script, and the list of arguments that starts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.train.emit import trl
from tuneworthy.train.emit.base import Emitted, Plan

LEAST: Final = 2


def config(plan: Plan) -> dict[str, Any]:
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


def emit(plan: Plan) -> Emitted:
    """Write the script and the config, for two cards unless the plan names more.

    Raises:
        UserError: A step's rows cannot be shared out.
    """
    import yaml

    plan = replace(plan, n_devices=max(LEAST, plan.n_devices))
    if plan.settings.accumulation % plan.n_devices:
        raise UserError(
            f"expected rows of a step that {plan.n_devices} cards can share, got {plan.settings.accumulation} times"
            f" {plan.settings.micro_batch_size}",
            hint="choose a smaller micro_batch_size, or a batch_size that is a multiple",
        )
    script = trl.emit(plan)
    files = {**script.files, "accelerate.yaml": yaml.safe_dump(config(plan), sort_keys=False)}
    return Emitted(files, ("accelerate", "launch", "--config_file", "accelerate.yaml", "train_trl.py"), script.notes)
