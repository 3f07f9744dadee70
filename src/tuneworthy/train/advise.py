"""What to train with: every knob with its value, reason and source, and the article's value beside it.

What the project file's `[train]` says is taken as it is, and told so. The rest follows from the rows, the model's shape
and the memory at hand. Source: facts.md A1 to A3; marks as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tuneworthy.config.train import Train
from tuneworthy.train.memory import PLAIN_TRL, Backend, Device, MemoryFit, fits, largest_micro_batch
from tuneworthy.train.rehearsal import LONGEST
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import ALL_LINEAR, Dtype, Method, TrainingSettings
from tuneworthy.train.shape import Shape

ARTICLE: Final[Mapping[str, str]] = {
    "method": "QLoRA, also of 70B on one 24 GB card",
    "rank": "8-16 style, 16 format, 32-64 distillation, 64-128 domain",
    "alpha": "alpha = r",
    "target_modules": "all linear layers",
    "dropout": "0.05-0.1 for small data",
    "learning_rate": "2e-4 (1e-4 to 5e-4)",
    "schedule": "cosine, 10 steps of warm-up",
    "epochs": "2 (1-3)",
    "rehearsal": "not named",
    "batch_size": "16 (2 x 8)",
    "micro_batch_size": "2",
    "max_length": "4096",
    "dtype": "bf16",
    "gradient_checkpointing": "always",
}
"""What the article says, by knob."""
RANKS: Final = (16, 32, 64, 128, 256)
ALPHA: Final = 32.0
FIT: Final[Mapping[str, float]] = {"llama": 0.781, "qwen2": 0.0775, "qwen3": 0.0775}
"""Exponent of the fit of the learning rate over the width, by family."""
FULL_RATE: Final = 5e-5
LORA_TIMES: Final = 10
MAX_RATE: Final = 1e-3
SHORT_STEPS: Final = 100
SHORT_TIMES: Final = 15
PLAIN_RATE: Final = 2e-4
MAX_BATCH: Final = 31
EPOCHS: Final = 3.0
REHEARSAL: Final = 0.05
STEP_ROUND: Final = 8
"""Lengths are rounded up to a multiple of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One setting and why it has its value.

    Attributes:
        name: Field of `TrainingSettings`. value: What is advised, or what `[train]` says.
        reason: A sentence with the numbers it rests on. source, mark: Of the reason ("" if it is arithmetic of ours).
        article: What the article says. given: Whether `[train]` says it.
    """

    name: str
    value: Any
    reason: str
    source: str
    mark: str
    article: str = ""
    given: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the knob as JSON-able values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Settings with their reasons, and whether they fit.

    Attributes:
        settings: What the trainer takes. knobs: One for each setting that matters.
        memory: What the run needs against what there is. notes: What is to be known beside that.
    """

    settings: TrainingSettings
    knobs: Sequence[Knob]
    memory: MemoryFit
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as JSON-able values."""
        return {
            "settings": self.settings.to_dict(),
            "knobs": [knob.to_dict() for knob in self.knobs],
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
    backend: Backend = PLAIN_TRL,
    has_bf16: bool = True,
) -> Advice:
    """Return settings for a run, with the reason of each.

    Args:
        shape: Of the base model. rows: Of the training data.
        available: Memory above what the imports take, bytes. device: Where it is.
        train: `[train]` of the project file; what it says is kept.
        backend: What will train. has_bf16: Whether the device computes in bfloat16.
    """
    return _Advisor(shape, rows, available, device, train or Train(), backend, has_bf16).advise()


class _Advisor:
    """Sets one knob after the other; later ones rest on earlier ones."""

    def __init__(  # noqa: PLR0917
        self,
        shape: Shape,
        rows: RowLengths,
        available: float,
        device: Device,
        train: Train,
        backend: Backend,
        has_bf16: bool,
    ) -> None:
        self.shape, self.rows, self.available, self.device = shape, rows, available, device
        self.train, self.backend, self.has_bf16 = train, backend, has_bf16
        self.knobs: list[Knob] = []
        self.settings = TrainingSettings(seed=train.seed, batch_size=16, micro_batch_size=1)

    def advise(self) -> Advice:
        self._dtype()
        self._length()
        self._batch()
        self._method()
        self._rank_and_alpha()
        self._set("target_modules", ALL_LINEAR, *self._targets())
        self._set("dropout", 0.0, "the evidence for dropout is weak; the recipes of TRL, Unsloth and TML use none",
                  "facts.md A1: Unsloth 2026.10.9 defaults, TRL LoRA Without Regret", "V")  # fmt: skip
        self._epochs()
        self._rehearsal()
        self._rate()
        self._set("schedule", "linear", "TRL's default; with a short warm-up over 3 % of the steps", "trl 1.16.0", "V")
        return self._fit()

    def _set(self, name: str, value: Any, reason: str, source: str, mark: str) -> None:
        """Set a knob, unless `[train]` says it."""
        told = getattr(self.train, name, None)
        if told is not None:
            value, reason, source, mark = told, f"[train] of the project file says {told}", "project file", ""
        self.settings = replace(self.settings, **{name: value})
        article = ARTICLE.get(name, "")
        self.knobs.append(Knob(name=name, value=value, reason=reason, source=source, mark=mark, article=article,
                               given=told is not None))  # fmt: skip

    def _dtype(self) -> None:
        value: Dtype = "bfloat16" if self.has_bf16 else ("float16" if self.device == "cuda" else "float32")
        why = "computes" if self.has_bf16 else "does not compute"
        self._set("dtype", value, f"this device {why} in bfloat16", "facts.md A4: SFTConfig bf16 True", "V")

    def _length(self) -> None:
        rows, most = self.rows, self.shape.max_positions
        wanted = rows.longest if rows.longest <= 2 * rows.p99 else rows.p99
        value = -(-wanted // STEP_ROUND) * STEP_ROUND
        value = min(value, most) if most else value
        left = "none is left out" if value >= rows.longest else f"rows above it (p99 is {rows.p99}) are left out"
        how = "counted by the model's tokenizer" if rows.counted else "estimated from bytes"
        reason = f"the longest row has {rows.longest} tokens ({how}), half have at most {rows.median}: {left}"
        reason += "; TRL's default of 1024 would cut" if value > 1024 else ""
        self._set("max_length", value, reason, "the rows; facts.md A4: trl 1.16.0", "V")

    def _batch(self) -> None:
        n = self.rows.n_rows
        value = 8 if n < 400 else 16
        reason = f"LoRA bears large batches less than full training: below 32; {max(1, n // value)} steps an epoch"
        self._set("batch_size", value, reason, "facts.md A1: TML LoRA Without Regret (iv)", "V V2")

    def _method(self) -> None:
        method: Method = "lora"
        reason = "the 16-bit base fits, and an adapter that was trained on it merges without a change of base"
        tried = replace(self.settings, method="lora", micro_batch_size=1)
        if self.device == "cuda":
            verdict = fits(self.shape, tried, self.available, self.device, self.backend)
            if verdict.fit == "does not fit":
                method = "qlora"
                reason = f"the 16-bit base needs {verdict.estimate.n_bytes / 2**30:.1f} GiB, so it is held in 4 bits;"
                reason += " the adapter is trained against the rounded weights: parity decides after the merge"
        self._set("method", method, reason, "facts.md A3; 0, row 6; A5", "V C")

    def _rank_and_alpha(self) -> None:
        shape, need = self.shape, self.rows.n_supervised
        rank = next((r for r in RANKS if shape.n_lora(r) >= need), RANKS[-1])
        n = shape.n_lora(self.train.rank or rank)
        binds = "capacity does not bind" if n >= need else "more tokens than the largest advised adapter can hold"
        reason = f"{n / 1e6:.1f}M parameters ({n / shape.n_params:.1%} of the model) against {need} supervised tokens"
        reason += f": {binds}"
        self._set("rank", rank, reason, "facts.md A1: capacity rule of Tinker/TCRL", "V C")
        chosen = self.settings.rank
        reason = (
            f"scale alpha/r = {(self.train.alpha or ALPHA) / chosen:g}; with alpha fixed the best rate hardly depends"
        )
        reason += " on the rank; alpha acts like the rate: never compare it alone"
        self._set("alpha", ALPHA, reason, "facts.md A1 (iii), A2; 0, row 5: TML, TRL recipes", "V V2")

    def _targets(self) -> tuple[str, str, str]:
        shape = self.shape
        if shape.moe:
            reason = (
                f"its {shape.n_experts} experts are plain parameters, which all-linear does not reach: only attention"
            )
            return f"{reason} gets adapters; name them in target_parameters", "facts.md A1: peft 0.21.2", "V"
        reason = (
            f"the MLP holds {shape.mlp_share:.0%} of the linear weights; attention alone loses even at equal parameters"
        )
        return reason, "facts.md A1: TML (i), peft 0.21.2", "V C"

    def _epochs(self) -> None:
        reason = "at most: training stops earlier when the task metric on held-out examples no longer gets better"
        self._set("epochs", EPOCHS, reason, "facts.md A1: Gekhman (early stopping), Raschka (epochs)", "V2 K")

    def _rehearsal(self) -> None:
        if self.settings.method == "full":
            self._set(
                "rehearsal",
                0.0,
                "`train`, which has the base write rows, trains adapters only",
                "docs/training.md",
                "C",
            )
            return
        n = replace(self.settings, rehearsal=REHEARSAL).n_rehearsal(self.rows.n_rows)
        reason = f"{n} rows that the base writes itself: without, it unlearns what the task does not ask for"
        self._set("rehearsal", REHEARSAL, reason, "arXiv 2403.01244, 2406.08464; docs/training.md", "V C")

    @property
    def _steps(self) -> int:
        return int(self.settings.epochs * -(-self.rows.n_rows // self.settings.batch_size))

    def _rate(self) -> None:
        family = self.shape.architecture
        if self.settings.method == "full":
            self._set("learning_rate", FULL_RATE, "full training; the tinker fit's base rate", "facts.md A1", "V2")
            return
        if family not in FIT:
            reason = f"a start for a family without a fit ({family}); 10 times that of full training"
            self._set("learning_rate", PLAIN_RATE, reason, "facts.md A1: Unsloth docs; TML (ii)", "V")
            return
        times = SHORT_TIMES if self._steps < SHORT_STEPS else LORA_TIMES
        fitted = FULL_RATE * times * (2000 / self.shape.hidden) ** FIT[family]
        value = float(f"{min(fitted, MAX_RATE):.2g}")
        reason = f"5e-5 · {times} · (2000/{self.shape.hidden})^{FIT[family]} = {fitted:.2g}"
        reason += f", held at {MAX_RATE:g}: the fit was not made for so small a model" if fitted > MAX_RATE else ""
        reason += f"; {times} times full training" + (
            f" for a run of {self._steps} steps" if times == SHORT_TIMES else ""
        )
        self._set("learning_rate", value, reason, "facts.md A1: tinker-cookbook fit, TML (ii)", "V V2")

    def _fit(self) -> Advice:
        longest = max(self.settings.max_length, LONGEST if self.settings.rehearsal else 0)
        settings = replace(self.settings, max_length=longest)
        where = (self.shape, settings, self.available, self.device, self.backend)
        plain = largest_micro_batch(*where)
        saving = replace(settings, gradient_checkpointing=True)
        saved = largest_micro_batch(self.shape, saving, self.available, self.device, self.backend)
        verdict = fits(self.shape, replace(settings, micro_batch_size=plain), *where[2:])
        if verdict.fit == "does not fit" or verdict.settings.gradient_checkpointing:
            verdict = fits(self.shape, replace(saving, micro_batch_size=saved), *where[2:])
        chosen = replace(verdict.settings, max_length=self.settings.max_length)
        estimate = verdict.estimate
        room = (
            f"{estimate.n_bytes / 2**30:.1f} GiB (at most {estimate.high / 2**30:.1f}) of {self.available / 2**30:.1f}"
        )
        times = chosen.accumulation
        most = "even one row does not fit" if verdict.instead else "the most rows at once that fit"
        knobs = [
            Knob(name="micro_batch_size", value=chosen.micro_batch_size, source="facts.md A3", mark="V C",
                 article=ARTICLE["micro_batch_size"], reason=f"{most}: {room}; {times} accumulated to a step"),
            Knob(name="gradient_checkpointing", value=chosen.gradient_checkpointing, source="facts.md A3", mark="C",
                 article=ARTICLE["gradient_checkpointing"],
                 reason="saves memory that is needed" if chosen.gradient_checkpointing
                 else "not needed: it fits without, and layers are not computed twice"),
        ]  # fmt: skip
        self.settings = chosen
        return Advice(settings=chosen, knobs=(*self.knobs, *knobs), memory=verdict, notes=self._notes())

    def _notes(self) -> Sequence[str]:
        found = [
            "A sweep of the learning rate (three short runs) brings more than any variant of LoRA: with tuned rates"
            " they lie within 1 to 2 % (arXiv 2602.04998, abstract [V])."
        ]
        if not self.rows.counted:
            found.append(
                "Lengths are estimated from bytes: the tokenizer is not at hand, or `transformers` not installed."
            )
        if not self.shape.known:
            found.append(
                f"{self.shape.architecture} is no family whose layers are counted: taken for a Llama, band doubled."
            )
        if self.shape.vision:
            found.append("Only the text part of this model is counted; its vision tower comes on top.")
        if self.settings.batch_size > MAX_BATCH:
            found.append(
                f"A batch of {self.settings.batch_size} is 32 or more: LoRA falls behind there (facts.md A1 (iv) [V])."
            )
        if self.rows.dataset is None:
            found.append(
                "Nothing is frozen yet: planned for the examples file. `tuneworthy data build` freezes a version."
            )
        return found


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
