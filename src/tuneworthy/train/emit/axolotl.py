"""A config for Axolotl: its keys, checked against the schema of the version that it names."""

from typing import Any, Final

from tuneworthy.train.emit.base import EmitPlan, Emitted, targets_of
from tuneworthy.train.settings import ALL_LINEAR

PIN: Final = "axolotl==0.19.0"
SCHEDULES: Final = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def config(plan: EmitPlan) -> dict[str, Any]:
    """Return the config."""
    chosen = plan.settings
    document: dict[str, Any] = {
        "base_model": plan.base,
        "load_in_4bit": chosen.method == "qlora",
        "datasets": [{"path": plan.rows, "ds_type": "json"}],  # no type: ids and labels are taken as they are
        "train_on_inputs": False,
        "sequence_len": chosen.max_length,
        "excess_length_strategy": "drop",
        "sample_packing": False,
        "micro_batch_size": chosen.micro_batch_size,
        "gradient_accumulation_steps": chosen.accumulation,
        "num_epochs": chosen.epochs,
        "optimizer": "adamw_torch_fused",
        "learning_rate": chosen.learning_rate,
        "lr_scheduler": SCHEDULES[chosen.schedule],
        "warmup_ratio": chosen.warmup_ratio,
        "bf16": chosen.dtype == "bfloat16",
        "fp16": chosen.dtype == "float16",
        "gradient_checkpointing": chosen.gradient_checkpointing,
        "seed": chosen.seed,
        "output_dir": plan.output,
    }
    if chosen.method == "full":
        return document
    targets = targets_of(chosen)
    where = {"lora_target_linear": True} if targets == ALL_LINEAR else {"lora_target_modules": targets}
    return {
        **document,
        "adapter": chosen.method,
        "lora_r": chosen.rank,
        "lora_alpha": round(chosen.alpha),
        "lora_dropout": chosen.dropout,
        "peft_use_rslora": chosen.rslora,
        **where,
    }


def emit(plan: EmitPlan) -> Emitted:
    """Write the config."""
    import yaml

    text = f"# written for {PIN}\n" + yaml.safe_dump(config(plan), sort_keys=False, allow_unicode=True)
    files = {"axolotl.yaml": text, "requirements.txt": PIN + "\n"}
    return Emitted(
        files,
        ("axolotl", "train", "axolotl.yaml"),
        ("Axolotl stops after a fixed number of epochs, not on the task metric.",),
    )
