"""What a server says of an answer is told as every other form tells it."""

from __future__ import annotations

from typing import Any

import pytest

from tuneworthy.ship.parity.measure import Greedy
from tuneworthy.ship.parity.server_forms import LlamaForm


@pytest.mark.parametrize(
    ("tokens", "stop_type", "expected"),
    [
        ([39428, 15, 2], "eos", Greedy((39428, 15), '{"', ended=True)),
        ([39428, 15, 7], "limit", Greedy((39428, 15, 7), '{"', ended=False)),
    ],
)
def test_the_token_that_ends_an_answer_is_no_part_of_it(
    tokens: list[int], stop_type: str, expected: Greedy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As llama.cpp answered for SmolLM2-135M: its `tokens` hold the end-of-turn token, its `content` does not."""

    def complete(self: LlamaForm, ids: Any, n: int, **more: Any) -> Any:
        return {"tokens": tokens, "content": '{"', "stop_type": stop_type}

    monkeypatch.setattr(LlamaForm, "_complete", complete)
    assert object.__new__(LlamaForm).greedy([[1, 2]], [8]) == [expected]
