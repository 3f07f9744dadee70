"""A script for Unsloth: its import first, its pins, arguments that its patched TRL takes."""

from typing import Any, Final

from tuneworthy.errors import UserError
from tuneworthy.train import messages
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
    chosen = plan.settings
    targets = targets_of(chosen)
    return {
        "r": chosen.rank,
        "lora_alpha": chosen.alpha,
        "lora_dropout": chosen.dropout,
        "target_modules": list(LINEARS) if targets == ALL_LINEAR else targets,
        "use_gradient_checkpointing": "unsloth" if chosen.gradient_checkpointing else False,
        "use_rslora": chosen.rslora,
        "random_state": chosen.seed,
    }


def arguments(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of SFTConfig."""
    chosen = plan.settings
    return {
        "output_dir": plan.output,
        "per_device_train_batch_size": chosen.micro_batch_size,
        "gradient_accumulation_steps": chosen.accumulation,
        "num_train_epochs": chosen.epochs,
        "learning_rate": chosen.learning_rate,
        "lr_scheduler_type": chosen.schedule,
        "warmup_steps": chosen.warmup_ratio,
        "max_length": chosen.max_length,
        "bf16": chosen.dtype == "bfloat16",
        "fp16": chosen.dtype == "float16",
        "seed": chosen.seed,
        "report_to": "none",
    }


def emit(plan: EmitPlan) -> Emitted:
    """Write the script.

    Raises:
        UserError: All weights are to be trained.
    """
    if plan.settings.method == "full":
        raise UserError("The Unsloth script trains adapters only, not all weights.", hint="Pass --emit trl.")
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
    return Emitted(files, ("python", "train_unsloth.py"), ("Unsloth needs a GPU.", messages.say("trl_stops")))
