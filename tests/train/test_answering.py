"""How prompts that are answered side by side are put together."""

from __future__ import annotations

from tuneworthy.train.generation import MOST_TOKENS, batches


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
