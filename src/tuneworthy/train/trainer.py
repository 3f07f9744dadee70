"""The run itself: TRL's SFTTrainer over PEFT adapters or all weights; rows share their beginning and lie unpadded.

Pairs go to TRL's DPOTrainer as it is: its reference is a copy of the adapter as it was when training began.

Different from TRL: the batches (`layout`, `attention`), the head over supervised tokens only, checkpoints without
pickle (`checkpoints`), and early stopping on the task's own metric. The loss is the same: the mean over the supervised
tokens of an optimiser step.
"""

import resource
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import TypeAdapter
from transformers import AttentionInterface, PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from tuneworthy.errors import UserError
from tuneworthy.signals import handled_by
from tuneworthy.train import checkpoints, messages
from tuneworthy.train.attention import NAME, RowAttention, supports
from tuneworthy.train.base_model import load_model
from tuneworthy.train.batch_layout import IGNORED, collate
from tuneworthy.train.generation import inner_model
from tuneworthy.train.phases import phase
from tuneworthy.train.render import TokenPair, TokenRow
from tuneworthy.train.settings import ALL_LINEAR, TrainingSettings
from tuneworthy.types import JsonObject, Say, content_hash

EVALS_PER_EPOCH = 2.0
# The run ends when the task metric did not improve in this many evaluations in a row: after an epoch, so that a run
# of two epochs can end early.
PATIENCE = 2
# Largest relative difference of the first rows' loss between our batches and plain batches.
LOSS_TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 1e-2}
# Settings of models with experts, which PEFT would adapt as fused parameters: `merge` cannot write these.
EXPERTS = ("num_experts", "num_local_experts")
# Further records per step of a run on pairs: share of pairs in the right order, and by how much.
PAIRED = ("accuracies", "margins")
# About as many are written in a run, besides those at each evaluation; and seconds between two, at most.
CHECKPOINTS, CHECKPOINT_S = 20, 300.0
# Fills up the last step of an epoch, so that all processes compute equally often; it has no loss.
FILLER = TokenRow("filler", [0, 0], [0, 0])


class DivergedError(UserError):
    """A loss or a gradient is not finite: the weights are unusable from that step on."""

    error_code = "E-TRAIN-01"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """An optimiser step; of pairs also the share in the right order, and the mean margin."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    seconds: float
    accuracies: float | None = None
    margins: float | None = None


@dataclass(frozen=True, slots=True)
class EvalRecord:
    step: int
    metric: float
    seconds: float


@dataclass
class TrainingProgress:
    """Steps and evaluations of a run; stored with every checkpoint.

    `seconds` is the time of training, of all processes that worked on the run, without evaluations.
    """

    steps: list[StepRecord] = field(default_factory=list)
    evals: list[EvalRecord] = field(default_factory=list)
    seconds: float = 0.0
    schema_version: int = 1

    @property
    def best(self) -> EvalRecord | None:
        return max(self.evals, key=lambda entry: entry.metric, default=None)

    @property
    def since_best(self) -> int:
        return len(self.evals) - 1 - self.evals.index(self.best) if self.best else 0

    @property
    def kept_step(self) -> int:
        return (self.best or self.steps[-1]).step

    def summary(self, *, stopped_early: bool) -> JsonObject:
        return {
            "n_steps": len(self.steps),
            "first_loss": self.steps[0].loss,
            "last_loss": self.steps[-1].loss,
            "kept_step": self.kept_step,
            "stopped_early": stopped_early,
        }


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run.

    Attributes:
        adapter: Folder of the best adapter, or of the best model where all weights are trained.
        progress: Curves.
        peak_bytes: Most memory that was in use.
        stopped_early: Whether the metric ended it.
        shared: Whether rows shared their beginning (else: plain batches).
        n_trainable: Weights that were trained.
        n_blocks: Blocks of raw text that there were.
    """

    adapter: Path
    progress: TrainingProgress
    peak_bytes: int
    stopped_early: bool
    shared: bool
    n_trainable: int
    n_blocks: int = 0


def peak_bytes() -> int:
    """Return the most memory that was in use: of the GPU if there is one, else of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else used


def loaded(base: Path, settings: TrainingSettings) -> Any:
    """Return the model of the folder `base` as it is trained.

    Args:
        base: A folder in 16 bits.
        settings: Method and precision.
    """
    options = {}
    if settings.method == "qlora":
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, settings.dtype),
        )
    if torch.cuda.is_available():
        options["device_map"] = {"": torch.cuda.current_device()}
    model = load_model(base, "float32" if settings.method == "full" else settings.dtype, **options)
    if settings.method == "qlora" and not torch.cuda.is_available():
        for weight in filter(torch.Tensor.is_floating_point, model.parameters()):
            weight.data = weight.data.clone()  # it lies in the file, which would stay mapped as a whole
    return model


def adapted(base: Path, settings: TrainingSettings, start: Path | None = None) -> Any:
    """Return the model of the folder `base` with adapters, or with all weights in 32 bits to be trained.

    Args:
        base: A folder in 16 bits.
        settings: Method, rank, scale, modules, precision.
        start: Folder of the adapter to go on with; fresh adapters if None.
    """
    model = loaded(base, settings)
    model.config.use_cache = False
    if start is not None:
        return PeftModel.from_pretrained(model, start, is_trainable=True)
    if settings.method == "full":
        return model
    modules = settings.target_modules
    if modules == ALL_LINEAR and any(getattr(model.config, name, None) for name in EXPERTS):
        layers = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]
        modules = tuple(sorted({name.rpartition(".")[2] for name in layers} - {"lm_head"}))
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(settings.seed)
    return get_peft_model(model, config)


class RowTrainer(checkpoints.PlainTrainer, SFTTrainer):
    """SFTTrainer over batches of `batch_layout.collate`.

    Args:
        attention: Gets the layout per batch; None for plain batches of `input_ids` and `attention_mask`.
        named: Arguments of `PlainTrainer` and SFTTrainer.
    """

    def __init__(self, *, attention: RowAttention | None, **named: Any) -> None:
        super().__init__(**named)
        self.attention = attention
        self.model_accepts_loss_kwargs = True  # so that it counts the supervised tokens of a whole step

    def compute_loss(
        self, model: Any, inputs: JsonObject, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the summed loss of the supervised tokens over their number in the whole step."""
        if self.attention is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        n = (inputs["targets"] != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        loss = summed_loss(model, inputs, self.attention) / n
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return loss


class PairTrainer(checkpoints.PlainTrainer, DPOTrainer):
    """DPOTrainer over pairs that are token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def summed_loss(model: Any, batch: JsonObject, attention: RowAttention) -> torch.Tensor:
    """Return the sum of the losses of the supervised tokens of a batch; the head sees their places alone."""
    attention.lay(batch["lengths"].tolist(), batch["input_ids"].device, next(model.parameters()).dtype)
    logits = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        use_cache=False,
        logits_to_keep=batch["predict_at"],
    ).logits
    return torch.nn.functional.cross_entropy(logits[0].float(), batch["targets"], ignore_index=IGNORED, reduction="sum")


class Watcher(TrainerCallback):
    """Records what happens, evaluates the task metric, seals checkpoints, and stops in time.

    Args:
        run: Folder of the run; its last whole checkpoint has the progress so far.
        evaluate: Returns the task metric of a model; None without one.
        eval_every: Steps between evaluations.
        checkpoint_every: Steps between checkpoints.
        say: Gets a sentence now and then.
        patience: Evaluations in a row without a better metric that end the run.
    """

    def __init__(
        self,
        run: Path,
        evaluate: Callable[[Any], float] | None,
        eval_every: int,
        checkpoint_every: int,
        say: Say,
        patience: float = PATIENCE,
    ) -> None:
        self.run, self.evaluate, self.say, self.patience = run, evaluate, say, patience
        self.eval_every, self.checkpoint_every = eval_every, checkpoint_every
        newest = checkpoints.newest(run)
        self.checkpoint = newest[0] if newest else None
        self.progress = TypeAdapter(TrainingProgress).validate_python(newest[1] if newest else {})
        self._began = self._saved = time.monotonic()
        self._updating = self._stopping = False

    def finish(self, trainer: Any, total: int) -> Path:
        """Train to the end, or to the first signal, after which the steps so far are a checkpoint.

        Raises:
            KeyboardInterrupt: A signal came.
        """
        trainer.remove_callback(PrinterCallback)  # it writes to stdout, where only our output goes
        self._writes = trainer.args.should_save
        folder, done = self.checkpoint, len(self.progress.steps)
        if folder:
            self.say(f"Resuming after step {done} of {total}.")
        with phase("training steps", total, done) as self._advance:
            if folder is not None and self._is_due(done, total):  # it was stopped in the evaluation
                trainer._load_from_checkpoint(str(folder))
                self._evaluate(trainer.model, done)
            if folder is None or (done < total and self.progress.since_best < self.patience):
                with handled_by(self._interrupt):
                    try:
                        trainer.train(resume_from_checkpoint=folder and str(folder))
                    except KeyboardInterrupt:
                        self._save_last_step(trainer)
                        raise
                if self._stopping:
                    raise KeyboardInterrupt
        return self.run / f"{'best' if self.progress.best else 'checkpoint'}-{self.progress.kept_step}"

    def _interrupt(self, *_: object) -> None:
        """Take a signal: while weights are updated or written, only a second one stops the run at once."""
        again, self._stopping = self._stopping, True
        if again or not self._updating:
            raise KeyboardInterrupt

    def _save_last_step(self, trainer: Any) -> None:
        """Write the last whole step as a checkpoint: a step that was begun has changed no weight."""
        step = len(self.progress.steps)
        if (
            step == trainer.state.global_step > 0
            and not self._updating
            and not (self.run / f"checkpoint-{step}" / checkpoints.SEAL).exists()
        ):
            trainer._save_checkpoint(trainer.model, None)
            self._seal(step)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:
        """Give the sampler its epoch, which the part of a process, or of a resumed run, does not pass on."""
        sampler = train_dataloader.batch_sampler
        while hasattr(sampler, "batch_sampler"):
            sampler = sampler.batch_sampler
        sampler.sampler.set_epoch(int(state.epoch or 0))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._updating = False
        if self._stopping:
            raise KeyboardInterrupt
        # dropout depends on the step and the process, so that a resumed run draws the same
        torch.manual_seed(int(content_hash([args.seed, state.global_step, args.process_index])[:12], 16))
        self._began = time.monotonic()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._updating = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self._seconds = time.monotonic() - self._began
        self.progress.seconds += self._seconds
        step, total = state.global_step, state.max_steps
        late = time.monotonic() - self._saved + self._seconds > CHECKPOINT_S  # the next step may take as long
        control.should_log = True
        control.should_save = late or step % self.checkpoint_every == 0 or step >= total or self._is_due(step, total)
        return control

    def _is_due(self, step: int, total: int) -> bool:
        """Return whether the task metric is evaluated after `step`, and has not been."""
        due = self.evaluate is not None and step > 0 and (step % self.eval_every == 0 or step >= total)
        return due and all(entry.step != step for entry in self.progress.evals)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Record the loss of a step.

        Raises:
            DivergedError: It, or the gradient, is not finite.
        """
        if not logs or "loss" not in logs:
            return
        loss, gradient = float(logs["loss"]), float(logs.get("grad_norm") or 0.0)
        if not isfinite(loss) or not isfinite(gradient):
            raise DivergedError(
                (
                    f"Training diverged at step {state.global_step}: loss {loss}, gradient norm "
                    f"{gradient}, learning rate {args.learning_rate:g}."
                ),
                hint=messages.LOWER_RATE if self.progress.steps else messages.OTHER_BASE,  # no update yet: the base
            )
        rate, pairs = float(logs["learning_rate"]), [logs.get(f"rewards/{name}") for name in PAIRED]
        self.progress.steps.append(StepRecord(state.global_step, loss, rate, gradient, round(self._seconds, 4), *pairs))
        self._advance(detail=f", loss {loss:.3f}")

    def on_save(self, args: Any, state: Any, control: Any, **named: Any) -> Any:
        """Seal the checkpoint that was just written, evaluate if that is due, and stop in time."""
        step = state.global_step
        self._seal(step)
        self._saved, self._updating = time.monotonic(), False
        if self._stopping:
            raise KeyboardInterrupt
        if self._is_due(step, state.max_steps):
            self._evaluate(named["model"], step)
            control.should_training_stop |= self.progress.since_best >= self.patience
        return control

    def _seal(self, step: int) -> None:
        """Seal the checkpoint of `step`, and drop those before the last two; only process 0 writes."""
        if not self._writes:
            return
        best = self.run / f"best-{self.progress.kept_step}" if self.progress.evals else None
        checkpoints.seal(self.run / f"checkpoint-{step}", asdict(self.progress), best)
        for earlier in sorted(self.run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))[:-2]:
            shutil.rmtree(earlier, ignore_errors=True)

    def _evaluate(self, model: Any, step: int) -> None:
        assert self.evaluate is not None
        began = time.monotonic()
        metric = self.evaluate(model)
        self.progress.evals.append(EvalRecord(step, metric, round(time.monotonic() - began, 2)))
        best = self.progress.best
        assert best is not None
        if best.step == step and self._writes:
            keep_best(model, self.run, step)
        self._seal(step)
        self.say(f"Step {step}: the task metric on held-out rows is {metric:.1%} (best so far: {best.metric:.1%}).")


def keep_best(model: Any, run: Path, step: int) -> None:
    """Write the weights as the best so far; earlier best weights stay, as a checkpoint may name them."""
    part = run / ".best"
    shutil.rmtree(part, ignore_errors=True)
    checkpoints.save_weights(model, part)
    target = run / f"best-{step}"
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def train_rows(
    base: Path,
    rows: Sequence[TokenRow],
    settings: TrainingSettings,
    run: Path,
    *,
    tokenizer: Any,
    rehearsal: Sequence[TokenRow] = (),
    pairs: Sequence[TokenPair] = (),
    start: Path | None = None,
    evaluate: Callable[[Any], float] | None = None,
    evals_per_epoch: float = EVALS_PER_EPOCH,
    max_steps: int | None = None,
    say: Say = lambda _: None,
) -> Ran:
    """Train adapters or all weights on `rows`; resume from the last whole checkpoint of the folder `run`.

    Args:
        base: Folder of the base, 16 bits.
        rows: The rows as ids.
        settings: Settings of the run.
        run: Its folder; belongs to these rows and settings alone.
        tokenizer: Tokenizer of the base.
        rehearsal: Further rows, which fill whole steps of their own.
        pairs: The rows with their worse answers: trained on instead of the rows, if there are any.
        start: Folder of the adapter to go on with; fresh adapters if None.
        evaluate: Returns the task metric of a model, 0..1; None without one.
        evals_per_epoch: Evaluations in an epoch.
        max_steps: Steps instead of epochs.
        say: Gets a sentence now and then.

    Raises:
        DivergedError: The loss is not finite.
    """
    run.mkdir(parents=True, exist_ok=True)
    with phase("load base model"):
        model = adapted(base, settings, start)
        attention = None if pairs else _row_attention(model, rows, settings)
        if torch.distributed.is_initialized():  # all processes share rows, or no process does
            agreed = torch.tensor(int(attention is not None), device=model.device)
            torch.distributed.all_reduce(agreed, torch.distributed.ReduceOp.MIN)
            attention = attention if agreed else None
    per_epoch = max(1, -(-(len(rows) + len(rehearsal)) // settings.batch_size))
    total = max_steps or max(1, round(settings.epochs * per_epoch))
    watcher = Watcher(run, evaluate, max(1, round(per_epoch / evals_per_epoch)), max(5, total // CHECKPOINTS), say)
    progress = watcher.progress
    common = {"model": model, "processing_class": tokenizer, "callbacks": [watcher]}
    trainer: Any
    if pairs:
        arguments = training_arguments(DPOConfig, settings, run, total, max_length=None, beta=settings.beta)
        trainer = PairTrainer(kinds=[len(pairs)], args=arguments, train_dataset=_pair_dataset(pairs), **common)
    else:
        arguments = training_arguments(
            SFTConfig, settings, run, total, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}
        )
        filler = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        trainer = RowTrainer(
            attention=attention,
            kinds=(len(rows), len(rehearsal)),
            args=arguments,
            train_dataset=_dataset([*rows, *rehearsal, *[FILLER] * (settings.processes > 1)]),
            data_collator=collate if attention else DataCollatorForLanguageModeling(pad_token_id=filler),
            **common,
        )
    if attention is not None:
        inner_model(model).set_attn_implementation(NAME)
    adapter = watcher.finish(trainer, total)
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    stopped = progress.since_best >= PATIENCE and progress.steps[-1].step < total
    return Ran(adapter, progress, peak_bytes(), stopped, attention is not None, trainable)


def training_arguments(kind: type[Any], settings: TrainingSettings, run: Path, total: int, **more: Any) -> Any:
    """Return the arguments of a trainer of transformers: its `kind`, with the arguments that only it has."""
    arguments = kind(
        output_dir=str(run),
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=int(settings.warmup_ratio * total),
        max_steps=total,
        seed=settings.seed,
        bf16=settings.method in {"full", "lora", "continued"} and settings.dtype == "bfloat16",
        fp16=False,
        optim="adamw_bnb_8bit" if settings.method == "qlora" else SFTConfig.optim,
        gradient_checkpointing=settings.gradient_checkpointing,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # it writes the mean of earlier losses where there is no number
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        **more,
    )
    if arguments.n_gpu > 1:  # one process has one card: DataParallel, which TRL refuses, would split its batches
        arguments._n_gpu = 1
    return arguments


def _dataset(rows: Sequence[TokenRow]) -> Dataset:
    return Dataset.from_dict({"input_ids": [row.ids for row in rows], "labels": [row.labels for row in rows]})


def _pair_dataset(pairs: Sequence[TokenPair]) -> Dataset:
    columns = {"prompt_ids": "prompt", "chosen_ids": "chosen", "rejected_ids": "rejected"}
    return Dataset.from_dict({name: [getattr(pair, part) for pair in pairs] for name, part in columns.items()})


def _row_attention(model: Any, rows: Sequence[TokenRow], settings: TrainingSettings) -> RowAttention | None:
    """Return the attention of shared rows, or None where the model cannot take it.

    It is not trusted: the loss of a few rows must be that of plain batches, or plain batches are used.
    """
    inner = inner_model(model)
    if not supports(inner.config):
        return None
    attention = RowAttention()
    AttentionInterface.register(NAME, attention)
    few = _dataset(rows[: min(4, len(rows))])
    batch = {name: value.to(model.device) for name, value in collate([*few]).items()}
    before = inner.config._attn_implementation
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            plain = 0.0
            for row, at in zip(rows, range(len(few)), strict=False):
                ids, labels = (torch.tensor([few[at][name]], device=model.device) for name in ("input_ids", "labels"))
                plain += float(model(input_ids=ids, labels=labels, use_cache=False).loss) * row.n_supervised
            inner.set_attn_implementation(NAME)
            ours = float(summed_loss(model, batch, attention))
    except (ValueError, TypeError, KeyError, RuntimeError):
        return None
    finally:
        inner.set_attn_implementation(before)
        model.train(training)
    return attention if abs(ours - plain) <= LOSS_TOLERANCE[settings.dtype] * abs(plain) else None
