"""The command line starts light: no heavy library and few modules are loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "torch",
    "transformers",
    "sklearn",
    "numba",
    "scipy",
    "aiohttp",
    "pyarrow",
    "anthropic",
    "openai",
]


@pytest.mark.parametrize("statement", ["import tuneworthy", "from tuneworthy.cli import invoke; invoke(['--help'])"])
def test_the_start_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_what_asks_a_model_waits_for_no_library_that_comes_later() -> None:
    later = ["sklearn", "scipy.special", "pyarrow", "bm25s", "huggingface_hub", "sacrebleu",
             "jsonschema", "yaml", "tuneworthy.cases.pii"]  # fmt: skip
    code = "import sys, tuneworthy.ladder.run, tuneworthy.providers.openai\n"
    code += f"print([name for name in {later!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_doctor_needs_no_extra() -> None:
    code = "import sys, tuneworthy.cli.doctor\n"
    code += "print([name for name in ('torch', 'transformers', 'lancedb', 'numba', 'pyarrow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("statement", "most"),
    [("import tuneworthy", 45), ("from tuneworthy.cli import invoke; invoke(['--help'])", 220)],
)
def test_the_start_loads_few_modules(statement: str, most: int) -> None:
    code = f"{statement}\nimport sys\nprint(len(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stderr.strip()) < most
