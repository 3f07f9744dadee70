"""Learning rate, batch, epochs and optimiser."""

from collections.abc import Iterator
from typing import Final

from tuneworthy.rules import Finding
from tuneworthy.train import messages, sources
from tuneworthy.train.lints import LINTS
from tuneworthy.train.lints.trainer_config import TrainerConfig

LOW, HIGH = 1e-4, 1e-3
MAX_BATCH: Final = 32
TRL_RATE: Final = 2e-5
_LORA = "from trl import SFTConfig\nfrom peft import LoraConfig\nLoraConfig(r=16, target_modules='all-linear')\n"
_AXOLOTL = "base_model: a/b\nadapter: lora\nlora_r: 16\n"


@LINTS.rule(
    "rate_of_full",
    source=f"{sources.TML}; {sources.TRL}",
    bad=("py", _LORA + "SFTConfig(max_length=4096)"),
    good=("py", _LORA + "SFTConfig(max_length=4096, learning_rate=2e-4)"),
)
def rate_of_full(config: TrainerConfig) -> Iterator[Finding]:
    """Adapters with the learning rate of full fine-tuning.

    LoRA needs about 10 times the rate of full fine-tuning: 1e-4 to 5e-4. TRL's default of 2e-5 is for the latter.
    Scripts for DPO and GRPO, which need lower rates, are left out.
    """
    if not config.adapters or config.kind == "peft" or not config.on_answers:
        return
    rate, calls = config.number("learning_rate"), config.calls_of("SFTConfig")
    if rate is not None and rate < LOW:
        message = f"A learning rate of {rate:g} is too low for adapters."
        yield Finding(message=message, fix=messages.say("lora_rate"), line=config.line("learning_rate"))
    elif "learning_rate" not in config.values and (calls or config.kind == "trl"):
        message = f"No learning rate is set, so TRL uses {TRL_RATE:g}, its default for full fine-tuning."
        yield Finding(
            message=message, fix=messages.say("lora_rate"), line=calls[0].line if calls else config.line("rank")
        )


@LINTS.rule(
    "rate_high",
    severity="warning",
    source=sources.TINKER,
    bad=("py", _LORA + "SFTConfig(max_length=4096, learning_rate=5e-3)"),
    good=("py", _LORA + "SFTConfig(max_length=4096, learning_rate=5e-4)"),
)
def rate_high(config: TrainerConfig) -> Iterator[Finding]:
    """A learning rate above every published fit.

    Fits over families and widths give 1.7e-4 to 4.7e-4 from 8B to 70B parameters. Small models tolerate up to about
    1e-3.
    """
    rate = config.number("learning_rate")
    if rate is not None and rate > HIGH:
        yield Finding(
            message=f"A learning rate of {rate:g} is higher than any published recommendation for LoRA.",
            fix="Run a few steps to check that the loss stays stable.",
            line=config.line("learning_rate"),
        )


@LINTS.rule(
    "batch_large",
    severity="warning",
    source=sources.TML,
    bad=("yaml", _AXOLOTL + "micro_batch_size: 8\ngradient_accumulation_steps: 8"),
    good=("yaml", _AXOLOTL + "micro_batch_size: 2\ngradient_accumulation_steps: 8"),
)
def batch_large(config: TrainerConfig) -> Iterator[Finding]:
    """A batch of 32 or more with adapters.

    LoRA tolerates large batches less than full fine-tuning, and a higher rank does not help.
    """
    batch = (config.number("micro_batch_size") or 1) * (config.number("accumulation") or 1)
    if config.adapters and config.on_answers and batch >= MAX_BATCH:
        message, line = (
            f"A batch of {batch:.0f} rows per device is too large for LoRA.",
            config.line("accumulation", "micro_batch_size"),
        )
        yield Finding(message=message, fix=f"Use fewer than {MAX_BATCH} rows per step.", line=line)


@LINTS.rule(
    "epochs_fixed",
    severity="warning",
    source=sources.EARLY_STOPPING,
    bad=("yaml", _AXOLOTL + "num_epochs: 5"),
    good=("yaml", _AXOLOTL + "num_epochs: 5\nearly_stopping_patience: 2"),
)
def epochs_fixed(config: TrainerConfig) -> Iterator[Finding]:
    """Many epochs without early stopping.

    Several passes over a small set often hurt. Stopping when the metric on held-out rows no longer improves removes
    most of the harm.
    """
    epochs = config.number("epochs")
    stops = config.calls_of("EarlyStoppingCallback") or config.get("early_stopping") or config.get("best_at_end")
    if epochs is not None and epochs > 3 and not stops:
        yield Finding(
            message=f"Training runs for {epochs:g} epochs without early stopping.",
            fix="Use early stopping on the task metric, measured on held-out rows.",
            line=config.line("epochs"),
        )


@LINTS.rule(
    "adam_8bit",
    severity="note",
    source="Arithmetic: 2 states of 4 bytes against 2 of 1 byte, of the trained parameters alone",
    bad=("yaml", "base_model: a/b\nadapter: qlora\nlora_r: 32\noptimizer: adamw_8bit"),
    good=("yaml", "base_model: a/b\nadapter: qlora\nlora_r: 32\noptimizer: adamw_torch_fused"),
)
def adam_8bit(config: TrainerConfig) -> Iterator[Finding]:
    """An 8-bit optimiser for adapters.

    The states of adapters are small already: for 83.9M parameters (8B, r=32) it saves 0.5 GiB, not 40%.
    """
    if config.adapters and "8bit" in str(config.get("optim") or ""):
        yield Finding(
            message="An 8-bit optimiser saves only about 6 bytes per trained parameter: 0.5 GiB for 84M parameters.",
            fix="Use adamw_torch_fused, unless the run needs that memory.",
            line=config.line("optim"),
        )


@LINTS.rule(
    "noise_on",
    severity="note",
    source=sources.NEFTUNE,
    bad=("yaml", _AXOLOTL + "neftune_noise_alpha: 5"),
    good=("yaml", _AXOLOTL + "neftune_noise_alpha: null"),
)
def noise_on(config: TrainerConfig) -> Iterator[Finding]:
    """NEFTune, noise on the embeddings.

    It made answers longer and judges happier (AlpacaEval 29.8 to 64.7) and changed nothing on knowledge tasks.
    """
    if config.get("neftune"):
        yield Finding(
            message="NEFTune is on. It makes answers longer and has not improved results on knowledge tasks.",
            fix="Turn off NEFTune, unless it improves the task metric on held-out rows.",
            line=config.line("neftune"),
        )
