"""Conversations with tools: recorded, made into cases of their turns, compared by their calls, and never run again."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import tuneworthy
from tests.calls.servers import written
from tests.chat_server import chat_server, completion
from tuneworthy.calls.groups import read_calls
from tuneworthy.cases import read_dataset
from tuneworthy.cli import invoke
from tuneworthy.config import load

PARAMETERS = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "days": {"type": "integer", "default": 7}},
}
LOOKUP = {"type": "function", "function": {"name": "lookup", "description": "State.", "parameters": PARAMETERS}}
SYSTEM = {"role": "system", "content": "You are a shop's agent. Look each order up before you answer."}


def agent(body: dict[str, Any]) -> dict[str, Any]:
    """Look up the order of a question, then tell its state; `small` forgets the last digit of each fifth order."""
    last = body["messages"][-1]
    if last["role"] != "user":
        return completion(body, f"Your order is {last['content']}.")
    order = re.findall(r"W\d+", last["content"])[0]
    wrong = body["model"] == "small" and int(order[1:]) % 5 == 0
    arguments = {"order": order[:-1] if wrong else order} | ({"days": 7} if body["model"] == "small" else {})
    function = {"name": "lookup", "arguments": json.dumps(arguments)}
    called = [{"id": "c1", "type": "function", "function": function}]
    return completion(body, {"content": None, "tool_calls": called})


@pytest.fixture
def address() -> Iterator[str]:
    with chat_server(agent) as found:
        yield found


def record(address: str, to: Path, n: int) -> None:
    """A program that answers `n` customers with two questions each; the tool runs in it."""
    openai = pytest.importorskip("openai")
    client, rng = (
        tuneworthy.record(openai.OpenAI(base_url=address, api_key="sk-secret-1234567890"), to=to),
        random.Random(3),
    )
    for _ in range(n):
        turns: list[dict[str, Any]] = [SYSTEM]
        for _ in range(2):
            turns.append({"role": "user", "content": f"Where is my order W{rng.randrange(1000, 10000)}?"})
            while turns[-1]["role"] != "assistant" or turns[-1].get("tool_calls"):
                if turns[-1]["role"] == "assistant":
                    turns.append({"role": "tool", "tool_call_id": "c1", "content": rng.choice(["sent", "lost"])})
                message = (
                    client.chat.completions.create(model="large", messages=turns, tools=[LOOKUP]).choices[0].message
                )
                turns.append(message.model_dump(exclude_none=True))


def test_a_program_with_tools_is_recorded_and_another_model_agrees_by_its_calls(tmp_path, address, capsys, monkeypatch):
    calls, root = tmp_path / "calls.jsonl", tmp_path / "orders"
    record(address, calls, 24)
    assert len(written(calls)) == 96
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234567890")
    monkeypatch.setenv("TUNEWORTHY_TRUST", str(tmp_path))
    (group,) = read_calls(calls).groups
    cases = [*group.cases("large", "openai:large")]
    assert len(cases) == 96 and len({case.group for case in cases}) == 24
    assert sum(case.expects_calls for case in cases) == 48
    assert invoke(["init", str(root), "--from", str(calls), "--compare", f"openai:small@{address}"]) == 0
    capsys.readouterr()
    assert invoke(["run", "--project", str(root), "--yes", "--json", "--rung", "model"]) == 0
    record_ = orjson.loads(capsys.readouterr().out)
    today, small = record_["rungs"]
    test = {one.id for one in read_dataset(load(root)).split.test}
    orders = [case.expected[0]["arguments"]["order"] for case in cases if case.id in test and case.expects_calls]
    wrong = sum(int(order[1:]) % 5 == 0 for order in orders)
    assert wrong and today["score"] == 1 and small["score"] == pytest.approx(1 - wrong / record_["n_test"])
    assert today["n_effective"] == pytest.approx(12, abs=2)  # conversations
    assert invoke(["decide", "--project", str(root)]) == 4
    out, _ = capsys.readouterr()
    assert "agreement" in out and f"{small['score']:.1%}" in out
