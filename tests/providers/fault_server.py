"""A local server that plays what it is told, one play a request (the last one again and again)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from tuneworthy.types import Request

KEY = "sk-test-0123456789-secret"
QUESTION = Request(messages=({"role": "system", "content": "Be short."}, {"role": "user", "content": "6 * 7?"}))


def answer_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A plain JSON answer."""
    return web.Response(body=orjson.dumps(value), status=status, headers=headers, content_type="application/json")


def completion(text: str | None = "42", **changes: Any) -> dict[str, Any]:
    """A chat completion; `message` and `choice` hold changes to those parts, the rest changes the top."""
    message = {"role": "assistant", "content": text, "refusal": None, **changes.pop("message", {})}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", **changes.pop("choice", {})}
    usage = {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13}
    return {"id": "c1", "object": "chat.completion", "model": "m-1", "choices": [choice], "usage": usage, **changes}


def message(*blocks: dict[str, Any], stop: str = "end_turn", **usage: int) -> dict[str, Any]:
    """An Anthropic message."""
    counts = {"input_tokens": 12, "output_tokens": 1, **usage}
    return {"id": "m1", "type": "message", "role": "assistant", "model": "m-1", "content": list(blocks),
            "stop_reason": stop, "usage": counts}  # fmt: skip


class Server:
    """Plays `plays` on a free port of loopback, and keeps what came in.

    A play is a JSON value (answered with 200), or a function ``(web.Request) -> web.StreamResponse``, sync or async.
    """

    def __init__(self, *plays: Any) -> None:
        self.plays = list(plays)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.paths: list[str] = []

    async def __aenter__(self) -> Server:
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(request.headers)
        self.paths.append(request.path_qs)
        self.bodies.append(orjson.loads(await request.read()))
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        if not callable(play):
            return answer_json(play)
        answer = play(request)
        return await answer if asyncio.iscoroutine(answer) else answer


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(30)
    raise AssertionError


async def stall(request: web.Request) -> web.StreamResponse:
    """Send half an answer, and never the rest."""
    answer = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write(b'{"choices": [')
    await asyncio.sleep(30)
    raise AssertionError


async def cut_off(request: web.Request) -> web.StreamResponse:
    """Promise 1,000 bytes, send 13, and end the connection."""
    answer = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.close()
    return answer


async def reset(request: web.Request) -> web.StreamResponse:
    """Drop the connection before a byte is sent."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def text(
    body: str | bytes, status: int = 200, content_type: str = "text/html"
) -> Callable[[web.Request], web.Response]:
    """Play an answer that is no JSON."""
    raw = body.encode() if isinstance(body, str) else body
    return lambda _: web.Response(body=raw, status=status, content_type=content_type)


def error(status: int, value: Any = None, **headers: str) -> Callable[[web.Request], web.Response]:
    """Play an error; underscores in `headers` stand for hyphens."""
    told = {"error": {"message": "no"}} if value is None else value
    return lambda _: answer_json(told, status, {name.replace("_", "-"): text for name, text in headers.items()})
