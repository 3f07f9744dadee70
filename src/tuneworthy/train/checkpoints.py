"""Checkpoints of a run: whole or not there, without pickle.

    training/<run>/checkpoint-<step>/   the weights, the optimiser's state (safetensors), counters (JSON)
                                        seal.json: written last; the progress so far, and a hash of every file,
                                        those of the best weights included
    training/<run>/best-<step>/         the weights that scored best so far

A checkpoint that has no seal, or does not match its seal, is from a run that was killed while writing, and is removed.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from typing_extensions import TypedDict

from tuneworthy.store.folder import write_atomic
from tuneworthy.store.frozen import sha256_of_file
from tuneworthy.store.shapes import DamagedRecord, parsed
from tuneworthy.train.batch_layout import StepsOfAKind
from tuneworthy.types import JsonMapping, JsonObject

SEAL = "seal.json"
OPTIMISER = "optimiser.safetensors"
COUNTERS = "counters.json"
# Tensors with fewer numbers are copied before they are written.
SMALL = 4096


class StoredSeal(TypedDict):
    """Content of `seal.json`."""

    files: dict[str, str]
    progress: JsonObject


def seal(folder: Path, progress: JsonMapping, best: Path | None = None) -> None:
    """Declare a checkpoint whole.

    Args:
        folder: The checkpoint.
        progress: `newest` returns it.
        best: Folder of the weights that scored best so far; without these the checkpoint is not whole.
    """
    names = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and path.name != SEAL}
    names |= {f"../{best.name}/{path.name}": path for path in sorted(best.iterdir())} if best else {}
    files = {name: sha256_of_file(path) for name, path in names.items()}
    write_atomic(folder / SEAL, orjson.dumps({"files": files, "progress": dict(progress)}))


def newest(run: Path) -> tuple[Path, JsonObject] | None:
    """Return the last whole checkpoint of a run and its progress; incomplete checkpoints are removed."""
    whole = {}
    for folder in run.glob("checkpoint-*"):
        progress = _progress(folder)
        if progress is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            whole[folder] = progress
    return max(whole.items(), key=lambda item: int(item[0].name.rpartition("-")[2]), default=None)


def _progress(folder: Path) -> JsonObject | None:
    try:
        document = parsed((folder / SEAL).read_bytes(), StoredSeal, folder / SEAL)
        whole = all(sha256_of_file(folder / name) == digest for name, digest in document["files"].items())
    except (OSError, DamagedRecord):
        return None
    return document["progress"] if whole else None


class PlainTrainer:
    """Mixin, before a trainer of transformers: checkpoints without pickle, and steps of one kind of rows.

    Args:
        kinds: Number of rows by kind, in the order of the rows.
        named: Arguments of the trainer.
    """

    def __init__(self: Any, *, kinds: Sequence[int], **named: Any) -> None:
        self._kinds = kinds
        super().__init__(**named)

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        at_once = self.args.per_device_train_batch_size * self.args.world_size
        parts = {"at_once": at_once} if self.args.world_size > 1 else {}
        return StepsOfAKind(self._kinds, at_once * self.args.gradient_accumulation_steps, seed=self.args.seed, **parts)

    def store_flos(self) -> None:
        """Count no operations: the processes would exchange their counts, and process 0 may save at any moment."""

    def _save(self: Any, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write only the weights, and only in process 0: no pickle of arguments, no further copy of the tokenizer."""
        if self.args.should_save:
            save_weights(self.accelerator.unwrap_model(self.model), Path(output_dir or self.args.output_dir))

    def _save_optimizer_and_scheduler(self: Any, output_dir: str) -> None:
        """Write the state of optimiser and schedule: tensors as safetensors, the rest as JSON."""
        from safetensors.torch import save_file

        if not self.args.should_save:
            return
        folder = Path(output_dir)
        state = self.optimizer.state_dict()
        tensors, plain = {}, {}
        for index, entry in state["state"].items():
            # bitsandbytes wraps the state of a parameter that it quantised in another dictionary
            inner = [value for value in entry.values() if isinstance(value, dict)]
            flat = {k: v for part in (entry, *inner) for k, v in part.items() if not isinstance(v, dict)}
            for name, value in flat.items():
                if hasattr(value, "detach"):
                    shared = value.numel() < SMALL  # states share tables; a copy of the moments would raise the peak
                    tensors[f"{index}.{name}"] = value.detach().clone() if shared else value.detach().contiguous()
                else:
                    plain[f"{index}.{name}"] = value
        save_file(tensors, folder / OPTIMISER)
        groups = [{key: value for key, value in group.items() if key != "params"} for group in state["param_groups"]]
        counters = {
            "plain": plain,
            "groups": [_jsonable(group) for group in groups],
            "params": [group["params"] for group in state["param_groups"]],
            "schedule": _jsonable(self.lr_scheduler.state_dict()),
        }
        write_atomic(folder / COUNTERS, orjson.dumps(counters))

    def _load_optimizer_and_scheduler(self: Any, checkpoint: str | None) -> None:
        from safetensors.torch import load_file

        if checkpoint is None:
            return
        folder = Path(checkpoint)
        counters = orjson.loads((folder / COUNTERS).read_bytes())
        state: dict[int, JsonObject] = {}
        for key, value in [*load_file(folder / OPTIMISER).items(), *counters["plain"].items()]:
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        own = self.optimizer.state_dict()["param_groups"]
        groups = [
            {**now, **then, "params": params}
            for now, then, params in zip(own, counters["groups"], counters["params"], strict=True)
        ]
        for group, now in zip(groups, own, strict=True):
            if isinstance(now.get("betas"), tuple):
                group["betas"] = tuple(group["betas"])
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.lr_scheduler.load_state_dict({**self.lr_scheduler.state_dict(), **counters["schedule"]})

    def _save_rng_state(self, output_dir: str) -> None:
        """Write nothing: each step seeds the random generators."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Read nothing, as nothing is written."""


def save_weights(model: Any, folder: Path) -> None:
    """Write the trained weights as one file: the adapter (without the reference of pairs), or all weights."""
    model.save_pretrained(
        folder, **({"selected_adapters": ["default"]} if hasattr(model, "peft_config") else {"max_shard_size": "1TB"})
    )


def _jsonable(values: JsonMapping) -> JsonObject:
    plain = {key: value.item() if hasattr(value, "item") else value for key, value in values.items()}
    return {
        key: value for key, value in plain.items()
        if value is None or isinstance(value, int | float | str)
        or (isinstance(value, list | tuple) and all(isinstance(number, int | float) for number in value))
    }  # fmt: skip
