"""Every test has its own configuration, and trusts the projects that tests write."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# One thread per library: the small arrays of tests cost several times as much on two threads, and pytest-xdist uses
# every core. Set before NumPy is imported; child processes inherit it.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

from tests.moving import moved
from tuneworthy import cli
from tuneworthy.cases import dataset
from tuneworthy.cli.invocation import Invocation
from tuneworthy.dataset import sources
from tuneworthy.errors import OutsideFault
from tuneworthy.ladder import own_models
from tuneworthy.trust import VARIABLE
from tuneworthy.types import Case

# The machine may be busy: a slow input is no fault.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(autouse=True, scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep consent out of the user's own file; trust what lies below pytest's folder and this one; set no width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        patch.setenv(VARIABLE, os.pathsep.join([str(tmp_path_factory.getbasetemp()), str(Path.cwd())]))
        patch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it for its workers
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--moved", action="store_true", help="Rename the project folder before each command.")


@pytest.fixture(autouse=True)
def moving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rename the project before each command in tests with the mark `moved`, or in all with `--moved`."""
    if request.node.get_closest_marker("moved") or request.config.getoption("--moved"):
        plain = cli._invoke

        def elsewhere(invocation: Invocation) -> int:
            with moved(invocation):
                return plain(invocation)

        monkeypatch.setattr(cli, "_invoke", elsewhere)


@pytest.fixture(autouse=True, scope="session")
def no_encoder() -> Iterator[None]:
    """Run ladders and builds without the sentence encoder, whose file is not on every machine."""

    def refuse(_: str) -> None:
        raise OutsideFault("There is no network in tests.", hint="")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_models, "has_encoder", lambda: False)
        patch.setattr(sources, "load_encoder", refuse)
        yield


@pytest.fixture(autouse=True, scope="session")
def contamination_cache() -> Iterator[None]:
    """Search the same examples and cases once per process: most simulated projects share them.

    The tests of the search itself, in `cases` and `dataset`, always run it.
    """
    plain, results = dataset.search, {}

    def search(rows: Sequence[Any], cases: Iterable[Case], **options: Any) -> Any:
        if os.environ.get("PYTEST_CURRENT_TEST", "").startswith(("tests/cases/", "tests/dataset/")):
            return plain(rows, cases, **options)
        cases = list(cases)
        parts = (list(rows), cases, {name: list(value) if name == "among" and value else value
                                     for name, value in options.items()})  # fmt: skip
        key = sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()
        if key not in results:
            results[key] = plain(rows, cases, **options)
        return list(results[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "search", search)
        yield
