"""A LiteLLM proxy with the exported configuration: users get production's answer, the candidate is asked as a replay
asks it, and the log is judged without asking again.

`TUNEWORTHY_LITELLM_PYTHON` names the Python of an environment with `litellm[proxy]`; skipped without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from tests.shadow.test_canary import served
from tests.shadow.test_mirror import with_production
from tests.shadow.traffic import write_traffic_project
from tuneworthy.cli import invoke
from tuneworthy.providers.address import free_port
from tuneworthy.shadow.replay import read_shadow
from tuneworthy.store import Folder

PYTHON = os.environ.get("TUNEWORTHY_LITELLM_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="TUNEWORTHY_LITELLM_PYTHON is not set"),
]
KEY = "sk-proxy-test"
SECONDS = 180
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}


class Api(BaseHTTPRequestHandler):
    """Production answers "red", the candidate "blue"; both stream if they are asked to."""

    protocol_version = "HTTP/1.1"
    calls: ClassVar[defaultdict[str, list[tuple[dict[str, str], dict[str, Any]]]]] = defaultdict(list)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.calls[body["model"]].append(({k.lower(): v for k, v in self.headers.items()}, body))
        text = "blue" if body["model"] == "own" else "red"
        about = {"id": "c1", "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
        if "fail" in str(body["messages"]) and body["model"] == "own":
            self.answer(500, "application/json", b'{"error": {"message": "broken"}}')
        elif body.get("stream"):
            deltas = [({"role": "assistant", "content": text[:2]}, None), ({"content": text[2:]}, None), ({}, "stop")]
            chunks = [
                {**about, "object": "chat.completion.chunk",
                 "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas
            ]  # fmt: skip
            chunks.append({**about, "object": "chat.completion.chunk", "choices": [], "usage": usage})
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
            self.answer(200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())
        else:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
            self.answer(200, "application/json", json.dumps(answer).encode())

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def api() -> Iterator[str]:
    Api.calls.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def litellm(folder: Path) -> Iterator[str]:
    """Start the proxy as the docs say, and yield its address once it lists the models."""
    port = free_port()
    command = [str(Path(str(PYTHON)).with_name("litellm")), "--config", "litellm_config.yaml", "--port", str(port)]
    settings = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PRODUCTION_KEY": "sk-production"}
    log = folder.parent / "litellm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **settings}, stdout=output, stderr=output)
    try:
        end = time.monotonic() + SECONDS
        while True:
            try:
                send(f"http://127.0.0.1:{port}/v1/models")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None and time.monotonic() < end, log.read_text()[-5000:]
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def send(url: str, body: Any = None, **headers: str) -> str:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}", **headers}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as reply:
        return str(reply.read().decode())


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(texts)]
    return {"model": "house-model", "messages": [{"role": "system", "content": "Production's own."}, *turns], **more}


def until(log: Path, n: int) -> list[dict[str, Any]]:
    """Return the lines of the log once there are `n`."""
    end = time.monotonic() + 60
    while True:
        lines = [orjson.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []
        if len(lines) >= n:
            return lines
        assert time.monotonic() < end, lines
        time.sleep(0.2)


def test_a_real_litellm_mirrors_as_a_replay_asks_and_its_log_is_judged_without_asking(tmp_path: Path) -> None:
    root, out = write_traffic_project(tmp_path / "p", "equal"), tmp_path / "out"
    requests = [
        chat("which colour?", temperature=1.7, user="u1", max_tokens=5),
        chat("and streamed?", stream=True, stream_options={"include_usage": True}),
        chat("one?", "two", "three?"),
        chat("with a tool?", tools=[TOOL], tool_choice="auto"),
        chat("please fail"),
    ]
    with api() as address:
        served(root, address)
        with_production(root)
        path = root / "tuneworthy.toml"
        path.write_text(path.read_text().replace("http://127.0.0.1:8/v1", f"{address}/v1").replace(
            'api_key_env = ""', 'api_key_env = ""\nretries = 0', 1
        ))  # fmt: skip
        command = ["export", "mirror", "--candidate", "current", "--out", str(out), "--project", str(root)]
        assert invoke([*command, "--production", str(today(root, tmp_path))]) == 0
        with litellm(out) as url:
            for n, body in enumerate(requests):
                answer = send(
                    f"{url}/v1/chat/completions", body, **{"x-litellm-session-id": f"session-{n}", "Cookie": "HEADER"}
                )
                said = answer if "stream" not in body else "".join(
                    json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                    for line in answer.splitlines() if line.startswith("data: {") and json.loads(line[6:])["choices"]
                )  # fmt: skip
                assert "red" in said and "blue" not in said
            lines = until(out / "mirror.jsonl", 2 * len(requests))
        mirrored = [(headers, body) for headers, body in Api.calls.pop("own") if "fail" not in str(body)]
        assert all(headers.get("x-tuneworthy-shadow") == "1" for headers, _ in mirrored)
        assert not any("Production's own." in str(body) for _, body in mirrored)
        assert not any(word in str(lines) for word in ("sk-production", KEY, "HEADER", "user-agent"))
        # the log is old: its sessions have ended
        (out / "mirror.jsonl").write_bytes(b"".join(
            orjson.dumps({**line, "endTime": line["endTime"] - 10_000, "startTime": line["startTime"] - 10_000}) + b"\n"
            for line in lines
        ))  # fmt: skip
        again = ["shadow", "replay", str(out / "mirror.jsonl"), "--candidate", "current", "--project", str(root)]
        invoke(again)
        record = read_shadow(Folder(root))
        assert record is not None and (record.n_pairs, record.n_sessions) == (5, 5)
        assert not Api.calls["own"], "nothing is asked again"
        assert "The gateway asked the candidate in 5 of 5 turns" in " ".join(record.notes)
        assert "gave no answer to 1 of 5" in record.verdict.detail
        # the same turns, asked as a replay asks them
        plain = [{"messages": [*body["messages"], {"role": "assistant", "content": "red"}], "tools": body.get("tools")}
                 for body in requests if "fail" not in str(body)]  # fmt: skip
        log = tmp_path / "plain.jsonl"
        log.write_bytes(b"".join(orjson.dumps({k: v for k, v in row.items() if v}) + b"\n" for row in plain))
        invoke(["shadow", "replay", str(log), "--candidate", "current", "--project", str(root)])
        asked = {str(bare(body)) for _, body in Api.calls["own"]}
        assert len(mirrored) == 4 and {str(bare(body)) for _, body in mirrored} <= asked


def bare(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request without how its answer comes, keys sorted."""
    return dict(sorted((key, value) for key, value in body.items() if key not in {"stream", "stream_options"}))


def today(root: Path, folder: Path) -> Path:
    """Write the variant that is production: the same prompt on the hosted model."""
    from dataclasses import replace

    from tests.shadow.test_mirror import within
    from tuneworthy.ladder.variant_lookup import describe, resolve

    variant = within(root, lambda session: replace(resolve(session, "current"), model="today", name="today"))
    path = folder / "today.json"
    path.write_bytes(orjson.dumps(describe(variant)))
    return path
