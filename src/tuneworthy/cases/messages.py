"""Every sentence of this folder that a person reads at run time."""

from __future__ import annotations

from typing import Final

# Contamination
INDEX_SETTINGS: Final = "n must be at least 1 and the threshold in [0, 1), not {n} and {threshold}."
