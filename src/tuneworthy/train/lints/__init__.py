"""Lints of a training config that somebody else wrote: PEFT, TRL, Unsloth, Axolotl; read, never run."""

from collections.abc import Collection
from typing import Final

from tuneworthy.rules import SEVERITIES, Finding, RuleBook
from tuneworthy.train.lints.trainer_config import TrainerConfig

# Rules on a `TrainerConfig`; `bad` and `good` are the ending of a file and its text.
LINTS: Final[RuleBook[Finding]] = RuleBook(
    "train_lints", [f"tuneworthy.train.lints.{name}" for name in ("adapters", "rates", "trl", "serving")]
)


def lint_config(config: TrainerConfig, only: Collection[str] | None = None) -> list[Finding]:
    """Return what the lints (or `only` some) find, the most severe first, then by line."""
    findings = LINTS.run(config, only=only)
    return sorted(findings, key=lambda it: (SEVERITIES.index(it.severity or "error"), it.line, it.rule))
