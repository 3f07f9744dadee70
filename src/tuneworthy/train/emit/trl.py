"""A script for TRL's SFTTrainer with PEFT, which takes rows of ids and labels as they are."""

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
    chosen = plan.settings
    pins = (*PINS, *(QUANTISED if chosen.method == "qlora" else ()))
    full = chosen.method == "full"
    lines = [
        f"# written for {', '.join(pins)}",
        "import torch",
        "from datasets import load_dataset",
        *([] if full else ["from peft import LoraConfig"]),
        "from transformers import AutoModelForCausalLM, AutoTokenizer"
        + ", BitsAndBytesConfig" * (chosen.method == "qlora"),
        "from trl import SFTConfig, SFTTrainer",
        "",
        f"BASE = {plan.base!r}",
        f"ROWS = {plan.rows!r}",
        call("CONFIG", "SFTConfig", arguments(plan)),
        *([] if full else [call("ADAPTER", "LoraConfig", adapter(plan))]),
        "",
        "",
        "def main():",
        '    rows = load_dataset("json", data_files=ROWS, split="train")  # ids and labels; -100 is not trained on',
        "    tokenizer = AutoTokenizer.from_pretrained(BASE)",
        *model_lines(plan),
        "    trainer = SFTTrainer(model=model, args=CONFIG, train_dataset=rows, processing_class=tokenizer"
        + (")" if full else ", peft_config=ADAPTER)"),
        "    trainer.train()",
        "    trainer.save_model(CONFIG.output_dir)",
        "",
        "",
        'if __name__ == "__main__":',
        "    main()",
    ]
    files = {"train_trl.py": "\n".join(lines) + "\n", "requirements.txt": "\n".join(pins) + "\n"}
    return Emitted(files, ("python", "train_trl.py"), (messages.say("trl_stops"),))


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
