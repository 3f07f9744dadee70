"""`tuneworthy plan` as a whole: the settings to train a project with, their memory, and the duration."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from tuneworthy.config.project import Project
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.errors import TuneworthyError, UserError
from tuneworthy.providers.model_safety import MAX_TOKENIZER_BYTES, read_config
from tuneworthy.providers.models import find
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, artifacts
from tuneworthy.train import messages
from tuneworthy.train.advise import Advice, advise, has_bf16
from tuneworthy.train.base_model import base_spec, end_ids, load_tokenizer, template_of
from tuneworthy.train.duration import Duration, epoch, measure_products
from tuneworthy.train.gpus import GIB, gpus
from tuneworthy.train.memory import IMPORTS, Device
from tuneworthy.train.rehearsal import stored_rows
from tuneworthy.train.render import Rendered, Renderer, TokenRow
from tuneworthy.train.row_lengths import RowLengths, count, estimate
from tuneworthy.train.shape import Shape, count_layers, read_shape
from tuneworthy.train.training_rows import Material, gather, start_of
from tuneworthy.types import JsonObject, NamedInts

# Of the machine's memory, for everything else that runs.
RESERVED = 1.0 * GIB
# Rows that are measured where no tokenizer is loaded.
SAMPLED = 200


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan.

    Attributes:
        base: The model, as the project names it.
        folder: Its folder of safetensors with a tokenizer; None without one.
        shape: Its shape.
        material: Training rows and their metric.
        rendered: Its rows as ids; None without a tokenizer.
        rows: The rows in numbers.
        device: Where it would run.
        advice: Settings, reasons, memory.
        durations: Of one epoch, by machine.
        rehearsal: Rows that the base wrote itself; None until `train` has it do so.
    """

    base: str
    folder: Path | None
    shape: Shape
    material: Material
    rendered: Rendered | None
    rows: RowLengths
    device: Device
    advice: Advice
    durations: Sequence[Duration]
    rehearsal: Sequence[TokenRow] | None = None

    @property
    def left_out(self) -> NamedInts:
        """How many rows are not trained on, by reason (`render.REASONS`); empty before rows are rendered."""
        return {} if self.rendered is None else self.rendered.reasons

    def to_dict(self) -> JsonObject:
        shape = self.shape
        return {
            "base": self.base,
            "model": {
                "architecture": shape.architecture, "known": shape.known, "parameters": shape.n_params,
                "layers": shape.n_layers, "hidden": shape.hidden, "vocab": shape.vocab, "tied": shape.tied,
            },
            "rows": {**asdict(self.rows), "left_out": dict(self.left_out)},
            "device": self.device,
            **self.advice.to_dict(),
            "epoch": [duration.to_dict() for duration in self.durations],
        }  # fmt: skip


def plan_project(project: Project, gpu_gib: float | None = None) -> Planned:
    """Plan the training of a project: on the rows that `train` takes, rendered as `train` renders them.

    Args:
        project: The project; its `[train]` is kept.
        gpu_gib: Memory of a GPU to plan for; this machine's if None.

    Raises:
        UserError: There is no base model on this machine, or no rows.
        ModelError: The base cannot be read or trusted.
    """
    spec = base_spec(project)
    path = find(spec, project.root)
    if path is None:
        raise UserError(
            f"The weights of the model {spec} are not on this machine.",
            hint=f"Run `tuneworthy models pull {spec}`." if ":" in spec else messages.SET_BASE,
        )
    store = Folder(project.root)
    made = next((one for one in reversed(artifacts(store, "base")) if one.about.source.spec == spec), None)
    folder = made.folder.resolve() if made else path.resolve() if path.is_dir() else None
    shape = count_layers(read_shape(path), folder or path)
    material = material_of(project)
    renderer = None if folder is None else renderer_of(folder)
    rendered = None if renderer is None else material.rendered(renderer, project.train.max_length or 2**31)
    version = latest_version(store)
    dataset = None if version is None else version.id
    chats = (material.student.row(row) for row in material.train)
    rows = estimate(chats, dataset) if rendered is None else count(rendered, dataset)
    start = start_of(project, store, made.id if made else None, material.student.document())
    device, advice, times = advised(project, shape, rows, gpu_gib, start)
    own: Sequence[TokenRow] | None = None
    if rendered is not None:
        rendered = rendered.within(advice.settings.max_length)
        if not (n := advice.settings.n_rehearsal(len(rendered.rows))):
            own = ()
        elif made:
            own = stored_rows(store.path / "training", made.id, advice.settings.seed, n)
    return Planned(spec, folder, shape, material, rendered, rows, device, advice, times, own)


def advised(
    project: Project,
    shape: Shape,
    rows: RowLengths,
    gpu_gib: float | None = None,
    start: Artifact | None = None,
) -> tuple[Device, Advice, Sequence[Duration]]:
    """Return where a run would go, with which settings, and how long an epoch takes.

    Args:
        project: The project; its `[train]` is kept.
        shape: Shape of the base.
        rows: The rows in numbers.
        gpu_gib: Memory of a GPU to plan for; this machine's if None.
        start: The adapter that training starts from, if any.
    """
    gib = next((size for size in (gpu_gib, project.train.gpu_memory_gib, _gpu_gib()) if size is not None), None)
    device: Device = "cpu" if gib is None else "cuda"
    available = max(0.0, free_memory() - IMPORTS - RESERVED) if gib is None else gib * GIB
    advice = advise(
        shape, rows, available=available, device=device, train=project.train, has_bf16=has_bf16(device), start=start
    )
    return device, advice, () if advice.memory.fit == "does not fit" else durations(shape, advice, rows, gib)


def renderer_of(folder: Path) -> Renderer | None:
    """Return what renders rows for a model's folder; None if its tokenizer, or what reads it, is not on this machine.

    Raises:
        ModelError: The folder would run code, or its model has no chat template.
    """
    path = folder / "tokenizer.json"
    if not path.is_file() or path.stat().st_size > MAX_TOKENIZER_BYTES or find_spec("transformers") is None:
        return None
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            read_config(folder / name)
    tokenizer = load_tokenizer(folder)
    return Renderer(template_of(tokenizer, folder), tokenizer, end_ids(folder, tokenizer))


def material_of(project: Project) -> Material:
    """Return what `train` would train on; rows that passed no gates are planned for as well.

    Raises:
        UserError: There are no rows.
    """
    return gather(project, Folder(project.root), unsafe=True, say=lambda _: None)


def durations(shape: Shape, advice: Advice, rows: RowLengths, gpu_gib: float | None) -> Sequence[Duration]:
    """Return how long an epoch takes: on the GPUs of that size, or on this processor if torch can time it."""
    if gpu_gib is not None:
        machines = [gpu for gpu in gpus() if gpu_gib and abs(gpu.gib / gpu_gib - 1) < 0.1]
        return [epoch(shape, advice.settings, rows, gpu.tflops * 1e12, "cuda", gpu.name) for gpu in machines]
    peak = measure_products(advice.settings.dtype)
    name = f"this CPU ({(peak or 0) / 1000000000.0:.0f} GFLOP/s measured)"
    return [epoch(shape, advice.settings, rows, peak, "cpu", name)] if peak else []


def free_memory() -> float:
    """Return the free memory of this machine, bytes; its whole memory where the system does not report that."""
    path = Path("/proc/meminfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    return float(free[0]) if free else float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _gpu_gib() -> float | None:
    if find_spec("torch") is None:
        return None
    import torch

    return float(torch.cuda.get_device_properties(0).total_memory) / GIB if torch.cuda.is_available() else None


# --- how long it takes, at once -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expected:
    """How long training takes.

    Attributes:
        base: The model to train, as the project names it.
        device: Where.
        duration: Of all epochs.
    """

    base: str
    device: Device
    duration: Duration


def expect(project: Project, n_rows: int) -> Expected | None:
    """Return how long training on `n_rows` rows of the project takes; None where that is unknown.

    It is unknown for a classifier, and where the base or the rows are missing, the run does not fit, or the machine
    cannot be timed. The slowest GPU counts where several have the memory that is planned for.
    """
    if project.train.method == "classifier":
        return None
    try:
        base = base_spec(project)
        path = find(base, project.root)
        if path is None:
            return None
        shape, material = read_shape(path), material_of(project)
        sample = material.train[:: max(1, len(material.train) // SAMPLED)]
        rows = estimate(material.student.row(row) for row in sample)
        rows = replace(rows, n_rows=n_rows, n_tokens=rows.n_tokens * n_rows // rows.n_rows)
    except TuneworthyError:
        return None  # `plan` and `train` report the fault
    device, advice, times = advised(project, shape, rows)
    if not times:
        return None
    return Expected(base, device, max(times, key=lambda duration: duration.high).times(advice.settings.epochs))
