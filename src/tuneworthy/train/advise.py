"""What to train with: every setting with its value, reason and source.

What `[train]` of the project file sets is kept. The rest follows from the rows, the model's shape and the memory at
hand.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tuneworthy.config.train import Train
from tuneworthy.store.artifacts import Artifact
from tuneworthy.store.shapes import shaped
from tuneworthy.train import messages
from tuneworthy.train.gpus import GIB, OwnedMachine, owned_machines
from tuneworthy.train.memory import IMPORTS, Device, MemoryFit, fits
from tuneworthy.train.rehearsal import LONGEST, expected_rows
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import ALL_LINEAR, Method, TrainingSettings, divisors
from tuneworthy.train.shape import Shape
from tuneworthy.types import JsonObject, Texts, frozen

RANKS = (16, 32, 64, 128, 256)
ALPHA = 32.0
# Exponent of the fit of the learning rate over the width, by family.
FIT = {"llama": 0.781, "qwen2": 0.0775, "qwen3": 0.0775}
FULL_RATE = 5e-5
LORA_TIMES = 10
MAX_RATE = 1e-3
SHORT_STEPS = 100
SHORT_TIMES = 15
PLAIN_RATE = 2e-4
MAX_BATCH = 31
EPOCHS = 3.0
REHEARSAL = 0.05
# Of DPO: TRL's default, and how many times lower its rate is than that of training on answers.
BETA = 0.1
PAIRS_LESS = 40
# Lengths are rounded up to its multiple.
STEP_ROUND = 8


@frozen
class Knob:
    """One setting and why it has its value.

    Attributes:
        name: Field of `TrainingSettings`.
        value: Advised value, or that of `[train]`.
        reason: Why, with the numbers it rests on.
        source: A document that can be opened, or a measurement.
    """

    name: str
    value: Any
    reason: str
    source: str


def chosen_knob(train: Train, name: str, value: Any, reason: str, source: str) -> Knob:
    own = getattr(train, name, None)
    if own is None:
        return Knob(name=name, value=value, reason=reason, source=source)
    reason = f"Set to {own} by [train] in the project file."
    return Knob(name=name, value=own, reason=reason, source=messages.PROJECT_FILE)


@frozen
class MachinePlan:
    """A machine that people own, and its use for one model.

    Attributes:
        machine: Name and memory.
        usable_gib: Memory for a served model.
        trains: Methods that fit.
        serves: The widest form of the weights that fits; None if no form does.
        most_tokens_per_s: Upper bound for one request, from the memory bandwidth; None if that is unknown.
        source: Of the bandwidth.
    """

    machine: str
    usable_gib: float
    trains: Sequence[Method]
    serves: str | None
    most_tokens_per_s: float | None
    source: str


def _plan_for(
    machine: OwnedMachine, shape: Shape, settings: TrainingSettings, kinds: Sequence[RowLengths]
) -> MachinePlan:
    """Return the use of a machine; `train` uses cards with CUDA, and any other machine's processor, in 32 bits."""
    device: Device = "cuda" if machine.kind == "card" else "cpu"
    available = machine.free_gib * GIB - (0 if device == "cuda" else IMPORTS)
    methods: Sequence[Method] = ("preference",) if settings.paired else ("full", "lora", "qlora")
    tried = {
        method: replace(settings, method=method, dtype="bfloat16" if device == "cuda" else "float32")
        for method in methods
    }
    form = machine.form(shape.n_params / 1e9)
    return MachinePlan(
        machine=str(machine),
        usable_gib=round(machine.serving_gib, 1),
        trains=[m for m, own in tried.items() if fits(shape, own, available, device, kinds).fit != "does not fit"],
        serves=form,
        most_tokens_per_s=machine.most_tokens_per_s(shape.n_active / 1e9, form) if form else None,
        source=machine.source,
    )


@frozen
class Advice:
    """Settings with their reasons, and whether they fit.

    Attributes:
        settings: Settings of the trainer.
        knobs: One for each setting that matters.
        memory: Needed and available memory.
        notes: What else a reader should know.
        machines: Methods and forms by machine that people own.
        processes: Memory of each device, by number of processes.
    """

    settings: TrainingSettings
    knobs: Sequence[Knob]
    memory: MemoryFit
    notes: Texts = ()
    machines: Sequence[MachinePlan] = ()
    processes: Sequence[MemoryFit] = ()

    def to_dict(self) -> JsonObject:
        return {
            "settings": self.settings.to_dict(),
            "knobs": [asdict(knob) for knob in self.knobs],
            "memory": self.memory.to_dict(),
            "notes": list(self.notes),
            "machines": [asdict(one) for one in self.machines],
            "processes": [
                {"processes": one.settings.processes, "rows": one.settings.micro_batch_size, **one.to_dict()}
                for one in self.processes
            ],
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
    processes: int = 1,
) -> Advice:
    """Return settings for a run, with their reasons.

    Args:
        shape: Shape of the base model.
        rows: The training data in numbers.
        available: Memory above the imports, bytes.
        device: Where it is.
        train: `[train]` of the project file; its values are kept.
        has_bf16: Whether the device computes in bfloat16.
        start: The adapter that training on pairs starts from; None for fresh adapters.
        processes: Processes to train on: each has a device with `available` bytes, or its part of the machine's memory.

    Raises:
        UserError: The processes cannot share a batch.
    """
    return _Advisor(shape, rows, available, device, train or Train(), has_bf16, start, processes).advise()


@dataclass
class _Advisor:
    """Sets one knob after the other; later knobs rest on earlier knobs."""

    shape: Shape
    rows: RowLengths
    available: float
    device: Device
    train: Train
    has_bf16: bool
    start: Artifact | None
    processes: int
    knobs: list[Knob] = field(default_factory=list)
    settings: TrainingSettings = field(default_factory=lambda: TrainingSettings(batch_size=16, micro_batch_size=1))

    def advise(self) -> Advice:
        rows = self.rows
        dtype = "bfloat16" if self.has_bf16 else ("float16" if self.device == "cuda" else "float32")
        supports = "supports" if self.has_bf16 else "does not support"
        self._set("dtype", dtype, f"This device {supports} bfloat16.", messages.TRL)
        wanted = rows.longest if rows.longest <= 2 * rows.p99 else rows.p99
        length = min(-(-wanted // STEP_ROUND) * STEP_ROUND, self.shape.max_positions or 2**31)
        how = "counted by the model's tokenizer" if rows.counted else "estimated from byte lengths"
        reason = f"The longest row has {rows.longest} tokens and the median row {rows.median} ({how})."
        if length >= rows.longest:
            reason += " No row is dropped."
        else:
            reason += f" Rows of more than {length} tokens are dropped (p99 is {rows.p99})."
        if length > 1024:
            reason += " TRL's default would truncate rows at 1024 tokens."
        self._set("max_length", length, reason, f"{messages.THE_ROWS}; {messages.TRL}")
        batch = 8 if rows.n_rows < 400 else 16
        reason = "LoRA tolerates large batches less well than full fine-tuning, so the batch size stays below 32."
        self._set("batch_size", batch, f"{reason} Steps per epoch: {max(1, rows.n_rows // batch)}.", messages.TML)
        self._method()
        if self.start is not None:
            self._continued(self.start)
        elif self.settings.method != "full":
            self._adapters()
        reason = "An upper limit: training stops when the task metric on held-out rows no longer improves."
        self._set("epochs", EPOCHS, reason, messages.EARLY_STOPPING)
        if self.settings.paired:
            reason = "TRL's default. A higher value keeps the model closer to where it started."
            self._set("beta", BETA, reason, messages.DPO)
        else:
            n = replace(self.settings, rehearsal=REHEARSAL).n_rehearsal(rows.n_rows)
            reason = f"The base model generates {n} rows. Without them, the model forgets skills that the task does not"
            self._set("rehearsal", REHEARSAL, f"{reason} use.", messages.REHEARSAL)
        self._rate()
        self._set("schedule", "linear", "TRL's default, with a short warm-up over 3% of the steps.", messages.TRL)
        return self._fit()

    def _set(self, name: str, value: Any, reason: str, source: str) -> None:
        self.knobs.append(chosen_knob(self.train, name, value, reason, source))
        self.settings = replace(self.settings, **{name: self.knobs[-1].value})

    def _method(self) -> None:
        method = "lora"
        reason = (
            "QLoRA is needed only if the 16-bit base model does not fit in GPU memory. With LoRA, the adapter "
            "merges into the same weights it was trained on."
        )
        if self.device == "cuda":
            needed = fits(self.shape, replace(self.settings, method="lora"), self.available, self.device)
            if needed.fit == "does not fit":
                method = "qlora"
                reason = (
                    "With a 16-bit base model, even one row at a time may need up to "
                    f"{needed.estimate.high / GIB:.1f} GiB, so the model is loaded in 4-bit. The adapter is trained on "
                    "quantised weights, so check parity after the merge."
                )
        self._set("method", method, reason, "arXiv 2305.14314")

    def _continued(self, start: Artifact) -> None:
        before = shaped(start.about.settings, TrainingSettings, start.folder)
        for name in ("rank", "alpha", "target_modules", "dropout"):
            value, reason = getattr(before, name), f"As in adapter {start.id}, which training starts from."
            self.settings = replace(self.settings, **{name: value})
            self.knobs.append(Knob(name=name, value=value, reason=reason, source="adapter"))

    def _adapters(self) -> None:
        shape, need = self.shape, self.rows.n_supervised
        rank = next((r for r in RANKS if shape.n_lora(r) >= need), RANKS[-1])
        n = shape.n_lora(self.train.rank or rank)
        binds = "enough capacity" if n >= need else "more tokens than the largest recommended adapter can learn"
        size = f"{n / 1e6:.1f}M parameters ({n / shape.n_params:.1%} of the model)"
        self._set("rank", rank, f"{size} for {need} supervised tokens: {binds}.", messages.TINKER)
        reason = (
            f"The scale alpha/r is {ALPHA / self.settings.rank:g}. With alpha fixed, the best "
            "learning rate hardly depends on the rank. A higher alpha acts like a higher learning rate, so never "
            "compare alphas at a single learning rate."
        )
        self._set("alpha", ALPHA, reason, f"{messages.TML}; {messages.LEARNING_RATE_MATTERS}, appendix C")
        reason = (
            f"The setting all-linear does not cover the {shape.n_experts} experts. List them in target_parameters."
            if shape.moe
            else f"The MLP has {shape.mlp_share:.1%} of the linear weights. Adapting attention alone performs worse, "
            "even with the same number of parameters."
        )
        self._set("target_modules", ALL_LINEAR, reason, messages.PEFT if shape.moe else messages.TML)
        reason = "There is little evidence that adapter dropout helps. The recipes from TRL, Unsloth and Thinking"
        self._set("dropout", 0.0, f"{reason} Machines omit it.", f"{messages.UNSLOTH}; {messages.TRL_LORA}")

    def _rate(self) -> None:
        family, full = self.shape.architecture, self.settings.method == "full"
        if family not in FIT:
            reason = (
                f"A starting point, because there is no published fit for {family}: 2e-5 is a common learning "
                "rate for full fine-tuning, and adapters need 10 times as much."
            )
            self._set_rate(
                PLAIN_RATE / LORA_TIMES if full else PLAIN_RATE, reason, f"{messages.UNSLOTH}; {messages.TML}"
            )
            return
        steps = int(self.settings.epochs * -(-self.rows.n_rows // self.settings.batch_size))
        times = 1 if full else SHORT_TIMES if steps < SHORT_STEPS else LORA_TIMES
        fitted = FULL_RATE * times * (2000 / self.shape.hidden) ** FIT[family]
        reason = f"5e-5 · {times} · (2000/{self.shape.hidden})^{FIT[family]} = {fitted:.2g}"
        if fitted > MAX_RATE:
            reason += f", capped at {MAX_RATE:g} because the fit does not cover models this small"
        reason += "."
        if times > 1:
            short = f" and applies to short runs (here {steps} steps)" if times == SHORT_TIMES else ""
            reason += f" The factor {times} is relative to full fine-tuning{short}."
        self._set_rate(float(f"{min(fitted, MAX_RATE):.2g}"), reason, f"{messages.TINKER}; {messages.TML}")

    def _set_rate(self, rate: float, reason: str, source: str) -> None:
        if self.settings.paired:
            rate = float(f"{rate / PAIRS_LESS:.2g}")
            reason += f" Divided by {PAIRS_LESS}, as in Zephyr's recipes, because pairs need a lower learning rate."
            source = f"{source}; https://github.com/huggingface/alignment-handbook/tree/main/recipes/zephyr-7b-beta"
        self._set("learning_rate", rate, reason, source)

    def _fit(self) -> Advice:
        longest = min(self.settings.max_length, self.rows.longest)
        more = self.settings.rehearsal or self.settings.method == "continued"
        longest = max(longest, LONGEST if more else 0)
        settings = replace(self.settings, max_length=longest, processes=self.processes)
        kinds: list[RowLengths] = []
        if self.shape.plain_attention and not self.settings.paired:  # rows then share their beginning
            kinds = [self.rows]
            if more:
                kinds.append(expected_rows(self.settings, self.rows.n_rows))
        memory = fits(self.shape, settings, self._room(self.processes), self.device, kinds)
        machines = [_plan_for(machine, self.shape, settings, kinds) for machine in owned_machines()]
        chosen = replace(memory.settings, max_length=self.settings.max_length)
        needed, most, room = (n / GIB for n in (memory.estimate.n_bytes, memory.estimate.high, memory.available))
        size = f"{needed:.1f} GiB (at most {most:.1f} GiB)"
        batch = (
            f"Even one row does not fit: it needs {size}, but {room:.1f} GiB is available."
            if memory.instead
            else f"The largest batch that fits needs {size} of the {room:.1f} GiB available."
        )
        batch += f" Gradient accumulation steps: {chosen.accumulation}."
        saves = (
            "The run needs the memory that gradient checkpointing saves."
            if chosen.gradient_checkpointing
            else "The run fits without gradient checkpointing, so no layer is computed twice."
        )
        for name, why in (("micro_batch_size", batch), ("gradient_checkpointing", saves)):
            self.knobs.append(Knob(name=name, value=getattr(chosen, name), reason=why, source="memory estimate"))
        self.settings = chosen
        return Advice(
            settings=chosen,
            knobs=self.knobs,
            memory=memory,
            notes=self._notes(),
            machines=machines,
            processes=[
                fits(self.shape, replace(settings, processes=n), self._room(n), self.device, kinds)
                for n in divisors(settings.batch_size)
                if n == 1 or not settings.paired
            ],
        )

    def _room(self, processes: int) -> float:
        """Return the memory of a process, bytes: that of its GPU, or its part of the machine's."""
        return self.available if self.device == "cuda" else (self.available - (processes - 1) * IMPORTS) / processes

    def _notes(self) -> Texts:
        shape, batch = self.shape, self.settings.batch_size
        notes = [
            "Trying other learning rates gains more than any LoRA variant. With tuned rates, the scores "
            f"of all variants are within 1 to 2% of each other ({messages.LEARNING_RATE_MATTERS})."
        ]
        if not self.rows.counted:
            notes.append(
                "Token counts are estimated from byte lengths, because the tokenizer or the package transformers is "
                "missing."
            )
        if not shape.known:
            notes.append(
                f"The memory estimate treats {shape.architecture} like Llama and doubles the uncertainty band."
            )
        if shape.vision:
            notes.append("The estimate covers only the text part of this model. The vision tower needs extra memory.")
        if batch > MAX_BATCH:
            notes.append(
                f"The batch size is {batch}. LoRA falls behind full fine-tuning at 32 or more ({messages.TML})."
            )
        if self.rows.dataset is None:
            notes.append(
                "No dataset is frozen yet, so this plan uses the examples file. Run `tuneworthy data build` to freeze "
                "one."
            )
        return notes


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
