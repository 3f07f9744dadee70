"""Lints of adapters: target modules, scale, initialisation, dropout."""

import math
from collections.abc import Iterator
from typing import Final

from tuneworthy.rules import Finding
from tuneworthy.train import sources
from tuneworthy.train.lints import LINTS
from tuneworthy.train.lints.settings_table import SettingsTable

ATTENTION: Final = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv"})
MOE_NAMES: Final = (
    "mixtral", "moe", "-a3b", "-a22b", "gpt-oss", "deepseek-v2", "deepseek-v3", "deepseek-r1", "llama-4",
)  # fmt: skip
_ALL_LINEAR: Final = 'Set target_modules="all-linear", or lora_target_linear: true in Axolotl.'


@LINTS.rule(
    "attention_only",
    source=f"{sources.TML}; {sources.LEARNS_LESS}",
    bad={"r": 16, "target_modules": ["q_proj", "v_proj"]},
    good={"r": 16, "target_modules": "all-linear"},
)
def attention_only(table: SettingsTable) -> Iterator[Finding]:
    """Adapters on attention only.

    The MLP has about 80% of the linear weights. Adapters on attention only learn less even with as many parameters.
    """
    if table.targets and set(table.targets) <= ATTENTION:
        yield Finding(
            message=f"The adapters cover only {', '.join(table.targets)}, not the MLP.",
            fix=_ALL_LINEAR,
        )


@LINTS.rule(
    "default_targets",
    source=sources.PEFT,
    bad={"r": 16, "lora_alpha": 32},
    good={"r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
)
def default_targets(table: SettingsTable) -> Iterator[Finding]:
    """No target modules are named.

    PEFT then uses its table for the architecture: `q_proj` and `v_proj` for Llama, Qwen, Mistral and Gemma.
    """
    if table.adapters and not table.axolotl and not {"target_modules", "target_parameters"} & set(table.values):
        yield Finding(message="No target modules are set, so PEFT adapts only q_proj and v_proj.", fix=_ALL_LINEAR)


@LINTS.rule(
    "head_adapted",
    source=sources.TRL,
    bad={"r": 8, "target_modules": ["up_proj", "lm_head"]},
    good={"r": 8, "target_modules": ["up_proj", "q_proj"]},
)
def head_adapted(table: SettingsTable) -> Iterator[Finding]:
    """An adapter on the output head.

    TRL 1.16 multiplies by `lm_head.weight` directly, so an adapter there would never be trained; TRL refuses it.
    """
    if "lm_head" in (table.targets or []):
        yield Finding(message="TRL rejects adapters on lm_head.", fix="Remove lm_head from target_modules.")


@LINTS.rule(
    "experts_missed",
    severity="warning",
    source=f"{sources.PEFT} (target_parameters)",
    bad={"base_model": "Qwen/Qwen3-30B-A3B", "lora_r": 16, "lora_target_linear": True},
    good={"base_model": "Qwen/Qwen3-8B", "lora_r": 16, "lora_target_linear": True},
)
def experts_missed(table: SettingsTable) -> Iterator[Finding]:
    """`all-linear` on a mixture of experts.

    The experts are plain parameters and not linear layers. Only attention gets adapters unless `target_parameters`
    names them.
    """
    model = str(table.get("model") or "").lower()
    is_moe = any(part in model for part in MOE_NAMES)
    if is_moe and table.targets == ["all-linear"] and "target_parameters" not in table.values:
        yield Finding(
            message=f"The setting all-linear does not cover the experts of {model}.",
            fix="List the experts in target_parameters.",
        )


@LINTS.rule(
    "scale_apart",
    severity="note",
    source=f"{sources.LEARNING_RATE_MATTERS}, appendix C; {sources.TRL_LORA}",
    bad={"r": 8, "lora_alpha": 128},
    good={"r": 16, "lora_alpha": 32},
)
def scale_apart(table: SettingsTable) -> Iterator[Finding]:
    """Alpha is far from the rank, which changes the effect of the learning rate.

    The output of the adapters is multiplied by alpha / r. With Adam that acts as a second learning rate, so settings
    can only be compared by scale and rate together. Neither alpha = r nor alpha = 2r is supported by evidence.
    """
    rank, alpha, rate = table.rank, table.alpha, table.number("learning_rate")
    if not rank or not alpha or table.get("rslora") or 0.25 <= alpha / rank <= 4:
        return
    acts = f" A learning rate of {rate:g} acts like {rate * alpha / rank:.2g} at scale 1." if rate else ""
    yield Finding(
        message=f"The scale alpha/r is {alpha / rank:g}.{acts}", fix="Sweep the learning rate, and keep alpha fixed."
    )


@LINTS.rule(
    "rslora_rate",
    severity="warning",
    source=sources.RSLORA,
    bad={"r": 64, "lora_alpha": 64, "use_rslora": True},
    good={"r": 64, "lora_alpha": 64, "use_rslora": False},
)
def rslora_rate(table: SettingsTable) -> Iterator[Finding]:
    """rsLoRA, whose scale is alpha / sqrt(r).

    The best learning rate is independent of the rank only with the scale alpha / r and adapters that start at zero.
    Under rsLoRA the same alpha gives a scale sqrt(r) times as large, and the rate has to be tuned again.
    """
    rank, alpha = table.rank, table.alpha
    if table.get("rslora") is True and rank and alpha:
        scale = f"rsLoRA scales by alpha/sqrt(r) = {alpha / math.sqrt(rank):.3g}"
        yield Finding(
            message=f"{scale}, whereas plain LoRA scales by {alpha / rank:.3g}.", fix="Tune the learning rate again."
        )


@LINTS.rule(
    "init_moves_base",
    severity="warning",
    source=sources.PEFT,
    bad={"r": 16, "init_lora_weights": "pissa"},
    good={"r": 16, "init_lora_weights": True},
)
def init_moves_base(table: SettingsTable) -> Iterator[Finding]:
    """PiSSA, OLoRA, CorDA or LoftQ: an initialisation that changes the base.

    The adapter fits the changed base only. On the original base it gives other answers unless it is converted first.
    The rule of thumb for the learning rate does not apply either.
    """
    method = str(table.get("init") or "").lower()
    if method.startswith(("pissa", "olora", "corda", "loftq")):
        yield Finding(
            message=f"The initialisation {method} changes the base weights.",
            fix="Convert the adapter before you serve it, or use the default initialisation.",
        )


@LINTS.rule(
    "dora_rounds",
    severity="warning",
    source=f"{sources.TRL}; {sources.LEARNING_RATE_MATTERS}",
    bad={"load_in_4bit": True, "lora_r": 16, "peft_use_dora": True},
    good={"load_in_4bit": False, "lora_r": 16, "peft_use_dora": True},
)
def dora_rounds(table: SettingsTable) -> Iterator[Finding]:
    """DoRA on a 4-bit base.

    Its magnitude vector must stay in 32 bits: updates in bfloat16 are rounded away without a message. DoRA is also
    slower, and with tuned rates at most 1 to 2% better.
    """
    if table.get("dora") is True and table.get("load_in_4bit") is True:
        yield Finding(
            message="DoRA on a 4-bit base model loses updates to rounding.",
            fix="Keep the magnitude vector in float32, or train plain LoRA.",
        )


@LINTS.rule(
    "dropout_habit",
    severity="note",
    source=f"{sources.UNSLOTH}; {sources.TRL_LORA}",
    bad={"r": 16, "lora_dropout": 0.05},
    good={"r": 16, "lora_dropout": 0.0},
)
def dropout_habit(table: SettingsTable) -> Iterator[Finding]:
    """Dropout on the adapters.

    The evidence for it is weak. The recipes of TRL, Unsloth and Thinking Machines use no dropout, and Unsloth's fast
    path needs 0.
    """
    if dropout := table.get("dropout"):
        yield Finding(
            message=f"Adapter dropout is {dropout}, but there is little evidence that it helps.",
            fix="Start with 0. Add dropout only if it improves the task metric.",
        )
