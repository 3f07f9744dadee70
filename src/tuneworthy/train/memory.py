"""How much memory a run needs at its peak, by part, from the model's shape alone; and what would fit if it does not.

Every part is counted from what the libraries really hold: weights, adapters with their gradients and optimiser states,
what autograd keeps of each layer, the working set of the output head. What cannot be counted (the allocator's gaps,
libraries that load on first use) is `fixed`, calibrated on runs that the validation does not use
(benchmarks/memory.py). `reconcile` compares an estimate with the measured peak of a run.

Without rows, batches are padded to the longest row, as plain TRL scripts have them. With rows, they lie as `train` lays
them out (`batch_layout`, `attention`): the common beginning once, no padding, and the head at supervised places alone.

Source: transformers 5.24 modeling_llama.py, peft 0.21.2 tuners/lora/layer.py, trl 1.16.0
kernels/chunked_logprob.py; arXiv 2305.14314 (NF4, double quantisation).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from tuneworthy.train import messages
from tuneworthy.train.attention import ROUNDED
from tuneworthy.train.batch_layout import SUPERVISED_ROUNDED, TOKENS_ROUNDED
from tuneworthy.train.gpus import GIB, gpus_of_at_least
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.shape import Shape

Device = Literal["cpu", "cuda"]
# Bytes of a weight in NF4 with double quantisation: 4 bits, 8 of the scale of each 64, 32 of the scale of each 64 ·
# 256.
NF4_BYTES: Final = (4 + 8 / 64 + 32 / (64 * 256)) / 8
# Largest tile of TRL's fused output head.
TILE_TOKENS, TILE_VOCAB = 4096, 32768
# Bytes of temporaries for each number of the tile in its backward pass; Triton works in place.
TILE_BYTES: Final[Mapping[Device, int]] = {"cpu": 29, "cuda": 0}
# Bytes a logit takes where the head is computed at supervised places alone: log-probabilities and two gradients.
HEAD_BYTES: Final = 12
# Bytes that the gradient of attention's probabilities takes for each of them, of the layer at hand.
PAIR_BYTES: Final = 10
# What a run takes beside its tensors: on a CPU what loads on first use; on a GPU the context and gaps, 0.5 to 2 GB.
FIXED: Final[Mapping[Device, int]] = {"cpu": 80 * 2**20, "cuda": 1 * GIB}
# Gaps that the C library's allocator leaves between what layers keep, as a share of it; on a GPU part of `fixed`.
GAPS: Final[Mapping[Device, float]] = {"cpu": 0.15, "cuda": 0.0}
BAND: Final[Mapping[Device, tuple[float, float]]] = {"cpu": (0.90, 1.10), "cuda": (0.85, 1.15)}
DTYPE_BYTES: Final = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One part of the peak.

    Attributes:
        name: Key of `messages.PARTS`.
        n_bytes: Its size.
        why: What it is.
    """

    name: str
    n_bytes: float
    why: str


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The peak of a run above what the imports take.

    Attributes:
        parts: What it is made of.
        band: Lowest and highest share of the sum that is expected.
        loading: What is resident while the model is loaded, bytes: with the file that is quantised, whose pages the
            system takes back if it needs them. No part of the sum.
    """

    parts: Sequence[MemoryPart]
    band: tuple[float, float]
    loading: float = 0.0

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
        """Return the bytes of the part `name`; 0 without it."""
        return sum(part.n_bytes for part in self.parts if part.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON-able values, GiB."""
        return {
            "gib": round(self.n_bytes / GIB, 2),
            "band_gib": [round(self.low / GIB, 2), round(self.high / GIB, 2)],
            "parts": [{"part": part.name, "gib": round(part.n_bytes / GIB, 3), "why": part.why} for part in self.parts],
        }


@dataclass(frozen=True, slots=True)
class SharedBatch:
    """The largest forward pass of rows that share their beginning.

    Attributes:
        n_rows: Rows.
        prefix: Tokens of the common beginning.
        tokens: Tokens in memory.
        longest: Tokens of the longest row behind the beginning.
        supervised: Places that the head is computed at.
    """

    n_rows: int
    prefix: int
    tokens: int
    longest: int
    supervised: int

    @property
    def padded(self) -> int:
        """Tokens that attention pads each row to."""
        return -(-self.longest // ROUNDED) * ROUNDED

    @property
    def pairs(self) -> int:
        """Pairs of tokens of which attention has a probability."""
        return self.n_rows * self.padded * (self.prefix + self.padded) + self.prefix**2


def largest_batch(rows: RowLengths, settings: TrainingSettings) -> SharedBatch:
    """Return the largest of the forward passes that an epoch draws of `rows`, about.

    A sum of n lengths lies around n means with a deviation of sqrt(n) deviations; the largest of m such sums is
    expected sqrt(2 ln m) of these above.
    """
    n = min(settings.micro_batch_size, rows.n_rows)
    most = min(rows.longest, settings.max_length)
    prefix = min(rows.shared, most) if n > 1 else 0
    above = rows.deviation * math.sqrt(2 * n * math.log(max(1, rows.n_rows / n)))
    usual = n * (rows.n_tokens / rows.n_rows - prefix)
    own = min(usual + above, n * (most - prefix))
    tokens = -(-math.ceil(prefix + own) // TOKENS_ROUNDED) * TOKENS_ROUNDED
    longer = own / usual if usual > 0 else 1.0  # equal rows have nothing behind their beginning
    supervised = math.ceil(n * rows.n_supervised / rows.n_rows * longer)
    return SharedBatch(n, prefix, tokens, most - prefix, supervised)


def estimate(
    shape: Shape, settings: TrainingSettings, device: Device, rows: Sequence[RowLengths] = ()
) -> MemoryEstimate:
    """Return what a run needs at its peak.

    The peak is where the most is held at once: when the output head is differentiated, in the backward pass of a
    layer, or (all weights trained) when all gradients are there.

    Args:
        shape: Of the base.
        settings: Of the run.
        device: Where it runs.
        rows: Rows of each kind, whose steps are apart, where they share their beginning; empty for padded batches.
    """
    runs = [_RunMemory(shape, settings, device, largest_batch(kind, settings)) for kind in rows]
    runs = runs or [_RunMemory(shape, settings, device)]
    moments = [parts for run in runs for parts in run.moments()]
    worst = max(moments, key=lambda parts: sum(part.n_bytes for part in parts))
    parts = (*runs[0].permanent(), *worst, _part("fixed", FIXED[device]))
    low, high = BAND[device]
    band = (low, high) if shape.known else (2 * low - 1, 2 * high - 1)
    return MemoryEstimate(tuple(part for part in parts if part.n_bytes), band, runs[0].loading() + FIXED[device])


def _part(name: str, n_bytes: float, **figures: Any) -> MemoryPart:
    return MemoryPart(name, n_bytes, messages.PARTS[name].format(**figures))


@dataclass(frozen=True, slots=True)
class _RunMemory:
    """The arithmetic of one run; all methods return bytes or parts."""

    shape: Shape
    settings: TrainingSettings
    device: Device
    batch: SharedBatch | None = None

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
    def n_at_once(self) -> int:
        """Sequences of a forward pass; a pair is two."""
        return self.settings.micro_batch_size * (1 + self.settings.paired)

    @property
    def tokens(self) -> int:
        return self.batch.tokens if self.batch else self.n_at_once * self.settings.max_length

    @property
    def n_trained(self) -> int:
        chosen = self.settings
        return self.shape.n_params if self.full else self.shape.n_lora(chosen.rank, chosen.target_modules)

    @property
    def trained(self) -> str:
        """What is trained, in words."""
        return "all weights" if self.full else f"{self.n_trained / 1000000.0:.1f}M adapter parameters"

    # --- what is in memory all the time ----------------------------------------------------------------------------

    def permanent(self) -> list[MemoryPart]:
        """Return weights and trainable state."""
        n, what = self.n_trained, self.trained
        wide = 2 if self.settings.method == "qlora" else 4
        parts = self._weights()
        if not self.full:
            parts.append(_part("adapters", n * wide * (1 + self.settings.paired), what=what, bytes=wide))
        if self.mixed and wide == 4 and not self.settings.paired:
            parts.append(_part("copies", 2 * (self.shape.n_linear if self.full else n)))
        moments = 2 * wide if wide == 4 else 2  # QLoRA has an 8-bit optimiser
        parts.append(_part("optimizer", n * moments, what=what, bytes=moments))
        accumulated = self.settings.accumulation > 1 or not self.full
        return [*parts, _part("gradients", n * wide, what=what)] if accumulated else parts

    def _weights(self) -> list[MemoryPart]:
        shape = self.shape
        if self.settings.method != "qlora":
            wide = 4 if self.full else self.width
            return [_part("weights", shape.n_params * wide, n=shape.n_params / 1e9, bytes=wide)]
        return [
            _part("weights_nf4", shape.n_linear * NF4_BYTES, bits=8 * NF4_BYTES),
            _part("weights_rest", (shape.n_params - shape.n_linear) * 2, bytes=2),
        ]

    def loading(self) -> float:
        """Return the weights, and the 16-bit file that they are quantised from in the memory of the processor."""
        file = 2 * self.shape.n_params if self.settings.method == "qlora" and self.device == "cpu" else 0
        return file + sum(part.n_bytes for part in self._weights())

    # --- what is in memory at the worst moment ---------------------------------------------------------------------

    def moments(self) -> list[list[MemoryPart]]:
        """Return what is in memory beside that, at each moment that can be the worst."""
        layer, layers, checkpointed = self.layer_bytes(), self.shape.n_layers, self.settings.gradient_checkpointing
        at_once = self.full and self.settings.accumulation == 1
        end = [_part("gradients", self.n_trained * 4, what=self.trained)] * at_once
        if checkpointed:
            wide = 4 if self.full else self.width
            inputs = _part("checkpoints", layers * self.tokens * self.shape.hidden * wide)
            freed = [_part("freed_layer", layer)] * (self.device == "cpu")
            return [[inputs, self._head(), *freed], [inputs, _part("live_layer", layer + self.backward_bytes())], end]
        activations = _part("activations", layers * layer * (1 + GAPS[self.device]), n=layers)
        return [[activations, self._head()], [activations, _part("live_layer", self.backward_bytes())], end]

    def layer_bytes(self) -> float:
        """Return what autograd keeps of one layer (see the module's sources)."""
        shape = self.shape
        h, q, kv, c = shape.hidden, shape.q_width, shape.kv_width, self.width
        expanded = q if self.device == "cpu" and self.n_at_once > 1 else kv
        norms = shape.family.norms * h * (4 + (4 if self.full else 0))
        if shape.family.qk_norms:
            norms += (q + kv) * (4 + (4 if self.full else 0))
        attended = c * (2 * q + 2 * expanded) + 4 * shape.n_heads
        inner = c * shape.active_ff * (3 if shape.family.gated else 2)
        if self.batch is not None:
            return self.tokens * (norms + inner + self._inputs()) + self._attention_bytes(self.batch)
        return self.tokens * (norms + attended + inner + self._inputs())

    def _attention_bytes(self, batch: SharedBatch) -> float:
        """Return what `attention` keeps: padded queries, keys and values of each row, and its probabilities twice."""
        q, kv = self.shape.q_width, self.shape.kv_width
        padded, seen = batch.n_rows * batch.padded, batch.n_rows * (batch.prefix + batch.padded)
        return self.width * (padded * q + 2 * seen * kv) + batch.pairs * self.shape.n_heads * (4 + self.width)

    def _inputs(self) -> float:
        chosen, layers = self.settings, self.shape.adapted(self.settings.target_modules)
        if self.full:
            cost: float = sum(layer.n * layer.d_in for layer in self.shape.linears) * self.width * self.mixed
        elif self.batch is not None and not chosen.dropout:
            # what one norm gives is read by several layers and kept once
            shape = self.shape
            read = shape.n_layers * (2 * shape.hidden + shape.q_width + shape.active_ff)
            read = min(read, sum(layer.n * layer.d_in for layer in layers))
            cost = self.width * (read + chosen.rank * sum(layer.n for layer in layers))
        else:
            # without autocast, PEFT hands an adapter its input in the adapter's 32 bits; DPO is without dropout
            wide = 4 if chosen.paired else self.width
            mask = (4 if self.device == "cpu" else 1) if chosen.dropout and not chosen.paired else 0
            cost = sum(layer.n * (layer.d_in * (wide + mask) + chosen.rank * wide) for layer in layers)
        return cost / self.shape.n_layers

    def backward_bytes(self) -> float:
        """Return the working set of the backward pass of one layer: gradients of its widest tensors."""
        ff = self.shape.active_ff
        mlp = self.tokens * (self.width * (3 * ff + 2 * self.shape.hidden) + 4 * ff)
        return max(mlp, PAIR_BYTES * self.batch.pairs * self.shape.n_heads if self.batch else 0)

    def _head(self) -> MemoryPart:
        shape, chosen = self.shape, self.settings
        if self.batch is not None:
            places = -(-self.batch.supervised // SUPERVISED_ROUNDED) * SUPERVISED_ROUNDED
            return _part("logits", shape.vocab * (places * HEAD_BYTES + self.full * shape.hidden * 4))
        rows = self.n_at_once * (chosen.max_length - 1)
        tile = min(rows, TILE_TOKENS) * min(shape.vocab, TILE_VOCAB)
        n_bytes = tile * (self.width + TILE_BYTES[self.device]) + rows * shape.hidden * 4
        return _part("logits", n_bytes + self.full * shape.vocab * shape.hidden * 4)


# --- does it fit, and what would ------------------------------------------------------------------------------------

Fit = Literal["fits", "fits with checkpointing", "does not fit"]


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """Whether a run fits.

    Attributes:
        fit: The answer.
        settings: The settings, with checkpointing if it takes that.
        estimate: Of these settings.
        available: Bytes.
        instead: What would fit, with its size; only if the run does not.
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
    shape: Shape, settings: TrainingSettings, available: float, device: Device, rows: Sequence[RowLengths] = ()
) -> MemoryFit:
    """Say whether a run fits into `available` bytes: the upper end of its band must."""
    needed = estimate(shape, settings, device, rows)
    if needed.high <= available:
        fit: Fit = "fits with checkpointing" if settings.gradient_checkpointing else "fits"
        return MemoryFit(fit, settings, needed, available)
    saving = replace(settings, gradient_checkpointing=True)
    saved = estimate(shape, saving, device, rows)
    if saved.high <= available:
        return MemoryFit("fits with checkpointing", saving, saved, available)
    instead = what_would_fit(shape, saving, available, device, rows)
    least = (saved, saving) if saved.n_bytes < needed.n_bytes else (needed, settings)
    return MemoryFit("does not fit", least[1], least[0], available, instead)


def what_would_fit(
    shape: Shape, settings: TrainingSettings, available: float, device: Device, rows: Sequence[RowLengths] = ()
) -> Sequence[str]:
    """Return the smallest changes that fit, alone and then together, and GPUs that are large enough."""

    def size(**changes: Any) -> float:
        return estimate(shape, replace(settings, **changes), device, rows).high

    changes: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    if settings.micro_batch_size > 1:
        changes.append(("one row at a time ({gib:.1f} GiB)", {"micro_batch_size": 1}, {}))
    lengths = [n for n in (settings.max_length // 2, settings.max_length // 4) if n >= 256]
    if fitting := [n for n in lengths if size(max_length=n) <= available]:
        changes.append(("rows of at most {n} tokens ({gib:.1f} GiB)", {"max_length": fitting[0]}, {"n": fitting[0]}))
    if settings.method != "full" and settings.rank > 8:
        changes.append(("rank {n} ({gib:.1f} GiB)", {"rank": 8}, {"n": 8}))
    method = {"full": "lora", "lora": "qlora"}.get(settings.method)
    if method and (device == "cuda" or method == "lora"):
        changes.append(("{method} ({gib:.1f} GiB)", {"method": method}, {"method": method}))
    smallest: dict[str, Any] = {
        "micro_batch_size": 1, "rank": min(8, settings.rank), "max_length": min(512, settings.max_length),
    }  # fmt: skip
    if device == "cuda" and settings.method not in {"qlora", "preference"}:
        smallest["method"] = "qlora"
    lines = [
        text.format(gib=size(**change) / GIB, **figures)
        for text, change, figures in changes if size(**change) <= available
    ]  # fmt: skip
    least = size(**smallest)
    if not lines and least <= available:
        together = ", ".join(f"{key} {value}" for key, value in smallest.items())
        lines = [f"all of these settings together: {together} ({least / GIB:.1f} GiB)"]
    lines = lines or [
        f"nothing fits on this device: even the smallest run needs {least / GIB:.1f} GiB, so use a smaller model"
    ]
    if device == "cuda":
        lines += [f"the same run on a larger GPU ({gpu})" for gpu in gpus_of_at_least(size())]
        lines += [f"the smallest run on a larger GPU ({gpu})" for gpu in gpus_of_at_least(least, 1)]
    return lines


def largest_micro_batch(
    shape: Shape, settings: TrainingSettings, available: float, device: Device, rows: Sequence[RowLengths] = ()
) -> int:
    """Return the most rows at once, a divisor of the batch, that fit; 1 if no number fits."""
    for n in range(settings.batch_size, 0, -1):
        tried = replace(settings, micro_batch_size=n) if settings.batch_size % n == 0 else None
        if tried and estimate(shape, tried, device, rows).high <= available:
            return n
    return 1


# --- after the run --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """An estimate beside what was measured; bytes above what the imports take.

    Attributes:
        estimated: The estimate.
        low: Lower end of its band.
        high: Upper end of its band.
        measured: The peak of the run.
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
        """What was measured, against the estimate and its band."""
        measured, estimated, low, high = (n / GIB for n in (self.measured, self.estimated, self.low, self.high))
        return messages.reconciliation(measured, estimated, low, high, self.error, inside=self.inside)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values, GiB."""
        return {
            "measured_gib": round(self.measured / GIB, 3),
            "estimated_gib": round(self.estimated / GIB, 3),
            "band_gib": [round(self.low / GIB, 3), round(self.high / GIB, 3)],
            "error": round(self.error, 4),
            "inside": self.inside,
        }


def reconcile(estimated: MemoryEstimate, measured_peak: float) -> Reconciliation:
    """Compare an estimate with the measured peak of its run.

    Args:
        estimated: The estimate.
        measured_peak: Bytes above what the imports took: the peak of the resident memory minus what it was after the
            imports on a CPU, the peak of the allocator plus the context on a GPU.
    """
    peak = max(estimated.n_bytes, estimated.loading)
    low, high = estimated.band
    return Reconciliation(peak, peak * low, peak * high, measured_peak)
