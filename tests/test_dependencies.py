"""What the package depends on: pinned for every check, and bounded above where a library's inside is relied on."""

from __future__ import annotations

import ast
import hashlib
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts import licences

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = ROOT / ".github" / "workflows"
# Library to what of its inside is overridden or replaced: (module, class, names).
OVERRIDES: dict[str, tuple[tuple[str, str, set[str]], ...]] = {
    "transformers": (
        (
            "transformers",
            "Trainer",
            {
                "_get_train_sampler",
                "_load_optimizer_and_scheduler",
                "_load_rng_state",
                "_save",
                "_save_optimizer_and_scheduler",
                "_save_rng_state",
            },
        ),
    ),
    "trl": (("trl", "SFTTrainer", {"compute_loss"}),),
    "peft": (("peft.tuners.lora.layer", "Linear", {"forward"}),),
    "xllamacpp": (("xllamacpp", "CommonParams", {"cpuparams", "cpuparams_batch", "cache_ram_mib", "n_ubatch"}),),
}


def requirements(*extras: str) -> list[str]:
    optional = PROJECT["optional-dependencies"]
    return [*PROJECT["dependencies"], *(row for extra in extras for row in optional[extra])]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", name, maxsplit=1)[0]).lower()


def unpinned(text: str) -> list[str]:
    return [line for line in text.splitlines() if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)]


def unbounded(rows: list[str]) -> set[str]:
    return {name for name in OVERRIDES if not any(canonical(row) == name and "<" in row for row in rows)}


def locked(text: str) -> dict[str, tuple[str, int]]:
    """The packages of a lock, each with its version and the number of its hashes."""
    rows: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=\S)", text.strip()):
        name, version = re.match(r"([a-z0-9-]+)==([^ ;]+)", block).groups()  # type: ignore[union-attr]
        rows[name] = (version, len(re.findall(r"--hash=sha256:[0-9a-f]{64}(?:\s|$)", block)))
    return rows


def lock_faults(text: str, needed: set[str]) -> list[str]:
    """The packages that a lock lacks, or has without a hash or from a local build."""
    rows = locked(text)
    return [*sorted(needed - rows.keys()), *(name for name, (version, n) in rows.items() if not n or "+" in version)]


def test_the_constraints_pin_every_dependency_to_one_version() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert unpinned(text) == []
    pinned = {canonical(line) for line in text.splitlines()}
    extras = set(PROJECT["optional-dependencies"]) - {"all"}
    assert {canonical(row) for row in requirements(*extras)} - {"torch"} <= pinned
    assert "torch" not in pinned


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("requirements.lock", set(PROJECT["optional-dependencies"]) - {"all"}),
        ("requirements-dev.lock", {"local", "dev"}),
    ],
)
def test_a_lock_has_all_dependencies_with_hashes_and_the_versions_of_the_constraints(
    name: str, extras: set[str]
) -> None:
    text = (ROOT / name).read_text()
    assert lock_faults(text, {canonical(row) for row in requirements(*extras)}) == []
    versions = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    assert {key: version for key, (version, _) in locked(text).items() if versions.get(key, version) != version} == {}


def test_the_tools_of_a_release_have_hashes() -> None:
    needed = set((ROOT / ".github" / "release-tools.in").read_text().split())
    assert lock_faults((ROOT / ".github" / "release-tools.lock").read_text(), needed) == []


def test_a_fault_of_a_lock_is_noticed() -> None:
    good = f"a==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:{'0' * 64}\n"
    assert lock_faults(good, {"a"}) == []
    assert lock_faults(good, {"a", "b"}) == ["b"]
    assert lock_faults(good.replace("1.0", "1.0+cpu"), set()) == ["a"]
    assert lock_faults(good.replace("0" * 64, "0" * 63), set()) == ["a"]


def test_no_step_installs_a_package_without_a_version() -> None:
    """Builds of this checkout, packages of a lock, and tests of the newest versions are installed."""
    texts = [path.read_text().replace("\\\n", " ") for path in (ROOT / "action.yml", *WORKFLOWS.glob("*.yml"))]
    commands = [line for text in texts for line in text.splitlines() if "pip install" in line]
    allowed = ("-c ", "--require-hashes")
    assert len(commands) >= 3 and [line for line in commands if not any(part in line for part in allowed)] == []


def test_every_core_package_is_named_with_its_licence() -> None:
    web = ROOT / "src" / "tuneworthy" / "web"
    assert hashlib.sha256((web / "preact.js").read_bytes()).hexdigest() in (web / "preact.LICENSE").read_text()
    rows = re.findall(r"^\| ([a-z0-9-]+) \| \S+ \| .+ \|$", (ROOT / "THIRD_PARTY.md").read_text(), re.MULTILINE)
    assert rows == licences.core() and {canonical(row) for row in PROJECT["dependencies"]} <= set(rows)
    assert "LGPL" in licences.licence_of("python-stdnum")


@pytest.mark.parametrize("line", ["torch==2.6.0+cpu", "click>=8", "click", "-e .", "x @ file:///x", "click==8.*"])
def test_a_line_that_is_not_pinned_is_noticed(line: str) -> None:
    assert unpinned(f"regex==2024.11.6\n{line}\n") == [line]


def test_setup_and_ci_install_from_the_constraints() -> None:
    assert "--require-hashes -r requirements-dev.lock" in (ROOT / "Makefile").read_text()
    jobs = (ROOT / ".ci" / "run").read_text()
    assert "make test ;;" in jobs and "make test-extras ;;" in jobs
    assert "-e '.[local,dev,train,rag,optimise,ray,sweep,tools]'" in (ROOT / "Makefile").read_text()


def test_a_library_whose_inside_is_relied_on_is_bounded_above() -> None:
    rows = requirements(*PROJECT["optional-dependencies"])
    assert unbounded(rows) == set()
    assert unbounded([row.split(",")[0].replace("<", ">") for row in rows]) == set(OVERRIDES)


@pytest.mark.parametrize("library", OVERRIDES)
def test_what_is_overridden_still_exists_in_the_library(library: str) -> None:
    pytest.importorskip(library)
    for module, name, attributes in OVERRIDES[library]:
        assert attributes - set(dir(getattr(import_module(module), name))) == set()


def test_every_private_method_that_the_trainer_overrides_is_listed() -> None:
    pytest.importorskip("trl")
    tree = ast.parse((ROOT / "src" / "tuneworthy" / "train" / "trainer.py").read_text())
    (trainer,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "RowTrainer")
    own = {node.name for node in trainer.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("__")}
    inherited = own & set(dir(import_module("trl").SFTTrainer))
    listed = {name for library in ("transformers", "trl") for _, _, names in OVERRIDES[library] for name in names}
    assert {name for name in inherited if name.startswith("_")} <= listed


@pytest.mark.parametrize(
    ("name", "commands"),
    [("ci", [".ci/run checks", ".ci/run extras", "make test-latest"]),
     ("release", [".ci/run", "pip-audit --strict --require-hashes", "cyclonedx-py requirements requirements.lock",
                                      "python -m build",
                                      "attest-sbom", "attest-build-provenance", "gh-action-pypi-publish"])],
)  # fmt: skip
def test_a_workflow_runs_what_it_must_with_no_more_rights_than_it_needs(name: str, commands: list[str]) -> None:
    workflow = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
    steps = str([job["steps"] for job in workflow["jobs"].values()])
    assert [command for command in commands if command not in steps] == []
    assert workflow["permissions"] == {"contents": "read"} and "secrets." not in steps
