"""A run that is killed goes on to the same losses and adapter; half a checkpoint is never taken for a whole."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.train.checkpoints import newest, seal

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-6
"""Of losses and of the summed weights, relative: on one thread nothing else differs."""


def run(folder: Path, kill_at: int, n_rehearsal: int = 0) -> dict[str, Any] | None:
    """Run `killed_run`; None if it was killed."""
    command = [sys.executable, "-m", "tests.train.killed_run", str(folder), str(kill_at), str(n_rehearsal)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    if done.returncode == -9:
        return None
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def needs_libraries() -> None:
    for name in ("torch", "transformers", "peft", "trl", "datasets"):
        pytest.importorskip(name, reason=f"{name} is not installed")


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["losses"] == pytest.approx(expected["losses"], rel=TOLERANCE)
    assert [look["metric"] for look in found["evals"]] == pytest.approx(
        [look["metric"] for look in expected["evals"]], rel=TOLERANCE
    )
    assert found["kept"] == expected["kept"]
    assert found["total"] == pytest.approx(expected["total"], rel=TOLERANCE)


@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_ends_at_the_same_loss(tmp_path: Path) -> None:
    needs_libraries()
    whole = run(tmp_path / "whole", 0)
    assert whole is not None
    draw = random.Random(11)
    for kill in range(10):
        moment = draw.randrange(1, whole["writes"])
        folder = tmp_path / str(kill)
        assert run(folder, moment) is None
        found = run(folder, 0)
        assert found is not None
        same(found, whole)


@pytest.mark.slow
@pytest.mark.parametrize("n_rehearsal", [0, 5])
def test_a_run_that_is_killed_again_and_again_ends_at_the_same_loss(tmp_path: Path, n_rehearsal: int) -> None:
    needs_libraries()
    whole = run(tmp_path / "whole", 0, n_rehearsal)
    assert whole is not None
    kills = 0
    while (found := run(tmp_path / "often", 30, n_rehearsal)) is None:
        kills += 1
        assert kills < 20
    assert kills >= 2
    same(found, whole)


def checkpoint(run_folder: Path, step: int, *, sealed: bool = True) -> Path:
    folder = run_folder / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(bytes(step))
    if sealed:
        seal(folder, {"seconds": float(step)})
    return folder


def test_the_last_whole_checkpoint_is_found_and_what_is_not_whole_is_thrown_away(tmp_path: Path) -> None:
    good = checkpoint(tmp_path, 10)
    half = checkpoint(tmp_path, 20, sealed=False)
    changed = checkpoint(tmp_path, 30)
    (changed / "adapter_model.safetensors").write_bytes(b"cut")
    assert newest(tmp_path) == (good, {"seconds": 10.0})
    assert not half.exists() and not changed.exists()


@pytest.mark.parametrize("fault", ["cut", "flipped", "empty", "gone"])
@pytest.mark.parametrize("name", ["best-20/adapter_model.safetensors", "checkpoint-20/adapter_model.safetensors",
                                  "checkpoint-20/seal.json"])  # fmt: skip
def test_a_damaged_checkpoint_or_best_adapter_gives_way_to_the_checkpoint_before(
    tmp_path: Path, name: str, fault: str
) -> None:
    for step in (10, 20):
        best = tmp_path / f"best-{step}"
        best.mkdir()
        (best / "adapter_model.safetensors").write_bytes(bytes(step))
        seal(checkpoint(tmp_path, step, sealed=False), {"seconds": float(step)}, best)
    assert newest(tmp_path) == (tmp_path / "checkpoint-20", {"seconds": 20.0})
    path = tmp_path / name
    content = path.read_bytes()
    damaged = {"cut": content[:-1], "flipped": bytes([content[0] ^ 1]) + content[1:], "empty": b""}
    path.write_bytes(damaged[fault]) if fault != "gone" else path.unlink()
    assert newest(tmp_path) == (tmp_path / "checkpoint-10", {"seconds": 10.0})
    assert not (tmp_path / "checkpoint-20").exists()


def test_a_run_without_a_whole_checkpoint_begins_anew(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5, sealed=False)
    assert newest(tmp_path) is None
