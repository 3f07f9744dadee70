"""Peak memory of a training run, by part, from one formula over the model's shape.

The peak is weights, adapters with their gradients and optimiser states, the activations that autograd keeps (or with
checkpointing the inputs of all layers and the activations of one), the output head, and a fixed part. `reconcile`
compares an estimate with the measured peak of a run.

Without rows, batches are padded to the longest row. With rows, they lie in memory as `train` lays them out
(`batch_layout`, `attention`): the common beginning once, no padding, and the head at supervised places only.

Source: transformers 5.24 modeling_llama.py, peft 0.21.2 tuners/lora/layer.py, trl 1.16.0
kernels/chunked_logprob.py; arXiv 2305.14314 (NF4, double quantisation).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from tuneworthy.train import messages
from tuneworthy.train.attention import ROUNDED
from tuneworthy.train.batch_layout import SUPERVISED_ROUNDED, TOKENS_ROUNDED
from tuneworthy.train.gpus import GIB, gpus_of_at_least
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.shape import Shape
from tuneworthy.types import JsonObject

Device = Literal["cpu", "cuda"]
# Bytes of a weight in NF4 with double quantisation: 4 bits, 8 of the scale of each 64, 32 of the scale of each 64 ·
# 256.
NF4_BYTES: Final = (4 + 8 / 64 + 32 / (64 * 256)) / 8
# Largest tile of TRL's fused output head.
TILE_TOKENS, TILE_VOCAB = 4096, 32768
# Bytes of temporaries for each number of the tile in its backward pass; Triton works in place.
TILE_BYTES: Final[Mapping[Device, int]] = {"cpu": 29, "cuda": 0}
# Bytes of a logit where the head is computed at supervised places only: log-probabilities and two gradients.
HEAD_BYTES: Final = 12
# Imports on first use on a CPU; on a GPU the context and gaps, 0.5 to 2 GB.
FIXED: Final[Mapping[Device, int]] = {"cpu": 80 * 2**20, "cuda": 1 * GIB}
# Gaps that the C library's allocator leaves between activations, as a share; on a GPU part of `FIXED`.
GAPS: Final[Mapping[Device, float]] = {"cpu": 0.15, "cuda": 0.0}
# Lowest and highest share of the estimate that is expected; benchmarks/memory.py has the measurements.
BAND: Final = (0.85, 1.2)
DTYPE_BYTES: Final = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """A part of the peak: a key of `messages.PARTS`, its size and its meaning."""

    name: str
    n_bytes: float
    why: str


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The peak of a run above the imports, and the lowest and highest share of it that is expected."""

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
        """Return the bytes of the part `name`; 0 without it."""
        return sum(part.n_bytes for part in self.parts if part.name == name)

    def to_dict(self) -> JsonObject:
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
    """Return the peak of a run.

    Args:
        shape: Shape of the base.
        settings: Settings of the run.
        device: Where it runs.
        rows: Rows of each kind, whose steps are apart, where they share their beginning; empty for padded batches.
    """
    steps = [_step(shape, settings, device, largest_batch(kind, settings)) for kind in rows]
    steps = steps or [_step(shape, settings, device, None)]
    worst = max(steps, key=lambda parts: sum(part.n_bytes for part in parts))
    parts = [*_state(shape, settings), *worst, _part("fixed", FIXED[device])]
    low, high = BAND
    return MemoryEstimate(parts, (low, high) if shape.known else (2 * low - 1, 2 * high - 1))


def _part(name: str, n_bytes: float, **figures: Any) -> MemoryPart:
    return MemoryPart(name, n_bytes, messages.PARTS[name].format(**figures))


def _state(shape: Shape, settings: TrainingSettings) -> Iterator[MemoryPart]:
    full, quantised, width = settings.method == "full", settings.method == "qlora", DTYPE_BYTES[settings.dtype]
    n = shape.n_params if full else shape.n_lora(settings.rank, settings.target_modules)
    what = "all weights" if full else f"{n / 1e6:.1f}M adapter parameters"
    wide = 2 if quantised else 4
    if quantised:
        yield _part("weights_nf4", shape.n_linear * NF4_BYTES, bits=8 * NF4_BYTES)
        yield _part("weights_rest", (shape.n_params - shape.n_linear) * 2, bytes=2)
    else:
        stored = 4 if full else width
        yield _part("weights", shape.n_params * stored, n=shape.n_params / 1e9, bytes=stored)
    if not full:
        yield _part("adapters", n * wide * (1 + settings.paired), what=what, bytes=wide)
    if width == 2 and not quantised and not settings.paired:
        yield _part("copies", 2 * (shape.n_linear if full else n))
    moments = 2 if quantised else 8  # QLoRA has an 8-bit optimiser
    yield _part("optimizer", n * moments, what=what, bytes=moments)
    yield _part("gradients", n * wide, what=what)


def _step(shape: Shape, settings: TrainingSettings, device: Device, batch: SharedBatch | None) -> list[MemoryPart]:
    full, width = settings.method == "full", DTYPE_BYTES[settings.dtype]
    n_tokens = batch.tokens if batch else settings.micro_batch_size * (1 + settings.paired) * settings.max_length
    head = 4 * full * shape.vocab * shape.hidden
    if batch is None:
        tile = min(n_tokens, TILE_TOKENS) * min(shape.vocab, TILE_VOCAB)
        head += tile * (width + TILE_BYTES[device]) + 4 * n_tokens * shape.hidden
    else:
        places = -(-batch.supervised // SUPERVISED_ROUNDED) * SUPERVISED_ROUNDED
        head += shape.vocab * places * HEAD_BYTES
    logits = _part("logits", head)
    layer = n_tokens * _bytes_of_token(shape, settings, device)
    if batch is not None:
        layer += batch.pairs * shape.n_heads * (4 + width)
    if not settings.gradient_checkpointing:
        return [_part("activations", shape.n_layers * layer * (1 + GAPS[device]), n=shape.n_layers), logits]
    inputs = shape.n_layers * n_tokens * shape.hidden * width
    return [_part("checkpoints", inputs), _part("live_layer", layer), logits]


def _bytes_of_token(shape: Shape, settings: TrainingSettings, device: Device) -> float:
    full, width = settings.method == "full", DTYPE_BYTES[settings.dtype]
    inputs: float = sum(layer.n * layer.d_in for layer in shape.adapted(settings.target_modules)) / shape.n_layers
    if settings.paired:  # without autocast, PEFT hands an adapter its input in 32 bits
        inputs *= 4 / width
    elif settings.dropout:
        inputs *= 3
    elif full and width == 4:
        inputs = 0
    norms = (16 if full else 8) * shape.hidden
    keys = shape.q_width if device == "cpu" else shape.kv_width  # a CPU repeats keys and values for each query head
    return norms + width * (2 * shape.q_width + 2 * keys + 3 * shape.active_ff + inputs)


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

    def to_dict(self) -> JsonObject:
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
    """Return the smallest changes that fit, single or combined, and GPUs that are large enough."""

    def size(**changes: Any) -> float:
        return estimate(shape, replace(settings, **changes), device, rows).high

    smaller = {"full": "lora", "lora": "qlora"}.get(settings.method)
    changes: dict[str, JsonObject] = {"one row at a time": {"micro_batch_size": 1}}
    if settings.max_length >= 512:
        half = settings.max_length // 2
        changes[f"rows of at most {half} tokens"] = {"max_length": half}
    if settings.method != "full" and settings.rank > 8:
        changes["rank 8"] = {"rank": 8}
    if smaller == "lora" or (smaller and device == "cuda"):
        changes[smaller] = {"method": smaller}
    lines = []
    for label, change in changes.items():
        if (needed := size(**change)) <= available:
            lines.append(f"{label} ({needed / GIB:.1f} GiB)")
    smallest: JsonObject = {
        "micro_batch_size": 1, "rank": min(8, settings.rank), "max_length": min(512, settings.max_length),
    }  # fmt: skip
    if device == "cuda" and smaller:
        smallest["method"] = "qlora"
    least = size(**smallest)
    if not lines and least <= available:
        together = ", ".join(f"{key} {value}" for key, value in smallest.items())
        lines = [f"all of these settings together: {together} ({least / GIB:.1f} GiB)"]
    elif not lines:
        needs = f"even the smallest run needs {least / GIB:.1f} GiB"
        lines = [f"nothing fits on this device: {needs}, so use a smaller model"]
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
    """An estimate and a measurement, bytes above the imports.

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
        """The measurement against the estimate and its band."""
        measured, estimated, low, high = (n / GIB for n in (self.measured, self.estimated, self.low, self.high))
        where = f"{'inside' if self.inside else 'outside'} the band {low:.2f} to {high:.2f} GiB"
        return f"Peak memory: {measured:.2f} GiB measured, {estimated:.2f} GiB estimated ({self.error:+.1%}), {where}"

    def to_dict(self) -> JsonObject:
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
        measured_peak: Bytes above the imports: the peak of the resident memory minus its size after the imports on a
            CPU, the peak of the allocator plus the context on a GPU.
    """
    return Reconciliation(estimated.n_bytes, estimated.low, estimated.high, measured_peak)
