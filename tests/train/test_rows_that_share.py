"""The trainer's arithmetic: rows that share their beginning give what transformers computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for name in ("transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from transformers import AttentionInterface  # noqa: E402

from tests.train.tiny import VOCAB, write_tiny  # noqa: E402
from tuneworthy.train.attention import NAME, RowAttention, supports  # noqa: E402
from tuneworthy.train.batch_layout import IGNORED, collate  # noqa: E402
from tuneworthy.train.render import TokenRow  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402
from tuneworthy.train.trainer import _row_attention, adapted, summed_loss, train_rows  # noqa: E402

SETTINGS = TrainingSettings(rank=4, alpha=8.0, dtype="float32")
ASKED = [VOCAB[letter] for letter in "Name the city: "]
ROWS = [("Oslo lies there", "Oslo"), ("in Rome", "Rome"), ("Paris, I said, and meant it", "Paris"), ("x", "y")]


def rows() -> list[TokenRow]:
    made = []
    for at, (question, answer) in enumerate(ROWS):
        prompt = ASKED + [VOCAB[letter] for letter in question]
        said = [VOCAB[letter] for letter in answer] + [VOCAB["<end>"]]
        made.append(TokenRow(str(at), prompt + said, [0] * len(prompt) + [1] * len(said)))
    return made


def example(row: TokenRow) -> dict[str, list[int]]:
    labels = [one if bit else IGNORED for one, bit in zip(row.ids, row.mask, strict=True)]
    return {"input_ids": row.ids, "labels": labels}


def model_of(folder: Path) -> Any:
    """A tiny model whose adapters are no longer nothing."""
    write_tiny(folder)
    model = adapted(folder, SETTINGS)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def gradients(model: Any, loss: Any) -> dict[str, Any]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


def plain_loss(model: Any) -> Any:
    """Sum over the rows, one at a time, as transformers and PEFT compute it."""
    total = 0.0
    for row in rows():
        logits = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0, :-1].float()
        labels = torch.tensor(example(row)["labels"][1:])
        total = total + torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return total


def test_loss_and_every_gradient_are_those_of_rows_one_at_a_time(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    expected_loss = plain_loss(model)
    expected = gradients(model, expected_loss)
    attention = RowAttention()
    AttentionInterface.register(NAME, attention)
    model.get_base_model().set_attn_implementation(NAME)
    batch = collate([example(row) for row in rows()])
    assert batch["lengths"][0] > 0
    found_loss = summed_loss(model, batch, attention)
    found = gradients(model, found_loss)
    assert float(found_loss) == pytest.approx(float(expected_loss), rel=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_a_row_sees_nothing_of_another(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    attention = RowAttention()
    AttentionInterface.register(NAME, attention)
    model.get_base_model().set_attn_implementation(NAME)
    alone = [float(summed_loss(model, collate([example(row)]), attention)) for row in rows()]
    together = float(summed_loss(model, collate([example(row) for row in rows()]), attention))
    assert together == pytest.approx(sum(alone), rel=1e-5)


def test_a_model_whose_losses_differ_gets_plain_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(tmp_path)
    assert _row_attention(model, rows(), SETTINGS) is not None
    calls = RowAttention.__call__

    def wrong(self: Any, module: Any, query: Any, key: Any, value: Any, *arguments: Any, **named: Any) -> Any:
        return calls(self, module, query, key, value * 1.5, *arguments, **named)

    monkeypatch.setattr(RowAttention, "__call__", wrong)
    assert _row_attention(model, rows(), SETTINGS) is None
    assert model.get_base_model().config._attn_implementation != NAME


def test_a_model_that_cannot_share_is_trained_in_plain_batches_to_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    base = tmp_path / "base"
    write_tiny(base)
    settings = TrainingSettings(rank=4, dtype="float32", batch_size=4, micro_batch_size=2, learning_rate=0.01)
    losses = {}
    for shares in (True, False):
        monkeypatch.setattr("tuneworthy.train.trainer.supports", lambda _, shares=shares: shares)
        run = tmp_path / str(shares)
        done = train_rows(base, rows(), settings, run, tokenizer=AutoTokenizer.from_pretrained(base), max_steps=3)
        assert done.shared is shares
        losses[shares] = [step.loss for step in done.progress.steps]
    assert losses[False] == pytest.approx(losses[True], rel=1e-3)


def test_windows_and_caps_are_not_taken_for_plain_attention() -> None:
    from transformers import Gemma2Config, LlamaConfig, MistralConfig, Qwen2Config

    assert supports(LlamaConfig()) and supports(Qwen2Config())
    assert supports(MistralConfig(sliding_window=None))
    assert not supports(MistralConfig(sliding_window=128))
    assert not supports(Gemma2Config())
