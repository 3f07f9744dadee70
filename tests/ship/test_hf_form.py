"""How the forms that transformers runs are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")

from tiny_models import model_of, save, tokenizer_of

from tuneworthy.ship.parity import transformers_form
from tuneworthy.ship.parity.transformers_form import TransformersForm, renderer_of
from tuneworthy.train.generation import SHARED


@pytest.mark.parametrize(("able", "computed"), [(True, "torch.bfloat16"), (False, "torch.float32")])
def test_a_processor_without_bfloat16_computes_the_same_weights_in_float32(
    able: bool, computed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    tokenizer = tokenizer_of()
    save(model_of("Llama", len(tokenizer)).to(torch.bfloat16), tokenizer, tmp_path)
    monkeypatch.setattr(transformers_form, "has_bf16", lambda _: able)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = transformers_form.load(tmp_path, "bfloat16")
    assert str(model.dtype) == computed
    for weight in model.parameters():
        assert torch.equal(weight, weight.to(torch.bfloat16).to(weight.dtype))


@pytest.mark.parametrize("architecture", ["Llama", "Gemma2"])
def test_answers_are_those_of_every_prompt_read_anew(architecture: str, tmp_path: Path) -> None:
    import torch

    tokenizer = tokenizer_of()
    save(model_of(architecture, len(tokenizer)), tokenizer, tmp_path)
    model = transformers_form.load(tmp_path, "float32")
    form = TransformersForm(model, renderer_of(tmp_path), [1])
    prompts, most, alone_answers = ([5, 6, 7, 8], [5, 6, 9], [5, 6, 9, 10, 11], [5, 6], [7]), (6, 3, 6, 6, 3), []
    distributions = []
    for ids, n in zip(prompts, most, strict=True):
        with torch.inference_mode():
            alone = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], -1)
            whole = model.generate(
                torch.tensor([ids]), do_sample=False, max_new_tokens=n, eos_token_id=1, pad_token_id=0
            )
        answer = whole[0, len(ids) :].tolist()
        distributions.append(alone)
        alone_answers.append(answer[: answer.index(1) if 1 in answer else None])
    assert [list(one.ids) for one in form.greedy(prompts, most)] == alone_answers
    longer = [[*range(5, 5 + SHARED), *ids] for ids in prompts]  # all begin alike
    for ids in longer:
        with torch.inference_mode():
            distributions.append(torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], -1))
    for one, alone in zip(form.following(prompts) + form.following(longer), distributions, strict=True):
        assert one == pytest.approx({token: float(alone[token]) for token in one}, abs=1e-4)
