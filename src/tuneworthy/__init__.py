"""tuneworthy: find out, with evidence, whether to fine-tune; and if so, do it safely.

>>> import tuneworthy
>>> project = tuneworthy.open("my-task")        # doctest: +SKIP
>>> project.run(max_usd=2).best                   # doctest: +SKIP
BestVariant(rung='few_shot', variant='248f9fc708ee81ec')
>>> project.decide().outcome                      # doctest: +SKIP
<Outcome.DO_NOT_FINE_TUNE: 'do_not_fine_tune'>
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # that of `typing`, whose import would delay the start
if TYPE_CHECKING:
    from pathlib import Path

    from tuneworthy.api import OpenProject
    from tuneworthy.config import Project

# numba unpickles its cache, and a file of the working folder could say where that is; the environment goes first
os.environ.setdefault("NUMBA_CACHE_DIR", "")
__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def open(project: Project | str | Path) -> OpenProject:
    """Open a project.

    Args:
        project: The project, its folder, or its `tuneworthy.toml`.

    Raises:
        UserError: There is no project, or its file is wrong.
    """
    from tuneworthy.api import OpenProject
    from tuneworthy.config import Project, load

    return OpenProject(project if isinstance(project, Project) else load(project))
