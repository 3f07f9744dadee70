"""A script for TRL's SFTTrainer with PEFT, which takes rows of ids and labels as they are."""

from collections.abc import Sequence
from typing import Any, Final

from tuneworthy.train import messages
from tuneworthy.train.emit.base import EmitPlan, Emitted, targets_of

PINS: Final = ("trl==1.16.0", "peft==0.21.2", "transformers==5.24.0", "datasets>=4.0", "accelerate>=1.10")
QUANTISED: Final = ("bitsandbytes==0.50.2",)


def arguments(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of SFTConfig."""
    chosen = plan.settings
    return {
        "output_dir": plan.output,
        "per_device_train_batch_size": chosen.micro_batch_size,
        "gradient_accumulation_steps": max(1, chosen.accumulation // plan.n_devices),
        "num_train_epochs": chosen.epochs,
        "learning_rate": chosen.learning_rate,
        "lr_scheduler_type": chosen.schedule,
        "warmup_steps": chosen.warmup_ratio,  # below 1 it is a share of the steps
        "max_length": chosen.max_length,
        "packing": False,
        "bf16": chosen.dtype == "bfloat16",
        "fp16": chosen.dtype == "float16",
        "activation_checkpointing": chosen.gradient_checkpointing,
        "seed": chosen.seed,
        "save_strategy": "epoch",
        "report_to": "none",
    }


def adapter(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of LoraConfig."""
    chosen = plan.settings
    alpha: float = int(chosen.alpha) if chosen.alpha == int(chosen.alpha) else chosen.alpha
    return {
        "r": chosen.rank,
        "lora_alpha": alpha,
        "use_rslora": chosen.rslora,
        "lora_dropout": chosen.dropout,
        "target_modules": targets_of(chosen),
        "task_type": "CAUSAL_LM",
    }


def emit(plan: EmitPlan) -> Emitted:
    """Write the script."""
    full = plan.settings.method == "full"
    trainer = [
        "    trainer = SFTTrainer(model=model, args=CONFIG, train_dataset=rows, processing_class=tokenizer"
        + (")" if full else ", peft_config=ADAPTER)"),
    ]
    imports = ["from trl import SFTConfig, SFTTrainer"]
    settings, rows = [call("CONFIG", "SFTConfig", arguments(plan))], "ids and labels; -100 is not trained on"
    files = script(plan, "train_trl.py", imports=imports, settings=settings, rows=rows, trainer=trainer)
    return Emitted(files, ("python", "train_trl.py"), (messages.say("trl_stops"),))


def script(
    plan: EmitPlan, name: str, *, imports: Sequence[str], settings: Sequence[str], rows: str, trainer: Sequence[str]
) -> dict[str, str]:
    """Return the files of a script that trains with a trainer of TRL, by name.

    Args:
        plan: What is trained.
        name: Of the script.
        imports: Lines that import what this trainer needs.
        settings: Lines that set what this trainer needs, CONFIG among them.
        rows: What a row of the file holds.
        trainer: Lines that make the trainer.
    """
    method = plan.settings.method
    full, quantised = method == "full", method == "qlora"
    pins = (*PINS, *(QUANTISED if quantised else ()))
    lines = [
        f"# written for {', '.join(pins)}",
        "import torch",
        "from datasets import load_dataset",
        *([] if full else ["from peft import LoraConfig"]),
        "from transformers import AutoModelForCausalLM, AutoTokenizer" + ", BitsAndBytesConfig" * quantised,
        *imports,
        "",
        f"BASE = {plan.base!r}",
        f"ROWS = {plan.rows!r}",
        *settings,
        *([] if full else [call("ADAPTER", "LoraConfig", adapter(plan))]),
        "",
        "",
        "def main():",
        f'    rows = load_dataset("json", data_files=ROWS, split="train")  # {rows}',
        "    tokenizer = AutoTokenizer.from_pretrained(BASE)",
        *model_lines(plan),
        *trainer,
        "    trainer.train()",
        "    trainer.save_model(CONFIG.output_dir)",
        "",
        "",
        'if __name__ == "__main__":',
        "    main()",
    ]
    return {name: "\n".join(lines) + "\n", "requirements.txt": "\n".join(pins) + "\n"}


def model_lines(plan: EmitPlan) -> list[str]:
    """Return the lines that load the base as the method wants it."""
    chosen = plan.settings
    dtype = "torch.float32" if chosen.method == "full" else f"torch.{chosen.dtype}"
    if chosen.method != "qlora":
        return [f"    model = AutoModelForCausalLM.from_pretrained(BASE, dtype={dtype})"]
    return [
        "    four_bits = BitsAndBytesConfig(",
        '        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,',
        f"        bnb_4bit_compute_dtype={dtype},",
        "    )",
        f"    model = AutoModelForCausalLM.from_pretrained(BASE, dtype={dtype}, quantization_config=four_bits)",
    ]


def call(name: str, function: str, values: dict[str, Any]) -> str:
    """Return an assignment to `name` of what `function` makes of keyword arguments."""
    inner = "".join(f"    {key}={value!r},\n" for key, value in values.items())
    return f"{name} = {function}(\n{inner})"
