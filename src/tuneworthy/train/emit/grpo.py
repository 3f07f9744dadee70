"""A script for TRL's GRPOTrainer, whose reward is the project's first grader."""

from typing import Any, Final

from tuneworthy.train.emit.base import EmitPlan, Emitted
from tuneworthy.train.emit.trl import call, script

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
    full = plan.settings.method == "full"
    trainer = [
        "    trainer = GRPOTrainer(",
        "        model=model, args=CONFIG, train_dataset=rows, processing_class=tokenizer,",
        "        reward_funcs=grader_reward(PROJECT)," + ("" if full else " peft_config=ADAPTER,"),
        "    )",
    ]
    imports = ["from trl import GRPOConfig, GRPOTrainer", "from tuneworthy.train.reward import grader_reward"]
    config = call("CONFIG", "GRPOConfig", arguments(plan))[:-1] + "    use_cpu=not torch.cuda.is_available(),\n)"
    settings, rows = [f"PROJECT = {plan.project!r}", config], "prompts, and the IDs of their rows"
    files = script(plan, "train_grpo.py", imports=imports, settings=settings, rows=rows, trainer=trainer)
    return Emitted(
        files,
        ("python", "train_grpo.py"),
        (
            (
                "The reward is the first grader of the project, so the script needs tuneworthy and the project folder. "
                "It stops after one pass over the prompts, not on the task metric."
            ),
        ),
    )
