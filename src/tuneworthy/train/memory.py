"""Peak memory of a training run, by part, from one formula over the model's shape.

The peak is weights, adapters with their gradients and optimiser states, the activations that autograd keeps (or with
checkpointing the inputs of all layers and the activations of one), the output head, and a fixed part.

Without rows, batches are padded to the longest row. With rows, they lie in memory as `train` lays them out
(`batch_layout`, `attention`): the common beginning once, no padding, and the head at supervised places only.

Source: transformers 5.24 modeling_llama.py, peft 0.21.2 tuners/lora/layer.py, trl 1.16.0
kernels/chunked_logprob.py; arXiv 2305.14314 (NF4, double quantisation).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tuneworthy.train.attention import ROUNDED
from tuneworthy.train.batch_layout import SUPERVISED_ROUNDED, TOKENS_ROUNDED
from tuneworthy.train.gpus import GIB, gpus
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import TrainingSettings, divisors
from tuneworthy.train.shape import Shape
from tuneworthy.types import Bounds, JsonObject, Texts

Device = Literal["cpu", "cuda"]
# Bytes of a weight in NF4 with double quantisation: 4 bits, 8 for the scale per 64, 32 for the scale per 64 ·
# 256.
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
# Largest tile of TRL's fused output head.
TILE_TOKENS, TILE_VOCAB = 4096, 32768
# Bytes of temporaries for each number of the tile in its backward pass; Triton works in place.
TILE_BYTES = {"cpu": 29, "cuda": 0}
# Bytes of a logit where the head is computed at supervised places only: log-probabilities and two gradients.
HEAD_BYTES = 12
# What torch, transformers, peft and trl take before anything is loaded (0.45 GB measured), bytes.
IMPORTS = 0.5 * GIB
# Imports on first use on a CPU; on a GPU the context and gaps, 0.5 to 2 GB.
FIXED = {"cpu": 80 * 2**20, "cuda": 1 * GIB}
# Gaps that the C library's allocator leaves between activations, as a share; on a GPU part of `FIXED`.
GAPS = {"cpu": 0.15, "cuda": 0.0}
# Lowest and highest share of the estimate that is expected; benchmarks/memory.py has the measurements.
BAND = (0.85, 1.2)
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


Fit = Literal["fits", "fits with checkpointing", "does not fit"]


@dataclass(frozen=True, slots=True)
class MemoryPart:
    name: str
    n_bytes: float
    why: str


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The peak of a run above the imports, and the lowest and highest share that is expected."""

    parts: Sequence[MemoryPart]
    band: Bounds

    @property
    def n_bytes(self) -> float:
        return sum(part.n_bytes for part in self.parts)

    @property
    def low(self) -> float:
        return self.n_bytes * self.band[0]

    @property
    def high(self) -> float:
        return self.n_bytes * self.band[1]

    def to_dict(self) -> JsonObject:
        return {
            "gib": round(self.n_bytes / GIB, 2),
            "band_gib": [round(self.low / GIB, 2), round(self.high / GIB, 2)],
            "parts": [{"part": part.name, "gib": round(part.n_bytes / GIB, 3), "why": part.why} for part in self.parts],
        }


@dataclass(frozen=True, slots=True)
class SharedBatch:
    """The largest forward pass of rows that share their beginning.

    Attributes:
        tokens: Tokens in memory.
        supervised: Places that the head is computed at.
        pairs: Pairs of tokens for which attention has a probability.
    """

    tokens: int
    supervised: int
    pairs: int


def _rounded(n: float, step: int) -> int:
    return math.ceil(n / step) * step


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
    longer = own / usual if usual > 0 else 1.0  # equal rows have nothing behind their beginning
    padded = _rounded(most - prefix, ROUNDED)
    return SharedBatch(
        tokens=_rounded(prefix + own, TOKENS_ROUNDED),
        supervised=math.ceil(n * rows.n_supervised / rows.n_rows * longer),
        pairs=n * padded * (prefix + padded) + prefix**2,
    )


def estimate(
    shape: Shape, settings: TrainingSettings, device: Device, rows: Sequence[RowLengths] = ()
) -> MemoryEstimate:
    """Return the peak of a run.

    Args:
        shape: Shape of the base.
        settings: Settings of the run.
        device: Where it runs.
        rows: Rows per kind, whose steps are apart, where they share their beginning; empty for padded batches.
    """
    steps = [_step(shape, settings, device, largest_batch(kind, settings)) for kind in rows]
    steps = steps or [_step(shape, settings, device, None)]
    if settings.method == "full" and settings.accumulation == 1:  # gradients come as the activations are freed
        steps.append([MemoryPart("gradients", shape.n_params * 4, "gradients of all weights")])
    if settings.method == "qlora" and device == "cpu":
        steps.append([MemoryPart("file", shape.n_params * 2, "16-bit file that the weights are quantised from")])
    worst = max(steps, key=lambda parts: sum(part.n_bytes for part in parts))
    fixed = MemoryPart("fixed", FIXED[device], "libraries, context and fragmentation")
    low, high = BAND
    band = (low, high) if shape.known else (2 * low - 1, 2 * high - 1)
    return MemoryEstimate([*_state(shape, settings), *worst, fixed], band)


def _state(shape: Shape, settings: TrainingSettings) -> Iterator[MemoryPart]:
    full, quantised, width = settings.method == "full", settings.method == "qlora", DTYPE_BYTES[settings.dtype]
    n = shape.n_params if full else shape.n_lora(settings.rank, settings.target_modules)
    what = "all weights" if full else f"{n / 1e6:.1f}M adapter parameters"
    wide, moments = (2, 2) if quantised else (4, 8)  # QLoRA has an 8-bit optimiser
    if quantised:
        yield MemoryPart("weights_nf4", shape.n_linear * NF4_BYTES, f"linear layers, {8 * NF4_BYTES:.3f} bits a weight")
        yield MemoryPart(
            "weights_rest", 2 * (shape.n_params - shape.n_linear), "embeddings, output head and norms, 2 bytes a weight"
        )
    else:
        stored = 4 if full else width
        yield MemoryPart(
            "weights", shape.n_params * stored, f"{shape.n_params / 1e9:.3f}B weights, {stored} bytes each"
        )
    if not full:
        yield MemoryPart("adapters", n * wide * (1 + settings.paired), f"{what}, {wide} bytes each")
    if width == 2 and not quantised and not settings.paired:
        yield MemoryPart(
            "copies", 2 * (shape.n_linear if full else n), "16-bit copies of trained weights for matrix products"
        )
    yield MemoryPart("optimizer", n * moments, f"two Adam moments for {what}, {moments} bytes per parameter")
    if settings.accumulation > 1 or not full:
        yield MemoryPart("gradients", n * wide, f"gradients of {what}")
    if settings.processes > 1:
        yield MemoryPart("exchange", n * wide, "copies of the gradients that processes exchange")


def _step(shape: Shape, settings: TrainingSettings, device: Device, batch: SharedBatch | None) -> list[MemoryPart]:
    full, width = settings.method == "full", DTYPE_BYTES[settings.dtype]
    n_tokens = batch.tokens if batch else settings.micro_batch_size * (1 + settings.paired) * settings.max_length
    head = 4 * full * shape.vocab * shape.hidden
    layer = n_tokens * _bytes_of_token(shape, settings, device, shared=batch is not None)
    if batch is None:
        tile = min(n_tokens, TILE_TOKENS) * min(shape.vocab, TILE_VOCAB)
        head += tile * (width + TILE_BYTES[device]) + 4 * n_tokens * shape.hidden
    else:
        head += shape.vocab * _rounded(batch.supervised, SUPERVISED_ROUNDED) * HEAD_BYTES
        layer += batch.pairs * shape.n_heads * (4 + width)
    logits = MemoryPart("logits", head, "output head and its gradient, one tile at a time")
    if not settings.gradient_checkpointing:
        kept = shape.n_layers * layer * (1 + GAPS[device])
        return [MemoryPart("activations", kept, f"values that {shape.n_layers} layers store for backward"), logits]
    return [
        MemoryPart("checkpoints", shape.n_layers * n_tokens * shape.hidden * width, "stored inputs of all layers"),
        MemoryPart("live_layer", layer, "backward pass of one layer"),
        logits,
    ]


def _bytes_of_token(shape: Shape, settings: TrainingSettings, device: Device, *, shared: bool) -> float:
    full, width = settings.method == "full", DTYPE_BYTES[settings.dtype]
    inputs = sum(layer.n * layer.d_in for layer in shape.adapted(settings.target_modules)) / shape.n_layers
    if settings.paired:  # without autocast, PEFT hands an adapter its input in 32 bits
        inputs *= 4 / width
    elif settings.dropout:
        inputs *= 3
    elif full and width == 4:
        inputs = 0
    elif shared and not full:  # adapters that read the same norm share their input
        inputs = min(inputs, 2 * shape.hidden + shape.q_width + shape.active_ff)
    norms = (16 if full else 8) * shape.hidden
    keys = shape.q_width if device == "cpu" else shape.kv_width  # a CPU repeats keys and values for each query head
    return norms + width * (2 * shape.q_width + 2 * keys + 3 * shape.active_ff + inputs)


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """Whether a run fits.

    Attributes:
        fit: The answer.
        settings: The settings, with the rows at once and checkpointing that fit.
        estimate: Of these settings.
        available: Bytes.
        instead: Changes that would fit, with their size; only if the run does not.
    """

    fit: Fit
    settings: TrainingSettings
    estimate: MemoryEstimate
    available: float
    instead: Texts = ()

    def to_dict(self) -> JsonObject:
        return {
            "fit": self.fit,
            "available_gib": round(self.available / GIB, 2),
            **self.estimate.to_dict(),
            "instead": list(self.instead),
        }


def fits(
    shape: Shape, settings: TrainingSettings, available: float, device: Device, rows: Sequence[RowLengths] = ()
) -> MemoryFit:
    """Return the most rows at once, a divisor of the batch, that fit into `available` bytes by the upper end of the
    band; with checkpointing only if one row does not fit without.
    """
    batch = settings.batch_size // settings.processes
    tried, needed = settings, estimate(shape, settings, device, rows)
    for saving in (False, True):
        for n in reversed(divisors(batch)):
            tried = replace(settings, micro_batch_size=n, gradient_checkpointing=saving)
            needed = estimate(shape, tried, device, rows)
            if needed.high <= available:
                return MemoryFit("fits with checkpointing" if saving else "fits", tried, needed, available)
    return MemoryFit("does not fit", tried, needed, available, what_would_fit(shape, tried, available, device, rows))


def what_would_fit(
    shape: Shape, settings: TrainingSettings, available: float, device: Device, rows: Sequence[RowLengths]
) -> Texts:
    """Return the changes to a run of one row that fit, and GPUs that are large enough."""
    length, method = settings.max_length // 2, {"full": "lora", "lora": "qlora"}.get(settings.method)
    changes: dict[str, JsonObject] = {
        f"rows of at most {length} tokens": {"max_length": length},
        "rank 8": {"rank": min(8, settings.rank)},
    }
    if method == "lora" or (method and device == "cuda"):
        changes[method] = {"method": method}
    tried = {label: replace(settings, **change) for label, change in changes.items()}
    sizes = {label: estimate(shape, changed, device, rows).high for label, changed in tried.items()}
    lines = [f"{label} ({size / GIB:.1f} GiB)" for label, size in sizes.items() if size <= available]
    if device == "cuda":
        needed = estimate(shape, settings, device, rows).high
        lines += [f"the same run on a larger GPU ({gpu})" for gpu in gpus() if gpu.gib * GIB >= needed][:2]
    return lines or ["nothing fits on this device, so use a smaller model"]
