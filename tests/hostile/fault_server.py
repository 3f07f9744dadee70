"""An OpenAI-compatible server in one process that misbehaves in a way that the model's name chooses.

``python fault_server.py`` prints its port. A question with ``#BAD`` in its text gets the behaviour that is the name of
the model (``NAME@MS`` waits MS milliseconds before any answer); every other question gets a good answer. ``GET /stats``
tells how often each request came, by its hash.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
import subprocess
import sys
import urllib.request
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

INPUT_TOKENS, OUTPUT_TOKENS = 20, 1
LABELS = ("red", "green", "blue")
MIB = 2**20


@dataclass
class Exchange:
    """One request, and the way to answer it."""

    writer: asyncio.StreamWriter
    body: dict[str, Any]
    headers: str
    nth: int

    @property
    def text(self) -> str:
        """The last message."""
        return str(self.body["messages"][-1]["content"])

    async def raw(self, *parts: bytes) -> None:
        """Write bytes as they are."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def reply(self, body: bytes, status: str = "200 OK", *headers: str, kind: str = "application/json") -> None:
        """Write a whole answer."""
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
        await self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", body)

    async def json(self, value: Any, status: str = "200 OK", *headers: str) -> None:
        """Write JSON."""
        await self.reply(json.dumps(value).encode(), status, *headers)


Behaviour = Callable[[Exchange], Awaitable[None]]
BEHAVIOURS: dict[str, Behaviour] = {}
USAGE: dict[str, Any] = {}


def label(text: str) -> str:
    """The right answer to a question."""
    return next((one for one in LABELS if one in text), LABELS[0])


def completion(exchange: Exchange, **changes: Any) -> dict[str, Any]:
    """A good answer; `message` and `choice` change these parts, the rest the top."""
    message = {"role": "assistant", "content": label(exchange.text), **changes.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": "stop", **changes.pop("choice", {})}
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS,
             "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}  # fmt: skip
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage, **changes}


def behaviour(name: str) -> Callable[[Behaviour], Behaviour]:
    """Register a behaviour."""

    def register(function: Behaviour) -> Behaviour:
        BEHAVIOURS[name] = function
        return function

    return register


def _body(name: str, body: bytes, status: str = "200 OK", *headers: str, kind: str = "application/json") -> None:
    async def play(exchange: Exchange) -> None:
        await exchange.reply(body, status, *headers, kind=kind)

    BEHAVIOURS[name] = play


def _bomb(name: str, mib: int, status: str, pack: Callable[[bytes, int], bytes], encoding: str) -> None:
    packed = cache(lambda: pack(b" " * (mib * MIB), 1))  # takes a second

    async def play(exchange: Exchange) -> None:
        await exchange.reply(packed(), status, f"Content-Encoding: {encoding}")

    BEHAVIOURS[name] = play


def _changed(name: str, **changes: Any) -> None:
    async def play(exchange: Exchange) -> None:
        await exchange.json(completion(exchange, **{key: dict(value) if key in {"message", "choice"} else value
                                                    for key, value in changes.items()}))  # fmt: skip

    BEHAVIOURS[name] = play


def _raw(name: str, *parts: bytes, close: bool = True) -> None:
    async def play(exchange: Exchange) -> None:
        await exchange.raw(*parts)
        if close:
            exchange.writer.close()

    BEHAVIOURS[name] = play


def _usage(name: str, usage: Any) -> None:
    USAGE[f"usage-{name}"] = usage
    _changed(f"usage-{name}", usage=usage)


# Statuses, with error objects of several shapes
for _status in ("400 Bad Request", "403 Forbidden", "404 Not Found", "405 No", "409 Conflict", "413 Large", "418 Teapot",
                "422 Odd", "425 Early", "500 Error", "501 No", "502 Bad Gateway", "503 Busy", "504 Late", "520 Odd",
                "529 Overloaded", "599 Odd"):  # fmt: skip
    _body(f"status-{_status[:3]}", b'{"error": {"message": "no"}}', _status)
_body("status-500-html", b"<html><h1>Bad \x1b[31m gateway</h1></html>", "500 Error", kind="text/html")
_body("status-500-empty", b"", "500 Error")
_body("error-text", b'{"error": "no"}', "500 Error")
_body("error-list", b'{"error": [1, 2]}', "500 Error")
_body("error-nested", b'{"error": {"message": {"message": {"message": 1}}}}', "500 Error")
_body("error-number", b'{"error": 7}', "500 Error")
_body("error-detail", b'{"detail": [{"loc": ["body"], "msg": "no"}]}', "422 Odd")
_body("error-in-200", b'{"error": {"message": "no", "code": 500}}')
_body("error-in-200-long-code", b'{"error": {"code": "' + b"9" * 5000 + b'"}}')
_body("error-in-200-odd-code", b'{"error": {"code": "\xd9\xa5\xd9\xa0\xd9\xa0", "status": {"a": 1}}}')
_body("error-escapes", b'{"error": {"message": "\\u001b]0;x\\u0007\\u202e"}}', "500 Error")
_body("redirect-301", b"", "301 Moved", "Location: http://127.0.0.1:1/steal")
_body("redirect-loop", b"", "307 Again", "Location: /v1/chat/completions")
_body("no-content", b"", "204 No Content")
_body("reset-content", b"", "205 Reset")
for _wait in ("0", "-5", "nan", "inf", "1e308", "abc", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT",
              "Fri, 31 Dec 99999 23:59:59 GMT", ""):  # fmt: skip
    _body(f"retry-after-{_wait[:12]}", b'{"error": {"message": "slow"}}', "500 Error", f"Retry-After: {_wait}")
_body("retry-after-ms-odd", b"{}", "500 Error", "Retry-After-Ms: -1e999")
_body("should-retry-odd", b"{}", "500 Error", "X-Should-Retry: perhaps")

# Bodies that are not the JSON of the protocol
for _name, _content in {
    "empty": b"", "space": b"   ", "null": b"null", "true": b"true", "number": b"7", "string": b'"red"', "list": b"[]",
    "empty-object": b"{}", "half": b'{"choices": [{"message": {"content": "re', "nan": b'{"choices": NaN}',
    "infinity": b'{"choices": [Infinity]}', "huge-number": b'{"choices": 1e999}', "long-integer": b"9" * 10_000,
    "deep": b"[" * 50_000 + b"]" * 50_000, "deep-objects": b'{"choices":' * 2_000 + b"1" + b"}" * 2_000,
    "invalid-utf8": b'{"choices": [{"message": {"content": "\xff\xfe\xc0"}}]}', "bom": b"\xef\xbb\xbf{}",
    "utf16": '{"choices": []}'.encode("utf-16"), "nul": b"\x00" * 100, "trailing": b"{} {}",
    "surrogate": b'{"choices": [{"message": {"content": "\\ud800"}}]}', "html": b"<!doctype html><title>Login</title>",
    "sse": b'data: {"choices": [{"delta": {"content": "red"}}]}\n\ndata: [DONE]\n\n', "xml": b"<?xml version='1.0'?><a/>",
    "single-quotes": b"{'choices': []}", "comment": b"{/* */}", "pickle": b"\x80\x04\x95", "choices-null": b'{"choices": null}',
    "choices-empty": b'{"choices": []}', "choices-object": b'{"choices": {"0": {}}}', "choices-text": b'{"choices": "abc"}',
    "choice-null": b'{"choices": [null]}', "choice-text": b'{"choices": ["red"]}', "message-null": b'{"choices": [{"message": null}]}',
    "message-list": b'{"choices": [{"message": []}]}', "message-text": b'{"choices": [{"message": "red"}]}',
    "anthropic": b'{"content": [{"type": "text", "text": "red"}], "stop_reason": "end_turn"}',
    "completions": b'{"choices": [{"text": "red"}]}', "ollama": b'{"message": {"content": "red"}, "done": true}',
}.items():  # fmt: skip
    _body(f"body-{_name}", _content)
BEHAVIOURS["body-duplicate-keys"] = BEHAVIOURS["body-choices-null"]
_body("body-duplicate-keys", b'{"choices": 1, "choices": [{"message": {"content": "red", "content": 7}}], "usage": 1}')

# Parts of another type
for _name, _value in {"number": 7, "true": True, "object": {"a": 1}, "list-of-numbers": [1], "list-of-text": ["a"],
                      "part-without-text": [{"type": "text"}], "part-number": [{"type": "text", "text": 7}],
                      "null": None, "empty": "", "nul": "\x00", "escapes": "\x1b[2J\u202e"}.items():  # fmt: skip
    _changed(f"content-{_name}", message={"content": _value})
for _name, _value in {"object": {"a": 1}, "list": [1], "number": 7, "true": True, "long": "x" * 100_000}.items():
    _changed(f"finish-{_name}", choice={"finish_reason": _value})
    _changed(f"model-{_name}", model=_value)
    _changed(f"refusal-{_name}", message={"refusal": _value})
    _changed(f"refusal-{_name}-alone", message={"refusal": _value, "content": None})
    _changed(f"calls-{_name}", message={"tool_calls": _value})
    _changed(f"logprobs-{_name}", choice={"logprobs": _value})
_changed("calls-odd", message={"tool_calls": [{"function": {"name": 1, "arguments": []}}]})
_changed("calls-null", message={"tool_calls": [None]})
_changed("calls-many", message={"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}] * 1000})
_changed("calls-object-arguments", message={"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]})
_changed("logprobs-odd", choice={"logprobs": {"content": [{"token": 1, "logprob": "x"}]}})

# Usage that is not true
for _name, _value in {
    "missing": None, "empty": {}, "zero": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "zero-output": {"prompt_tokens": 20, "completion_tokens": 0}, "zero-input": {"prompt_tokens": 0, "completion_tokens": 1},
    "negative": {"prompt_tokens": -1_000_000_000, "completion_tokens": -1_000_000_000},
    "negative-input": {"prompt_tokens": -5, "completion_tokens": 1}, "negative-output": {"prompt_tokens": 20, "completion_tokens": -5},
    "huge": {"prompt_tokens": 10**12, "completion_tokens": 10**12}, "huge-input": {"prompt_tokens": 10**15, "completion_tokens": 1},
    "huge-output": {"prompt_tokens": 20, "completion_tokens": 10**15}, "beyond-int64": {"prompt_tokens": 2**70, "completion_tokens": 1},
    "above-max-tokens": {"prompt_tokens": 20, "completion_tokens": 9}, "list": [1], "number": 7, "text": "10", "true": True,
    "text-counts": {"prompt_tokens": "10", "completion_tokens": "1"}, "float-counts": {"prompt_tokens": 10.5, "completion_tokens": 1.0},
    "true-counts": {"prompt_tokens": True, "completion_tokens": True}, "null-counts": {"prompt_tokens": None, "completion_tokens": None},
    "list-counts": {"prompt_tokens": [1], "completion_tokens": {}}, "only-input": {"prompt_tokens": 20},
    "only-output": {"completion_tokens": 1},
    "only-total": {"total_tokens": 21}, "negative-total": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": -100},
    "huge-total": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 10**12},
    "text-total": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": "21"},
    "cached-list": {"prompt_tokens": 20, "completion_tokens": 1, "prompt_tokens_details": [1]},
    "cached-text": {"prompt_tokens": 20, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": "20"}},
    "cached-negative": {"prompt_tokens": 20, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -1_000_000_000}},
    "cached-huge": {"prompt_tokens": 20, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10**12}},
    "cached-true": {"prompt_tokens": 20, "completion_tokens": 1, "prompt_tokens_details": True},
    "anthropic": {"input_tokens": 20, "output_tokens": 1}, "camel": {"promptTokens": 20, "completionTokens": 1},
    "exponent": {"prompt_tokens": 1e300, "completion_tokens": 1e300},
}.items():  # fmt: skip
    _usage(_name, _value)

# Too much
_CLOSED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
_body("large-text", json.dumps({"choices": [{"message": {"content": "x" * 200_000}}]}).encode())
_body("too-large", b'{"choices": [{"message": {"content": "' + b"x" * (8 * MIB) + b'"}}]}')
_body("many-lists", b'{"choices": [' + b"[]," * 80_000 + b"[]]}")
_body("many-keys", json.dumps({f"k{i}": i for i in range(15_000)}).encode())
_body("gzip", gzip.compress(b'{"choices": []}'), "200 OK", "Content-Encoding: gzip")
for _name, _mib, _status, _packer, _encoding in (
    ("gzip-bomb", 256, "200 OK", gzip.compress, "gzip"),
    ("gzip-bomb-error", 64, "500 Error", gzip.compress, "gzip"),
    ("deflate-bomb", 64, "200 OK", zlib.compress, "deflate"),
):
    _bomb(_name, _mib, _status, _packer, _encoding)
_body("gzip-in-name-only", b'{"choices": []}', "200 OK", "Content-Encoding: gzip")
_body("gzip-cut", gzip.compress(b'{"choices": []}')[:-9], "200 OK", "Content-Encoding: gzip")
_body("unknown-encoding", b'{"choices": []}', "200 OK", "Content-Encoding: x-mine, br")
_body("huge-header", b"{}", "200 OK", "X-Long: " + "a" * 100_000)
_body("many-headers", b"{}", "200 OK", *(f"X-{i}: {i}" for i in range(3_000)))
_body("odd-header", b"{}", "200 OK", "X-Odd: \x01\x7f\xff")


@behaviour("endless")
async def endless(exchange: Exchange) -> None:
    """Never stop sending."""
    await exchange.raw(_CLOSED, b"\r\n")
    for _ in range(4096):
        await exchange.raw(b" " * 2**16)


@behaviour("endless-chunks")
async def endless_chunks(exchange: Exchange) -> None:
    """Never stop sending chunks."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(4096):
        await exchange.raw(b"10000\r\n" + b" " * 2**16 + b"\r\n")


@behaviour("drip")
async def drip(exchange: Exchange) -> None:
    """Send a byte now and then."""
    await exchange.raw(_CLOSED, b"\r\n")
    for _ in range(200):
        await exchange.raw(b" ")
        await asyncio.sleep(0.1)


@behaviour("drip-headers")
async def drip_headers(exchange: Exchange) -> None:
    """Send the headers a byte at a time."""
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100:
        await exchange.raw(bytes([byte]))
        await asyncio.sleep(0.1)


@behaviour("hang")
async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await asyncio.sleep(20)


@behaviour("flood-1xx")
async def flood(exchange: Exchange) -> None:
    """Say "go on" for ever."""
    for _ in range(2_000):
        await exchange.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
        await asyncio.sleep(0.002)


@behaviour("early-hints")
async def early_hints(exchange: Exchange) -> None:
    """Say something before a good answer."""
    await exchange.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    await exchange.json(completion(exchange))


@behaviour("http-1.0")
async def old_http(exchange: Exchange) -> None:
    """A good answer without a length."""
    await exchange.raw(b"HTTP/1.0 200 OK\r\n\r\n", json.dumps(completion(exchange)).encode())
    exchange.writer.close()


@behaviour("two-answers")
async def two_answers(exchange: Exchange) -> None:
    """Answer twice."""
    await exchange.json(completion(exchange))
    await exchange.json({"choices": [{"message": {"content": "stolen"}}]})


@behaviour("echo-key")
async def echo_key(exchange: Exchange) -> None:
    """Put the key into an error."""
    key = re.search(r"(?i)authorization: bearer (\S+)", exchange.headers)
    await exchange.json({"error": {"message": f"bad key {key and key[1]} for you"}}, "500 Error")


@behaviour("echo-question")
async def echo_question(exchange: Exchange) -> None:
    """Answer with the whole request."""
    await exchange.json(completion(exchange, message={"content": json.dumps(exchange.body)}))


@behaviour("second-time-lucky")
async def second_time(exchange: Exchange) -> None:
    """Fail once."""
    if exchange.nth > 1:
        await exchange.json(completion(exchange))
    else:
        await exchange.reply(b"", "500 Error")


_raw("close", b"")
_raw("close-in-status", b"HTTP/1.1 20")
_raw("close-in-headers", b"HTTP/1.1 200 OK\r\nContent-Le")
_raw("close-in-body", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
_raw("length-too-short", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}{}{}{}{}")
_raw("length-negative", b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n{}")
_raw("length-text", b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}")
_raw("length-huge", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}")
_raw("length-twice", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}")
_raw(
    "length-and-chunks",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
)
_raw("chunk-garbage", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
_raw("chunk-negative", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n")
_raw("chunk-huge", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}")
_raw("chunk-cut", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{}")
_raw("not-http", b"SSH-2.0-OpenSSH_9.6\r\n")
_raw("binary", bytes(range(256)) * 20)
_raw("tls", b"\x15\x03\x01\x00\x02\x02\x46")
_raw("http-2", b"HTTP/2.0 200 OK\r\n\r\n{}")
_raw("http-9.9", b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}")
_raw("status-odd", b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n{}")
_raw("status-99999", b"HTTP/1.1 99999 OK\r\nContent-Length: 2\r\n\r\n{}")
_raw("status-000", b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\n{}")
_raw("header-without-colon", b"HTTP/1.1 200 OK\r\nbroken\r\nContent-Length: 2\r\n\r\n{}")
_raw("upgrade", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")


class Server:
    """Serves, and counts."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.in_flight = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if head.startswith("GET /stats"):
                    stats = {"calls": self.calls, "answered": self.answered, "in_flight": self.in_flight}
                    await Exchange(writer, {}, head, 0).json(stats)
                elif head.startswith("GET "):
                    await Exchange(writer, {}, head, 0).json({"data": []})
                else:
                    await self.answer(writer, head, body)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, writer: asyncio.StreamWriter, head: str, body: bytes) -> None:
        """Answer one question."""
        digest = hashlib.sha256(body).hexdigest()[:16]
        self.calls[digest] += 1
        self.in_flight += 1
        try:
            exchange = Exchange(writer, json.loads(body), head, self.calls[digest])
            name, _, wait_ms = exchange.body["model"].partition("@")
            if wait_ms:
                await asyncio.sleep(float(wait_ms) / 1000)
            if "#BAD" in exchange.text and name != "good":
                await BEHAVIOURS[name](exchange)
            else:
                await exchange.json(completion(exchange))
            self.answered[digest] += 1
        finally:
            self.in_flight -= 1


async def main() -> None:
    """Serve until the parent closes standard input."""
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=2**20, backlog=512)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    raise SystemExit


class Running:
    """The server in a process of its own."""

    def __enter__(self) -> Running:
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def stats(self) -> dict[str, Any]:
        """What came, and what was answered."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=20) as answer:
            stats: dict[str, Any] = json.load(answer)
            return stats


if __name__ == "__main__":
    asyncio.run(main())
