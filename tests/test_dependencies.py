"""What the package depends on: pinned for every check, and bounded above where a library's inside is relied on."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

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


def test_the_constraints_pin_every_dependency_of_the_checks_to_one_version() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert unpinned(text) == []
    pinned = {canonical(line) for line in text.splitlines()}
    assert {canonical(row) for row in requirements("local", "dev")} <= pinned
    assert "torch" not in pinned


@pytest.mark.parametrize("line", ["torch==2.6.0+cpu", "click>=8", "click", "-e .", "x @ file:///x", "click==8.*"])
def test_a_line_that_is_not_pinned_is_noticed(line: str) -> None:
    assert unpinned(f"regex==2024.11.6\n{line}\n") == [line]


def test_setup_and_ci_install_from_the_constraints() -> None:
    assert "-c constraints.txt -e '.[local,dev]'" in (ROOT / "Makefile").read_text()
    jobs = (ROOT / ".ci" / "run").read_text()
    assert "make test ;;" in jobs and "make test-extras ;;" in jobs
    assert "-e '.[local,dev,train,rag,optimise,sweep]'" in (ROOT / "Makefile").read_text()


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
     ("release", [".ci/run", "pip-audit --strict", "cyclonedx-py", "python -m build",
                                      "attest-sbom", "attest-build-provenance", "gh-action-pypi-publish"])],
)  # fmt: skip
def test_a_workflow_runs_what_it_must_with_no_more_rights_than_it_needs(name: str, commands: list[str]) -> None:
    workflow = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
    steps = str([job["steps"] for job in workflow["jobs"].values()])
    assert [command for command in commands if command not in steps] == []
    assert workflow["permissions"] == {"contents": "read"} and "secrets." not in steps
