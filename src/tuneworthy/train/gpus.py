"""GPUs that a run may be planned for, and machines that people own (`gpus.json`, from data sheets)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tuneworthy.store.shapes import bundled_rows
from tuneworthy.types import frozen

GIB = 2**30
# Memory for weights and answers in flight, as a multiple of the weights.
HEADROOM = 1.2
# Forms of the weights, the widest first, and their bits a weight. Source: Llama 3.1 8B in
# https://github.com/ggml-org/llama.cpp/blob/master/tools/quantize/README.md.
FORMS = {"f16": 16.0, "q8_0": 8.5008, "q4_k_m": 4.8944}
# Share of a Mac's memory that its GPU may use, up to and above the size: 10,923 of 16,384 MiB
# (https://github.com/abetlen/llama-cpp-python/issues/687), 21,845 of 32,768 (https://github.com/ollama/ollama/issues/434),
# above that 75% (https://github.com/ggml-org/llama.cpp/discussions/2182). `iogpu.wired_limit_mb` raises it
# (https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.set_wired_limit.html). Read on 2026-12-01.
APPLE_LARGE_GIB, APPLE_SHARES = 32.0, (2 / 3, 3 / 4)
# Memory of the system on a machine without a card of its own. Assumed.
SYSTEM_GIB = 2.0


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
    return sorted(bundled_rows("tuneworthy.train", "gpus.json", "gpus", Gpu), key=lambda gpu: (gpu.gib, gpu.tflops))


@frozen
class OwnedMachine:
    """A machine that people own: its rent is no cost of an answer, and its speed is only bounded.

    Attributes:
        name: Card, chip or processor.
        kind: Of memory: a card's own, a Mac's unified memory, or that of a processor.
        gib: Memory.
        gb_per_s: Memory bandwidth of the data sheet; None if it is unknown.
        source: Of the bandwidth.
    """

    name: str
    kind: Literal["card", "apple", "cpu"]
    gib: float
    gb_per_s: float | None = None
    source: str

    def __str__(self) -> str:
        return f"{self.name}, {self.gib:g} GB"

    @property
    def free_gib(self) -> float:
        """Memory of the processor that the system leaves; a card's is all free."""
        return self.gib if self.kind == "card" else self.gib - SYSTEM_GIB

    @property
    def serving_gib(self) -> float:
        """Memory that a model may use; on a Mac, that of its GPU."""
        return self.gib * APPLE_SHARES[self.gib > APPLE_LARGE_GIB] if self.kind == "apple" else self.free_gib

    def form(self, params_b: float) -> str | None:
        """Return the widest form of the weights that fits; None if not even four bits do.

        Args:
            params_b: Size of the model, billions of parameters.
        """
        return next(
            (form for form, bits in FORMS.items() if HEADROOM * params_b * 1e9 * bits / 8 <= self.serving_gib * 2**30),
            None,
        )

    def most_tokens_per_s(self, active_b: float, form: str) -> float | None:
        """Return an upper bound of the answer tokens a second of one request: each token reads all active weights.

        Args:
            active_b: Parameters that work on a token, billions.
            form: Key of `FORMS`.
        """
        return None if self.gb_per_s is None else self.gb_per_s * 8 / (active_b * FORMS[form])


@cache
def owned_machines() -> Sequence[OwnedMachine]:
    return bundled_rows("tuneworthy.train", "gpus.json", "owned", OwnedMachine)
