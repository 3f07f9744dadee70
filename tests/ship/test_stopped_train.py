"""`train` is stopped at 20 moments of all its phases: each finished phase is readable at once, and it resumes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets", "gguf", "xllamacpp"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.ladder.simulations import write_simulation  # noqa: E402
from tiny_models import WORDS, model_of, save, tokenizer_of  # noqa: E402

from tuneworthy.cli import invoke  # noqa: E402
from tuneworthy.ladder.record import read_record  # noqa: E402
from tuneworthy.signals import stop_at_once  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.store.artifacts import latest_artifact  # noqa: E402
from tuneworthy.train import checkpoints, phases, trainer  # noqa: E402

MOMENTS, READ_S = 20, 30.0
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
EVENTS = [(phases.LivePhases, "write"), (trainer, "summed_loss"), (checkpoints, "seal"), (trainer, "keep_best")]
TRAIN = """
[train]
base = "tiny"
rank = 2
batch_size = 8
epochs = 1
rehearsal = 0.0
"""


def forked(call: Callable[[], int], output: Path) -> int:
    """Return how a call in a fork of this process ended: its exit status, or minus the signal; its output in a file."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            sys.stdout = sys.stderr = output.open("w")
            stop_at_once()
            status = call()
            sys.stdout.flush()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(root: Path, number: int = 0, moment: int = 0) -> tuple[int, list[list[str]]]:
    """Run `train`, with a signal before its `moment`-th event; return its status, and the finished phases by event."""
    log = root / "events.jsonl"

    def call() -> int:
        n = 0

        def counted(owner: Any, name: str) -> None:
            function = getattr(owner, name)

            def count(*arguments: Any, **named: Any) -> Any:
                nonlocal n
                n += 1
                if n == moment:
                    os.kill(os.getpid(), number)
                with log.open("a") as file:
                    live = phases._LIVE.get()
                    file.write(json.dumps([*live.state.finished] if live else []) + "\n")
                return function(*arguments, **named)

            setattr(owner, name, count)

        phases.WRITE_S = 3600.0  # so that events come in the same order
        for event in EVENTS:
            counted(*event)
        return invoke(["train", "--unsafe", "--project", str(root)])

    log.unlink(missing_ok=True)
    status = forked(call, root / "train.txt")
    return status, [json.loads(line) for line in log.read_text().splitlines()]


def result(root: Path) -> dict[str, Any]:
    store, record = Folder(root), read_record(Folder(root))
    made = {kind: latest_artifact(store, kind) for kind in ("adapter", "merged")}
    files = {kind: one.manifest["files"] for kind, one in made.items() if one is not None}
    rung = record.rung("fine_tune") if record else None
    parity = store.read("parity", dict) or {}
    weights = [files["adapter"]["adapter_model.safetensors"], files["merged"]["model.safetensors"]]
    return {"weights": weights, "parity": parity["status"], "score": rung and (rung.status, rung.score, rung.n)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.set_num_threads(1)
    root = write_simulation(
        tmp_path_factory.mktemp("world") / "world", {"weak": "answer(request, 0.4)"}, n_cases=60, n_examples=260,
        rungs=["baseline", "fine_tune"], extra=TRAIN,
    )  # fmt: skip
    tokenizer = tokenizer_of("smollm", [WORDS, "Name the colour. item thing red green blue 0123456789"])
    save(model_of("Llama", len(tokenizer)).to(torch.bfloat16), tokenizer, root / "tiny")
    assert forked(lambda: invoke(["run", "--project", str(root)]), root / "run.txt") == 0
    return root


def read(root: Path, words: list[str]) -> str:
    """Run a command that reads, while the process that was stopped is gone; return its output."""
    began, output = time.monotonic(), root / f"{words[0]}.txt"
    assert forked(lambda: invoke([*words, "--project", str(root)]), output) in {0, 3, 4}
    text = output.read_text()
    assert time.monotonic() - began < READ_S and "Waiting" not in text
    return text


@pytest.mark.slow
def test_train_is_readable_and_resumes_wherever_it_is_stopped(world: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(world, tmp_path / "whole")
    status, events = train(whole)
    assert status in {0, 3, 4}, (whole / "train.txt").read_text()[-2000:]
    expected, n = result(whole), int(os.environ.get("STOPPED_MOMENTS", MOMENTS))
    for k in range(n):
        moment, number = 2 + k * (len(events) - 3) // (n - 1), SIGNALS[k % len(SIGNALS)]
        root = shutil.copytree(world, tmp_path / str(moment))
        assert train(root, number, moment)[0] == (-number if number == signal.SIGKILL else 130)
        assert "Training: " in read(root, ["decide"]) and "Training: " in read(root, ["report"])
        found = json.loads(read(root, ["status", "--json"]))["training"]
        assert found["status"] == "stopped"
        assert set(events[moment - 2]) <= set(found["finished"]) <= {*events[moment - 1], found["phase"]}
        assert train(root)[0] == status and result(root) == expected, moment
        shutil.rmtree(root)
