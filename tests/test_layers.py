"""The folders are the way of the data: a module imports only from above, and the command line starts light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "tuneworthy"
ORDER = [
    "messages", "errors", "extras", "types", "registry", "rules", "constraints", "functions",
    "config", "store", "stats", "providers", "cases", "prompts", "retrieval", "decoding", "classical", "evaluate", "graders",
    "regressions", "search", "dataset", "train", "ship", "ladder", "verdict", "scaffold", "demo", "report", "cli", "__init__", "__main__",
]  # fmt: skip
HEAVY = [
    "torch",
    "transformers",
    "sklearn",
    "numba",
    "scipy",
    "altair",
    "vl_convert",
    "aiohttp",
    "pyarrow",
    "anthropic",
    "openai",
]


def layer(name: str) -> int:
    """The place of the module `tuneworthy.<name>...` in the order."""
    return ORDER.index(name.split(".", maxsplit=1)[0])


def own_imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it, below `tuneworthy.`."""
    found: set[str] = set()
    package = path.relative_to(SOURCE).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("tuneworthy")}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(["tuneworthy", *package[: len(package) - node.level + 1]]) if node.level else ""
            module = ".".join(filter(None, [base, node.module or ""]))
            if module == "tuneworthy":
                found |= {f"tuneworthy.{alias.name}" for alias in node.names if alias.name != "__version__"}
            elif module.startswith("tuneworthy"):
                found.add(module)
    return {name.removeprefix("tuneworthy.") for name in found}


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_its_own_folder_or_from_above(path: Path) -> None:
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    below = [name for name in own_imports(path) if layer(name) > layer(own)]
    assert below == [], f"{path.name} imports from below: {below}"


def test_the_check_sees_an_import_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stats").mkdir()
    planted = tmp_path / "stats" / "planted.py"
    planted.write_text("from tuneworthy.ladder import run\n")
    monkeypatch.setattr(f"{__name__}.SOURCE", tmp_path)
    assert any(layer(name) > layer("stats") for name in own_imports(planted))


def test_every_file_is_in_the_order() -> None:
    assert {path.relative_to(SOURCE).with_suffix("").parts[0] for path in FILES} <= set(ORDER)


@pytest.mark.parametrize("statement", ["import tuneworthy", "from tuneworthy.cli import invoke; invoke(['--help'])"])
def test_the_start_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_what_asks_a_model_waits_for_no_library_that_comes_later() -> None:
    later = ["sklearn", "scipy.special", "altair", "vl_convert", "pyarrow", "bm25s", "huggingface_hub", "sacrebleu",
             "jsonschema", "yaml", "tuneworthy.cases.pii"]  # fmt: skip
    code = "import sys, tuneworthy.ladder.run, tuneworthy.providers.openai\n"
    code += f"print([name for name in {later!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("statement", "limit_s"),
    [("import tuneworthy", 0.05), ("from tuneworthy.cli import invoke; invoke(['--help'])", 0.1)],
)
def test_the_start_takes_little_processor_time(statement: str, limit_s: float) -> None:
    def cpu_s(code: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(cpu_s(statement) for _ in range(7)) < limit_s
