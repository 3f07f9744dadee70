"""A run ends when the task metric no longer gets better, within the epochs that are advised, and keeps the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows_that_share import rows  # noqa: E402
from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.train.advise import EPOCHS  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402
from tuneworthy.train.trainer import Ran, train_rows  # noqa: E402

SETTINGS = TrainingSettings(rank=2, dtype="float32", batch_size=4, micro_batch_size=4, epochs=EPOCHS)
"""Of four steps an epoch on `rows() * 4`."""


def train(folder: Path, metrics: list[float]) -> Ran:
    tokenizer, scripted = write_tiny(folder / "tiny"), iter(metrics)

    def look(_: Any) -> float:
        return next(scripted)

    return train_rows(folder / "tiny", rows() * 4, SETTINGS, folder / "run", tokenizer=tokenizer, evaluate=look)


def test_a_metric_that_falls_ends_the_run_and_the_best_adapter_is_kept(tmp_path: Path) -> None:
    done = train(tmp_path, [0.8, 0.7, 0.6])
    assert done.stopped_early and [look.step for look in done.progress.evals] == [2, 4, 6]
    assert len(done.progress.steps) == 6 and done.adapter.name == "best-2"
    assert (done.adapter / "adapter_model.safetensors").is_file()


def test_a_metric_that_rises_lets_the_run_go_to_its_end(tmp_path: Path) -> None:
    done = train(tmp_path, [0.1, 0.3, 0.2, 0.4, 0.3, 0.5])
    assert not done.stopped_early and len(done.progress.steps) == 12 and done.adapter.name == "best-12"
