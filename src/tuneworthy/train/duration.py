"""Duration of a run: its operations over the speed of the machine, as a band.

A token costs 2 operations a weight forward, 2 more back through it, 2 for the gradient of a weight that is trained, 2
when it is computed again (checkpointing), and 2 when it is read as the model was before training (pairs), so that a
LoRA needs about 67 % of full fine-tuning. Training used 16 to
31 % of the peak of a processor (benchmarks/train.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from tuneworthy.train.memory import Device
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.shape import Shape
from tuneworthy.types import JsonObject

# Share of the peak that training uses.
USED = {"cuda": (0.30, 0.45), "cpu": (0.15, 0.35)}
# How many times longer products with NF4 weights take.
DEQUANTISING = (1.0, 2.0)
# Seconds that products are timed for.
SAMPLE_S = 0.2
# Rows and columns of the matrices that are multiplied.
SIDE = 512


@dataclass(frozen=True, slots=True)
class Duration:
    """A band of time.

    Attributes:
        low: Seconds at best.
        high: Seconds at worst.
        flops: Operations.
        peak: Operations a second that the machine can do.
        machine: Its name.
    """

    low: float
    high: float
    flops: float
    peak: float
    machine: str

    def times(self, n: float) -> Duration:
        return replace(self, low=self.low * n, high=self.high * n, flops=self.flops * n)

    def to_dict(self) -> JsonObject:
        return {
            "seconds": [round(self.low, 1), round(self.high, 1)],
            "flops": self.flops,
            "peak_flops": self.peak,
            "machine": self.machine,
        }

    def __str__(self) -> str:
        return f"{readable_time(self.low)} to {readable_time(self.high)} on {self.machine}"


def readable_time(seconds: float) -> str:
    """Return a time for people.

    >>> readable_time(90), readable_time(5400)
    ('1.5 min', '1.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.2g} min" if seconds < 60 * 60 else f"{seconds / 3600:.2g} h"


def flops(shape: Shape, settings: TrainingSettings, n_tokens: float) -> float:
    a_weight = 4 + 2 * (settings.method == "full" or settings.paired) + 2 * settings.gradient_checkpointing
    attention = 2 * 2 * shape.n_layers * shape.q_width * settings.max_length * a_weight / 4
    return n_tokens * (a_weight * shape.n_active + attention)


def epoch(  # noqa: PLR0917
    shape: Shape, settings: TrainingSettings, rows: RowLengths, peak: float, device: Device, machine: str
) -> Duration:
    """Return how long one pass over the rows takes: at best with the common beginning of a batch computed once.

    Args:
        shape: Shape of the base.
        settings: How.
        rows: On what.
        peak: Operations a second that the machine can do.
        device: Where.
        machine: Its name.
    """
    worst, best = USED[device]
    n = min(rows.n_tokens, rows.n_rows * settings.max_length * (1 + settings.paired))
    again = rows.shared * rows.n_rows * (1 - 1 / settings.micro_batch_size)
    least, work = flops(shape, settings, n - again), flops(shape, settings, n)
    more = work + 2 * n * shape.n_active
    slow = DEQUANTISING if settings.method == "qlora" else (1.0, 1.0)
    return Duration(slow[0] * least / (best * peak), slow[1] * more / (worst * peak), work, peak, machine)


def measure_products(dtype: str) -> float | None:
    """Return the operations a second of this processor in products of matrices; None without torch.

    The fastest sample counts, of all threads or of one: others may use the processor as well, and threads that wait for
    each other are then hardly ever on it together.
    """
    try:
        import torch
    except ImportError:
        return None
    threads = torch.get_num_threads()
    a, b = (torch.randn(SIDE, SIDE).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    try:
        for n in sorted({1, threads}):
            torch.set_num_threads(n)
            a @ b
            end = time.perf_counter() + SAMPLE_S
            while (start := time.perf_counter()) < end:
                a @ b
                best = min(best, time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return 2 * SIDE**3 / best
