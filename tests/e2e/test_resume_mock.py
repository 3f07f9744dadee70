"""Thousands of cases against the C mock with its faults on: none lost, none counted twice, the budget kept."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.store import ResponseStore

from .resume_project import openai, write_lines, write_project

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WORDS = "which river seven order paint cloud train apple north glass study metal ocean table clock bread".split()  # noqa: SIM905
MISSING = [program for program in ("gcc", "taskset") if shutil.which(program) is None]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")]


@pytest.fixture
def mock() -> Iterator[str]:
    """The address of a mock that answers after 50 ms, or not."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, BENCHMARKS / "mock" / "mock_openai.py", str(port), "50", "1"])
    try:
        for _ in range(200):
            try:
                get(f"http://127.0.0.1:{port}", "_stats")
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def get(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}/{path}", timeout=10) as answer:
        return json.load(answer)


def test_five_thousand_cases_come_through_every_fault(tmp_path: Path, mock: str) -> None:
    n, budget = 5000, 100.0
    model = openai(f"{mock}/v1", concurrency=64, timeout_s=10.0, input_usd_per_mtok=100.0, output_usd_per_mtok=100.0)
    root = write_project(tmp_path / "p", model, n_cases=n, n_examples=0, ladder=f"budget_usd = {budget}")
    rng = random.Random(7)
    write_lines(
        root / "cases.jsonl",
        [{"id": f"c{i}", "input": f"#ID{i} {' '.join(rng.choices(WORDS, k=12))}?", "expected": "42"} for i in range(n)],
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "clients" / "ours.py", root], capture_output=True, text=True, check=True
    )
    took = time.monotonic() - started
    told = json.loads(done.stdout)
    stats = get(mock, "_stats")
    store = ResponseStore(root / ".tuneworthy" / "responses.sqlite")
    kept, spent = len(store), store.spending().usd
    store.close()
    assert told["answered"] == told["scored"] == kept == n  # none lost
    assert stats["ok_ids"] == n  # (it answers 12 + 1 tokens)
    assert stats["ok_repeat"] == 0  # none answered twice, so none counted twice
    assert (
        told["asked"] == stats["total"] == n + stats["s429"] + stats["s500"] + stats["trunc"] + stats["client_hangups"]
    )
    billed = (n + stats["trunc"] + stats["client_hangups"]) * 13 * 100 / 1e6
    assert billed - 1e-6 <= spent <= budget
    # a hang takes an attempt of 10 s; a case that hangs twice (1 in 10,000) two of them, three times three
    assert took < 45
