"""Where adapters sit, and how their output is scaled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Final

from tuneworthy.train.lints.base import Fault, Severity, lint
from tuneworthy.train.lints.trainer_config import UNKNOWN, TrainerConfig

ATTENTION: Final = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv"})
MOE_NAMES: Final = (
    "mixtral",
    "moe",
    "-a3b",
    "-a22b",
    "gpt-oss",
    "deepseek-v2",
    "deepseek-v3",
    "deepseek-r1",
    "llama-4",
)


@lint("attention_only")
class AttentionOnly:
    """Adapters on attention alone.

    The MLP holds about 80 % of the linear weights; adapters on attention alone learn less even with as many
    parameters.
    """

    code: ClassVar[str]
    name: ClassVar = "adapters on attention alone"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md A1: TML LoRA Without Regret (i); 2405.09673"
    mark: ClassVar = "V V2"
    bad: ClassVar = ("py", "from peft import LoraConfig\nLoraConfig(r=16, target_modules=['q_proj', 'v_proj'])")
    good: ClassVar = ("py", "from peft import LoraConfig\nLoraConfig(r=16, target_modules='all-linear')")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        targets = given.targets
        if targets and set(targets) <= ATTENTION:
            words = ", ".join(targets)
            yield Fault(given.line("target_modules"), f'only {words}: write target_modules="all-linear"')


@lint("default_targets")
class DefaultTargets:
    """No target modules are named.

    PEFT then adapts what its table says for the architecture: for Llama, Qwen, Mistral and Gemma `q_proj` and `v_proj`.
    """

    code: ClassVar[str]
    name: ClassVar = "PEFT's default target modules"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md 0, row 4: peft 0.21.2"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", "from peft import LoraConfig\nLoraConfig(r=16, lora_alpha=32)")
    good: ClassVar = ("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}')

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.tree is not None:
            calls = given.named("LoraConfig")
            missing = [call for call in calls if "target_modules" not in call.keywords and call.keywords]
            for call in missing:
                if "target_parameters" not in call.keywords:
                    yield Fault(call.line, 'q_proj and v_proj alone by default: write target_modules="all-linear"')
        elif given.adapters and given.kind != "axolotl" and given.get("target_modules") is None:
            yield Fault(given.line("rank"), 'q_proj and v_proj alone by default: write target_modules: "all-linear"')


@lint("head_adapted")
class HeadAdapted:
    """An adapter on the output head.

    TRL 1.16 multiplies by `lm_head.weight` itself: an adapter there is refused, since it would never be trained.
    """

    code: ClassVar[str]
    name: ClassVar = "an adapter on lm_head"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "trl 1.16.0 trainer/sft_trainer.py"
    mark: ClassVar = "V"
    bad: ClassVar = ("json", '{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["up_proj", "lm_head"]}')
    good: ClassVar = ("json", '{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["up_proj", "q_proj"]}')

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if "lm_head" in (given.targets or []):
            yield Fault(given.line("target_modules"), "TRL refuses it: leave lm_head out")


@lint("experts_missed")
class ExpertsMissed:
    """`all-linear` on a mixture of experts.

    The experts are plain parameters, no linear layers: only attention gets adapters unless `target_parameters` names
    them.
    """

    code: ClassVar[str]
    name: ClassVar = "experts that all-linear does not reach"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A1: target_parameters of peft 0.21.2, unsloth"
    mark: ClassVar = "V"
    bad: ClassVar = ("yaml", "base_model: Qwen/Qwen3-30B-A3B\nadapter: lora\nlora_r: 16\nlora_target_linear: true")
    good: ClassVar = ("yaml", "base_model: Qwen/Qwen3-8B\nadapter: lora\nlora_r: 16\nlora_target_linear: true")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        model = str(given.get("model") or "").lower()
        named = "target_parameters" in given.values
        if not named and given.targets == ["all-linear"] and any(part in model for part in MOE_NAMES):
            yield Fault(given.line("target_modules"), f"{model}: name the experts in target_parameters")


@lint("scale_apart")
class ScaleApart:
    """Alpha is far from the rank, so that the learning rate means something else.

    The output of adapters is multiplied by alpha / r. With Adam that is a second learning rate: settings can be
    compared only by scale and rate together. Neither alpha = r nor alpha = 2r is supported by evidence.
    """

    code: ClassVar[str]
    name: ClassVar = "a scale that acts as a learning rate"
    severity: ClassVar[Severity] = "note"
    source: ClassVar = "facts.md 0, row 5; A2: arXiv 2602.04998, TRL recipe"
    mark: ClassVar = "V V2"
    bad: ClassVar = ("py", "from peft import LoraConfig\nLoraConfig(r=8, lora_alpha=128, target_modules='all-linear')")
    good: ClassVar = ("py", "from peft import LoraConfig\nLoraConfig(r=16, lora_alpha=32, target_modules='all-linear')")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        rank, alpha = given.rank, given.alpha
        if rank and alpha and not given.get("rslora") and not 0.25 <= alpha / rank <= 4:
            rate = given.number("learning_rate")
            told = f", with a rate of {rate:g} like {rate * alpha / rank:.2g} at scale 1" if rate else ""
            yield Fault(
                given.line("alpha", "rank"), f"scale alpha/r = {alpha / rank:g}{told}: sweep the rate, not alpha"
            )


@lint("rslora_rate")
class RsloraRate:
    """rsLoRA, whose scale is alpha / sqrt(r).

    That the best learning rate does not depend on the rank holds for alpha / r and adapters that begin at zero; under
    rsLoRA the same alpha is a scale sqrt(r) times as large, and the rate has to be found again.
    """

    code: ClassVar[str]
    name: ClassVar = "rsLoRA with a rate for plain LoRA"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A1: arXiv 2312.03732, Chen et al. PMLR v306"
    mark: ClassVar = "V"
    bad: ClassVar = ("json", '{"peft_type": "LORA", "r": 64, "lora_alpha": 64, "use_rslora": true}')
    good: ClassVar = ("json", '{"peft_type": "LORA", "r": 64, "lora_alpha": 64, "use_rslora": false}')

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        rank, alpha = given.rank, given.alpha
        if given.get("rslora") is True and rank and alpha:
            scale = alpha / math.sqrt(rank)
            yield Fault(given.line("rslora"), f"the scale is alpha/sqrt(r) = {scale:.3g}, not {alpha / rank:.3g}")


@lint("init_moves_base")
class InitMovesBase:
    """PiSSA, OLoRA, CorDA or LoftQ: an initialisation that changes the base.

    The adapter fits the changed base only: served on the untouched one it gives other answers, unless it is converted
    first. The rule for the learning rate does not hold either.
    """

    code: ClassVar[str]
    name: ClassVar = "an initialisation that changes the base"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A1: PiSSA, LoftQ; Chen et al. PMLR v306"
    mark: ClassVar = "K V"
    bad: ClassVar = ("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "init_lora_weights": "pissa"}')
    good: ClassVar = ("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "init_lora_weights": true}')

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        init = str(given.get("init") or "").lower()
        if init.startswith(("pissa", "olora", "corda", "loftq")):
            yield Fault(
                given.line("init"), f"{init} changes the base: convert the adapter before it is served, or leave it"
            )


@lint("dora_rounds")
class DoraRounds:
    """DoRA on a 4-bit base.

    Its magnitude vector must stay in 32 bits: updates in bfloat16 are rounded away, and nothing says so. It is slower
    as well, and with tuned rates no better than 1 to 2 %.
    """

    code: ClassVar[str]
    name: ClassVar = "DoRA whose updates are rounded away"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A1: trl 1.16.0; arXiv 2602.04998"
    mark: ClassVar = "V"
    bad: ClassVar = ("yaml", "base_model: a/b\nadapter: qlora\nload_in_4bit: true\nlora_r: 16\npeft_use_dora: true")
    good: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nload_in_4bit: false\nlora_r: 16\npeft_use_dora: true")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.get("dora") is True and given.get("load_in_4bit") is True:
            yield Fault(given.line("dora"), "keep the magnitude vector in float32, or train plain LoRA")


@lint("dropout_habit")
class DropoutHabit:
    """Dropout on the adapters.

    The evidence for it is weak; the recipes of TRL, Unsloth and TML use none, and Unsloth's fast path needs 0.
    """

    code: ClassVar[str]
    name: ClassVar = "dropout out of habit"
    severity: ClassVar[Severity] = "note"
    source: ClassVar = "facts.md A1: unsloth 2026.10.9, TRL recipe"
    mark: ClassVar = "V"
    bad: ClassVar = ("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "lora_dropout": 0.05}')
    good: ClassVar = ("json", '{"peft_type": "LORA", "r": 16, "lora_alpha": 16, "lora_dropout": 0.0}')

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        value = given.values.get("dropout")
        if value is not None and value.value is not UNKNOWN and value.value:
            yield Fault(value.line, f"{value.value}: start with 0, and measure it on the task metric if at all")
