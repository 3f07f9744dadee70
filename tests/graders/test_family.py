"""Models of one family have one vote: by name, vendor, weights, address or function."""

from __future__ import annotations

from typing import Any

import pytest

from tuneworthy.config import Project
from tuneworthy.graders.family import lineages

HERE, THERE = "http://127.0.0.1:9/v1", "http://127.0.0.1:8/v1"


def openai(model: str, base_url: str = HERE) -> dict[str, Any]:
    return {"provider": "openai", "model": model, "base_url": base_url}


def scripted(function: str) -> dict[str, Any]:
    return {"provider": "scripted", "function": f"world.py:{function}"}


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (openai("gpt-5"), openai("gpt-5-mini", THERE), True),
        (openai("qwen-2"), openai("llama-3"), False),  # one server, two known families
        (openai("acme/one", HERE), openai("acme/two", THERE), True),
        (openai("acme/one", HERE), openai("other/two", THERE), False),
        (openai("mystery-1"), openai("mystery-2"), True),  # one address, and no name says more
        (openai("mystery-1", HERE), openai("mystery-2", THERE), False),
        (openai("meta/llama-3"), openai("acme/llama-3-tuned", THERE), True),  # the same weights
        (scripted("a"), scripted("a"), True),
        (scripted("a"), scripted("b"), False),
    ],
)
def test_two_models_are_of_one_family(a: dict[str, Any], b: dict[str, Any], same: bool) -> None:
    project = Project.model_validate(
        {
            "task": {"name": "a", "target": 0.9},
            "graders": [{"type": "exact"}],
            "models": {"first": a, "second": b},
            "ladder": {"baseline": "first"},
        }
    )
    found = lineages(project.models)
    assert (found["first"] == found["second"]) is same
