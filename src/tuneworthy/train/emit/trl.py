"""A script for TRL's SFTTrainer with PEFT, which takes rows of ids and labels as they are."""

from __future__ import annotations

from typing import Any, Final

from tuneworthy.train.emit.base import EmitPlan, Emitted, targets_of

PINS: Final = ("trl==1.16.0", "peft==0.21.2", "transformers==5.24.0", "datasets>=4.0", "accelerate>=1.10")
QUANTISED: Final = ("bitsandbytes==0.50.2",)


def arguments(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of SFTConfig."""
    told = plan.settings
    return {
        "output_dir": plan.output,
        "per_device_train_batch_size": told.micro_batch_size,
        "gradient_accumulation_steps": max(1, told.accumulation // plan.n_devices),
        "num_train_epochs": told.epochs,
        "learning_rate": told.learning_rate,
        "lr_scheduler_type": told.schedule,
        "warmup_steps": told.warmup_ratio,  # below 1 it is a share of the steps
        "max_length": told.max_length,
        "packing": False,
        "bf16": told.dtype == "bfloat16",
        "fp16": told.dtype == "float16",
        "activation_checkpointing": told.gradient_checkpointing,
        "seed": told.seed,
        "save_strategy": "epoch",
        "report_to": "none",
    }


def adapter(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of LoraConfig."""
    told = plan.settings
    alpha: float = int(told.alpha) if told.alpha == int(told.alpha) else told.alpha
    return {
        "r": told.rank,
        "lora_alpha": alpha,
        "use_rslora": told.rslora,
        "lora_dropout": told.dropout,
        "target_modules": targets_of(told),
        "task_type": "CAUSAL_LM",
    }


def emit(plan: EmitPlan) -> Emitted:
    """Write the script."""
    told = plan.settings
    pins = (*PINS, *(QUANTISED if told.method == "qlora" else ()))
    full = told.method == "full"
    lines = [
        f"# written for {', '.join(pins)}",
        "import torch",
        "from datasets import load_dataset",
        *([] if full else ["from peft import LoraConfig"]),
        "from transformers import AutoModelForCausalLM, AutoTokenizer"
        + ", BitsAndBytesConfig" * (told.method == "qlora"),
        "from trl import SFTConfig, SFTTrainer",
        "",
        f"BASE = {plan.base!r}",
        f"ROWS = {plan.rows!r}",
        _call("CONFIG", "SFTConfig", arguments(plan)),
        *([] if full else [_call("ADAPTER", "LoraConfig", adapter(plan))]),
        "",
        "",
        "def main():",
        '    rows = load_dataset("json", data_files=ROWS, split="train")  # ids and labels; -100 is not trained on',
        "    tokenizer = AutoTokenizer.from_pretrained(BASE)",
        *_model(plan),
        "    trainer = SFTTrainer(model=model, args=CONFIG, train_dataset=rows, processing_class=tokenizer"
        + (")" if full else ", peft_config=ADAPTER)"),
        "    trainer.train()",
        "    trainer.save_model(CONFIG.output_dir)",
        "",
        "",
        'if __name__ == "__main__":',
        "    main()",
    ]
    script = "\n".join(lines) + "\n"
    files = {"train_trl.py": script, "requirements.txt": "\n".join(pins) + "\n"}
    return Emitted(files, ("python", "train_trl.py"), ("TRL stops by loss or epochs, not by the task metric",))


def _model(plan: EmitPlan) -> list[str]:
    told = plan.settings
    dtype = "torch.float32" if told.method == "full" else f"torch.{told.dtype}"
    if told.method != "qlora":
        return [f"    model = AutoModelForCausalLM.from_pretrained(BASE, dtype={dtype})"]
    return [
        "    four_bits = BitsAndBytesConfig(",
        '        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,',
        f"        bnb_4bit_compute_dtype={dtype},",
        "    )",
        f"    model = AutoModelForCausalLM.from_pretrained(BASE, dtype={dtype}, quantization_config=four_bits)",
    ]


def _call(name: str, function: str, values: dict[str, Any]) -> str:
    inner = "".join(f"    {key}={value!r},\n" for key, value in values.items())
    return f"{name} = {function}(\n{inner})"
