"""Every test has its own configuration, and trusts the projects that tests write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# One thread per library: the small arrays of tests cost several times as much on two threads, and pytest-xdist uses
# every core. Set before NumPy is imported; child processes inherit it.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

from tuneworthy.trust import VARIABLE


@pytest.fixture(autouse=True, scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep consent out of the user's own file; trust what lies below pytest's folder and this one; set no width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        patch.setenv(VARIABLE, os.pathsep.join([str(tmp_path_factory.getbasetemp()), str(Path.cwd())]))
        patch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it for its workers
        yield
