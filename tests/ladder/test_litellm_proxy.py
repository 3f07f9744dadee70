"""The exported router behind a LiteLLM proxy answers every test case as the run measured it, and asks the large model
for as many.

`TUNEWORTHY_LITELLM_PYTHON` names the Python of an environment with `litellm[proxy]` and `numpy`; skipped without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import protocol_server
from tests.ladder.simulations import LABELS
from tests.ladder.test_cascade import export, opened, project, row_of, run
from tuneworthy.ladder.rung_details import CascadeDetail
from tuneworthy.providers.address import free_port

PYTHON = os.environ.get("TUNEWORTHY_LITELLM_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="TUNEWORTHY_LITELLM_PYTHON is not set"),
]
SCRIPTED = 'provider = "scripted"\nfunction = "world.py:strong"\n'
SECONDS = 120
KEY = "sk-proxy-test"


def colour(body: dict[str, Any]) -> str:
    """The strong model: right but for every twentieth question."""
    number = int(str(body["messages"][-1]["content"]).split()[1])
    return LABELS[(number + (number % 20 == 7)) % 3]


@contextmanager
def proxy(folder: Path) -> Iterator[str]:
    """Start the proxy as docs/how-to/cascade.md says, and yield its address once it lists the model."""
    port = free_port()
    command = [str(Path(str(PYTHON)).with_name("litellm")), "--config", "litellm_config.yaml", "--port", str(port)]
    environment = {**os.environ, "LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    log = folder.parent / "proxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        end = time.monotonic() + SECONDS
        while True:
            try:
                assert [one["id"] for one in json.loads(sent(f"http://127.0.0.1:{port}/v1/models"))["data"]] == [
                    "cascade"
                ]
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def sent(url: str, body: Any = None) -> str:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as reply:
        return str(reply.read().decode())


def reply_to(url: str, content: Any, **more: Any) -> str:
    body = {"model": "cascade", "messages": [{"role": "user", "content": content}], **more}
    return sent(f"{url}/v1/chat/completions", body)


def answer_of(url: str, content: Any) -> str:
    return str(json.loads(reply_to(url, content))["choices"][0]["message"]["content"])


def test_every_test_case_is_routed_and_answered_as_the_run_measured_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_server, "answer", colour)
    with protocol_server.serving() as server:
        root = project(tmp_path / "world", "'red'")
        file = root / "tuneworthy.toml"
        text = file.read_text().replace("latency_ms = 20.0\n", "")
        hosted = f'provider = "openai"\nmodel = "strong"\nbase_url = "{server.url}"\n'
        assert SCRIPTED in text
        file.write_text(text.replace(SCRIPTED, hosted))
        record = run(root)
        row = row_of(record)
        variant = record.variants[str(row.variant)]
        assert row.status == "adopted" and isinstance(row.detail, CascadeDetail) and 0.2 < row.detail.sent < 0.8
        export(root, capsys)

        async def measured(session: Any) -> list[tuple[str, str]]:
            cases = session.split.test
            return [
                (case.input, trace.text) for case, trace in zip(cases, await session.ask(variant, cases), strict=True)
            ]

        rows = opened(root, measured)
        server.calls.clear()
        with proxy(root / "out") as url, ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda question: answer_of(url, question), (question for question, _ in rows)))
            calls = server.calls["strong"]
            question, answer = rows[0]
            assert answer_of(url, [{"type": "text", "text": question}]) == answer
            lines = reply_to(url, question, stream=True).split("\n\n")
            chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
            assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == answer
        assert answers == [text for _, text in rows]
        assert calls == round(row.detail.sent * len(rows))
