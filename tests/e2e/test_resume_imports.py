"""With all answers stored, a run starts fast: it fits no classical baseline and loads nothing that only calls need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .resume_project import run_ladder, words, write_project

AGAIN = """
import sys
from tuneworthy.cli import invoke
assert invoke(["run", "--project", sys.argv[1]]) == 0
heavy = ["sklearn", "pyarrow", "scipy.stats", "scipy.optimize", "torch", "huggingface_hub", "bm25s"]
print("loaded:", [name for name in heavy if name in sys.modules])
"""


@pytest.mark.slow
def test_a_run_of_stored_answers_loads_no_heavy_library(tmp_path: Path) -> None:
    root = write_project(
        tmp_path / "p", 'provider = "scripted"\nfunction = "answer.py:answer"', rungs="classical baseline"
    )
    (root / "answer.py").write_text("def answer(request):\n    return 'red'\n")
    assert run_ladder(root) == 0, words(root)
    done = subprocess.run([sys.executable, "-c", AGAIN, root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "loaded: []" in done.stdout
