"""Learning rate, batch, epochs and optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from tuneworthy.train.lints.base import Fault, Severity, lint
from tuneworthy.train.lints.trainer_config import TrainerConfig

LOW, HIGH = 1e-4, 1e-3
MAX_BATCH: Final = 32
TRL_RATE: Final = 2e-5
_LORA = "from trl import SFTConfig\nfrom peft import LoraConfig\nLoraConfig(r=16, target_modules='all-linear')\n"


@lint("rate_of_full")
class RateOfFull:
    """Adapters with the learning rate of full training.

    LoRA needs about 10 times the rate of full training, 1e-4 to 5e-4. TRL's default of 2e-5 is that of full training.
    """

    code: ClassVar[str]
    name: ClassVar = "the learning rate of full training"
    severity: ClassVar[Severity] = "error"
    source: ClassVar = "facts.md A1: TML (ii); A4: SFTConfig of trl 1.16.0"
    mark: ClassVar = "V"
    bad: ClassVar = ("py", _LORA + "SFTConfig(max_length=4096)")
    good: ClassVar = ("py", _LORA + "SFTConfig(max_length=4096, learning_rate=2e-4)")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if not given.adapters or given.kind == "peft":
            return
        rate = given.number("learning_rate")
        if rate is not None and rate < LOW:
            yield Fault(given.line("learning_rate"), f"{rate:g} with adapters: about 10 times as much, 1e-4 to 5e-4")
        elif rate is None and "learning_rate" not in given.values and (given.named("SFTConfig") or given.kind == "trl"):
            line = next((call.line for call in given.named("SFTConfig")), given.line("rank"))
            yield Fault(line, f"TRL's default is {TRL_RATE:g}, of full training: write learning_rate=2e-4")


@lint("rate_high")
class RateHigh:
    """A learning rate above what the fits give for any model.

    The fits over families and widths give 1.7e-4 to 4.7e-4 from 8B to 70B; small models bear up to about 1e-3.
    """

    code: ClassVar[str]
    name: ClassVar = "a very high learning rate"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A1: tinker-cookbook fit"
    mark: ClassVar = "V2"
    bad: ClassVar = ("py", _LORA + "SFTConfig(max_length=4096, learning_rate=5e-3)")
    good: ClassVar = ("py", _LORA + "SFTConfig(max_length=4096, learning_rate=5e-4)")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        rate = given.number("learning_rate")
        if rate is not None and rate > HIGH:
            yield Fault(given.line("learning_rate"), f"{rate:g}: look whether the loss stays stable in a short run")


@lint("batch_large")
class BatchLarge:
    """A batch of 32 or more with adapters.

    LoRA bears large batches less than full training, and a higher rank does not mend it.
    """

    code: ClassVar[str]
    name: ClassVar = "a large batch"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A1: TML (iv)"
    mark: ClassVar = "V"
    bad: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\nmicro_batch_size: 8\n"
                             "gradient_accumulation_steps: 8")  # fmt: skip
    good: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\nmicro_batch_size: 2\n"
                              "gradient_accumulation_steps: 8")  # fmt: skip

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        batch = (given.number("micro_batch_size") or 1) * (given.number("accumulation") or 1)
        if given.adapters and batch >= MAX_BATCH:
            line = given.line("accumulation", "micro_batch_size")
            yield Fault(line, f"{batch:.0f} rows a step (on each device): stay below {MAX_BATCH}")


@lint("epochs_fixed")
class EpochsFixed:
    """Many epochs and nothing that stops early.

    Several passes over a small set often hurt; stopping when the metric on held-out rows no longer gets better removes
    most of the harm.
    """

    code: ClassVar[str]
    name: ClassVar = "epochs without early stopping"
    severity: ClassVar[Severity] = "warning"
    source: ClassVar = "facts.md A1: Raschka; Gekhman 2405.05904"
    mark: ClassVar = "K V2"
    bad: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\nnum_epochs: 5")
    good: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\nnum_epochs: 5\nearly_stopping_patience: 2")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        epochs = given.number("epochs")
        stops = given.named("EarlyStoppingCallback") or given.get("early_stopping") or given.get("best_at_end")
        if epochs is not None and epochs > 3 and not stops:
            yield Fault(given.line("epochs"), f"{epochs:g} epochs: stop early by the task metric on held-out rows")


@lint("adam_8bit")
class Adam8bit:
    """An 8-bit optimiser for adapters.

    Its states are small already: of 83.9M parameters (8B, r=32) it saves 0.5 GiB, not 40 %.
    """

    code: ClassVar[str]
    name: ClassVar = "an 8-bit optimiser that saves little"
    severity: ClassVar[Severity] = "note"
    source: ClassVar = "facts.md 0, row 13"
    mark: ClassVar = "C"
    bad: ClassVar = ("yaml", "base_model: a/b\nadapter: qlora\nlora_r: 32\noptimizer: adamw_8bit")
    good: ClassVar = ("yaml", "base_model: a/b\nadapter: qlora\nlora_r: 32\noptimizer: adamw_torch_fused")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.adapters and "8bit" in str(given.get("optim") or ""):
            yield Fault(given.line("optim"), "saves about 6 bytes a trained parameter: 0.5 GiB for 84M")


@lint("noise_on")
class NoiseOn:
    """NEFTune, noise on the embeddings.

    It made answers longer and judges happier (AlpacaEval 29.8 to 64.7) and changed nothing on knowledge tasks.
    """

    code: ClassVar[str]
    name: ClassVar = "noise that pleases judges"
    severity: ClassVar[Severity] = "note"
    source: ClassVar = "facts.md A1: arXiv 2310.05914"
    mark: ClassVar = "V"
    bad: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\nneftune_noise_alpha: 5")
    good: ClassVar = ("yaml", "base_model: a/b\nadapter: lora\nlora_r: 16\nneftune_noise_alpha: null")

    def look(self, given: TrainerConfig) -> Iterator[Fault]:
        """Yield the fault."""
        if given.get("neftune"):
            yield Fault(given.line("neftune"), "leave it out unless the task metric itself gets better by it")
