"""`train` with `method = "classifier"`: an encoder with a head for the labels, all of its weights tuned.

The epoch that scores best on the held-out rows is kept; one temperature, fitted on these rows, makes probabilities of
its logits. `classical.decision` reads the stored classifier, which answers as the trained model or is not stored.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, Trainer, TrainingArguments

from tuneworthy.arrays import Floats
from tuneworthy.classical.decision import SETTINGS, WEIGHTS, read_classifier
from tuneworthy.classical.embedding import fit_head
from tuneworthy.classical.linear import log_loss
from tuneworthy.config.project import Project
from tuneworthy.errors import GateFailed
from tuneworthy.graders.base import accepted
from tuneworthy.retrieval.bert import softmax
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.train.advise import has_bf16
from tuneworthy.train.base_model import LOADING_FAULTS, library_versions, load_weights, made_before
from tuneworthy.train.checkpoints import PlainTrainer
from tuneworthy.train.classifier_plan import METHOD, WARMUP, ClassifierPlan, plan_classifier
from tuneworthy.train.generation import quiet
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.trainer import TrainingProgress, Watcher, peak_bytes, training_arguments
from tuneworthy.types import Say, TokenLists, content_hash

WEIGHT_DECAY = 0.01
# Steps of rows of like length, which are drawn together.
SORTED = 4
# Weight of the log loss among epochs of equal score.
TIE = 1e-6
# Held-out texts (or rows, without them) whose logits are compared; the largest difference that is rounding.
COMPARED = 128
ROUNDING = 1e-3
TEMPERATURES = np.geomspace(0.1, 10, 81)


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
        self.encoder = load_weights(
            BertModel,
            plan.encoder.folder,
            faults=LOADING_FAULTS[:2],  # the heads of pre-training are dropped
            config=config,
            add_pooling_layer=False,
            dtype=torch.float32,
        )
        torch.manual_seed(plan.settings.seed)
        self.dropout = torch.nn.Dropout(dropout)
        self.classifier = torch.nn.Linear(config.hidden_size, len(plan.labels))

    def set_head(self, plan: ClassifierPlan) -> None:
        """Begin with the head that a logistic regression gives the frozen encoder.

        Source: Kumar et al. 2022, arXiv 2202.10054: a random head distorts the features before it has learned.
        """
        means = self.batched([ids for ids, _ in plan.rows], self.means).astype(np.float32)
        scale = float(np.linalg.norm(means, axis=1).mean())
        head = fit_head(means / scale, np.array([label for _, label in plan.rows]), plan.labels)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.from_numpy(head["weights"].T / scale))
            self.classifier.bias.copy_(torch.from_numpy(head["intercept"]))

    def means(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the means of the last states, ``(n_rows, width)``."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        means: torch.Tensor = (states * weights).sum(1) / weights.sum(1)
        return means

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: Any = None) -> Any:
        """Return the logits, ``(n_rows, n_labels)``, of pieces and mask, ``(n_rows, length)``; or the loss."""
        logits = self.classifier(self.dropout(self.means(input_ids, attention_mask)))
        return logits if labels is None else {"loss": torch.nn.functional.cross_entropy(logits.float(), labels)}

    def logits(self, rows: TokenLists) -> Floats:
        """Return the logits of texts as pieces, ``(n_rows, n_labels)``, without dropout."""
        return self.batched(rows, self)

    def batched(self, rows: TokenLists, part_of: Callable[..., torch.Tensor]) -> Floats:
        """Return a part of this model for texts as pieces, ``(n_rows, n)``, without dropout."""
        self.eval()
        with torch.inference_mode():
            device = self.classifier.weight.device
            batches = [padded(rows[at : at + 32]) for at in range(0, len(rows), 32)]
            parts = [part_of(**{name: part.to(device) for name, part in batch.items()}) for batch in batches]
        self.train()
        return torch.cat(parts).double().cpu().numpy()

    def save_pretrained(self, folder: Path, **_: Any) -> None:
        """Write the weights, as `save_weights` has every model do."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), folder / WEIGHTS)


class EncoderTrainer(PlainTrainer, Trainer):
    """Trainer of transformers for an `EncoderWithHead`."""


def padded(rows: TokenLists) -> dict[str, torch.Tensor]:
    """Return pieces and mask, ``(n_rows, length)``."""
    masks = [torch.ones(len(row), dtype=torch.long) for row in rows]
    ids = [torch.tensor(row) for row in rows]
    pad = torch.nn.utils.rnn.pad_sequence
    return {"input_ids": pad(ids, batch_first=True), "attention_mask": pad(masks, batch_first=True)}


def train_classifier(
    project: Project, store: Folder, *, unsafe: bool = False, full: bool = False, say: Say = lambda _: None
) -> tuple[Artifact, bool]:
    """Tune an encoder; the same run again resumes, or returns its classifier.

    Args:
        project: The project.
        store: Its folder; the caller has the lock.
        unsafe: Take rows that are not gated, or that lack a label.
        full: Also take the rows that overlap with cases.
        say: Gets a sentence now and then.

    Returns:
        The artifact, and whether it existed already.

    Raises:
        UserError: See `plan_classifier`; or training diverges.
        GateFailed: See `plan_classifier`; or the stored weights do not answer as those that were trained.
    """
    quiet()
    plan = plan_classifier(project, store, unsafe=unsafe, fetch=True, full=full, say=say)
    if (made := made_before(store, "classifier", plan.id)) is not None:
        return made, True
    run = store.path / "training" / plan.id
    run.mkdir(parents=True, exist_ok=True)
    model, progress = _fit(plan, run, unsafe, say)
    artifact = _write(store, plan, model, progress, say)
    shutil.rmtree(run, ignore_errors=True)
    return artifact, False


def _fit(plan: ClassifierPlan, run: Path, unsafe: bool, say: Say) -> tuple[EncoderWithHead, TrainingProgress]:
    """Tune the encoder, beginning with the head of the frozen one.

    Raises:
        GateFailed: The tuned encoder scores no better on the held-out rows than the frozen one, and not `unsafe`.
    """
    settings, metric = plan.settings, plan.material.metric
    rows = sorted(plan.rows, key=lambda row: len(row[0]))
    step, n = settings.batch_size, len(rows)
    per_epoch = -(-n // step)
    total = max(1, round(settings.epochs * per_epoch))
    pieces = plan.pieces(metric.cases) if metric else []
    begun = EncoderWithHead(plan)
    begun.set_head(plan)
    frozen = _held_out(plan, begun.logits(pieces), say)[0] if metric else None

    def evaluate(model: EncoderWithHead) -> float:
        score, loss, _ = _held_out(plan, model.logits(pieces), say)
        return score - TIE * loss

    watcher = Watcher(run, evaluate if metric else None, per_epoch, per_epoch, say, patience=inf)
    arguments = TrainingSettings(
        method="full",
        learning_rate=settings.learning_rate,
        warmup_ratio=WARMUP,
        batch_size=step,
        micro_batch_size=step,
        dtype="bfloat16" if has_bf16("cuda" if torch.cuda.is_available() else "cpu") else "float32",
        seed=settings.seed,
    )
    alike = SORTED * step
    trainer = EncoderTrainer(
        kinds=[min(alike, n - at) for at in range(0, n, alike)],  # rows of like length: little of a batch is padding
        model=begun,
        args=training_arguments(TrainingArguments, arguments, run, total, weight_decay=WEIGHT_DECAY),
        train_dataset=rows,
        data_collator=lambda rows: {
            **padded([ids for ids, _ in rows]),
            "labels": torch.tensor([label for _, label in rows]),
        },
        callbacks=[watcher],
    )
    kept = load_file(watcher.finish(trainer, total) / WEIGHTS)
    model = EncoderWithHead(plan)  # the one that was trained computes in 16 bits
    model.load_state_dict(kept)
    if frozen is not None:
        tuned = _held_out(plan, model.logits(pieces), say)[0]
        fault = f"The tuned encoder scores {tuned:.1%} on the held-out rows, and the frozen encoder {frozen:.1%}."
        if tuned <= frozen and not unsafe:
            raise GateFailed(
                fault, hint="Use the classical baseline `embedding`, or pass --unsafe to keep the tuned encoder anyway."
            )
        say(fault)
    return model, watcher.progress


def _held_out(plan: ClassifierPlan, logits: Floats, say: Say) -> tuple[float, float, float]:
    metric = plan.material.metric
    assert metric is not None
    score = metric.score([(plan.labels[at], "stop") for at in logits.argmax(axis=1)], say)
    column = {label.casefold(): at for at, label in enumerate(plan.labels)}
    texts = [[text.strip().casefold() for text in accepted(case.expected)] for case in metric.cases]
    right = np.array([next((column[text] for text in row if text in column), -1) for row in texts])
    if not (right >= 0).any():
        return score, 0.0, 1.0
    logits, right = logits[right >= 0], right[right >= 0]
    losses = [log_loss(softmax(logits / temperature), right) for temperature in TEMPERATURES]
    at = int(np.argmin(losses))
    return score, losses[at], float(TEMPERATURES[at])


def _write(
    store: Folder, plan: ClassifierPlan, model: EncoderWithHead, progress: TrainingProgress, say: Say
) -> Artifact:
    """Write the classifier as an artifact, once the folder answers as the model does.

    Raises:
        GateFailed: It does not.
    """
    metric, encoder = plan.material.metric, plan.encoder
    texts = plan.pieces(metric.cases) if metric else [ids for ids, _ in plan.rows[:COMPARED]]
    logits = model.logits(texts)
    score, _, temperature = _held_out(plan, logits, say) if metric else (0.0, 0.0, 1.0)
    state = {
        "labels": list(plan.labels),
        "temperature": temperature,
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
        weights = {
            name.removeprefix("encoder."): weight.float().contiguous() for name, weight in model.state_dict().items()
        }
        save_file(weights, folder / WEIGHTS)
        write_atomic(folder / SETTINGS, orjson.dumps(state))
        write_atomic(folder / "curves.json", orjson.dumps(progress))
        stored = read_classifier(folder)
        difference = np.abs(np.stack([stored.logits(ids) for ids in texts[:COMPARED]]) - logits[:COMPARED]).max()
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
        "held_out": {"n": len(metric.cases), "score": score} if metric else None,
        "temperature": temperature,
        "notes": list(plan.material.notes),
        "curves": progress.summary(stopped_early=False),
        "memory": {"peak_bytes": peak_bytes()},
        "seconds": round(progress.seconds, 1),
        "n_trainable": sum(weight.numel() for weight in model.parameters()),
        "versions": library_versions(),
    }
    return write_artifact(store, "classifier", fill, parent=None, about=about)
