"""What names a run: all that the adapter depends on, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows_that_share import rows  # noqa: E402
from tests.train.test_train_project import tiny_project  # noqa: E402
from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.config import load  # noqa: E402
from tuneworthy.config.graders import Exact, NormalisedExact  # noqa: E402
from tuneworthy.graders.apply import make_grader  # noqa: E402
from tuneworthy.train.run import Prepared, prepare  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402
from tuneworthy.train.trainer import Ran, train_rows  # noqa: E402


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("project")
    store = tiny_project(root)
    return prepare(load(root), store, unsafe=False, say=lambda _: None)


def test_free_memory_does_not_name_a_run(prepared: Prepared) -> None:
    other = replace(prepared.settings, micro_batch_size=1, gradient_checkpointing=True)
    assert replace(prepared, settings=other).id == prepared.id
    assert replace(prepared, settings=replace(prepared.settings, batch_size=16)).id != prepared.id


def test_another_grader_is_another_run(prepared: Prepared) -> None:
    metric = prepared.material.metric
    assert metric is not None
    other = make_grader(NormalisedExact(type="normalised_exact"))
    changed = replace(metric, grader=other)
    assert replace(prepared, material=replace(prepared.material, metric=changed)).id != prepared.id
    same = replace(metric, grader=make_grader(Exact(type="exact")))
    assert replace(prepared, material=replace(prepared.material, metric=same)).id == prepared.id


@pytest.mark.parametrize("n_rehearsal", [0, 6])
def test_a_run_goes_on_with_other_free_memory(tmp_path: Path, n_rehearsal: int) -> None:
    tokenizer = write_tiny(tmp_path / "tiny")
    settings = TrainingSettings(rank=2, dtype="float32", batch_size=4, micro_batch_size=4, learning_rate=0.01)
    short = replace(settings, micro_batch_size=2, gradient_checkpointing=True)

    def train(settings: TrainingSettings, folder: str, fail_at: int | None = None) -> Ran:
        def look(_: Any) -> float:
            evals.append(0.0)
            if len(evals) == fail_at:
                raise KeyboardInterrupt
            return float(len(evals))

        evals: list[float] = []
        run = tmp_path / folder
        own = rows()[:n_rehearsal]
        return train_rows(tmp_path / "tiny", rows() * 4, settings, run, tokenizer=tokenizer, rehearsal=own,
                          evaluate=look, max_steps=8)  # fmt: skip

    whole = train(settings, "whole")
    with pytest.raises(KeyboardInterrupt):
        train(settings, "killed", fail_at=3)
    again = train(short, "killed")
    assert [step.loss for step in again.progress.steps] == pytest.approx(
        [step.loss for step in whole.progress.steps], rel=1e-3
    )
