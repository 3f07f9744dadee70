"""GPUs that a run may be planned for: their memory and how fast they multiply (`gpus.json`, from data sheets)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tuneworthy.store.shapes import bundled_rows

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its memory and its dense 16-bit products, in TFLOP/s."""

    name: str
    gib: float
    tflops: float

    def __str__(self) -> str:
        return f"{self.name} ({self.gib:g} GiB)"


@cache
def gpus() -> Sequence[Gpu]:
    """Return all GPUs, the smallest first."""
    rows = bundled_rows("tuneworthy.train", "gpus.json", "gpus", Gpu)
    return sorted(rows, key=lambda gpu: (gpu.gib, gpu.tflops))
