"""tuneworthy: find out, with evidence, whether to fine-tune; and if so, do it, safely.

>>> import tuneworthy
>>> record = tuneworthy.run("my-task")        # doctest: +SKIP
>>> record.best                                 # doctest: +SKIP
>>> verdict = tuneworthy.decide("my-task")      # doctest: +SKIP
>>> verdict.outcome, verdict.reasons            # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuneworthy.config import Project
    from tuneworthy.ladder.record import RunRecord
    from tuneworthy.verdict.base import Verdict

__version__ = "0.1.0"
__all__ = ["__version__", "decide", "run"]


def run_ladder(project: Project | str | Path, **options: Any) -> RunRecord:
    """Walk the ladder of a project.

    Args:
        project: The project, its folder, or its `tuneworthy.toml`.
        options: Those of `tuneworthy.ladder.run.run`: `rungs`, `quick`, `max_usd`, ...
    """
    import asyncio

    from tuneworthy.ladder.run import run_ladder as walk

    return asyncio.run(walk(_loaded(project), **options))


def decide(project: Project | str | Path, **options: Any) -> Verdict:
    """Say whether to fine-tune, from the last run of a project.

    Args:
        project: The project, its folder, or its `tuneworthy.toml`.
        options: Those of `tuneworthy.verdict.run.decide_project`: `probe`, `max_usd`, ...
    """
    import asyncio

    from tuneworthy.verdict.run import decide_project

    return asyncio.run(decide_project(_loaded(project), **options))


def _loaded(project: Project | str | Path) -> Project:
    from tuneworthy.config import Project, load

    return project if isinstance(project, Project) else load(project)
