"""What autograd keeps of the layers in a real forward pass, against what the estimate of memory counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

import torch  # noqa: E402
from trl import DPOConfig  # noqa: E402

from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.train.memory import GAPS, estimate  # noqa: E402
from tuneworthy.train.render import TokenPair  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402
from tuneworthy.train.shape import read_shape  # noqa: E402
from tuneworthy.train.trainer import PairTrainer, _pair_dataset, adapted, training_arguments  # noqa: E402


@contextmanager
def kept(model: torch.nn.Module) -> Iterator[dict[int, int]]:
    """Yield the bytes of each storage that autograd keeps, the weights aside."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    sizes: dict[int, int] = {}
    held = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held.append(tensor)
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def test_of_pairs_the_estimate_counts_what_dpo_keeps(tmp_path: Path) -> None:
    tokenizer: Any = write_tiny(tmp_path / "tiny", dtype="bfloat16")
    settings = TrainingSettings(method="preference", rank=2, micro_batch_size=4, batch_size=4, max_length=64)
    pairs = [TokenPair(str(at), [5 + at] * 40, [4] * 24, [3] * 20) for at in range(4)]
    model = adapted(tmp_path / "tiny", settings)
    trainer: Any = PairTrainer(
        kinds=[len(pairs)],
        model=model,
        processing_class=tokenizer,
        args=training_arguments(DPOConfig, settings, tmp_path / "run", 1, max_length=None, beta=0.1),
        train_dataset=_pair_dataset(pairs),
    )
    batch = trainer.data_collator(list(trainer.train_dataset))
    assert batch["input_ids"].shape == (8, 64)
    with kept(model) as sizes:
        trainer.compute_loss(model.train(), batch)
    parts = estimate(read_shape(tmp_path / "tiny"), settings, "cpu").parts
    counted = next(part.n_bytes for part in parts if part.name == "activations") / (1 + GAPS["cpu"])
    assert sum(sizes.values()) == pytest.approx(counted, rel=0.3)
