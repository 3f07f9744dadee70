"""A script for Unsloth: its import first, its pins, arguments that its patched TRL takes."""

from __future__ import annotations

from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.train.emit.base import EmitPlan, Emitted, targets_of
from tuneworthy.train.settings import ALL_LINEAR

PINS: Final = ("unsloth==2026.10.9", "trl<=1.15.0", "transformers<=5.17.0", "datasets>=4.2,<4.4")
LINEARS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def loading(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of FastLanguageModel.from_pretrained."""
    quantised = plan.settings.method == "qlora"
    return {
        "model_name": plan.base,
        "max_seq_length": plan.settings.max_length,
        "load_in_4bit": quantised,
        "load_in_16bit": not quantised,
        "random_state": plan.settings.seed,
    }


def adapter(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of FastLanguageModel.get_peft_model."""
    told = plan.settings
    targets = targets_of(told)
    return {
        "r": told.rank,
        "lora_alpha": told.alpha,
        "lora_dropout": told.dropout,
        "target_modules": list(LINEARS) if targets == ALL_LINEAR else targets,
        "use_gradient_checkpointing": "unsloth" if told.gradient_checkpointing else False,
        "use_rslora": told.rslora,
        "random_state": told.seed,
    }


def arguments(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of SFTConfig."""
    told = plan.settings
    return {
        "output_dir": plan.output,
        "per_device_train_batch_size": told.micro_batch_size,
        "gradient_accumulation_steps": told.accumulation,
        "num_train_epochs": told.epochs,
        "learning_rate": told.learning_rate,
        "lr_scheduler_type": told.schedule,
        "warmup_steps": told.warmup_ratio,
        "max_length": told.max_length,
        "bf16": told.dtype == "bfloat16",
        "fp16": told.dtype == "float16",
        "seed": told.seed,
        "report_to": "none",
    }


def emit(plan: EmitPlan) -> Emitted:
    """Write the script.

    Raises:
        UserError: All weights are to be trained, or several cards are to be used.
    """
    if plan.settings.method == "full":
        raise UserError("expected lora or qlora for Unsloth, got full", hint="write it for trl")
    lines = [
        f"# written for {', '.join(PINS)}",
        "from unsloth import FastLanguageModel  # before trl and transformers, which it patches",
        "",
        "from datasets import load_dataset",
        "from trl import SFTConfig, SFTTrainer",
        "",
        f"ROWS = {plan.rows!r}",
        f"LOADING = {loading(plan)!r}",
        f"ADAPTER = {adapter(plan)!r}",
        f"ARGUMENTS = {arguments(plan)!r}",
        "",
        "",
        "def main():",
        '    rows = load_dataset("json", data_files=ROWS, split="train")  # ids and labels; -100 is not trained on',
        "    model, tokenizer = FastLanguageModel.from_pretrained(**LOADING)",
        "    model = FastLanguageModel.get_peft_model(model, **ADAPTER)",
        "    trainer = SFTTrainer(",
        "        model=model, args=SFTConfig(**ARGUMENTS), train_dataset=rows, processing_class=tokenizer",
        "    )",
        "    trainer.train()",
        '    trainer.save_model(ARGUMENTS["output_dir"])',
        "",
        "",
        'if __name__ == "__main__":',
        "    main()",
    ]
    files = {"train_unsloth.py": "\n".join(lines) + "\n", "requirements.txt": "\n".join(PINS) + "\n"}
    notes = ["needs a GPU", "stops by loss or epochs, not by the task metric"]
    return Emitted(files, ("python", "train_unsloth.py"), notes)
