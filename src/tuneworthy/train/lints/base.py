"""What a lint is, and the door through which one is registered.

A lint is a class behind `@lint(code)`: its docstring is its page, with a bad and a good example that tests hold it to.
It looks at a config and yields faults; nothing of the config is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import cleandoc
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from tuneworthy.registry import Registry
from tuneworthy.train.lints.trainer_config import TrainerConfig

Severity = Literal["error", "warning", "note"]
"""It will fail or train the wrong thing; it is likely to train worse; it is to be known."""
SEVERITIES: Sequence[Severity] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Fault:
    """What a lint yields: the line, and what to write instead."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault with the lint that found it, its source and its mark."""

    path: str
    line: int
    code: str
    severity: Severity
    message: str
    source: str
    mark: str

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-able values."""
        return asdict(self)


class Lint(Protocol):
    """Looks at a config.

    Attributes:
        code: The name that it is registered under. name: In words. severity: How bad it is.
        source, mark: What it rests on (facts.md). bad, good: Examples, each the ending of a file and its text.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]
    source: ClassVar[str]
    mark: ClassVar[str]
    bad: ClassVar[tuple[str, str]]
    good: ClassVar[tuple[str, str]]

    def look(self, given: TrainerConfig) -> Iterable[Fault]:
        """Yield the faults of a config."""
        ...


_FILES: Mapping[str, Sequence[str]] = {
    "adapters": ("attention_only", "default_targets", "head_adapted", "experts_missed", "scale_apart", "rslora_rate",
                 "init_moves_base", "dora_rounds", "dropout_habit"),
    "rates": ("rate_of_full", "rate_high", "batch_large", "epochs_fixed", "adam_8bit", "noise_on"),
    "trl": ("trl_removed", "trl_truncates", "user_turns", "packing_cuts", "end_unmasked", "fields_gone", "loss_alias"),
    "serving": ("merge_quantised", "rank_limit", "remote_code", "model_name", "import_order"),
}  # fmt: skip
BUILTINS: dict[str, str] = {
    code: f"tuneworthy.train.lints.{module}" for module, codes in _FILES.items() for code in codes
}
"""Code to module, in the order of the page."""

LINTS: Registry[Callable[[], Lint]] = Registry("train_lints", BUILTINS)
"""Code to class; register with ``@lint(code)``."""

C = TypeVar("C", bound=type[Any])


def lint(code: str) -> Callable[[C], C]:
    """Return a decorator that registers a class as the lint `code`."""

    def add(cls: C) -> C:
        cls.code = code
        LINTS.register(code)(cls)
        return cls

    return add


def all_lints() -> dict[str, Callable[[], Lint]]:
    """Return every lint by code: ours in their order, then those of installed packages."""
    return {code: LINTS.get(code) for code in dict.fromkeys([*BUILTINS, *LINTS])}


def page(factory: Callable[[], Lint]) -> str:
    """Return the documentation of a lint: its docstring."""
    return cleandoc(factory.__doc__ or "")


def lint_config(given: TrainerConfig, lints: Mapping[str, Callable[[], Lint]] | None = None) -> list[Finding]:
    """Return what the lints find, the worst first, then by line."""
    found = []
    for factory in (all_lints() if lints is None else lints).values():
        one = factory()
        found += [
            Finding(given.path, fault.line, one.code, one.severity, fault.message, one.source, one.mark)
            for fault in one.look(given)
        ]
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.line, one.code))
