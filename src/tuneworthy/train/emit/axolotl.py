"""A config for Axolotl: its keys, checked against the schema of the version that it names."""

from __future__ import annotations

from typing import Any, Final

from tuneworthy.train.emit.base import EmitPlan, Emitted, targets_of
from tuneworthy.train.settings import ALL_LINEAR

PIN: Final = "axolotl==0.19.0"
SCHEDULES: Final = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def config(plan: EmitPlan) -> dict[str, Any]:
    """Return the config."""
    told = plan.settings
    document: dict[str, Any] = {
        "base_model": plan.base,
        "load_in_4bit": told.method == "qlora",
        "datasets": [{"path": plan.rows, "ds_type": "json"}],  # no type: ids and labels are taken as they are
        "train_on_inputs": False,
        "sequence_len": told.max_length,
        "excess_length_strategy": "drop",
        "sample_packing": False,
        "micro_batch_size": told.micro_batch_size,
        "gradient_accumulation_steps": told.accumulation,
        "num_epochs": told.epochs,
        "optimizer": "adamw_torch_fused",
        "learning_rate": told.learning_rate,
        "lr_scheduler": SCHEDULES[told.schedule],
        "warmup_ratio": told.warmup_ratio,
        "bf16": told.dtype == "bfloat16",
        "fp16": told.dtype == "float16",
        "gradient_checkpointing": told.gradient_checkpointing,
        "seed": told.seed,
        "output_dir": plan.output,
    }
    if told.method == "full":
        return document
    targets = targets_of(told)
    where = {"lora_target_linear": True} if targets == ALL_LINEAR else {"lora_target_modules": targets}
    return {
        **document,
        "adapter": told.method,
        "lora_r": told.rank,
        "lora_alpha": round(told.alpha),
        "lora_dropout": told.dropout,
        "peft_use_rslora": told.rslora,
        **where,
    }


def emit(plan: EmitPlan) -> Emitted:
    """Write the config."""
    import yaml

    text = f"# written for {PIN}\n" + yaml.safe_dump(config(plan), sort_keys=False, allow_unicode=True)
    files = {"axolotl.yaml": text, "requirements.txt": PIN + "\n"}
    return Emitted(files, ("axolotl", "train", "axolotl.yaml"), ("Axolotl stops by epochs, not by the task metric",))
