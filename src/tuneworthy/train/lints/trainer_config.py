"""A config as the lints see it: the same names whatever wrote it, each value with its line.

Read from JSON (PEFT's adapter_config.json, a dump of TRL's arguments), YAML (Axolotl, TRL's command line) or Python
source. Source is parsed, never run: names are followed through plain assignments, and what is computed is unknown.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tuneworthy.errors import UserError
from tuneworthy.input_files import read_input_text
from tuneworthy.train import messages
from tuneworthy.yaml_text import check_size

Kind = Literal["peft", "trl", "unsloth", "axolotl"]
MAX_BYTES: Final = 2 * 2**20
# Most values of a config; an alias of YAML counts wherever it stands.
MAX_VALUES: Final = 100_000
# A value that is set, but cannot be read without running the source.
UNKNOWN: Final = object()

# Key of a library to the name that lints use.
NAMES: Final[Mapping[str, str]] = {
    "r": "rank", "lora_r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout",
    "target_modules": "target_modules", "lora_target_modules": "target_modules",
    "target_parameters": "target_parameters", "lora_target_parameters": "target_parameters",
    "use_rslora": "rslora", "peft_use_rslora": "rslora", "use_dora": "dora", "peft_use_dora": "dora",
    "init_lora_weights": "init", "peft_init_lora_weights": "init", "learning_rate": "learning_rate",
    "per_device_train_batch_size": "micro_batch_size", "micro_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "accumulation", "num_train_epochs": "epochs", "num_epochs": "epochs",
    "max_length": "max_length", "max_seq_length": "max_length", "sequence_len": "max_length",
    "packing": "packing", "sample_packing": "packing", "packing_strategy": "packing_strategy",
    "assistant_only_loss": "assistant_only_loss", "completion_only_loss": "completion_only_loss",
    "load_in_4bit": "load_in_4bit", "model_name": "model", "model_name_or_path": "model", "base_model": "model",
    "base_model_name_or_path": "model", "optim": "optim", "optimizer": "optim", "neftune_noise_alpha": "neftune",
    "trust_remote_code": "trust_remote_code", "save_method": "save_method", "max_lora_rank": "max_lora_rank",
    "enable_lora": "enable_lora", "eval_strategy": "eval_strategy", "load_best_model_at_end": "best_at_end",
    "early_stopping_patience": "early_stopping",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """A value and the line that it stands on."""

    value: Any
    line: int = 1


@dataclass(frozen=True, slots=True)
class SourceCall:
    """A call in Python source.

    Attributes:
        name: Last part of the name of the function.
        line: Where it stands.
        keywords: Its keyword arguments.
        node: The call as it was parsed.
    """

    name: str
    line: int
    keywords: Mapping[str, ConfigValue]
    node: ast.Call


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """A config.

    Attributes:
        path: Where it was read.
        kind: The library that it is for.
        values: Values by the names of `NAMES`.
        raw: Values by their own keys.
        calls: Calls in Python source.
        tree: The source, parsed; None for JSON and YAML.
        text: The file.
    """

    path: str
    kind: Kind
    values: Mapping[str, ConfigValue] = field(default_factory=dict)
    raw: Mapping[str, ConfigValue] = field(default_factory=dict)
    calls: Sequence[SourceCall] = ()
    tree: ast.Module | None = None
    text: str = ""

    def get(self, name: str) -> Any:
        """Return the value of `name`; None if it is not set or unknown."""
        entry = self.values.get(name)
        return None if entry is None or entry.value is UNKNOWN else entry.value

    def raw_value(self, key: str) -> Any:
        """Return the value of a key of the library; None if it is not set or unknown."""
        entry = self.raw.get(key)
        return None if entry is None or entry.value is UNKNOWN else entry.value

    def number(self, name: str) -> float | None:
        """Return the value of `name` if it is a number."""
        value = self.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def line(self, *names: str) -> int:
        """Return the line of the first of `names` that is set, else 1."""
        entries = {**self.raw, **self.values}
        return next((entries[name].line for name in names if name in entries), 1)

    def calls_of(self, *names: str) -> list[SourceCall]:
        """Return the calls of functions or methods with one of `names`."""
        return [call for call in self.calls if call.name in names]

    @property
    def adapters(self) -> bool:
        """Whether adapters are trained, not all weights."""
        return self.kind == "peft" or "rank" in self.values or self.raw_value("adapter") in {"lora", "qlora"}

    @property
    def on_answers(self) -> bool:
        """Whether it trains on answers; DPO and GRPO have other rates and batches."""
        return not self.calls_of("DPOConfig", "DPOTrainer", "GRPOConfig", "GRPOTrainer")

    @property
    def rank(self) -> float | None:
        """Rank, or the library's default if it is not set."""
        return self._or_default("rank")

    @property
    def alpha(self) -> float | None:
        """Alpha, or the library's default if it is not set."""
        return self._or_default("alpha")

    def _or_default(self, name: str) -> float | None:
        if name in self.values:
            return self.number(name)
        return {"unsloth": 16.0, "peft": 8.0, "trl": 8.0}.get(self.kind) if self.adapters else None

    @property
    def targets(self) -> list[str] | None:
        """Names of the modules that get adapters; None if they are not set or cannot be read."""
        value = self.get("target_modules")
        if isinstance(value, str):
            return [value]
        return [str(name) for name in value] if isinstance(value, list | tuple) else None


def read(path: Path) -> TrainerConfig:
    """Read the config at `path`.

    Raises:
        UserError: It cannot be read, is too large, or is no config of a known kind.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _refused(path, messages.say("config_too_large", limit=MAX_BYTES // 2**20))
        text = read_input_text(path)
    except OSError as error:
        raise _refused(path, messages.say("cannot_read", reason=error.strerror or error)) from None
    except UnicodeDecodeError:
        raise _refused(path, messages.say("not_utf8")) from None
    return parse(text, str(path))


def parse(text: str, name: str) -> TrainerConfig:
    """Read a config from its text; the ending of `name` says how.

    Raises:
        UserError: As `read`.
    """
    ending = name.rsplit(".", 1)[-1].lower()
    if ending == "py":
        return _python(text, name)
    if ending in {"yaml", "yml", "json"}:
        return _document(text, name)
    raise _refused(name, "This file type is not supported.")


def _refused(name: str | Path, reason: str) -> UserError:
    return UserError(f"{name}: {reason}", hint=messages.say("config_hint"))


# --- JSON and YAML --------------------------------------------------------------------------------------------------


def _document(text: str, name: str) -> TrainerConfig:
    import yaml

    try:
        check_size(text, yaml.SafeLoader, MAX_VALUES)
        node = yaml.compose(text, Loader=yaml.SafeLoader)  # JSON is YAML
        content = yaml.safe_load(text)
    except UserError as error:
        raise _refused(name, error.message.rstrip(".")) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _refused(
            name, "Not valid JSON or YAML: {reason}.".format(reason=str(error).split("\n", maxsplit=1)[0])
        ) from None
    if not isinstance(content, dict) or not isinstance(node, yaml.MappingNode):
        raise _refused(name, messages.say("config_no_table"))
    lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
    raw = {str(key): ConfigValue(value, lines.get(str(key), 1)) for key, value in content.items()}
    if not set(raw) & (set(NAMES) | {"datasets", "adapter", "peft_type", "use_peft"}):
        raise _refused(name, "The file contains no training config keys.")
    return TrainerConfig(name, _kind_of(raw), _normal(raw), raw, text=text)


def _kind_of(raw: Mapping[str, ConfigValue]) -> Kind:
    if "peft_type" in raw or {"lora_alpha", "r"} <= set(raw):
        return "peft"
    axolotl = {"base_model", "datasets", "sequence_len", "adapter", "micro_batch_size", "sample_packing"}
    return "axolotl" if len(axolotl & set(raw)) >= 2 else "trl"


def _normal(raw: Mapping[str, ConfigValue]) -> dict[str, ConfigValue]:
    values = {NAMES[key]: value for key, value in raw.items() if key in NAMES}
    linear = raw.get("lora_target_linear")
    return (
        values | {"target_modules": ConfigValue("all-linear", linear.line)}
        if linear and linear.value is True
        else values
    )


# --- Python ---------------------------------------------------------------------------------------------------------

# Calls whose arguments win over those of the same name elsewhere.
_MAIN: Final = frozenset({"LoraConfig", "SFTConfig", "TrainingArguments", "get_peft_model", "from_pretrained"})


def _python(text: str, name: str) -> TrainerConfig:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = f"Not valid Python (line {getattr(error, 'lineno', None) or 1}): {getattr(error, 'msg', error)}."
        raise UserError(f"{name}: {reason}", hint=messages.say("config_hint")) from None
    assigned = _assigned(tree)
    calls = [_call(node, assigned) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    raw: dict[str, ConfigValue] = {}
    for call in calls:
        raw.update({key: value for key, value in call.keywords.items() if key not in raw or call.name in _MAIN})
    modules = _imports(tree)
    kind: Kind = "unsloth" if "unsloth" in modules else "trl" if {"trl", "transformers"} & modules else "peft"
    return TrainerConfig(name, kind, _normal(raw), raw, calls, tree, text)


def _imports(tree: ast.Module) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".", maxsplit=1)[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.split(".", maxsplit=1)[0])
    return modules


def _assigned(tree: ast.Module) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            values[name] = UNKNOWN if name in values else _plain(node.value, {})
    return values


def _call(node: ast.Call, assigned: Mapping[str, Any]) -> SourceCall:
    keywords: dict[str, ConfigValue] = {}
    for word in node.keywords:
        value = _plain(word.value, assigned)
        entries = {word.arg: value} if word.arg else value if isinstance(value, dict) else {}
        keywords |= {str(key): ConfigValue(entry, word.value.lineno) for key, entry in entries.items()}
    return SourceCall(called_name(node), node.lineno, keywords, node)


def called_name(node: ast.expr) -> str:
    """Return the last part of the name of what an expression calls; "" if it is no call."""
    function = getattr(node, "func", None)
    return str(getattr(function, "attr", getattr(function, "id", "")))


def _plain(node: ast.expr, assigned: Mapping[str, Any]) -> Any:
    """Return the value of an expression that needs no running, else `UNKNOWN`."""
    if isinstance(node, ast.Name):
        return assigned.get(node.id, UNKNOWN)
    if called_name(node) == "dict" and isinstance(node, ast.Call) and not node.args:
        return {word.arg: _plain(word.value, assigned) for word in node.keywords if word.arg}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN
