"""What to train with: every setting with its value, reason and source.

What `[train]` of the project file sets is kept. The rest follows from the rows, the model's shape and the memory at
hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from tuneworthy.config.train import Train
from tuneworthy.store.artifacts import Artifact
from tuneworthy.train import messages, sources
from tuneworthy.train.gpus import GIB
from tuneworthy.train.memory import Device, MemoryFit, fits, largest_micro_batch
from tuneworthy.train.rehearsal import LONGEST, expected_rows
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import ALL_LINEAR, Dtype, Method, TrainingSettings
from tuneworthy.train.shape import Shape

RANKS: Final = (16, 32, 64, 128, 256)
ALPHA: Final = 32.0
# Exponent of the fit of the learning rate over the width, by family.
FIT: Final[Mapping[str, float]] = {"llama": 0.781, "qwen2": 0.0775, "qwen3": 0.0775}
FULL_RATE: Final = 5e-5
LORA_TIMES: Final = 10
MAX_RATE: Final = 1e-3
SHORT_STEPS: Final = 100
SHORT_TIMES: Final = 15
PLAIN_RATE: Final = 2e-4
MAX_BATCH: Final = 31
EPOCHS: Final = 3.0
REHEARSAL: Final = 0.05
# Of DPO: TRL's default, and how many times lower its rate is than that of training on answers.
BETA: Final = 0.1
PAIRS_LESS: Final = 40
# Lengths are rounded up to a multiple of it.
STEP_ROUND: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One setting and why it has its value.

    Attributes:
        name: Field of `TrainingSettings`.
        value: What is advised, or what `[train]` sets.
        reason: Why, with the numbers it rests on.
        source: A document that can be opened, or what was measured.
        from_project: Whether `[train]` sets it.
    """

    name: str
    value: Any
    reason: str
    source: str
    from_project: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Settings with their reasons, and whether they fit.

    Attributes:
        settings: What the trainer takes.
        knobs: One for each setting that matters.
        memory: What the run needs against what there is.
        notes: What else a reader should know.
    """

    settings: TrainingSettings
    knobs: Sequence[Knob]
    memory: MemoryFit
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as JSON-able values."""
        return {
            "settings": self.settings.to_dict(),
            "knobs": [asdict(knob) for knob in self.knobs],
            "memory": self.memory.to_dict(),
            "notes": list(self.notes),
        }


def advise(
    shape: Shape,
    rows: RowLengths,
    *,
    available: float,
    device: Device,
    train: Train | None = None,
    has_bf16: bool = True,
    start: Artifact | None = None,
) -> Advice:
    """Return settings for a run, with the reason of each.

    Args:
        shape: Shape of the base model.
        rows: The training data in numbers.
        available: Memory above what the imports take, bytes.
        device: Where it is.
        train: `[train]` of the project file; what it sets is kept.
        has_bf16: Whether the device computes in bfloat16.
        start: The adapter that training on pairs starts from; None for fresh ones.
    """
    return _Advisor(shape, rows, available, device, train or Train(), has_bf16, start).advise()


class _Advisor:
    """Sets one knob after the other; later ones rest on earlier ones."""

    def __init__(  # noqa: PLR0917
        self,
        shape: Shape,
        rows: RowLengths,
        available: float,
        device: Device,
        train: Train,
        has_bf16: bool,
        start: Artifact | None,
    ) -> None:
        self.shape, self.rows, self.available, self.device = shape, rows, available, device
        self.train, self.has_bf16, self.start = train, has_bf16, start
        self.knobs: list[Knob] = []
        self.settings = TrainingSettings(seed=train.seed, batch_size=16, micro_batch_size=1)

    def advise(self) -> Advice:
        dtype: Dtype = "bfloat16" if self.has_bf16 else ("float16" if self.device == "cuda" else "float32")
        self._set("dtype", dtype, messages.dtype_reason(has_bf16=self.has_bf16), sources.TRL)
        self._length()
        batch, n = (8 if self.rows.n_rows < 400 else 16), self.rows.n_rows
        self._set(
            "batch_size",
            batch,
            (
                "LoRA tolerates large batches less well than full fine-tuning, so the batch size stays below 32. "
                f"Steps per epoch: {max(1, n // batch)}."
            ),
            sources.TML,
        )
        self._method()
        if self.start is not None:
            self._continued(self.start)
        elif self.settings.method != "full":
            self._adapters()
        self._set(
            "epochs",
            EPOCHS,
            "An upper limit: training stops when the task metric on held-out rows no longer improves.",
            sources.EARLY_STOPPING,
        )
        if self.settings.paired:
            self._set(
                "beta", BETA, "TRL's default. A higher value keeps the model closer to where it started.", sources.DPO
            )
        else:
            n = replace(self.settings, rehearsal=REHEARSAL).n_rehearsal(self.rows.n_rows)
            self._set(
                "rehearsal",
                REHEARSAL,
                (
                    f"The base model generates {n} rows. Without them, the model forgets skills that the task does "
                    "not use."
                ),
                sources.REHEARSAL,
            )
        self._rate()
        self._set("schedule", "linear", "TRL's default, with a short warm-up over 3% of the steps.", sources.TRL)
        return self._fit()

    def _set(self, name: str, value: Any, reason: str, source: str) -> None:
        own = getattr(self.train, name, None)
        if own is not None:
            value, reason, source = own, f"Set to {own} by [train] in the project file.", messages.PROJECT_FILE
        self.settings = replace(self.settings, **{name: value})
        self.knobs.append(Knob(name=name, value=value, reason=reason, source=source, from_project=own is not None))

    def _length(self) -> None:
        rows, most = self.rows, self.shape.max_positions
        wanted = rows.longest if rows.longest <= 2 * rows.p99 else rows.p99
        value = -(-wanted // STEP_ROUND) * STEP_ROUND
        value = min(value, most) if most else value
        self._set(
            "max_length",
            value,
            messages.length_reason(rows.longest, rows.median, rows.p99, value, counted=rows.counted),
            f"{messages.THE_ROWS}; {sources.TRL}",
        )

    def _method(self) -> None:
        method: Method = "lora"
        reason = (
            "QLoRA is needed only if the 16-bit base model does not fit in GPU memory. With LoRA, the adapter "
            "merges into the same weights it was trained on."
        )
        if self.device == "cuda":
            tried = replace(self.settings, method="lora", micro_batch_size=1)
            needed = fits(self.shape, tried, self.available, self.device)
            if needed.fit == "does not fit":
                method, reason = (
                    "qlora",
                    (
                        "With a 16-bit base model, even one row at a time may need up to "
                        f"{needed.estimate.high / GIB:.1f} GiB, so the model is loaded in 4-bit. The adapter is "
                        "trained on quantised weights, so check parity after the merge."
                    ),
                )
        self._set("method", method, reason, sources.QLORA)

    def _continued(self, start: Artifact) -> None:
        """Keep the shape of the adapter that training starts from, whatever [train] sets."""
        before = TrainingSettings.from_dict(start.manifest["settings"])
        self.settings = replace(self.settings, rslora=before.rslora)
        for name in ("rank", "alpha", "target_modules", "dropout"):
            value, reason = getattr(before, name), f"As in adapter {start.id}, which training starts from."
            self.settings = replace(self.settings, **{name: value})
            self.knobs.append(Knob(name=name, value=value, reason=reason, source="adapter"))

    def _adapters(self) -> None:
        shape, need = self.shape, self.rows.n_supervised
        rank = next((r for r in RANKS if shape.n_lora(r) >= need), RANKS[-1])
        n = shape.n_lora(self.train.rank or rank)
        self._set("rank", rank, messages.rank_reason(n, n / shape.n_params, need), sources.TINKER)
        scale = (self.train.alpha or ALPHA) / self.settings.rank
        source = f"{sources.TML}; {sources.LEARNING_RATE_MATTERS}, appendix C"
        self._set(
            "alpha",
            ALPHA,
            (
                f"The scale alpha/r is {scale:g}. With alpha fixed, the best learning rate hardly depends on the "
                "rank. A higher alpha acts like a higher learning rate, so never compare alphas at a single learning "
                "rate."
            ),
            source,
        )
        targets = messages.targets_reason(shape.n_experts, shape.mlp_share)
        self._set("target_modules", ALL_LINEAR, targets, sources.PEFT if shape.moe else sources.TML)
        self._set(
            "dropout",
            0.0,
            (
                "There is little evidence that adapter dropout helps. The recipes from TRL, Unsloth and Thinking "
                "Machines omit it."
            ),
            f"{sources.UNSLOTH}; {sources.TRL_LORA}",
        )

    def _rate(self) -> None:
        family, full = self.shape.architecture, self.settings.method == "full"
        if family not in FIT:
            reason = (
                f"A starting point, because there is no published fit for {family}: 2e-5 is a common learning "
                "rate for full fine-tuning, and adapters need 10 times as much."
            )
            rate = PLAIN_RATE / LORA_TIMES if full else PLAIN_RATE
            self._set_rate(rate, reason, f"{sources.UNSLOTH}; {sources.TML}")
            return
        steps = int(self.settings.epochs * -(-self.rows.n_rows // self.settings.batch_size))
        times = 1 if full else SHORT_TIMES if steps < SHORT_STEPS else LORA_TIMES
        fitted = FULL_RATE * times * (2000 / self.shape.hidden) ** FIT[family]
        value = float(f"{min(fitted, MAX_RATE):.2g}")
        formula = f"5e-5 · {times} · (2000/{self.shape.hidden})^{FIT[family]} = {fitted:.2g}"
        short = steps if times == SHORT_TIMES else None
        reason = messages.rate_reason(formula, times, MAX_RATE if fitted > MAX_RATE else None, short)
        self._set_rate(value, reason, f"{sources.TINKER}; {sources.TML}")

    def _set_rate(self, rate: float, reason: str, source: str) -> None:
        if self.settings.paired:
            rate = float(f"{rate / PAIRS_LESS:.2g}")
            reason += f" Divided by {PAIRS_LESS}, as in Zephyr's recipes, because pairs need a lower learning rate."
            source = f"{source}; {sources.ZEPHYR}"
        self._set("learning_rate", rate, reason, source)

    def _fit(self) -> Advice:
        longest = min(self.settings.max_length, self.rows.longest)
        longest = max(longest, LONGEST if self.settings.rehearsal else 0)
        settings = replace(self.settings, max_length=longest)
        where = (self.available, self.device, self._kinds())
        rows_at_once = largest_micro_batch(self.shape, settings, *where)
        memory = fits(self.shape, replace(settings, micro_batch_size=rows_at_once), *where)
        if memory.fit == "does not fit" or memory.settings.gradient_checkpointing:
            saving = replace(settings, gradient_checkpointing=True)
            rows_at_once = largest_micro_batch(self.shape, saving, *where)
            memory = fits(self.shape, replace(saving, micro_batch_size=rows_at_once), *where)
        chosen = replace(memory.settings, max_length=self.settings.max_length)
        needed, most, room = (n / GIB for n in (memory.estimate.n_bytes, memory.estimate.high, self.available))
        reason = messages.micro_batch_reason(needed, most, room, chosen.accumulation, fits=not memory.instead)
        saves = (
            "The run needs the memory that gradient checkpointing saves."
            if chosen.gradient_checkpointing
            else "The run fits without gradient checkpointing, so no layer is computed twice."
        )
        for name, why in (("micro_batch_size", reason), ("gradient_checkpointing", saves)):
            self.knobs.append(Knob(name=name, value=getattr(chosen, name), reason=why, source="memory estimate"))
        self.settings = chosen
        return Advice(settings=chosen, knobs=self.knobs, memory=memory, notes=self._notes())

    def _kinds(self) -> Sequence[RowLengths]:
        """Return the rows of each kind, where `train` lets them share their beginning."""
        if not self.shape.plain_attention or self.settings.paired:
            return ()
        own = [expected_rows(self.settings, self.rows.n_rows)] if self.settings.rehearsal else []
        return [self.rows, *own]

    def _notes(self) -> Sequence[str]:
        shape, batch = self.shape, self.settings.batch_size
        notes = {
            (
                "A learning-rate sweep (three short runs) gains more than any LoRA variant. With tuned rates, "
                f"the scores of all variants are within 1 to 2% of each other ({sources.LEARNING_RATE_MATTERS})."
            ): True,
            (
                "Token counts are estimated from byte lengths, because the tokenizer or the package transformers "
                "is missing."
            ): not self.rows.counted,
            (
                f"The memory estimate treats {shape.architecture} like Llama and doubles the uncertainty band."
            ): not shape.known,
            "The estimate covers only the text part of this model. The vision tower needs extra memory.": shape.vision,
            f"The batch size is {batch}. LoRA falls behind full fine-tuning at 32 or more ({sources.TML}).": batch
            > MAX_BATCH,
            (
                "No dataset is frozen yet, so this plan uses the examples file. Run `tuneworthy data build` to "
                "freeze one."
            ): self.rows.dataset is None,
        }
        return [note for note, applies in notes.items() if applies]


def has_bf16(device: Device) -> bool:
    """Return whether the device computes in bfloat16: a card from Ampere on, a processor with the instructions."""
    if device == "cuda":
        try:
            import torch
        except ImportError:
            return True
        return not torch.cuda.is_available() or bool(torch.cuda.is_bf16_supported())
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return any(flag in text for flag in ("avx512_bf16", "amx_bf16", " bf16"))
