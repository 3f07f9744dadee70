"""How long a run takes: its arithmetic over what the machine can do, as a band.

A token costs 2 operations a weight forward, 2 more back through it, 2 for the gradient of a weight that is trained, and
2 when it is computed again (checkpointing). Source: facts.md 0, row 15 and A1 (a LoRA needs about 67 % of full
training); numbers.md of this project (16 to 31 % of the peak on a CPU).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuneworthy.train.lengths import RowLengths
from tuneworthy.train.memory import Device
from tuneworthy.train.settings import Settings
from tuneworthy.train.shape import Shape

USED: Final[Mapping[Device, tuple[float, float]]] = {"cuda": (0.30, 0.45), "cpu": (0.15, 0.35)}
"""Share of the peak that training uses."""
DEQUANTISING: Final = (1.0, 2.0)
"""How many times longer products with NF4 weights take."""
SAMPLE_S: Final = 0.3
"""Time that products are timed for."""


@dataclass(frozen=True, slots=True)
class Duration:
    """A band of time.

    Attributes:
        low, high: Seconds. flops: Operations. peak: Of the machine, operations a second. machine: In words.
    """

    low: float
    high: float
    flops: float
    peak: float
    machine: str

    def to_dict(self) -> dict[str, Any]:
        """Return the band as JSON-able values."""
        return {
            "seconds": [round(self.low, 1), round(self.high, 1)],
            "flops": self.flops,
            "peak_flops": self.peak,
            "machine": self.machine,
        }

    def __str__(self) -> str:
        return f"{words(self.low)} to {words(self.high)} on {self.machine}"


def words(seconds: float) -> str:
    """Return a time for people.

    >>> words(90), words(5400)
    ('1.5 min', '1.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.2g} min" if seconds < 60 * 60 else f"{seconds / 3600:.2g} h"


def flops(shape: Shape, settings: Settings, n_tokens: float) -> float:
    """Return the operations of one pass over `n_tokens`."""
    a_weight = 4 + 2 * (settings.method == "full") + 2 * settings.gradient_checkpointing
    attention = 2 * 2 * shape.n_layers * shape.q_width * settings.max_length * a_weight / 4
    return n_tokens * (a_weight * shape.n_active + attention)


def epoch(shape: Shape, settings: Settings, rows: RowLengths, peak: float, device: Device, machine: str) -> Duration:  # noqa: PLR0917
    """Return how long one pass over the rows takes.

    Args:
        shape, settings, rows: What is trained, how, on what.
        peak: Operations a second that the machine can do.
        device: Where. machine: Its name.
    """
    worst, best = USED[device]
    n = min(rows.n_tokens, rows.n_rows * settings.max_length)
    work = flops(shape, settings, n)
    more = work + 2 * n * shape.n_active
    slow = DEQUANTISING if settings.method == "qlora" else (1.0, 1.0)
    return Duration(slow[0] * work / (best * peak), slow[1] * more / (worst * peak), work, peak, machine)


def measure_products(dtype: str) -> float | None:
    """Return the operations a second of this processor in products of 1024 x 1024 matrices; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    left, right = (torch.randn(1024, 1024).to(getattr(torch, dtype)) for _ in range(2))
    left @ right
    best, end = float("inf"), time.perf_counter() + SAMPLE_S
    while (start := time.perf_counter()) < end:
        left @ right
        best = min(best, time.perf_counter() - start)  # the fastest: others may use the processor as well
    return 2 * 1024**3 / best
