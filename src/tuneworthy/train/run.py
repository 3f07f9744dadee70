"""`train` as a whole: base, rows, settings, the run, and the resulting adapter (or the model, with `full`).

    .tuneworthy/training/<run>/   see `checkpoints`; gone when the adapter is written

A run is named by all that it is made of. The same one again resumes where it was killed, or returns its adapter.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from tuneworthy.config.project import Project
from tuneworthy.errors import ModelError, UserError
from tuneworthy.providers.model_safety import check_numbers
from tuneworthy.regressions.compare import RegressionResult
from tuneworthy.regressions.sets import general_sentences
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.train import messages
from tuneworthy.train.advise import advise, has_bf16
from tuneworthy.train.base_model import Base, base_spec, library_versions, made_before, open_base, prepare_base
from tuneworthy.train.generation import Evaluator, answering_mode, quiet
from tuneworthy.train.gpus import GIB
from tuneworthy.train.memory import Device
from tuneworthy.train.phases import phase
from tuneworthy.train.plan import free_memory
from tuneworthy.train.ranks import train_on_ranks
from tuneworthy.train.rehearsal import rehearsal_rows
from tuneworthy.train.render import Rendered, Renderer, TokenRow
from tuneworthy.train.row_lengths import count
from tuneworthy.train.settings import BLOCK, TrainingSettings
from tuneworthy.train.shape import count_layers, read_shape
from tuneworthy.train.training_rows import ANSWER_SLACK, Material, TaskMetric, gather, start_of
from tuneworthy.types import JsonObject, Say, Tokens, content_hash

if TYPE_CHECKING:
    from tuneworthy.train.trainer import Ran

# Rows whose text and mask are shown and stored.
SHOWN = 3
# Largest harmless rise of the bits per byte on general text, as a share. Assumed.
GENERAL_RISE = 0.05


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a run starts from.

    Attributes:
        base: The model to train.
        material: On what.
        settings: How.
        rendered: The rows as ids and mask.
        renderer: What rendered them.
        start: The adapter that training starts from; None for fresh adapters.
        shown: Text of the first rows in stretches, each with whether it is supervised.
        rehearsal: Rows that the base wrote itself, once it has.
    """

    base: Base
    material: Material
    settings: TrainingSettings
    rendered: Rendered
    renderer: Renderer
    start: Artifact | None
    shown: Sequence[Sequence[tuple[str, bool]]]
    rehearsal: Sequence[TokenRow] = ()

    @property
    def id(self) -> str:
        metric, pairs = self.material.metric, self.rendered.pairs
        paired = {"start": self.start and self.start.id, "worse": content_hash([pair.rejected for pair in pairs])}
        return content_hash(
            {
                **(paired if pairs else {}),
                **({"text": content_hash(self.material.text)} if self.material.text else {}),
                "base": self.base.artifact.id,
                "dataset": self.material.dataset,
                "rows": [row.id for row in self.rendered.rows],
                "stops_by": metric.identity if metric else None,
                "settings": self.settings.identity,
                "template": self.base.template.sha256,
                "prompt": self.material.student.document(),
            }
        )


def settings_for(
    project: Project,
    rendered: Rendered,
    base: Path,
    say: Say = lambda _: None,
    start: Artifact | None = None,
    *,
    processes: int = 1,
) -> TrainingSettings:
    """Return the settings of `[train]`, and what `advise` returns for the others.

    Args:
        project: The project with its `[train]`.
        rendered: All rows, also those that are too long.
        base: Folder of the base.
        say: Gets a warning if the run may not fit into memory.
        start: The adapter that training starts from, if any.
        processes: Processes to train on.

    Raises:
        UserError: There are fewer GPUs, or the processes cannot share a batch.
    """
    import torch

    device: Device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and processes > (n := torch.cuda.device_count()):
        raise UserError(f"{processes} processes need a GPU each, and this machine has {n}.", hint="Lower --processes.")
    if processes > 1 and project.train.method == "preference":
        raise UserError("Training on pairs runs in one process.", hint=messages.USE_LORA)
    if project.train.gpu_memory_gib is not None:
        available = project.train.gpu_memory_gib * GIB
    else:
        available = float(torch.cuda.mem_get_info()[0]) if device == "cuda" else free_memory()
    advice = advise(
        count_layers(read_shape(base), base),
        count(rendered),
        available=available,
        device=device,
        train=project.train,
        has_bf16=has_bf16(device),
        start=start,
        processes=processes,
    )
    if (memory := advice.memory).fit == "does not fit":
        say(
            f"Padded batches may need up to {memory.estimate.high / GIB:.1f} GiB, but only "
            f"{memory.available / GIB:.1f} GiB is available, so the run may be killed. Run `tuneworthy plan` to "
            "see which settings fit."
        )
    settings = advice.settings
    return replace(settings, dtype="float32") if settings.dtype == "float16" else settings  # it needs a loss scale


def prepare(
    project: Project,
    store: Folder,
    *,
    unsafe: bool,
    say: Say,
    material: Material | None = None,
    full: bool = False,
    processes: int = 1,
) -> Prepared:
    """Make base and rows ready.

    Raises:
        UserError: There are no rows, base or adapter to start from, or a classifier is to be trained.
        GateFailed: The data did not pass its gates.
    """
    if project.train.method == "classifier":
        raise UserError("There is no pilot for a classifier.", hint=messages.USE_LORA)
    with phase("load libraries"):
        quiet()
    with phase("prepare base model"):
        base = open_base(prepare_base(base_spec(project), project.root, store, say))
    with phase("prepare data"):
        material = material or gather(project, store, unsafe=unsafe, say=say, full=full)
    with phase("tokenise rows"):
        renderer = Renderer(base.template, base.tokenizer, base.ends)
        rendered = material.rendered(renderer, project.train.max_length or 2**31)
    start = start_of(project, store, base.artifact.id, material.student.document())
    settings = settings_for(project, rendered, base.artifact.folder, say, start, processes=processes)
    rendered = rendered.within(settings.max_length)
    if not rendered.n_supervised:
        raise UserError(
            (
                f"No row is left to train on, because the limit is {settings.max_length} tokens. Rows dropped: "
                f"{len(rendered.left_out)}."
            ),
            hint="Raise [train] max_length, or use a base model with a longer context.",
        )
    highest = max(max(row.ids) for row in rendered.rows)
    if highest >= (embeddings := read_shape(base.artifact.folder).vocab):
        raise ModelError(
            f"The tokenizer of the base model uses token {highest}, but the model has only {embeddings} embeddings.",
            hint=messages.OTHER_BASE,
        )
    shown = [renderer.shown(row) for row in rendered.rows[:SHOWN]]
    if settings.paired:
        begin = f"adapter {start.id}" if start else "the base model"
        say(f"Training on {len(rendered.pairs)} pairs, starting from {begin}.")
    return Prepared(base, material, settings, rendered, renderer, start, shown)


def train_project(
    project: Project,
    store: Folder,
    *,
    unsafe: bool = False,
    full: bool = False,
    processes: int = 1,
    say: Say = lambda _: None,
    show: Callable[[Prepared], None] = lambda _: None,
) -> tuple[Artifact, bool]:
    """Train an adapter; the same run again resumes, or returns its adapter.

    Args:
        project: The project.
        store: Its folder; the caller has the lock.
        unsafe: Take rows that are not gated.
        full: Also take the rows that overlap with cases.
        processes: Processes to train on.
        say: Gets a sentence now and then.
        show: Gets the inputs of the run, before it starts.

    Returns:
        The artifact, and whether it existed already.

    Raises:
        UserError: See `prepare`.
        GateFailed: The data did not pass its gates.
    """
    prepared = prepare(project, store, unsafe=unsafe, say=say, full=full, processes=processes)
    if prepared.settings.method == "continued" and not prepared.material.text:
        raise UserError(prepared.material.notes[-1], hint="Add documents, divide long ones by headings, or use lora.")
    show(prepared)
    run = store.path / "training" / prepared.id
    if (made := made_before(store, "adapter", prepared.id)) is not None:
        shutil.rmtree(run, ignore_errors=True)  # it is there if a run was killed after its last write
        return made, True
    prepared = replace(
        prepared,
        rehearsal=rehearsal_rows(run.parent, prepared.base, prepared.settings, len(prepared.rendered.rows), say),
    )
    metric = prepared.material.metric
    ran = train_phases(prepared, run, evaluate=metric and evaluator_of(prepared, metric, say), say=say)
    adapter = write_adapter(store, prepared, ran)
    shutil.rmtree(run, ignore_errors=True)
    return adapter, False


def train_phases(
    prepared: Prepared, run: Path, *, max_blocks: int | None = None, say: Say = lambda _: None, **options: Any
) -> Ran:
    """Train one adapter: once on the raw text, if there is any, then on the rows. Each phase resumes.

    Args:
        prepared: The run.
        run: Its folder.
        max_blocks: Blocks of raw text, at most; all if None.
        say: Gets a sentence now and then.
        options: Further arguments of `train_rows` for the rows.
    """
    from tuneworthy.train.trainer import train_rows

    train = train_on_ranks if prepared.settings.processes > 1 else train_rows
    base, text, settings, start = prepared.base, prepared.material.text, prepared.settings, prepared.start
    folder, begin = base.artifact.folder, start.folder if start else None
    common = {"tokenizer": base.tokenizer, "rehearsal": prepared.rehearsal, "say": say}
    usable = [one for one in text if not any(token in one for token in base.tokenizer.all_special_tokens)]
    ids = [number for one in usable for number in (*prepared.renderer.ids(one), base.ends[0])]
    blocks = text_blocks(ids, base.ends[0])
    if text:
        say(
            f"Training once on {len(blocks[:max_blocks])} of {len(blocks)} blocks of raw text, of {BLOCK} tokens, "
            f"before the rows. Sections dropped because they contain control tokens: {len(text) - len(usable)}."
        )
    if blocks:
        begin = train(folder, blocks[:max_blocks], replace(settings, epochs=1.0), run / "text", **common).adapter
    ran = train(
        folder,
        prepared.rendered.rows,
        settings,
        run,
        pairs=prepared.rendered.pairs,
        start=begin,
        **common,
        **options,
    )
    return replace(ran, n_blocks=len(blocks))


def text_blocks(ids: Tokens, end: int) -> list[TokenRow]:
    """Return `ids` in blocks of up to `BLOCK` tokens; each begins with the end of a text, which is not supervised.

    >>> [block.ids for block in text_blocks([5, 6, 7], 2)]
    [[2, 5, 6, 7]]
    """
    parts = [[end, *ids[at : at + BLOCK - 1]] for at in range(0, len(ids), BLOCK - 1)]
    return [TokenRow(f"text-{at}", part, [0] + [1] * (len(part) - 1)) for at, part in enumerate(parts)]


def measure_text(prepared: Prepared, adapter: Path) -> JsonObject:
    """Return the bits per byte of the base without and with `adapter`, on held-out and on general text.

    Returns:
        `domain` and `general` (without, with), `regression`: general text as a regression set, and `detail` for people.
    """
    import torch

    from tuneworthy.train.trainer import adapted

    model = adapted(prepared.base.artifact.folder, prepared.settings, adapter)

    def bits(text: str) -> float:
        blocks = text_blocks(prepared.renderer.ids(text), prepared.base.ends[0])
        rows = (torch.tensor([block.ids], device=model.device) for block in blocks)
        return sum(float(model(input_ids=row, labels=row).loss) * (len(row[0]) - 1) for row in rows) / log(2)

    texts, n = [*prepared.material.measured, *general_sentences()], len(prepared.material.measured)
    with torch.no_grad(), answering_mode(model), phase("measure bits per byte"):
        after = np.array([*map(bits, texts)])
        with model.disable_adapter():
            before = np.array([*map(bits, texts)])
    sizes = np.array([len(one.encode()) for one in texts], float)
    parts = slice(n), slice(n, None)
    (a, b), (c, d) = ([float(side[at].sum() / sizes[at].sum()) for side in (before, after)] for at in parts)
    rise = d / c - 1
    half = 1.65 * float(np.linalg.norm(after[n:] - (1 + rise) * before[n:]) / before[n:].sum())  # one-sided 95%
    found = RegressionResult(
        name="general text",
        hash=content_hash(texts[n:]),
        status="pass" if rise + half < GENERAL_RISE else "fail" if rise > half else "unknown",
        n=len(texts) - n,
        unscored=0,
        margin=GENERAL_RISE,
        delta=-rise,
        lower=-rise - half,
        detail=f"the bits per byte change by {rise:+.1%} on {len(texts) - n} English sentences (at most "
        f"{rise + half:+.1%} with 95% confidence, limit {GENERAL_RISE:+.0%})",
    )
    return {
        "domain": [a, b],
        "general": [c, d],
        "regression": asdict(found),
        "detail": f"bits per byte: {a:.2f} to {b:.2f} on held-out text, {c:.2f} to {d:.2f} on general text",
    }


def evaluator_of(prepared: Prepared, metric: TaskMetric, say: Say) -> Evaluator:
    """Return the evaluator by the project's grader, with the prompt that is served.

    Args:
        prepared: The run.
        metric: The grader, and the cases that are asked.
        say: Gets how many answers could not be scored.

    Raises:
        UserError: The chat template rejects a case.
    """
    student = prepared.material.student
    prompts = [ids or [] for ids in prepared.renderer.prompts([student.question(case) for case in metric.cases])]
    if not all(prompts):
        raise UserError("The chat template rejects some of the held-out rows.", hint=messages.CHECK_TEMPLATE)
    limit = min(student.variant.max_tokens, ANSWER_SLACK * max(row.n_supervised for row in prepared.rendered.rows))
    base = prepared.base
    return Evaluator(prompts, base.ends, limit, student.variant.stop, base.tokenizer, partial(metric.score, say=say))


def write_adapter(store: Folder, prepared: Prepared, ran: Ran) -> Artifact:
    best = ran.progress.best

    def fill(folder: Path) -> None:
        if prepared.settings.method == "full":
            for name in ("config.json", "model.safetensors"):
                shutil.copyfile(ran.adapter / name, folder / name)
        else:
            config = orjson.loads((ran.adapter / "adapter_config.json").read_bytes())
            config["base_model_name_or_path"] = prepared.base.artifact.about.source.spec
            write_atomic(folder / "adapter_config.json", orjson.dumps(config, option=orjson.OPT_INDENT_2))
            shutil.copyfile(ran.adapter / "adapter_model.safetensors", folder / "adapter_model.safetensors")
        check_numbers(folder, "The trained model", messages.LOWER_RATE)
        own = [prepared.renderer.shown(row) for row in prepared.rehearsal]
        for name, shown in (("rendered.json", prepared.shown), ("rehearsal.json", own)):
            rows = [[{"text": text, "supervised": bit} for text, bit in row] for row in shown]
            write_atomic(folder / name, orjson.dumps(rows, option=orjson.OPT_INDENT_2))
        write_atomic(folder / "curves.json", orjson.dumps({"steps": ran.progress.steps, "evals": ran.progress.evals}))

    settings, metric = prepared.settings, prepared.material.metric
    held_out = {
        "n": len(metric.cases) if metric else 0,
        "score": best.metric if best else None,
        "rows": list(prepared.material.held_out),
    }
    about = {
        "run": prepared.id,
        "dataset": prepared.material.dataset,
        "gated": prepared.material.gated,
        "settings": settings.to_dict(),
        "template_sha256": prepared.base.template.sha256,
        "prompt": prepared.material.student.document(),
        "rows": prepared.rendered.document(),
        **({"start": prepared.start and prepared.start.id} if settings.paired else {}),
        "rehearsal": {
            "n_rows": len(prepared.rehearsal),
            "n_tokens": sum(len(row.ids) for row in prepared.rehearsal),
        },
        "held_out": held_out if metric else None,
        **({"text": measure_text(prepared, ran.adapter)} if prepared.material.text else {}),
        "notes": list(prepared.material.notes),
        "curves": ran.progress.summary(stopped_early=ran.stopped_early),
        "memory": {"peak_bytes": ran.peak_bytes},
        "seconds": round(ran.progress.seconds, 1),
        "shared_rows": ran.shared,
        "n_trainable": ran.n_trainable,
        "versions": library_versions(),
    }
    return write_artifact(store, "adapter", fill, parent=prepared.base.artifact.id, about=about)
