"""Lints of learning rate, batch, epochs and optimiser."""

from collections.abc import Iterator
from typing import Final

from tuneworthy.rules import Finding
from tuneworthy.train import sources
from tuneworthy.train.lints import LINTS
from tuneworthy.train.lints.settings_table import SettingsTable

MIN_RATE, MAX_RATE = 1e-4, 1e-3
MAX_BATCH: Final = 32
TRL_RATE: Final = 2e-5


@LINTS.rule(
    "rate_of_full",
    source=f"{sources.TML}; {sources.TRL}",
    bad={"r": 16, "max_length": 4096},
    good={"r": 16, "max_length": 4096, "learning_rate": 2e-4},
)
def rate_of_full(table: SettingsTable) -> Iterator[Finding]:
    """Adapters with the learning rate of full fine-tuning.

    LoRA needs about 10 times the rate of full fine-tuning: 1e-4 to 5e-4. TRL's default of 2e-5 is for the latter.
    Settings for DPO and GRPO, which need lower rates, are left out.
    """
    if not table.adapters or not table.is_run or not table.on_answers:
        return
    rate, message = table.number("learning_rate"), ""
    if "learning_rate" not in table.values:
        message = f"No learning rate is set, so TRL uses {TRL_RATE:g}, its default for full fine-tuning."
    elif rate is not None and rate < MIN_RATE:
        message = f"A learning rate of {rate:g} is too low for adapters."
    if message:
        fix = "Use about 10 times the learning rate for full fine-tuning: 1e-4 to 5e-4."
        yield Finding(message=message, fix=fix)


@LINTS.rule(
    "rate_high",
    severity="warning",
    source=sources.TINKER,
    bad={"learning_rate": 5e-3},
    good={"learning_rate": 5e-4},
)
def rate_high(table: SettingsTable) -> Iterator[Finding]:
    """A learning rate above every published fit.

    Fits over families and widths give 1.7e-4 to 4.7e-4 from 8B to 70B parameters. Small models tolerate up to about
    1e-3.
    """
    rate = table.number("learning_rate")
    if rate is not None and rate > MAX_RATE:
        yield Finding(
            message=f"A learning rate of {rate:g} is higher than any published recommendation for LoRA.",
            fix="Run a few steps to check that the loss stays stable.",
        )


@LINTS.rule(
    "batch_large",
    severity="warning",
    source=sources.TML,
    bad={"lora_r": 16, "micro_batch_size": 8, "gradient_accumulation_steps": 8},
    good={"lora_r": 16, "micro_batch_size": 2, "gradient_accumulation_steps": 8},
)
def batch_large(table: SettingsTable) -> Iterator[Finding]:
    """A batch of 32 or more with adapters.

    LoRA tolerates large batches less than full fine-tuning, and a higher rank does not help.
    """
    batch = (table.number("micro_batch_size") or 1) * (table.number("accumulation") or 1)
    if table.adapters and table.on_answers and batch >= MAX_BATCH:
        yield Finding(
            message=f"A batch of {batch:.0f} rows per device is too large for LoRA.",
            fix=f"Use fewer than {MAX_BATCH} rows per step.",
        )


@LINTS.rule(
    "epochs_fixed",
    severity="warning",
    source=sources.EARLY_STOPPING,
    bad={"num_epochs": 5},
    good={"num_epochs": 5, "early_stopping_patience": 2},
)
def epochs_fixed(table: SettingsTable) -> Iterator[Finding]:
    """Many epochs without early stopping.

    Several passes over a small set often hurt. Stopping when the metric on held-out rows no longer improves removes
    most of the harm.
    """
    epochs = table.number("epochs")
    if epochs is not None and epochs > 3 and not table.get("early_stopping") and not table.get("best_at_end"):
        yield Finding(
            message=f"Training runs for {epochs:g} epochs without early stopping.",
            fix="Use early stopping on the task metric, measured on held-out rows.",
        )


@LINTS.rule(
    "adam_8bit",
    severity="note",
    source="Arithmetic: 2 states of 4 bytes against 2 of 1 byte, of the trained parameters only",
    bad={"lora_r": 32, "optimizer": "adamw_8bit"},
    good={"lora_r": 32, "optimizer": "adamw_torch_fused"},
)
def adam_8bit(table: SettingsTable) -> Iterator[Finding]:
    """An 8-bit optimiser for adapters.

    The states of adapters are small already: for 83.9M parameters (8B, r=32) it saves 0.5 GiB, not 40%.
    """
    if table.adapters and "8bit" in str(table.get("optim")):
        yield Finding(
            message="An 8-bit optimiser saves only about 6 bytes per trained parameter: 0.5 GiB for 84M parameters.",
            fix="Use adamw_torch_fused, unless the run needs that memory.",
        )


@LINTS.rule(
    "noise_on",
    severity="note",
    source=sources.NEFTUNE,
    bad={"neftune_noise_alpha": 5},
    good={"neftune_noise_alpha": None},
)
def noise_on(table: SettingsTable) -> Iterator[Finding]:
    """NEFTune, noise on the embeddings.

    It made answers longer and judges happier (AlpacaEval 29.8 to 64.7) and changed nothing on knowledge tasks.
    """
    if table.get("neftune"):
        yield Finding(
            message="NEFTune is on. It makes answers longer and has not improved results on knowledge tasks.",
            fix="Turn off NEFTune, unless it improves the task metric on held-out rows.",
        )
