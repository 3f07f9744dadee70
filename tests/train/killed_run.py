"""A run of the trainer for tests that kill it: ``python -m tests.train.killed_run FOLDER KILL_AT N_REHEARSAL``.

It kills itself before its KILL_AT-th write (0: never), and prints the loss of every step and what it kept.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


def main() -> None:
    folder, kill_at, n_rehearsal = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import safetensors.torch
    import torch
    from transformers import AutoTokenizer

    from tests.train.test_rows_that_share import rows
    from tests.train.tiny import write_tiny
    from tuneworthy.train import checkpoints, trainer
    from tuneworthy.train.settings import TrainingSettings

    n = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal n
            n += 1
            if n == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    torch.set_num_threads(1)
    base = folder / "base"
    if not base.exists():
        write_tiny(base)
    steps = [(checkpoints, "write_atomic"), (checkpoints, "seal"), (checkpoints.PlainTrainer, "_save_rng_state")]
    steps += [(trainer, "keep_best"), (trainer, "summed_loss"), (safetensors.torch, "save_file")]
    for owner, name in steps:
        setattr(owner, name, counted(getattr(owner, name)))
    settings = TrainingSettings(
        rank=4, dropout=0.1, dtype="float32", batch_size=4, micro_batch_size=2, learning_rate=0.01
    )

    def look(model: Any) -> float:
        return sum(float(weight.abs().mean()) for name, weight in model.named_parameters() if "lora_B" in name)

    done = trainer.train_rows(
        base,
        rows() * 4,
        settings,
        folder / "run",
        tokenizer=AutoTokenizer.from_pretrained(base),
        rehearsal=(rows() * 4)[:n_rehearsal],
        evaluate=look,
        max_steps=16,
    )
    kept = safetensors.torch.load_file(done.adapter / "adapter_model.safetensors")
    total = sum(float(value.double().abs().sum()) for value in kept.values())
    print(json.dumps({"losses": [step.loss for step in done.progress.steps],
                      "evals": [asdict(look) for look in done.progress.evals],
                      "kept": done.adapter.name, "total": total, "writes": n}))  # fmt: skip


if __name__ == "__main__":
    main()
