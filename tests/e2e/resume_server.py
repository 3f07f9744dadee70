"""An OpenAI-compatible server in a process of its own that counts every request: it knows what a client wasted.

Its answers depend on the question alone. `python resume_server.py LATENCY_MS [FAULTS]` prints its port.
FAULTS is JSON: shares of `rate_limit`, `server`, `hang` and `truncated`, and `retry_after_s`, `hang_s`, `seed`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from typing import Any

LABELS = ("red", "green", "blue")
INPUT_TOKENS, OUTPUT_TOKENS = 20, 2


class Server:
    """Serves, and counts."""

    def __init__(self, latency_s: float, faults: dict[str, float]) -> None:
        self.latency_s, self.faults = latency_s, faults
        self.random = random.Random(faults.get("seed", 0))
        self.calls: dict[str, str] = {}  # call number -> hash of its body
        self.answered: Counter[str] = Counter()
        self.in_flight = self.most = 0

    async def chat(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.read()
        digest = hashlib.sha256(body).hexdigest()[:16]
        call = f"call-{len(self.calls)}"
        self.calls[call] = digest
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
            return await self.outcome(call, digest, json.loads(body), web)
        finally:
            self.in_flight -= 1

    async def outcome(self, call: str, digest: str, body: Any, web: Any) -> Any:
        dice = self.random.random()
        for name in ("rate_limit", "server", "hang", "truncated"):
            dice -= self.faults.get(name, 0.0)
            if dice < 0:
                break
        else:
            name = "answer"
        if name == "rate_limit":
            wait = str(self.faults.get("retry_after_s", 1))
            return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": wait})
        if name == "server":
            return web.json_response({"error": {"message": "oops"}}, status=500)
        if name == "hang":
            await asyncio.sleep(self.faults.get("hang_s", 60))
        answer = json.dumps(completion(call, say(body)))
        if name == "truncated":
            return web.Response(text=answer[:40], content_type="application/json")
        self.answered[digest] += 1
        return web.Response(text=answer, content_type="application/json")

    async def stats(self, request: Any) -> Any:
        from aiohttp import web

        return web.json_response({"calls": self.calls, "answered": self.answered, "most": self.most})

    async def count(self, request: Any) -> Any:
        from aiohttp import web

        return web.json_response(len(self.calls))


def completion(call: str, text: str | dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": text} if isinstance(text, str) else text
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    return {
        "model": "scripted",
        "system_fingerprint": call,
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": usage,
    }


def say(body: Any) -> str | dict[str, Any]:
    """Answer as a model that shots and care help: right on a share of the questions; and write what asks for care.

    With tools it calls two, one after the other, and answers with the result of the second.
    """
    question = body["messages"][-1]["content"]
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if len(results) == 2:
        return str(results[1])
    if body.get("tools"):
        asked = next(message["content"] for message in body["messages"] if message["role"] == "user")
        number = int(asked.partition("#ID")[2].partition(":")[0])
        name, arguments = ("colour_of", {"number": int(results[0])}) if results else ("look_up", {"case": number})
        function = {"name": name, "arguments": json.dumps(arguments)}
        return {"role": "assistant", "tool_calls": [{"id": "same", "type": "function", "function": function}]}
    if question.startswith("An assistant got these instructions:"):
        current = question.split("```")[1].strip()
        return f"```\n{current} Be careful: {hashlib.sha256(question.encode()).hexdigest()[:4]}.\n```"
    label = next((one for one in LABELS if one in question), LABELS[0])
    shots = sum(message["role"] == "assistant" for message in body["messages"])
    careful = any(message["role"] == "system" and "careful" in message["content"] for message in body["messages"])
    share = 6 + min(3, shots) + 2 * careful
    right = int(hashlib.sha256(question[-40:].encode()).hexdigest(), 16) % 10 < share
    return label if right else LABELS[(LABELS.index(label) + 1) % len(LABELS)]


class Running:
    """The server as a child process; a context manager."""

    def __init__(self, latency_ms: float = 5, **faults: float) -> None:
        self._command = [sys.executable, __file__, str(latency_ms), json.dumps(faults)]

    def __enter__(self) -> Running:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self.base_url = f"http://127.0.0.1:{self._port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def stats(self) -> dict[str, Any]:
        """What it counted."""
        found: dict[str, Any] = self._get("stats")
        return found

    def calls(self) -> int:
        """How many requests have come."""
        return int(self._get("count"))

    def wait(self, calls: int, client: subprocess.Popen[bytes]) -> bool:
        """Wait until at least `calls` requests have come; False if `client` has ended by itself before."""
        deadline = time.monotonic() + 60
        while self.calls() < calls:
            if client.poll() is not None:
                return False
            assert time.monotonic() < deadline, "the client is alive and asks nothing"
            time.sleep(0.002)
        return True

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=30) as answer:
            return json.load(answer)


async def main() -> None:
    from aiohttp import web

    server = Server(float(sys.argv[1]) / 1000, json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
    application = web.Application(client_max_size=2**26)
    application.router.add_post("/v1/chat/completions", server.chat)
    application.router.add_get("/stats", server.stats)
    application.router.add_get("/count", server.count)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
