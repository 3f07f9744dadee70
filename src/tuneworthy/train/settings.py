"""The settings of a training run, as they are stored with the adapter.

Adapters are scaled by alpha / rank: what counts is that scale together with the learning rate, never alpha alone.
"""

from dataclasses import asdict
from typing import Literal

from tuneworthy.errors import UserError
from tuneworthy.types import JsonObject, TextTuple, frozen

Method = Literal["lora", "qlora", "full", "preference", "continued"]
Schedule = Literal["linear", "cosine", "constant"]
Dtype = Literal["bfloat16", "float16", "float32"]

# PEFT's word for every linear layer except the output head.
ALL_LINEAR = "all-linear"

# Tokens of a block of raw text.
BLOCK = 256
# Rows that a base writes itself, about, however many rows the task has.
MOST_REHEARSAL = 512

_MEMORY = frozenset({"micro_batch_size", "gradient_checkpointing", "processes"})


@frozen
class TrainingSettings:
    """The settings of one run.

    Attributes:
        method: Adapters on the 16-bit base, on a 4-bit base, or all weights; or adapters on the 16-bit base by pairs,
            or by raw text and then by rows.
        rank: Capacity of the adapters; of no effect under `full`.
        alpha: Their output is multiplied by alpha / rank.
        dropout: Share of the adapters' inputs that is set to 0.
        target_modules: `all-linear`, or names of modules.
        learning_rate: Peak of the schedule.
        schedule: How the rate falls after its peak.
        warmup_ratio: Share of the steps in which it rises, 0..1.
        epochs: Most passes over the rows.
        batch_size: Rows an optimiser step.
        micro_batch_size: Rows at once, in each process; the rest of a step is accumulated.
        max_length: Tokens of a row; longer rows are left out and counted.
        dtype: Of the base's weights and of the arithmetic.
        gradient_checkpointing: Whether activations are computed twice to save memory.
        rehearsal: Rows that the base writes itself, as a share of the rows of the task.
        beta: Of DPO; of effect under `preference` alone.
        seed: Of the order of rows, the adapters and the dropout.
        processes: Processes that divide the rows of a step, on a GPU each if there are GPUs.
    """

    method: Method = "lora"
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: str | TextTuple = ALL_LINEAR
    learning_rate: float = 2e-4
    schedule: Schedule = "linear"
    warmup_ratio: float = 0.03
    epochs: float = 3.0
    batch_size: int = 16
    micro_batch_size: int = 4
    max_length: int = 1024
    dtype: Dtype = "bfloat16"
    gradient_checkpointing: bool = False
    rehearsal: float = 0.0
    beta: float = 0.1
    seed: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.processes:
            raise UserError(
                f"{self.processes} processes cannot share a batch of {self.batch_size} rows equally.",
                hint=f"Choose one of {', '.join(map(str, divisors(self.batch_size)))} processes, or change [train] "
                "batch_size.",
            )
        if self.batch_size % (self.processes * self.micro_batch_size):
            raise UserError(
                (f"batch_size ({self.batch_size}) is not a multiple of micro_batch_size ({self.micro_batch_size})."),
                hint="Change one of the two values.",
            )

    @property
    def paired(self) -> bool:
        """Whether each row is a pair: a forward pass then reads both of its answers, as the model and as it began."""
        return self.method == "preference"

    @property
    def accumulation(self) -> int:
        """Forward passes an optimiser step, of each process.

        >>> TrainingSettings(batch_size=16, micro_batch_size=4).accumulation
        4
        """
        return self.batch_size // (self.micro_batch_size * self.processes)

    def n_rehearsal(self, n_rows: int) -> int:
        """Return how many rows the base writes besides `n_rows` of the task: whole steps, at least one.

        >>> TrainingSettings(rehearsal=0.05).n_rehearsal(1229), TrainingSettings(rehearsal=0.0).n_rehearsal(1229)
        (64, 0)
        """
        steps = max(1, round(min(self.rehearsal * n_rows, MOST_REHEARSAL) / self.batch_size))
        return steps * self.batch_size if self.rehearsal else 0

    def to_dict(self) -> JsonObject:
        names = self.target_modules
        return asdict(self) | {"target_modules": names if isinstance(names, str) else list(names)}

    @property
    def identity(self) -> JsonObject:
        """Settings that the adapter depends on: all but the split of a step, which follows from the machine."""
        idle = _MEMORY if self.paired else _MEMORY | {"beta"}
        return {key: value for key, value in self.to_dict().items() if key not in idle}


def divisors(n: int) -> list[int]:
    """Return the divisors of `n`, the smallest first.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    return [part for part in range(1, n + 1) if n % part == 0]
