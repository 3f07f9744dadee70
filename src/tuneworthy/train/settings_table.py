"""Flat table of training settings, the subject of the lints.

A run of this project is such a table, and so is a TOML or JSON file with one setting per key, such as PEFT's
adapter_config.json. `NAMES` maps every library's keys to one name.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from tuneworthy.errors import UserError
from tuneworthy.input_files import read_input_text
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.types import JsonMapping

MAX_BYTES = 2 * 2**20

# Key of a library to the name that lints use.
NAMES = {
    "r": "rank", "lora_r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout",
    "target_modules": "target_modules", "lora_target_modules": "target_modules",
    "target_parameters": "target_parameters", "lora_target_parameters": "target_parameters",
    "use_rslora": "rslora", "peft_use_rslora": "rslora", "use_dora": "dora", "peft_use_dora": "dora",
    "init_lora_weights": "init", "peft_init_lora_weights": "init", "learning_rate": "learning_rate",
    "per_device_train_batch_size": "micro_batch_size", "micro_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "accumulation", "num_train_epochs": "epochs", "num_epochs": "epochs",
    "max_length": "max_length", "max_seq_length": "max_length", "sequence_len": "max_length",
    "packing": "packing", "packing_strategy": "packing_strategy", "load_in_4bit": "load_in_4bit",
    "model_name": "model", "model_name_or_path": "model", "base_model": "model", "base_model_name_or_path": "model",
    "optim": "optim", "optimizer": "optim", "neftune_noise_alpha": "neftune", "save_method": "save_method",
    "trust_remote_code": "trust_remote_code", "max_lora_rank": "max_lora_rank",
    "load_best_model_at_end": "best_at_end", "early_stopping_patience": "early_stopping",
}  # fmt: skip
# Names that a run has, and a config of adapters does not.
_OF_RUNS = frozenset({"learning_rate", "micro_batch_size", "accumulation", "epochs", "max_length", "packing"})
_OF_AXOLOTL = frozenset({"base_model", "datasets", "sequence_len", "adapter", "micro_batch_size"})
# PEFT's default of rank and alpha.
_PEFT_DEFAULT = 8.0


@dataclass(frozen=True, slots=True)
class SettingsTable:
    """Training settings: as their library names them (`raw`), and by the names of `NAMES`."""

    raw: JsonMapping
    values: JsonMapping

    @classmethod
    def of(cls, raw: JsonMapping) -> Self:
        """Return the table of settings that a library names."""
        values = {NAMES[key]: value for key, value in raw.items() if key in NAMES}
        if raw.get("lora_target_linear") is True:
            values["target_modules"] = "all-linear"
        return cls(raw, values)

    @classmethod
    def of_run(cls, settings: TrainingSettings, model: str) -> Self:
        """Return the table of a run of `train`, which stops early on the task metric."""
        values = settings.to_dict() | {"model": model, "early_stopping": True, "accumulation": settings.accumulation}
        values["load_in_4bit"] = settings.method == "qlora"
        if settings.method == "full":
            values = {key: value for key, value in values.items() if key not in {"rank", "alpha", "dropout"}}
        return cls({"beta": settings.beta} if settings.paired else {}, values)

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def number(self, name: str) -> float | None:
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def axolotl(self) -> bool:
        return len(_OF_AXOLOTL & set(self.raw)) >= 2

    @property
    def is_run(self) -> bool:
        return bool(_OF_RUNS & set(self.values))

    @property
    def adapters(self) -> bool:
        return "peft_type" in self.raw or "rank" in self.values or self.raw.get("adapter") in {"lora", "qlora"}

    @property
    def on_answers(self) -> bool:
        """Whether it trains on answers: DPO and GRPO, which set `beta`, have other rates and batches."""
        return "beta" not in self.raw

    @property
    def rank(self) -> float | None:
        return self._of_adapter("rank")

    @property
    def alpha(self) -> float | None:
        return self._of_adapter("alpha")

    def _of_adapter(self, name: str) -> float | None:
        return self.number(name) if name in self.values else _PEFT_DEFAULT if self.adapters else None

    @property
    def targets(self) -> list[str] | None:
        value = self.get("target_modules")
        if isinstance(value, str):
            return [value]
        return [str(name) for name in value] if isinstance(value, list) else None


def read_settings(path: Path) -> SettingsTable:
    """Read the table at `path`.

    Raises:
        UserError: It cannot be read, is too large, or is no flat table of training settings.
    """
    try:
        text = read_input_text(path, MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"Cannot read the file: {getattr(error, 'strerror', None) or error}.") from None
    return parse_settings(text, str(path))


def parse_settings(text: str, name: str) -> SettingsTable:
    """Read a table from TOML or JSON; the ending of `name` says which.

    Raises:
        UserError: As `read_settings`.
    """
    ending = name.rsplit(".", 1)[-1].lower()
    if ending not in {"json", "toml"}:
        raise _refused(name, "This file type is not supported.")
    try:
        raw = orjson.loads(text) if ending == "json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(name, f"Not valid {ending.upper()}: {str(error).partition(chr(10))[0]}.") from None
    if not isinstance(raw, dict) or any(isinstance(value, dict) for value in raw.values()):
        raise _refused(name, "The file does not contain a flat table of settings.")
    if raw.keys().isdisjoint({*NAMES, "peft_type"}):
        raise _refused(name, "The file contains no training settings.")
    return SettingsTable.of(raw)


def _refused(name: str | Path, reason: str) -> UserError:
    return UserError(f"{name}: {reason}", hint="Pass a TOML or JSON file with one setting per key.")
