"""Packages of extras: what needs them says which extra to install, and the other commands work without them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tuneworthy.errors import UserError
from tuneworthy.extras import MISSING, require

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("package", MISSING)
def test_a_missing_package_is_reported_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.extras.find_spec", lambda _: None)
    with pytest.raises(UserError, match=package.replace("_", "-")) as error:
        require(package)
    assert re.search(
        r"pip install .tuneworthy\[(data|chrf|proxy|tools|train|local|ray|ui|langfuse|mlflow)\]", str(error.value)
    )


def test_every_package_is_in_an_extra_and_not_in_the_core() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for package in MISSING:
        extra = re.search(r"tuneworthy\[(\w+)\]|$", MISSING[package].hint)[1] or "data"
        assert any(line.startswith(package.replace("_", "-")) for line in project["optional-dependencies"][extra])
        assert not any(line.startswith(package) for line in project["dependencies"])


def test_what_is_installed_for_training_builds_the_dataset_that_training_takes() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(line.startswith("numba") for line in extras["train"])  # of the check `near`


@pytest.mark.parametrize(("name", "content"), [("rows.parquet", b"PAR1"), ("rows.xlsx", b"PK\x03\x04")])
def test_a_table_is_reported_without_its_reader(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneworthy.cases import read_examples

    monkeypatch.setattr("tuneworthy.extras.find_spec", lambda _: None)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"tuneworthy\[data\]"):
        list(read_examples(tmp_path / name))


BLOCKED = """
import sys
for name in ("numba", "llvmlite", "pyarrow", "sacrebleu", "lxml"):
    sys.modules[name] = None
from tuneworthy.start import main
sys.argv = ["tuneworthy", *{arguments!r}]
main()
"""


def test_the_core_checks_runs_decides_and_reports_without_the_extras(tmp_path: Path) -> None:
    from tests.ladder.simulations import write_simulation

    write_simulation(tmp_path, {"weak": "answer(request, 0.5)"}, n_cases=60, n_examples=0, rungs=["baseline", "prompt"])
    for arguments in (["check"], ["run", "--quick", "--yes"], ["decide"], ["report", "--out", "report.html"]):
        code = BLOCKED.format(arguments=arguments)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode != 1 and "Traceback" not in done.stderr, (arguments, done.stderr[-2000:])
