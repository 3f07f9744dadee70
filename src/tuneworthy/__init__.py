"""tuneworthy: find out, with evidence, whether to fine-tune; and if so, do it, safely.

>>> import tuneworthy
>>> record = tuneworthy.climb("my-task")        # doctest: +SKIP
>>> record.best                                 # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuneworthy.ladder.record import ClimbRecord

__version__ = "0.1.0"
__all__ = ["__version__", "climb"]


def climb(project: str | Path, **options: Any) -> ClimbRecord:
    """Walk the ladder of the project in the folder `project`.

    Args:
        project: The folder (or its `tuneworthy.toml`).
        options: Those of `tuneworthy.ladder.climb.climb`: `rungs`, `quick`, `max_usd`, ...
    """
    import asyncio

    from tuneworthy.config import load
    from tuneworthy.ladder.climb import climb as walk

    return asyncio.run(walk(load(project), **options))
