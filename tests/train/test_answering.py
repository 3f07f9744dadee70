"""How prompts that are answered side by side are put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.tiny import END, write_tiny
from tuneworthy.train.generation import MOST_TOKENS, answer_ids, answering_mode, batches


def test_short_prompts_fill_a_batch_and_stand_beside_those_of_like_length() -> None:
    found = list(batches([9, 1, 5, 7, 3], max_tokens=4, batch=2))
    assert found == [[1, 4], [2, 3], [0]]


def test_long_prompts_are_answered_few_at_once_and_each_of_them_once() -> None:
    lengths = [10] * 40 + [4000] * 9 + [20_000]
    found = list(batches(lengths, max_tokens=100))
    assert sorted(place for chosen in found for place in chosen) == list(range(50))
    for chosen in found:
        assert len(chosen) == 1 or len(chosen) * (max(lengths[at] for at in chosen) + 100) <= MOST_TOKENS
    assert len(found[0]) == 32 and len(found[-1]) == 1 and any(len(chosen) == 3 for chosen in found)


@pytest.mark.parametrize("n_shared", [0, 40])
def test_what_all_prompts_begin_with_is_read_once_and_answers_stay(tmp_path: Path, n_shared: int) -> None:
    pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    write_tiny(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    prompts = [[7] * n_shared + list(range(10 + at, 14 + 3 * at)) for at in range(6)]
    lengths: list[int] = []
    model.model.embed_tokens.register_forward_hook(lambda _, inputs, __: lengths.append(inputs[0].shape[1]))
    with answering_mode(model):
        alone = [answer_ids(model, [ids], ends=[END], filler=0, max_tokens=9)[0] for ids in prompts]
        lengths.clear()
        together = answer_ids(model, prompts, ends=[END], filler=0, max_tokens=9)
    assert together == alone
    longest = max(map(len, prompts))
    assert [n for n in lengths if n > 1] == ([40, longest - 40] if n_shared else [longest])
