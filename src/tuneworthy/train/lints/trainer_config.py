"""A config as the lints see it: the same names whatever wrote it, each value with its line.

Read from JSON (PEFT's adapter_config.json, a dump of TRL's arguments), YAML (Axolotl, TRL's command line) or Python
source. Source is parsed, never run: names are followed through plain assignments, and what is computed is unknown.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tuneworthy.errors import UserError

Kind = Literal["peft", "trl", "unsloth", "axolotl"]
MAX_BYTES: Final = 2 * 2**20
MAX_VALUES: Final = 100_000
"""Of a config; an alias of YAML counts wherever it stands."""
UNKNOWN: Final = object()
"""A value that stands there and cannot be read without running the source."""
_HINT = "give a PEFT, TRL, Unsloth or Axolotl config: .json, .yaml, .yml or .py"

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
"""Key of a library to the name that lints use."""


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """A value and the line that it stands on."""

    value: Any
    line: int = 1


@dataclass(frozen=True, slots=True)
class SourceCall:
    """A call in Python source: the last part of its name, its line and its keyword arguments."""

    name: str
    line: int
    keywords: Mapping[str, ConfigValue]
    node: ast.Call


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """A config.

    Attributes:
        path: Where it came from. kind: What it is for.
        values: By the names of `NAMES`. raw: By the keys as they stand there.
        calls: Of Python source. tree: The source, parsed; None of JSON and YAML.
        text: The file.
    """

    path: str
    kind: Kind
    values: Mapping[str, ConfigValue] = field(default_factory=dict)
    raw: Mapping[str, ConfigValue] = field(default_factory=dict)
    calls: Sequence[SourceCall] = ()
    tree: ast.Module | None = None
    text: str = ""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of `name`; `default` if it is not told or not known."""
        found = self.values.get(name)
        return default if found is None or found.value is UNKNOWN else found.value

    def number(self, name: str) -> float | None:
        """Return the value of `name` if it is a number."""
        value = self.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def line(self, *names: str) -> int:
        """Return the line of the first of `names` that is told, else 1."""
        found = {**self.raw, **self.values}
        return next((found[name].line for name in names if name in found), 1)

    def named(self, *names: str) -> list[SourceCall]:
        """Return the calls of functions or methods with one of `names`."""
        return [call for call in self.calls if call.name in names]

    @property
    def adapters(self) -> bool:
        """Whether adapters are trained, not all weights."""
        return self.kind == "peft" or "rank" in self.values or self.raw_value("adapter") in {"lora", "qlora"}

    def raw_value(self, key: str) -> Any:
        """Return the value of a key as it stands there, None if it is not told or not known."""
        found = self.raw.get(key)
        return None if found is None or found.value is UNKNOWN else found.value

    @property
    def rank(self) -> float | None:
        """Rank, that of the library if it is not told."""
        if (told := self.number("rank")) is not None or "rank" in self.values:
            return told
        return {"unsloth": 16.0, "peft": 8.0, "trl": 8.0}.get(self.kind) if self.adapters else None

    @property
    def alpha(self) -> float | None:
        """Alpha, that of the library if it is not told."""
        if (told := self.number("alpha")) is not None or "alpha" in self.values:
            return told
        return {"unsloth": 16.0, "peft": 8.0, "trl": 8.0}.get(self.kind) if self.adapters else None

    @property
    def targets(self) -> list[str] | None:
        """Names of the modules that get adapters; None if it does not say, or not in a way that can be read."""
        value = self.get("target_modules")
        if isinstance(value, str):
            return [value]
        return [str(one) for one in value] if isinstance(value, list | tuple) else None


def read(path: Path) -> TrainerConfig:
    """Read the config at `path`.

    Raises:
        UserError: It cannot be read, is too large, or is no config of a kind that is known.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}", hint=_HINT)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: expected a config, got {error.strerror or error}", hint=_HINT) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8, got a byte that is not ({error.reason})", hint=_HINT) from None
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
    raise UserError(f"{name}: expected a .json, .yaml, .yml or .py file, got .{ending}", hint=_HINT)


# --- JSON and YAML --------------------------------------------------------------------------------------------------


def _document(text: str, name: str) -> TrainerConfig:
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)  # JSON is YAML
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        told = str(error).split("\n", maxsplit=1)[0]
        raise UserError(f"{name}: expected JSON or YAML, got: {told}", hint=_HINT) from None
    if not isinstance(content, dict) or not isinstance(node, yaml.MappingNode):
        raise UserError(f"{name}: expected a table of keys, got {type(content).__name__}", hint=_HINT)
    if _has_more(content, MAX_VALUES):
        raise UserError(f"{name}: expected at most {MAX_VALUES} values, got more", hint=_HINT)
    lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
    raw = {str(key): ConfigValue(value, lines.get(str(key), 1)) for key, value in content.items()}
    if not set(raw) & (set(NAMES) | {"datasets", "adapter", "peft_type", "use_peft"}):
        raise UserError(f"{name}: expected a training config, got none of the keys of one", hint=_HINT)
    return TrainerConfig(name, _kind_of(raw), _normal(raw), raw, text=text)


def _has_more(content: Any, most: int) -> bool:
    """Say whether a value holds more than `most` values; one that holds itself does."""
    stack, n = [content], 0
    while stack and n <= most:
        node = stack.pop()
        n += 1
        if isinstance(node, dict):
            stack += node.values()
        elif isinstance(node, list | tuple | set):
            stack += node
    return n > most


def _kind_of(raw: Mapping[str, ConfigValue]) -> Kind:
    if "peft_type" in raw or {"lora_alpha", "r"} <= set(raw):
        return "peft"
    axolotl = {"base_model", "datasets", "sequence_len", "adapter", "micro_batch_size", "sample_packing"}
    return "axolotl" if len(axolotl & set(raw)) >= 2 else "trl"


def _normal(raw: Mapping[str, ConfigValue]) -> dict[str, ConfigValue]:
    found = {NAMES[key]: value for key, value in raw.items() if key in NAMES}
    if raw.get("lora_target_linear", ConfigValue(False)).value is True:
        found["target_modules"] = ConfigValue("all-linear", raw["lora_target_linear"].line)
    return found


# --- Python ---------------------------------------------------------------------------------------------------------


def _python(text: str, name: str) -> TrainerConfig:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise UserError(f"{name}: expected Python source, got line {line}: {error}", hint="mend the file") from None
    named = _assigned(tree)
    calls = [_call(node, named) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    raw: dict[str, ConfigValue] = {}
    for call in calls:
        raw.update({key: value for key, value in call.keywords.items() if key not in raw or call.name in _MAIN})
    modules = _imports(tree)
    kind: Kind = "unsloth" if "unsloth" in modules else "trl" if {"trl", "transformers"} & modules else "peft"
    return TrainerConfig(name, kind, _normal(raw), raw, calls, tree, text)


_MAIN: Final = frozenset({"LoraConfig", "SFTConfig", "TrainingArguments", "get_peft_model", "from_pretrained"})
"""Calls whose arguments win over those of the same name elsewhere."""


def _imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.name.split(".", maxsplit=1)[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".", maxsplit=1)[0])
    return found


def _assigned(tree: ast.Module) -> dict[str, Any]:
    """Return what names are assigned once, to something that is plain."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            found[name] = UNKNOWN if name in found else _plain(node.value, {})
    return found


def _call(node: ast.Call, named: Mapping[str, Any]) -> SourceCall:
    keywords = {
        word.arg: ConfigValue(_plain(word.value, named), word.value.lineno) for word in node.keywords if word.arg
    }
    for word in node.keywords:
        inner = _plain(word.value, named) if word.arg is None else None
        if isinstance(inner, dict):
            keywords.update({str(key): ConfigValue(value, word.value.lineno) for key, value in inner.items()})
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return SourceCall(name, node.lineno, keywords, node)


def _plain(node: ast.expr, named: Mapping[str, Any]) -> Any:
    """Return the value of an expression that needs no running, else `UNKNOWN`."""
    if isinstance(node, ast.Name):
        return named.get(node.id, UNKNOWN)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict" and not node.args:
        return {word.arg: _plain(word.value, named) for word in node.keywords if word.arg}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN
