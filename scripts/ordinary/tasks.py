"""Twenty hand-made tasks on public texts, each with its truth."""

from __future__ import annotations

from typing import Final

from scripts.ordinary.project import Task

TASKS: Final[list[Task]] = []
