"""A script for TRL's GRPOTrainer, whose reward is the project's first grader."""

from typing import Any, Final

from tuneworthy.train import messages
from tuneworthy.train.emit.base import EmitPlan, Emitted
from tuneworthy.train.emit.trl import PINS, QUANTISED, adapter, call, model_lines

# Answers to one prompt that are compared with each other: TRL's default.
GROUP: Final = 8
# TRL's default for all weights, times the factor for adapters.
RATE: Final = 1e-6
LORA_TIMES: Final = 10


def arguments(plan: EmitPlan) -> dict[str, Any]:
    """Return the arguments of GRPOConfig: a step has as many prompts as `batch_size`, each with a group of answers."""
    chosen = plan.settings
    return {
        "output_dir": plan.output,
        "per_device_train_batch_size": GROUP,
        "num_generations": GROUP,
        "gradient_accumulation_steps": max(1, chosen.batch_size // plan.n_devices),
        "num_train_epochs": 1,
        "learning_rate": RATE * (1 if chosen.method == "full" else LORA_TIMES),
        "max_completion_length": plan.max_answer,
        "bf16": chosen.dtype == "bfloat16",
        "fp16": chosen.dtype == "float16",
        "activation_checkpointing": chosen.gradient_checkpointing,
        "seed": chosen.seed,
        "save_strategy": "epoch",
        "report_to": "none",
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
        "from trl import GRPOConfig, GRPOTrainer",
        "from tuneworthy.train.reward import grader_reward",
        "",
        f"BASE = {plan.base!r}",
        f"ROWS = {plan.rows!r}",
        f"PROJECT = {plan.project!r}",
        call("CONFIG", "GRPOConfig", arguments(plan))[:-1] + "    use_cpu=not torch.cuda.is_available(),\n)",
        *([] if full else [call("ADAPTER", "LoraConfig", adapter(plan))]),
        "",
        "",
        "def main():",
        '    rows = load_dataset("json", data_files=ROWS, split="train")  # prompts, and the IDs of their rows',
        "    tokenizer = AutoTokenizer.from_pretrained(BASE)",
        *model_lines(plan),
        "    trainer = GRPOTrainer(",
        "        model=model, args=CONFIG, train_dataset=rows, processing_class=tokenizer,",
        "        reward_funcs=grader_reward(PROJECT)," + ("" if full else " peft_config=ADAPTER,"),
        "    )",
        "    trainer.train()",
        "    trainer.save_model(CONFIG.output_dir)",
        "",
        "",
        'if __name__ == "__main__":',
        "    main()",
    ]
    files = {"train_grpo.py": "\n".join(lines) + "\n", "requirements.txt": "\n".join(pins) + "\n"}
    return Emitted(files, ("python", "train_grpo.py"), (messages.say("grpo_rewards"),))
