"""Lints of training settings: of this project's run, or of a flat table of settings."""

from collections.abc import Collection
from typing import Final

from tuneworthy.rules import SEVERITIES, Finding, RuleBook
from tuneworthy.train.lints.settings_table import SettingsTable

# Rules on a `SettingsTable`; `bad` and `good` are settings by the keys of a library.
LINTS: Final[RuleBook[Finding]] = RuleBook(
    "train_lints", [f"tuneworthy.train.lints.{name}" for name in ("adapters", "rates", "trl", "serving")]
)


def lint_settings(table: SettingsTable, only: Collection[str] | None = None) -> list[Finding]:
    """Return the findings of the lints (or of `only` some), the most severe first."""
    return sorted(LINTS.run(table, only=only), key=lambda it: (SEVERITIES.index(it.severity or "error"), it.rule))
