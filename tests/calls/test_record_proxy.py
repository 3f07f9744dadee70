"""`tuneworthy record --upstream`: all passes unchanged, and calls are recorded as those of a client."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import tuneworthy
from tests.calls.servers import TEXT, Api, api, written
from tuneworthy.cli import invoke

QUESTION = [{"role": "user", "content": "Write to ada@example.org, please."}]
KEY = "gateway-5f21c8d0e9b7a364"


@contextmanager
def proxy(upstream: str, path: Path, *options: str) -> Iterator[tuple[str, list[str]]]:
    """Run the command until the end of the block, then interrupt it; yield its address and its lines."""
    command = ["record", "--upstream", upstream, "--bind", "127.0.0.1:0", "--out", str(path), *options]
    process = subprocess.Popen([sys.executable, "-m", "tuneworthy", *command], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    lines = [process.stderr.readline()]
    try:
        found = re.search(r"http://\S+", lines[0])
        assert found, lines[0] + process.stderr.read()
        yield found[0], lines
        process.send_signal(signal.SIGINT)
        lines += process.stderr.read().splitlines()
        assert process.wait(30) == 0, lines
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def calls(address: str, **options: Any) -> list[Any]:
    """Return what clients get there: chats, streams, tools, other paths, and an error."""
    found: list[Any] = []
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with openai.OpenAI(api_key=KEY, base_url=f"{address}/v1", max_retries=0) as client:
        if "to" in options:
            tuneworthy.record(client, **options)
        ask: Any = client.chat.completions.create
        for more in ({}, {"tools": tools}, {"stream": True}, {"tools": tools, "stream": True}):
            answer = ask(model="m", messages=QUESTION, **more)
            found += [part.model_dump() for part in answer] if "stream" in more else [answer.model_dump()]
        found += [event.model_dump() for event in client.responses.create(model="m", input="a", stream=True)]
        found.append(client.embeddings.create(model="e", input="a").model_dump())
        with pytest.raises(openai.AuthenticationError) as refused:
            ask(model="status-401", messages=QUESTION)
        found.append(refused.value.body)
    with anthropic.Anthropic(api_key=KEY, base_url=address, max_retries=0) as claude:
        if "to" in options:
            tuneworthy.record(claude, **options)
        create: Any = claude.messages.create
        found += [event.model_dump() for event in create(model="m", max_tokens=9, messages=QUESTION, stream=True)]
        found.append(create(model="m", max_tokens=9, messages=QUESTION).model_dump())
    return found


@pytest.fixture
def server() -> Iterator[Api]:
    with api() as found:
        found.text = f"{TEXT} Your key is {KEY}."
        yield found


def test_the_proxy_changes_nothing_and_records_as_the_clients_do(server: Api, tmp_path: Path) -> None:
    by_proxy, by_client = tmp_path / "proxy.jsonl", tmp_path / "client.jsonl"
    expected = calls(server.address, to=by_client)
    with proxy(server.address, by_proxy) as (address, lines):
        assert calls(address) == expected
    rows = [json.loads(line) for line in by_proxy.read_text().splitlines()]
    changing = ("written", "seconds")

    def lasting(found: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps({k: v for k, v in row.items() if k not in changing}, sort_keys=True) for row in found)

    assert lasting(rows) == lasting(written(by_client))
    assert len(rows) == 9 and all(0 < row["seconds"] < 10 for row in rows if "seconds" in row)
    text = by_proxy.read_text()
    assert KEY not in text and "ada@example.org" not in text and "[EMAIL_1]" in text
    assert by_proxy.stat().st_mode & 0o777 == 0o600
    assert lines[1:] == [
        "The proxy ended. Calls recorded: 7. Skipped: 1 other path, 1 status 401.",
        f"Next: tuneworthy init my-task --from {by_proxy}",
    ]


def test_a_share_of_the_conversations_is_recorded(server: Api, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with (
        proxy(server.address, path, "--share", "0.3") as (address, _),
        openai.OpenAI(api_key=KEY, base_url=f"{address}/v1", max_retries=0) as client,
    ):
        for n in range(60):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"question {n}"}])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert 5 <= len(rows) <= 35 and {row["share"] for row in rows} == {0.3}


def test_an_api_that_is_down_is_an_error_for_the_client_and_a_reason_here(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with proxy("http://127.0.0.1:9", path) as (address, lines):
        answer = httpx2.post(f"{address}/v1/chat/completions", json={"model": "m", "messages": QUESTION})
        assert answer.status_code == 502
    assert lines[-1] == "The proxy ended. Calls recorded: 0. Skipped: 1 failed upstream."


def test_a_file_that_cannot_be_written_is_an_error_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "calls.jsonl")
    assert invoke(["record", "--upstream", "http://127.0.0.1:9", "--bind", "127.0.0.1:0", "--out", out]) == 2
    error = capsys.readouterr().err
    assert "file: File exists. Check this path" in error and "forwards" not in error
