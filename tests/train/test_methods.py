"""Full fine-tuning and QLoRA: they learn, go on where they were stopped, and keep what they say they train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from tests.train.test_rows_that_share import rows  # noqa: E402
from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.ship.merged_weights import dequantise  # noqa: E402
from tuneworthy.train.checkpoints import OPTIMISER, newest  # noqa: E402
from tuneworthy.train.settings import Method, TrainingSettings  # noqa: E402
from tuneworthy.train.trainer import Ran, loaded, train_rows  # noqa: E402

RATES: dict[Method, float] = {"full": 0.01, "qlora": 0.01}


def needs(method: Method) -> None:
    if method == "qlora":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")


def train(folder: Path, method: Method, look: Callable[[Any], float], dtype: Any = "bfloat16") -> Ran:
    """Eight steps in a folder of their own, with looks after every second one."""
    settings = TrainingSettings(
        method=method, rank=128, alpha=256, dtype=dtype, batch_size=4, micro_batch_size=4, learning_rate=RATES[method]
    )
    tokenizer = write_tiny(folder / "base", dtype="bfloat16")
    return train_rows(
        folder / "base", rows() * 4, settings, folder / "run", tokenizer=tokenizer, evaluate=look, max_steps=8
    )


class Looks:
    """Gives each look a better score, and stops the process, as it were, at one of them."""

    def __init__(self, stop_at: int = 0) -> None:
        self.n, self.stop_at = 0, stop_at

    def __call__(self, model: Any) -> float:
        self.n += 1
        if self.n == self.stop_at:
            raise KeyboardInterrupt
        return self.n / 10


@pytest.mark.parametrize("method", RATES)
def test_a_run_learns_and_goes_on_where_it_was_stopped(tmp_path: Path, method: Method) -> None:
    needs(method)
    whole = train(tmp_path / "whole", method, Looks())
    losses = [step.loss for step in whole.progress.steps]
    assert losses[-1] < losses[0] - 0.1
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "halves", method, Looks(stop_at=3))
    checkpoint = newest(tmp_path / "halves" / "run")
    assert checkpoint is not None and checkpoint[0].name == "checkpoint-6"
    again = train(tmp_path / "halves", method, Looks())
    assert [step.loss for step in again.progress.steps] == pytest.approx(losses, rel=1e-3)


def test_all_weights_are_trained_in_32_bits_and_shared_rows_are_used(tmp_path: Path) -> None:
    done = train(tmp_path, "full", Looks())
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path / "base", done.adapter))
    assert before.keys() == after.keys() and done.shared
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    assert done.n_trainable == sum(tensor.numel() for tensor in after.values())
    assert not [name for name in after if torch.equal(after[name], before[name].float())]


def test_the_moments_of_qlora_have_8_bits(tmp_path: Path) -> None:
    needs("qlora")
    train(tmp_path, "qlora", Looks())
    checkpoint = newest(tmp_path / "run")
    assert checkpoint is not None
    moments = [tensor for key, tensor in load_file(checkpoint[0] / OPTIMISER).items() if ".state" in key]
    assert moments and {tensor.dtype for tensor in moments if tensor.numel() >= 4096} == {torch.uint8}


def test_the_dequantised_base_is_what_4_bit_training_computes_with(tmp_path: Path) -> None:
    needs("qlora")
    from bitsandbytes.functional import dequantize_4bit

    write_tiny(tmp_path / "base", dtype="bfloat16")
    (tmp_path / "seen").mkdir()
    dequantise(tmp_path / "base", tmp_path / "seen")
    written = load_file(tmp_path / "seen" / "model.safetensors")
    model = loaded(tmp_path / "base", TrainingSettings(method="qlora"))
    n = 0
    for name, weight in model.named_parameters():
        state = getattr(weight, "quant_state", None)
        seen = weight if state is None else dequantize_4bit(weight.data, state)
        assert torch.equal(seen.detach().cpu().to(torch.bfloat16), written[name]), name
        n += state is not None
    assert n == 14 and all(
        layer.weight.quant_state.nested for layer in model.modules() if hasattr(layer, "quant_state")
    )


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="expected Linux")
def test_the_16_bit_file_of_a_4_bit_base_does_not_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("qlora")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_tiny(tmp_path / "base", dtype="bfloat16")
    model = loaded(tmp_path / "base", TrainingSettings(method="qlora"))
    assert any(weight.dtype == torch.bfloat16 for weight in model.parameters())
    assert str(tmp_path / "base") not in Path("/proc/self/maps").read_text()
