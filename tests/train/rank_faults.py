"""A process of a run with a planted fault: ``python rank_faults.py ROOT FAULT RANK N MEETING``."""

from __future__ import annotations

import sys
from typing import Any


def plant(fault: str, rank: str) -> None:
    from tuneworthy.train import batch_layout, checkpoints, trainer

    if fault == "scaling":  # the mean over the processes is then too small
        compute = trainer.RowTrainer.compute_loss

        def half(self: Any, *arguments: Any, **named: Any) -> Any:
            return compute(self, *arguments, **named) / self.accelerator.num_processes

        trainer.RowTrainer.compute_loss = half
    if fault == "filler":  # the last step of an epoch then repeats rows

        class Unfilled(batch_layout.StepsOfAKind):
            def __init__(self, sizes: Any, step: int, *, seed: int, at_once: int = 1) -> None:
                super().__init__(sizes, step, seed=seed)

        checkpoints.StepsOfAKind = Unfilled  # type: ignore[misc]
    if fault == "epoch":  # the order of a later epoch is then that of the first
        trainer.Watcher.on_epoch_begin = lambda *_, **__: None
    if fault == "error" and rank == "1":

        def fail(*_: Any, **__: Any) -> None:
            raise ValueError("planted")

        trainer.train_rows = fail


if __name__ == "__main__":
    sys.path[0] = sys.argv[1]
    from tuneworthy.train import ranks

    plant(*sys.argv[2:4])
    ranks.main(*sys.argv[3:])
