"""GPUs that a run may be planned for: their memory and how fast they multiply (`gpus.json`, from data sheets)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import orjson

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
    rows = orjson.loads(files(__package__).joinpath("gpus.json").read_bytes())["gpus"]
    return tuple(sorted((Gpu(**row) for row in rows), key=lambda gpu: (gpu.gib, gpu.tflops)))


def gpus_of_at_least(n_bytes: float) -> Sequence[Gpu]:
    return [gpu for gpu in gpus() if gpu.gib * GIB >= n_bytes][:2]


def gpus_of(n_bytes: float) -> Sequence[Gpu]:
    """Return the GPUs whose memory is `n_bytes`, give or take a tenth."""
    return [gpu for gpu in gpus() if abs(gpu.gib * GIB / n_bytes - 1) < 0.1]
