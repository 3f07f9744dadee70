"""How much memory a run needs at its peak, by part, from the model's shape alone; and what would fit if it does not.

Every part is counted from what the libraries really hold: weights, adapters with their gradients and optimiser states,
what autograd keeps of each layer, the working set of the output head. What cannot be counted (the allocator's gaps,
libraries that load on first use) is `fixed`, calibrated on runs that the validation does not use
(benchmarks/memory.py). `reconcile` holds an estimate against the measured peak of a run.

Source: facts.md A3; transformers 5.24 modeling_llama.py, peft 0.21.2 tuners/lora/layer.py, trl 1.16.0
kernels/chunked_logprob.py; arXiv 2305.14314 (NF4, double quantisation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.shape import Shape

Device = Literal["cpu", "cuda"]
TrainerName = Literal["trl", "unsloth", "axolotl"]
GIB: Final = 2**30
NF4_BYTES: Final = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Of a weight in NF4 with double quantisation: 4 bits, 8 of the scale of each 64, 32 of the scale of each 64 · 256."""
FUSED_SINCE: Final = (1, 16)
"""The first TRL whose SFTTrainer never builds all logits, as far as was read."""
TILE_TOKENS, TILE_VOCAB = 4096, 32768
"""Largest tile of TRL's fused output head."""
TILE_BYTES: Final[Mapping[Device, int]] = {"cpu": 29, "cuda": 0}
"""Of temporaries a number of the tile, beside the tile itself, in its backward pass; Triton works in place."""
LOGIT_BYTES: Final = 2 + 4 + 4
"""Of each logit that is built in full: in 16 bits, in 32, and its gradient."""
EAGER_COPIES: Final = 8
"""Attention matrices that eager attention holds at once (fitcheck-llm: 7.4 to 9)."""
FIXED: Final[Mapping[Device, int]] = {"cpu": 80 * 2**20, "cuda": 1 * GIB}
"""What a run takes beside its tensors: on a CPU what loads on first use; on a GPU the context and gaps, 0.5 to 2 GB."""
GAPS: Final[Mapping[Device, float]] = {"cpu": 0.15, "cuda": 0.0}
"""Gaps that the C library's allocator leaves between what layers keep, as a share of it; on a GPU part of `fixed`."""
BAND: Final[Mapping[Device, tuple[float, float]]] = {"cpu": (0.90, 1.10), "cuda": (0.85, 1.15)}
DTYPE_BYTES: Final = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Backend:
    """What trains, and its version.

    Attributes:
        name: The trainer. version: Its version, e.g. ``(1, 16)``.
        attention: `sdpa` (or flash attention, which holds as much), or `eager`.
        eight_bit_optimizer: Whether the states of the optimiser are kept in 8 bits.
        upcasts: Whether what NF4 leaves alone is kept in 32 bits (`prepare_model_for_kbit_training`).
    """

    name: TrainerName = "trl"
    version: tuple[int, ...] = FUSED_SINCE
    attention: Literal["sdpa", "eager"] = "sdpa"
    eight_bit_optimizer: bool = False
    upcasts: bool = False

    @property
    def fused_head(self) -> bool:
        """Whether the logits are never built in full."""
        return self.name == "unsloth" or (self.name == "trl" and self.version >= FUSED_SINCE)

    @property
    def spares_the_card(self) -> bool:
        """Whether inputs of layers and spare embeddings go to the host's memory when the card's is short (Unsloth)."""
        return self.name == "unsloth"


PLAIN_TRL: Final = Backend()


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One part of the peak: its name, bytes, and what it is."""

    name: str
    n_bytes: float
    why: str


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The peak of a run above what the imports take.

    Attributes:
        parts: What it is made of. band: Lowest and highest share of the sum that is to be expected.
    """

    parts: Sequence[MemoryPart]
    band: tuple[float, float]

    @property
    def n_bytes(self) -> float:
        """The sum."""
        return sum(part.n_bytes for part in self.parts)

    @property
    def low(self) -> float:
        """The lower end of the band, bytes."""
        return self.n_bytes * self.band[0]

    @property
    def high(self) -> float:
        """The upper end of the band, bytes."""
        return self.n_bytes * self.band[1]

    def part(self, name: str) -> float:
        """Return the bytes of the part `name`; 0 if there is none."""
        return sum(part.n_bytes for part in self.parts if part.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON-able values, GiB."""
        return {
            "gib": round(self.n_bytes / GIB, 2),
            "band_gib": [round(self.low / GIB, 2), round(self.high / GIB, 2)],
            "parts": [{"part": one.name, "gib": round(one.n_bytes / GIB, 3), "why": one.why} for one in self.parts],
        }


def estimate(shape: Shape, settings: TrainingSettings, device: Device, backend: Backend = PLAIN_TRL) -> MemoryEstimate:
    """Return what a run needs at its peak.

    The peak is where the most is held at once: when the output head is differentiated, in the backward pass of a
    layer, or (all weights trained) when all gradients are there.
    """
    run = _RunMemory(shape, settings, device, backend)
    held = run.held()
    moments = run.moments()
    worst = max(moments, key=lambda parts: sum(part.n_bytes for part in parts))
    parts = [part for part in (*held, *worst) if part.n_bytes]
    return MemoryEstimate(
        (*parts, MemoryPart("fixed", FIXED[device], "libraries, context and gaps")), _band(shape, device)
    )


def _band(shape: Shape, device: Device) -> tuple[float, float]:
    low, high = BAND[device]
    return (low, high) if shape.known else (2 * low - 1, 2 * high - 1)


@dataclass(frozen=True, slots=True)
class _RunMemory:
    """The arithmetic of one run; all methods return bytes or parts."""

    shape: Shape
    settings: TrainingSettings
    device: Device
    backend: Backend

    @property
    def full(self) -> bool:
        return self.settings.method == "full"

    @property
    def width(self) -> int:
        """Bytes of a number that layers hand on."""
        return DTYPE_BYTES[self.settings.dtype]

    @property
    def mixed(self) -> bool:
        """Whether products are computed in 16 bits beside weights in 32."""
        return self.width == 2

    @property
    def tokens(self) -> int:
        return self.settings.micro_batch_size * self.settings.max_length

    @property
    def n_trained(self) -> int:
        chosen = self.settings
        return self.shape.n_params if self.full else self.shape.n_lora(chosen.rank, chosen.target_modules)

    # --- what is held all the time ---------------------------------------------------------------------------------

    def held(self) -> list[MemoryPart]:
        """Return weights and trainable state."""
        trained = self.n_trained
        wide = 2 if self.settings.method == "qlora" else 4
        states = 2 if self.backend.eight_bit_optimizer else 2 * wide
        words = "all weights" if self.full else f"{trained / 1e6:.1f}M parameters of adapters"
        parts = [*self._weights()]
        if not self.full:
            parts.append(MemoryPart("adapters", trained * wide, f"{words}, {wide} bytes each"))
        if self.mixed and wide == 4:
            copied = self.shape.n_linear if self.full else trained
            parts.append(MemoryPart("copies", 2 * copied, "16-bit copies of trained weights, for the products"))
        parts.append(MemoryPart("optimizer", trained * states, f"two moments of {words}, {states} bytes together"))
        accumulated = self.settings.accumulation > 1 or not self.full
        return [*parts, MemoryPart("gradients", trained * wide, f"of {words}")] if accumulated else parts

    def _weights(self) -> list[MemoryPart]:
        shape = self.shape
        moved = 0 if shape.tied or self.full or not self.backend.spares_the_card else shape.vocab * shape.hidden
        if self.settings.method != "qlora":
            wide, n = 4 if self.full else self.width, shape.n_params - moved
            return [MemoryPart("weights", n * wide, f"{n / 1e9:.3f}B of {wide} bytes")]
        rest = 4 if self.backend.upcasts else 2
        left = shape.n_params - shape.n_linear - moved
        return [
            MemoryPart("weights_nf4", shape.n_linear * NF4_BYTES, f"linear layers, {8 * NF4_BYTES:.3f} bits a weight"),
            MemoryPart("weights_rest", left * rest, f"embeddings, output head and norms, {rest} bytes a weight"),
        ]

    # --- what is held at the worst moment --------------------------------------------------------------------------

    def moments(self) -> list[list[MemoryPart]]:
        """Return what is held beside that, at each moment that can be the worst."""
        layer, layers = self.layer_bytes(), self.shape.n_layers
        attention = MemoryPart(
            "attention", self._eager() * (1 if self._checkpointed else layers), "matrices of eager attention"
        )
        late = [] if self.settings.accumulation > 1 or not self.full else self._gradients_at_once()
        if self._checkpointed:
            n_stored = 0 if self.backend.spares_the_card else layers
            stored = MemoryPart(
                "checkpoints", n_stored * self.tokens * self.shape.hidden * self._stream, "inputs of all layers"
            )
            live = MemoryPart("live_layer", layer + self.backward_bytes(), "one layer, computed again")
            return [[stored, self._head()], [stored, live, attention], late]
        kept = MemoryPart(
            "activations", layers * layer * (1 + GAPS[self.device]), f"what {layers} layers keep to go back"
        )
        work = MemoryPart("live_layer", self.backward_bytes(), "the backward pass of one layer")
        return [[kept, self._head(), attention], [kept, work, attention], late]

    @property
    def _checkpointed(self) -> bool:
        return self.settings.gradient_checkpointing

    @property
    def _stream(self) -> int:
        """Bytes of a number of the residual stream: 32 bits if weights are, or if a quantised base was upcast."""
        return 4 if self.full or self.backend.upcasts else self.width

    def layer_bytes(self) -> float:
        """Return what autograd keeps of one layer (see the module's sources)."""
        shape, chosen = self.shape, self.settings
        h, q, kv, c = shape.hidden, shape.q_width, shape.kv_width, self.width
        expanded = q if self.device == "cpu" and chosen.micro_batch_size > 1 else kv
        norms = shape.family.norms * h * (4 + (4 if self.full else 0))
        if shape.family.qk_norms:
            norms += (q + kv) * (4 + (4 if self.full else 0))
        attended = c * (2 * q + 2 * expanded) + 4 * shape.n_heads
        inner = c * shape.active_ff * (3 if shape.family.gated else 2)
        return self.tokens * (norms + attended + inner + self._inputs())

    def _inputs(self) -> float:
        """Return what is kept of the inputs of the linear layers of a layer, bytes a token."""
        chosen, layers = self.settings, self.shape.adapted(self.settings.target_modules)
        if self.full:
            cost: float = sum(layer.n * layer.d_in for layer in self.shape.linears) * self.width * self.mixed
        else:
            mask = (4 if self.device == "cpu" else 1) if chosen.dropout else 0
            cost = sum(layer.n * (layer.d_in * (self.width + mask) + chosen.rank * self.width) for layer in layers)
        return cost / self.shape.n_layers

    def backward_bytes(self) -> float:
        """Return the working set of the backward pass of one layer: gradients of its widest tensors."""
        ff = self.shape.active_ff
        return self.tokens * (self.width * (3 * ff + 2 * self.shape.hidden) + 4 * ff)

    def _eager(self) -> float:
        if self.backend.attention != "eager":
            return 0
        chosen = self.settings
        scores = chosen.micro_batch_size * self.shape.n_heads * chosen.max_length**2
        return EAGER_COPIES * self.width * scores

    def _head(self) -> MemoryPart:
        shape, chosen = self.shape, self.settings
        if not self.backend.fused_head:
            n_bytes = self.tokens * shape.vocab * LOGIT_BYTES
            return MemoryPart(
                "logits", n_bytes, f"all logits: {self.tokens} tokens x {shape.vocab} words x {LOGIT_BYTES} bytes"
            )
        rows = chosen.micro_batch_size * (chosen.max_length - 1)
        tile = min(rows, TILE_TOKENS) * min(shape.vocab, TILE_VOCAB)
        n_bytes = tile * (self.width + TILE_BYTES[self.device]) + rows * shape.hidden * 4
        if self.full:
            n_bytes += shape.vocab * shape.hidden * 4
        return MemoryPart("logits", n_bytes, "a tile of the output head at a time, with its gradient")

    def _gradients_at_once(self) -> list[MemoryPart]:
        return [MemoryPart("gradients", self.n_trained * 4, "of all weights, at the end of the backward pass")]


# --- does it fit, and what would ------------------------------------------------------------------------------------

Fit = Literal["fits", "fits with checkpointing", "does not fit"]


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """Whether a run fits.

    Attributes:
        fit: The answer. settings: With checkpointing if it takes that.
        estimate: Of these settings. available: Bytes.
        instead: What would fit, in words, with its numbers; only if it does not.
    """

    fit: Fit
    settings: TrainingSettings
    estimate: MemoryEstimate
    available: float
    instead: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "fit": self.fit,
            "available_gib": round(self.available / GIB, 2),
            **self.estimate.to_dict(),
            "instead": list(self.instead),
        }


def fits(
    shape: Shape, settings: TrainingSettings, available: float, device: Device, backend: Backend = PLAIN_TRL
) -> MemoryFit:
    """Say whether a run fits into `available` bytes: the upper end of its band must."""
    found = estimate(shape, settings, device, backend)
    if found.high <= available:
        return MemoryFit(
            "fits with checkpointing" if settings.gradient_checkpointing else "fits", settings, found, available
        )
    saving = _with(settings, gradient_checkpointing=True)
    saved = estimate(shape, saving, device, backend)
    if saved.high <= available:
        return MemoryFit("fits with checkpointing", saving, saved, available)
    found, chosen = (saved, saving) if saved.n_bytes < found.n_bytes else (found, settings)
    return MemoryFit(
        "does not fit", chosen, found, available, what_would_fit(shape, saving, available, device, backend)
    )


def what_would_fit(
    shape: Shape, settings: TrainingSettings, available: float, device: Device, backend: Backend = PLAIN_TRL
) -> Sequence[str]:
    """Return the smallest changes that fit, alone and then together, and cards that are large enough."""
    from tuneworthy.train.gpus import cards_of_at_least

    def size(**changes: Any) -> float:
        return estimate(shape, _with(settings, **changes), device, backend).high

    found = []
    one_row = {"micro_batch_size": 1}
    if settings.micro_batch_size > 1 and size(**one_row) <= available:
        found.append(f"one row at a time ({size(**one_row) / GIB:.1f} GiB)")
    for length in (settings.max_length // 2, settings.max_length // 4):
        if length >= 256 and size(max_length=length) <= available:
            found.append(f"rows of at most {length} tokens ({size(max_length=length) / GIB:.1f} GiB)")
            break
    if settings.method != "full" and settings.rank > 8 and size(rank=8) <= available:
        found.append(f"rank 8 ({size(rank=8) / GIB:.1f} GiB)")
    method = {"full": "lora", "lora": "qlora"}.get(settings.method)
    if method and (device == "cuda" or method == "lora") and size(method=method) <= available:
        found.append(f"{method} ({size(method=method) / GIB:.1f} GiB)")
    least: dict[str, Any] = {**one_row, "rank": min(8, settings.rank), "max_length": min(512, settings.max_length)}
    if device == "cuda" and settings.method != "qlora":
        least["method"] = "qlora"
    if not found and size(**least) <= available:
        words = ", ".join(f"{key} {value}" for key, value in least.items())
        found.append(f"all together: {words} ({size(**least) / GIB:.1f} GiB)")
    if not found:
        found.append(f"nothing here: even the smallest run needs {size(**least) / GIB:.1f} GiB; take a smaller model")
    if device == "cuda":
        found += [f"the whole run on a larger card: {card}" for card in cards_of_at_least(size())]
        found += [f"the smallest run on a larger card: {card}" for card in cards_of_at_least(size(**least), 1)]
    return found


def largest_micro_batch(
    shape: Shape, settings: TrainingSettings, available: float, device: Device, backend: Backend = PLAIN_TRL
) -> int:
    """Return the most rows at once, a divisor of the batch, that fit; 1 if none does."""
    divisors = [n for n in range(settings.batch_size, 0, -1) if settings.batch_size % n == 0]
    for n in divisors:
        if estimate(shape, _with(settings, micro_batch_size=n), device, backend).high <= available:
            return n
    return 1


def _with(settings: TrainingSettings, **changes: Any) -> TrainingSettings:
    return TrainingSettings(**{**settings.to_dict(), "target_modules": settings.target_modules, **changes})


# --- after the run --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """An estimate beside what was measured.

    Attributes:
        estimated, low, high, measured: Bytes above what the imports take.
    """

    estimated: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        """Estimate over measurement, minus 1."""
        return self.estimated / self.measured - 1 if self.measured else 0.0

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the band."""
        return self.low <= self.measured <= self.high

    @property
    def sentence(self) -> str:
        """In words."""
        where = "inside" if self.inside else "outside"
        return (
            f"memory: {self.measured / GIB:.2f} GiB measured, {self.estimated / GIB:.2f} estimated ({self.error:+.0%}),"
            f" {where} the band {self.low / GIB:.2f} to {self.high / GIB:.2f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values, GiB."""
        return {
            "measured_gib": round(self.measured / GIB, 3),
            "estimated_gib": round(self.estimated / GIB, 3),
            "band_gib": [round(self.low / GIB, 3), round(self.high / GIB, 3)],
            "error": round(self.error, 4),
            "inside": self.inside,
        }


def reconcile(found: MemoryEstimate, measured_peak: float) -> Reconciliation:
    """Hold an estimate against the measured peak of its run.

    Args:
        found: What was estimated.
        measured_peak: Bytes above what the imports took: the peak of the resident memory minus what it was after the
            imports on a CPU, the peak of the allocator plus the context on a GPU.
    """
    return Reconciliation(found.n_bytes, found.low, found.high, measured_peak)
