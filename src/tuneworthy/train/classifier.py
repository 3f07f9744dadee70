"""`train` with `method = "classifier"`: an encoder with a head for the labels, all of its weights tuned.

    .tuneworthy/training/<run>/checkpoint-<step>/   weights, optimiser and random states after an epoch (`checkpoints`):
                                                    the last ones, and those that scored best so far

The epoch that scores best on the held-out rows is kept; one temperature, fitted on these rows, makes probabilities of
its logits. `classical.decision` reads the stored classifier, which answers as the trained model or is not stored.
"""

import resource
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, get_linear_schedule_with_warmup

from tuneworthy.classical.decision import SETTINGS, WEIGHTS, read_classifier
from tuneworthy.classical.encoder import softmax
from tuneworthy.classical.linear import log_loss
from tuneworthy.config.project import Project
from tuneworthy.errors import GateFailed, UserError
from tuneworthy.graders.base import accepted
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.artifacts import Artifact, artifacts, write_artifact
from tuneworthy.train import checkpoints, messages
from tuneworthy.train.advise import has_bf16
from tuneworthy.train.base_model import library_versions, write_again
from tuneworthy.train.classifier_plan import METHOD, WARMUP, ClassifierPlan, plan_classifier
from tuneworthy.train.generation import EVERY_S, quiet
from tuneworthy.train.memory import Device
from tuneworthy.types import content_hash

Say = Callable[[str], None]
WEIGHT_DECAY: Final = 0.01
MOST_GRADIENT: Final = 1.0
# Batches whose rows are ordered by length together, so that little of a batch is padding.
SORTED: Final = 16
# Held-out texts, or rows where none are held out, whose logits are compared; the largest difference that is rounding.
COMPARED: Final = 128
ROUNDING: Final = 1e-3
TEMPERATURES: Final = np.geomspace(0.1, 10, 81)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """An epoch: its last step, and score, log loss and temperature on the held-out rows."""

    step: int
    metric: float = 0.0
    log_loss: float = 0.0
    temperature: float = 1.0


@dataclass
class EncoderProgress:
    """Losses of the steps and evaluations of the epochs; stored with every checkpoint."""

    losses: list[float] = field(default_factory=list)
    evals: list[EpochRecord] = field(default_factory=list)
    seconds: float = 0.0
    schema_version: int = 1

    @property
    def best(self) -> EpochRecord:
        """The epoch with the best score on the held-out rows, then the least loss, then the last."""
        return max(self.evals, key=lambda row: (row.metric, -row.log_loss, row.step))


class EncoderWithHead(torch.nn.Module):
    """A BERT and a linear head over the mean of its last states.

    Args:
        plan: Encoder and labels.
    """

    def __init__(self, plan: ClassifierPlan) -> None:
        super().__init__()
        dropout = plan.settings.dropout
        config = BertConfig(
            **{**plan.encoder.config, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        )
        self.encoder = BertModel.from_pretrained(
            plan.encoder.folder,
            config=config,
            add_pooling_layer=False,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
        )
        torch.manual_seed(plan.settings.seed)
        self.dropout = torch.nn.Dropout(dropout)
        self.classifier = torch.nn.Linear(config.hidden_size, len(plan.labels))
        torch.nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        torch.nn.init.zeros_(self.classifier.bias)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits, ``(n_rows, n_labels)``, of pieces and mask, ``(n_rows, length)``."""
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return self.classifier(self.dropout((states * weights).sum(1) / weights.sum(1)))

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Return the logits of texts as pieces, ``(n_rows, n_labels)``, without dropout."""
        self.eval()
        with torch.inference_mode():
            parts = [self(*self.padded(rows[at : at + 32])).double().cpu().numpy() for at in range(0, len(rows), 32)]
        self.train()
        return np.concatenate(parts)

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pieces and mask, ``(n_rows, length)``."""
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], True)
        device = self.classifier.weight.device
        return ids.to(device), mask.to(device)

    def named(self) -> dict[str, torch.Tensor]:
        """Return the weights by the names that they are stored under."""
        return {name.removeprefix("encoder."): weight for name, weight in self.state_dict().items()}


def train_classifier(
    project: Project, store: Folder, *, unsafe: bool = False, say: Say = lambda _: None
) -> tuple[Artifact, bool]:
    """Tune an encoder; the same run again resumes, or returns its classifier.

    Args:
        project: The project.
        store: Its folder; the caller has the lock.
        unsafe: Take rows that are not gated, or that lack a label.
        say: Gets a sentence now and then.

    Returns:
        The artifact, and whether it existed already.

    Raises:
        UserError: See `plan_classifier`; or training diverges.
        GateFailed: See `plan_classifier`; or the stored weights do not answer as those that were trained.
    """
    quiet()
    plan = plan_classifier(project, store, unsafe=unsafe, fetch=True, say=say)
    for made in artifacts(store, "classifier"):
        if made.about.run == plan.id and made.whole:
            return write_again(store, made), True
    run = store.path / "training" / plan.id
    run.mkdir(parents=True, exist_ok=True)
    artifact = _write(store, plan, *_fit(plan, run, say), say)
    shutil.rmtree(run, ignore_errors=True)
    return artifact, False


def _fit(plan: ClassifierPlan, run: Path, say: Say) -> tuple[EncoderWithHead, EncoderProgress]:
    settings = plan.settings
    device: Device = "cuda" if torch.cuda.is_available() else "cpu"
    model, halved = EncoderWithHead(plan).to(device).train(), has_bf16(device)
    matrices, vectors = ([w for w in model.parameters() if (w.ndim > 1) is wide] for wide in (True, False))
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        fused=True,
    )
    total = max(1, round(settings.epochs * -(-len(plan.rows) // settings.batch_size)))
    schedule = get_linear_schedule_with_warmup(optimizer, int(WARMUP * total), total)
    progress = EncoderProgress()
    if (found := checkpoints.newest(run)) is not None:
        folder, progress = found[0], TypeAdapter(EncoderProgress).validate_python(found[1])
        model.load_state_dict(load_file(folder / WEIGHTS))
        checkpoints.load_optimiser(folder, optimizer, schedule)
        checkpoints.load_random(folder)
    losses = progress.losses
    epoch = len(progress.evals)
    while len(losses) < total:
        began = reported = time.monotonic()
        for batch in batches(plan.rows, settings.batch_size, (settings.seed, epoch))[: total - len(losses)]:
            ids, mask = model.padded([plan.rows[at][0] for at in batch])
            labels = torch.tensor([plan.rows[at][1] for at in batch], device=ids.device)
            with torch.autocast(device, torch.bfloat16, enabled=halved):  # products only: weights stay as they are
                logits = model(ids, mask)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
            loss.backward()
            gradient = torch.nn.utils.clip_grad_norm_(model.parameters(), MOST_GRADIENT)
            losses.append(loss.item())
            if not (np.isfinite(losses[-1]) and torch.isfinite(gradient)):
                raise UserError(
                    f"Training diverged at step {len(losses)}: loss {losses[-1]}, gradient norm {float(gradient)}, "
                    f"learning rate {settings.learning_rate:g}.",
                    hint=messages.LOWER_RATE,
                )
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if (now := time.monotonic()) - reported > EVERY_S:
                reported, each = now, (progress.seconds + now - began) / len(losses)
                left = each * (total - len(losses))
                say(f"Step {len(losses)} of {total}, loss {losses[-1]:.3f}, {left:.0f} s left.")
        progress.seconds += time.monotonic() - began
        epoch += 1
        progress.evals.append(_held_out(plan, model, len(losses), say))
        if plan.material.metric is not None:
            say(messages.evaluated(len(losses), progress.evals[-1].metric, progress.best.metric))
        folder = run / _name(len(losses))
        folder.mkdir(exist_ok=True)
        save_file(model.state_dict(), folder / WEIGHTS)
        checkpoints.save_optimiser(folder, optimizer, schedule)
        checkpoints.save_random(folder)
        checkpoints.seal(folder, asdict(progress))
        for other in set(run.glob("checkpoint-*")) - {folder, run / _name(progress.best.step)}:
            shutil.rmtree(other, ignore_errors=True)
    model.load_state_dict(load_file(run / _name(progress.best.step) / WEIGHTS))
    return model, progress


def _name(step: int) -> str:
    return f"checkpoint-{step}"


def _held_out(plan: ClassifierPlan, model: EncoderWithHead, step: int, say: Say) -> EpochRecord:
    metric = plan.material.metric
    if metric is None:
        return EpochRecord(step)
    logits = model.logits(plan.pieces(metric.cases))
    score = metric.score([(plan.labels[at], "stop") for at in logits.argmax(axis=1)], say)
    column = {label.casefold(): at for at, label in enumerate(plan.labels)}
    texts = [[text.strip().casefold() for text in accepted(case.expected)] for case in metric.cases]
    right = np.array([next((column[text] for text in row if text in column), -1) for row in texts])
    if not (right >= 0).any():
        return EpochRecord(step, score)
    logits, right = logits[right >= 0], right[right >= 0]
    found = [log_loss(softmax(logits / temperature), right) for temperature in TEMPERATURES]
    at = int(np.argmin(found))
    return EpochRecord(step, score, found[at], float(TEMPERATURES[at]))


def batches(rows: Sequence[tuple[Sequence[int], int]], size: int, seed: Sequence[int]) -> list[list[int]]:
    """Return the numbers of the rows of each step of an epoch, in an order drawn by `seed`; lengths lie together.

    >>> [len(batch) for batch in batches([([1] * n, 0) for n in range(10)], 4, (0, 0))]
    [4, 4, 2]
    """
    drawn = np.random.default_rng(seed)
    order, stretch = drawn.permutation(len(rows)), SORTED * size
    found: list[list[int]] = []
    for start in range(0, len(order), stretch):
        by_length = sorted(order[start : start + stretch].tolist(), key=lambda at: len(rows[at][0]))
        found += [by_length[at : at + size] for at in range(0, len(by_length), size)]
    return [found[at] for at in drawn.permutation(len(found))]


def _write(
    store: Folder, plan: ClassifierPlan, model: EncoderWithHead, progress: EncoderProgress, say: Say
) -> Artifact:
    """Write the classifier as an artifact, once the folder answers as the model does.

    Raises:
        GateFailed: It does not.
    """
    metric, encoder, best, losses = plan.material.metric, plan.encoder, progress.best, progress.losses
    state = {
        "labels": list(plan.labels),
        "temperature": best.temperature,
        "vocabulary": encoder.vocabulary,
        "max_tokens": plan.settings.max_length,
        "n_heads": encoder.config["num_attention_heads"],
        "epsilon": encoder.config.get("layer_norm_eps", 1e-12),
        "about": {
            "encoder": encoder.spec,
            "rows": content_hash([[ids, plan.labels[label]] for ids, label in plan.rows]),
            "n_rows": len(plan.rows),
            "settings": asdict(plan.settings),
        },
    }
    if metric is None:
        say("Without held-out rows, the probabilities of the classifier are not calibrated.")

    def fill(folder: Path) -> None:
        save_file({name: weight.float().contiguous() for name, weight in model.named().items()}, folder / WEIGHTS)
        write_atomic(folder / SETTINGS, orjson.dumps(state))
        write_atomic(folder / "curves.json", orjson.dumps(progress))
        texts = (plan.pieces(metric.cases) if metric else [ids for ids, _ in plan.rows])[:COMPARED]
        stored = read_classifier(folder)
        difference = np.abs(np.stack([stored.logits(ids) for ids in texts]) - model.logits(texts)).max()
        if not difference <= ROUNDING:
            raise GateFailed(
                (
                    "The stored classifier does not reproduce the trained one: its logits differ by up to "
                    f"{difference:.2g}, but rounding explains at most {ROUNDING:g}."
                ),
                hint="This is a bug in tuneworthy. Report it with the versions that `pip list` prints.",
            )

    about = {
        "run": plan.id,
        "method": METHOD,
        "dataset": plan.material.dataset,
        "gated": plan.material.gated,
        "source": {"spec": encoder.spec, "sha256": encoder.sha256},
        "settings": asdict(plan.settings),
        "prompt": plan.material.student.document(),
        "labels": list(plan.labels),
        "rows": {"n_rows": len(plan.rows), "n_tokens": sum(len(ids) for ids, _ in plan.rows), "cut": plan.n_cut},
        "held_out": {"n": len(metric.cases), "score": best.metric} if metric else None,
        "temperature": best.temperature,
        "notes": list(plan.material.notes),
        "curves": {
            "n_steps": len(losses),
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "kept_step": best.step,
            "stopped_early": False,
        },
        "memory": {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024},
        "seconds": round(progress.seconds, 1),
        "n_trainable": sum(weight.numel() for weight in model.parameters()),
        "versions": library_versions(),
    }
    return write_artifact(store, "classifier", fill, parent=None, about=about)
