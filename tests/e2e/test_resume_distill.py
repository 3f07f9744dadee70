"""Killed at any moment, `data distill` goes on where it was: the same rows, and no committed answer is asked again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from tuneworthy.dataset.importing.folder import Import, latest_import
from tuneworthy.store import Folder

from .resume_project import committed, openai, words, write_lines, write_project
from .resume_server import LABELS, Running

CONCURRENCY, SAMPLES = 8, 3
TEACHER = f"""
[data]
encoder = "off"
[teacher]
model = "m"
samples = {SAMPLES}
self_consistency = 0.6
parameters = {{ temperature = 0.7 }}
"""


def project(root: Path, base_url: str, n: int) -> Path:
    """Write a project whose examples are `n` questions, some of them asked twice."""
    write_project(root, openai(base_url), n_cases=60, n_examples=8, ladder=TEACHER)
    colours = [f"Which shade does thing {i * 7919 % 104729} have, the {LABELS[i % 3]} one?" for i in range(n)]
    write_lines(root / "questions.jsonl", [{"input": text} for text in [*colours, *colours[:5]]])
    return root


def start(root: Path) -> subprocess.Popen[bytes]:
    """Start `tuneworthy data distill`."""
    program = Path(sys.executable).with_name("tuneworthy")
    with root.with_suffix(".log").open("ab") as said:
        return subprocess.Popen(
            [program, "data", "distill", root / "questions.jsonl", "--project", root],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip


def finish(root: Path) -> Import:
    """Run it to its end and return what it made."""
    process = start(root)
    try:
        assert process.wait(300) == 0, words(root)
    finally:
        process.kill()
    found = latest_import(Folder(root))
    assert found is not None
    return found


def content(found: Import) -> list[Any]:
    """Rows and rejects, without the number of the call, which the server gives as the model's name, and the day."""
    rows = []
    for name in ("rows.jsonl", "rejects.jsonl"):
        for line in (found.folder / name).read_bytes().splitlines():
            row = orjson.loads(line)
            for key in ("served", "date", "identity"):
                row.get("meta", {}).get("teacher", {}).pop(key, None)
            rows.append(row)
    return rows


def killed(folder: Path, kills: int, seed: int, n: int, latency_ms: float) -> None:
    """Compare a run that is never disturbed with one that is killed `kills` times."""
    rng = random.Random(seed)
    with Running(latency_ms) as server:
        whole = finish(project(folder / "whole", server.base_url, n))
        undisturbed: dict[str, str] = server.stats()["calls"]
        needed = Counter(undisturbed.values())
        assert needed.total() == n * SAMPLES
        cut = project(folder / "cut", server.base_url, n)
        n_killed = 0
        while n_killed < kills:
            process = start(cut)
            moment = len(server.stats()["calls"]) + rng.randrange(0, 2 * needed.total() // (kills + 1))
            if not server.wait(moment, process):
                assert process.wait() == 0, words(cut)
                break  # all is answered
            time.sleep(rng.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            n_killed += process.wait(30) == -signal.SIGKILL
        end = finish(cut)
        calls = {call: digest for call, digest in server.stats()["calls"].items() if call not in undisturbed}
        again = finish(cut)
        assert len(server.stats()["calls"]) == len(calls) + len(undisturbed)
    assert n_killed > kills / 2
    kept = committed(cut)
    # every answer that is stored came from a call of its own, and each question has as many as it needs: none is lost
    assert len(kept) == len(set(kept)) == needed.total()
    assert Counter(calls[call] for call in kept) == needed
    # all other calls were on their way at a kill: no committed one is repeated
    assert len(calls) - needed.total() <= n_killed * CONCURRENCY
    assert content(end) == content(whole)
    assert again.id == end.id
    assert not list((cut / ".tuneworthy" / "imports").glob(".*.part"))


@pytest.mark.slow
def test_a_distillation_that_was_killed_twice_ends_with_the_rows_of_one_that_was_not(tmp_path: Path) -> None:
    killed(tmp_path, kills=2, seed=21, n=60, latency_ms=10)


@pytest.mark.slow
def test_a_distillation_that_was_killed_twenty_times_ends_with_the_rows_of_one_that_was_not(tmp_path: Path) -> None:
    killed(tmp_path, kills=20, seed=22, n=300, latency_ms=30)
