"""Where adapters sit, and how their output is scaled."""

import math
from collections.abc import Iterator
from typing import Final

from tuneworthy.rules import Finding
from tuneworthy.train import messages, sources
from tuneworthy.train.lints import LINTS
from tuneworthy.train.lints.trainer_config import UNKNOWN, TrainerConfig

ATTENTION: Final = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv"})
MOE_NAMES: Final = (
    "mixtral", "moe", "-a3b", "-a22b", "gpt-oss", "deepseek-v2", "deepseek-v3", "deepseek-r1", "llama-4",
)  # fmt: skip


@LINTS.rule(
    "attention_only",
    source=f"{sources.TML}; {sources.LEARNS_LESS}",
    bad=("py", "from peft import LoraConfig\nLoraConfig(r=16, target_modules=['q_proj', 'v_proj'])"),
    good=("py", "from peft import LoraConfig\nLoraConfig(r=16, target_modules='all-linear')"),
)
def attention_only(config: TrainerConfig) -> Iterator[Finding]:
    """Adapters on attention alone.

    The MLP holds about 80% of the linear weights. Adapters on attention alone learn less even with as many
    parameters.
    """
    if config.targets and set(config.targets) <= ATTENTION:
        yield Finding(
            message=f"The adapters cover only {', '.join(config.targets)}, not the MLP.",
            fix=messages.say("all_linear"),
            line=config.line("target_modules"),
        )


@LINTS.rule(
    "default_targets",
    source=sources.PEFT,
    bad=("py", "from peft import LoraConfig\nLoraConfig(r=16, lora_alpha=32)"),
    good=("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}'),
)
def default_targets(config: TrainerConfig) -> Iterator[Finding]:
    """No target modules are named.

    PEFT then uses its table for the architecture: `q_proj` and `v_proj` for Llama, Qwen, Mistral and Gemma.
    """
    if config.tree is not None:
        calls = [call for call in config.calls_of("LoraConfig") if call.keywords]
        lines = [call.line for call in calls if not {"target_modules", "target_parameters"} & set(call.keywords)]
    else:
        lacks = config.adapters and config.kind != "axolotl" and config.get("target_modules") is None
        lines = [config.line("rank")] if lacks else []
    for line in lines:
        yield Finding(
            message="No target modules are set, so PEFT adapts only q_proj and v_proj.",
            fix=messages.say("all_linear"),
            line=line,
        )


@LINTS.rule(
    "head_adapted",
    source=sources.TRL,
    bad=("json", '{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["up_proj", "lm_head"]}'),
    good=("json", '{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["up_proj", "q_proj"]}'),
)
def head_adapted(config: TrainerConfig) -> Iterator[Finding]:
    """An adapter on the output head.

    TRL 1.16 multiplies by `lm_head.weight` directly, so an adapter there would never be trained; TRL refuses it.
    """
    if "lm_head" in (config.targets or []):
        yield Finding(
            message="TRL rejects adapters on lm_head.",
            fix="Remove lm_head from target_modules.",
            line=config.line("target_modules"),
        )


@LINTS.rule(
    "experts_missed",
    severity="warning",
    source=f"{sources.PEFT} (target_parameters)",
    bad=("yaml", "base_model: Qwen/Qwen3-30B-A3B\nadapter: lora\nlora_r: 16\nlora_target_linear: true"),
    good=("yaml", "base_model: Qwen/Qwen3-8B\nadapter: lora\nlora_r: 16\nlora_target_linear: true"),
)
def experts_missed(config: TrainerConfig) -> Iterator[Finding]:
    """`all-linear` on a mixture of experts.

    The experts are plain parameters and not linear layers. Only attention gets adapters unless `target_parameters`
    names them.
    """
    model = str(config.get("model") or "").lower()
    is_moe = any(part in model for part in MOE_NAMES)
    if is_moe and "target_parameters" not in config.values and config.targets == ["all-linear"]:
        yield Finding(
            message=f"The setting all-linear does not cover the experts of {model}.",
            fix="List the experts in target_parameters.",
            line=config.line("target_modules"),
        )


@LINTS.rule(
    "scale_apart",
    severity="note",
    source=f"{sources.LEARNING_RATE_MATTERS}, appendix C; {sources.TRL_LORA}",
    bad=("py", "from peft import LoraConfig\nLoraConfig(r=8, lora_alpha=128, target_modules='all-linear')"),
    good=("py", "from peft import LoraConfig\nLoraConfig(r=16, lora_alpha=32, target_modules='all-linear')"),
)
def scale_apart(config: TrainerConfig) -> Iterator[Finding]:
    """Alpha is far from the rank, which changes what the learning rate means.

    The output of the adapters is multiplied by alpha / r. With Adam that acts as a second learning rate, so settings
    can only be compared by scale and rate together. Neither alpha = r nor alpha = 2r is supported by evidence.
    """
    rank, alpha, rate = config.rank, config.alpha, config.number("learning_rate")
    if rank and alpha and not config.get("rslora") and not 0.25 <= alpha / rank <= 4:
        yield Finding(
            message=messages.scale_apart(alpha / rank, rate),
            fix="Sweep the learning rate, and keep alpha fixed.",
            line=config.line("alpha", "rank"),
        )


@LINTS.rule(
    "rslora_rate",
    severity="warning",
    source=sources.RSLORA,
    bad=("json", '{"peft_type": "LORA", "r": 64, "lora_alpha": 64, "use_rslora": true}'),
    good=("json", '{"peft_type": "LORA", "r": 64, "lora_alpha": 64, "use_rslora": false}'),
)
def rslora_rate(config: TrainerConfig) -> Iterator[Finding]:
    """rsLoRA, whose scale is alpha / sqrt(r).

    The best learning rate is independent of the rank only with the scale alpha / r and adapters that start at zero.
    Under rsLoRA the same alpha gives a scale sqrt(r) times as large, and the rate has to be tuned again.
    """
    rank, alpha = config.rank, config.alpha
    if config.get("rslora") is True and rank and alpha:
        yield Finding(
            message=(
                f"rsLoRA scales by alpha/sqrt(r) = {alpha / math.sqrt(rank):.3g}, whereas plain LoRA scales by "
                f"{alpha / rank:.3g}."
            ),
            fix="Tune the learning rate again.",
            line=config.line("rslora"),
        )


@LINTS.rule(
    "init_moves_base",
    severity="warning",
    source=sources.PEFT,
    bad=("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "init_lora_weights": "pissa"}'),
    good=("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "init_lora_weights": true}'),
)
def init_moves_base(config: TrainerConfig) -> Iterator[Finding]:
    """PiSSA, OLoRA, CorDA or LoftQ: an initialisation that changes the base.

    The adapter fits the changed base only. On the original base it gives other answers unless it is converted first.
    The rule of thumb for the learning rate does not apply either.
    """
    method = str(config.get("init") or "").lower()
    if method.startswith(("pissa", "olora", "corda", "loftq")):
        yield Finding(
            message=f"The initialisation {method} changes the base weights.",
            fix="Convert the adapter before you serve it, or use the default initialisation.",
            line=config.line("init"),
        )


@LINTS.rule(
    "dora_rounds",
    severity="warning",
    source=f"{sources.TRL}; {sources.LEARNING_RATE_MATTERS}",
    bad=("yaml", "base_model: a/b\nadapter: qlora\nload_in_4bit: true\nlora_r: 16\npeft_use_dora: true"),
    good=("yaml", "base_model: a/b\nadapter: lora\nload_in_4bit: false\nlora_r: 16\npeft_use_dora: true"),
)
def dora_rounds(config: TrainerConfig) -> Iterator[Finding]:
    """DoRA on a 4-bit base.

    Its magnitude vector must stay in 32 bits: updates in bfloat16 are rounded away, and no message says so. DoRA is
    also slower, and with tuned rates at most 1 to 2% better.
    """
    if config.get("dora") is True and config.get("load_in_4bit") is True:
        yield Finding(
            message="DoRA on a 4-bit base model loses updates to rounding.",
            fix="Keep the magnitude vector in float32, or train plain LoRA.",
            line=config.line("dora"),
        )


@LINTS.rule(
    "dropout_habit",
    severity="note",
    source=f"{sources.UNSLOTH}; {sources.TRL_LORA}",
    bad=("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "lora_dropout": 0.05}'),
    good=("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "lora_dropout": 0.0}'),
)
def dropout_habit(config: TrainerConfig) -> Iterator[Finding]:
    """Dropout on the adapters.

    The evidence for it is weak. The recipes of TRL, Unsloth and Thinking Machines use none, and Unsloth's fast path
    needs 0.
    """
    dropout = config.values.get("dropout")
    if dropout is not None and dropout.value is not UNKNOWN and dropout.value:
        yield Finding(
            message=f"Adapter dropout is {dropout.value}, but there is little evidence that it helps.",
            fix="Start with 0. Add dropout only if it improves the task metric.",
            line=dropout.line,
        )
