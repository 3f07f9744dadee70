"""How the forms that transformers runs are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")

from tiny_models import model_of, save, tokenizer_of

from tuneworthy.ship.parity import hf_form


@pytest.mark.parametrize(("able", "computed"), [(True, "torch.bfloat16"), (False, "torch.float32")])
def test_a_processor_without_bfloat16_computes_the_same_weights_in_float32(
    able: bool, computed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    tokenizer = tokenizer_of()
    save(model_of("Llama", len(tokenizer)).to(torch.bfloat16), tokenizer, tmp_path)
    monkeypatch.setattr(hf_form, "has_bf16", lambda _: able)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = hf_form.load(tmp_path, "bfloat16")
    assert str(model.dtype) == computed
    for weight in model.parameters():
        assert torch.equal(weight, weight.to(torch.bfloat16).to(weight.dtype))
