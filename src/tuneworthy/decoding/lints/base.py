"""What a decoding lint is: a function that looks at one use of a model and names what is wrong and the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import cleandoc
from typing import Any, Literal

from tuneworthy.providers.capabilities import Capabilities, takes_temperature

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
RULES = ("sampling", "structure", "measuring")
"""Modules of this package that hold the rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How a model is used, as far as it is known.

    Attributes:
        engine: `hf`, `vllm`, `llama_cpp`, `openai` or `anthropic`; "" if not known.
        decoding: Parameters that are set, by our names, and whatever else stands beside them (`response_format`, ...).
        output: `free`, `choice` or `json_schema`. schema: Of the answer, if there is one.
        max_tokens: Limit of the answer; None if not known.
        thinks_first: Whether the prompt asks for reasoning before the answer, in the same text.
        retrieved: Whether documents stand in the prompt.
        purpose: `creative` where variety is what is wanted; "" otherwise.
        compares: Whether the answers are used to compare two settings.
        capabilities: What the model accepts. probed: What a probe found: name to outcome.
        threshold: A bound on log-probabilities that is acted on. calibrated: Whether graded answers support it.
    """

    engine: str = ""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    output: str = "free"
    schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    thinks_first: bool = False
    retrieved: bool = False
    purpose: str = ""
    compares: bool = False
    capabilities: Capabilities | None = None
    probed: Mapping[str, str] = field(default_factory=dict)
    threshold: float | None = None
    calibrated: bool = False

    def value(self, name: str, neutral: float) -> float:
        """Return a parameter that is set, `neutral` if it is not."""
        value = self.decoding.get(name)
        return neutral if value is None else float(value)

    def idle(self, name: str) -> bool:
        """Whether a probe found that a parameter, or a form of output, is refused or does nothing."""
        return self.probed.get(name) in {"no", "unsupported"}

    @property
    def can_be_greedy(self) -> bool:
        """Whether the model takes temperature 0 beside the effort that is set; True if that is not known."""
        return self.capabilities is None or takes_temperature(self.capabilities, effort=self.decoding.get("effort"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: the lint, its level, what is wrong, what to do, and the source."""

    code: str
    level: Level
    message: str
    fix: str
    source: str


Fault = tuple[str, str]
"""(what is wrong, what to do)"""
Look = Callable[[Use], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class Lint:
    """A lint: its code, level and source, an example that it finds, one that it does not, and the function."""

    code: str
    level: Level
    source: str
    bad: Use
    good: Use
    look: Look

    @property
    def page(self) -> str:
        """What it is about: the docstring of the function."""
        return cleandoc(self.look.__doc__ or "")


LINTS: dict[str, Lint] = {}


def lint(code: str, level: Level, *, source: str, bad: Use, good: Use) -> Callable[[Look], Look]:
    """Return a decorator that registers a function as the lint `code`."""

    def add(look: Look) -> Look:
        LINTS[code] = Lint(code, level, source, bad, good, look)
        return look

    return add


def all_lints() -> Mapping[str, Lint]:
    """Return every lint by code."""
    for name in RULES:
        import_module(f"tuneworthy.decoding.lints.{name}")
    return LINTS


def lint_use(use: Use, lints: Mapping[str, Lint] | None = None) -> list[Finding]:
    """Return what the lints find in one use, errors first.

    Args:
        use: What is known of it.
        lints: Those to use; all of them if None.
    """
    used = all_lints() if lints is None else lints
    found = [
        Finding(one.code, one.level, message, fix, one.source)
        for one in used.values()
        for message, fix in one.look(use)
    ]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))
