"""A signal stops a run within seconds; the steps so far are a checkpoint, and the run resumes to the same weights."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows_that_share import rows  # noqa: E402
from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.train import checkpoints, phases, trainer  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402

SETTINGS = TrainingSettings(rank=2, dropout=0.1, dtype="float32", batch_size=4, micro_batch_size=2, learning_rate=0.01)
STEPS = 6


Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    import torch

    base, threads = tmp_path_factory.mktemp("base"), torch.get_num_threads()
    tokenizer = write_tiny(base)

    def size(model: Any) -> float:
        return sum(float(weight.abs().mean()) for name, weight in model.named_parameters() if "lora_B" in name)

    def run(folder: Path, **more: Any) -> Any:
        options = {"tokenizer": tokenizer, "evaluate": size, "evals_per_epoch": 1.0, "max_steps": STEPS, **more}
        return trainer.train_rows(base, rows() * 4, SETTINGS, folder, **options)

    torch.set_num_threads(1)  # sums are the same then
    yield run
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(tmp_path_factory.mktemp("whole"))


def weights(made: Any) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: value.tolist() for name, value in load_file(made.adapter / "adapter_model.safetensors").items()}


def signalled(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, moment: int, number: signal.Signals = signal.SIGINT
) -> None:
    """Send this process a signal before the `moment`-th call of a function."""
    function, calls = getattr(owner, name), iter(range(1, 10**6))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(calls) == moment:
            os.kill(os.getpid(), number)
        return function(*arguments, **named)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    ("owner", "name", "moment", "saved"),
    [
        (trainer, "summed_loss", 2, 0),  # of the check of the batches and the first step
        (trainer, "summed_loss", 8, 3),  # of 2 a step, in the fourth step
        (trainer.Watcher, "on_step_end", 2, 2),  # weights are updated: the step is finished first
        (checkpoints, "seal", 1, 4),
        (trainer, "keep_best", 1, 4),
        (trainer.Watcher, "_evaluate", 2, STEPS),
    ],
)
def test_a_signal_leaves_the_last_step_as_a_checkpoint_and_the_run_resumes_exactly(  # noqa: PLR0917
    run: Run, whole: Any, tmp_path: Path, owner: Any, name: str, moment: int, saved: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, owner, name, moment)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    newest = checkpoints.newest(tmp_path)
    assert (newest[0].name if newest else None) == (f"checkpoint-{saved}" if saved else None)
    said: list[str] = []
    found = run(tmp_path, say=said.append)
    assert [line for line in said if "Resuming" in line] == [f"Resuming after step {saved} of {STEPS}."] * bool(saved)
    assert [step.loss for step in found.progress.steps] == pytest.approx([step.loss for step in whole.progress.steps])
    assert [one.metric for one in found.progress.evals] == pytest.approx([one.metric for one in whole.progress.evals])
    assert found.adapter.name == whole.adapter.name and weights(found) == weights(whole)


def test_a_second_signal_stops_a_step_that_updates_weights(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled(monkeypatch, trainer.Watcher, "on_step_end", 2)
    signalled(monkeypatch, checkpoints.PlainTrainer, "_save_optimizer_and_scheduler", 1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert checkpoints.newest(tmp_path) is None  # weights may be half updated


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, {1, 2, 3, 4, 5, 6}), (float("inf"), {4, 5, 6})])
def test_checkpoints_are_written_by_time_as_well(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, expected: set[int]
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_S", seconds)
    sealed, seal = set[int](), checkpoints.seal

    def noted(folder: Path, *arguments: Any) -> None:
        sealed.add(int(folder.name.rpartition("-")[2]))
        seal(folder, *arguments)

    monkeypatch.setattr(checkpoints, "seal", noted)
    run(tmp_path)
    assert sealed == expected


def test_a_phase_is_in_the_record_at_once_and_a_silent_one_says_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lines = Folder(tmp_path), list[str]()
    assert phases.training_lines(store) == []
    monkeypatch.setattr(phases, "WRITE_S", 0.01)
    monkeypatch.setattr(phases, "LINE_EVERY", 1)

    def work() -> None:
        with phases.phase("prepare data"):
            pass
        with phases.phase("training steps", 4, 1) as advance:
            found = phases.read_training(store)
            assert found is not None and (found.phase, found.status) == ("training steps", "running")
            assert list(found.finished) == ["prepare data"]
            time.sleep(0.1)
            advance(detail=", loss 1.5")
            time.sleep(0.1)
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt), store.lock(lambda _: None), phases.recording(store, lines.append),
        phases.phase("train"),
    ):  # fmt: skip
        work()
    found = phases.read_training(store)
    assert found is not None and (found.status, found.phase, found.done) == ("stopped", "training steps", 2)
    assert any("so far" in line for line in lines) and any("2 of 4, loss 1.5, 0 s left" in line for line in lines)
    (line,) = phases.training_lines(store)
    assert "training steps (2 of 4)" in line and line.endswith(
        "Finished: prepare data. To continue, run `tuneworthy train`."
    )


def test_a_record_of_a_process_that_was_killed_is_stopped_and_a_finished_one_is_silent(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.write(phases.FILE, phases.TrainingState(phase="merge", pid=2**22 + 1))
    found = phases.read_training(store)
    assert found is not None and found.status == "stopped"
    with store.lock(lambda _: None), phases.recording(store, print), phases.phase("merge"):
        pass
    found = phases.read_training(store)
    assert found is not None and found.status == "finished" and phases.training_lines(store) == []
