"""A chat API of OpenAI and Anthropic in a thread; the name of the model says how it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tuneworthy.calls.recorder import recorder_of

TEXT = "The order has left, and arrives on Monday."
ARGUMENTS = {"city": "Oslo", "days": 3}


class Api(ThreadingHTTPServer):
    """The server.

    Attributes:
        text: Its answer; pieces of a stream have 7 characters.
        arguments: Those of its tool call, if the request has tools.
        release: Set to let an answer of the model `slow` end.
    """

    daemon_threads, request_queue_size = True, 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.text, self.arguments, self.release = TEXT, dict[str, Any](ARGUMENTS), threading.Event()
        self.bodies: list[Any] = []
        self.heads: list[dict[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._say(200, json.dumps({"object": "list", "data": []}).encode())

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.heads.append({name.lower(): value for name, value in self.headers.items()})
        try:
            body = json.loads(data)
        except ValueError:
            body = {}
        self.server.bodies.append(body)
        path, model = self.path.partition("?")[0], body.get("model", "")
        if "embeddings" in path:
            vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
            self._say(200, json.dumps({"object": "list", "model": "e", "data": [vector]}).encode())
            return
        if model.startswith("status-"):
            key = self.headers.get("authorization", "") + self.headers.get("x-api-key", "")
            self._say(int(model[7:]), json.dumps({"error": {"message": f"Wrong key: {key}", "type": "x"}}).encode())
            return
        if model == "no-json":
            self._say(200, b"<html>hello</html>", "text/html")
            return
        if model == "surrogate":
            self.server.text = "\ud83d"
        if model == "slow":
            self.server.release.wait(10)
        events, whole = ANSWERS[path.removeprefix("/v1")](self.server, bool(body.get("tools")))
        if body.get("stream"):
            self._stream(events, cut=model == "cut", slow=model == "slow-stream")
        else:
            self._say(200, json.dumps(whole).encode())

    def _say(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: list[Any], *, cut: bool, slow: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        raw = b"".join(
            (f"event: {event['type']}\n" if "type" in event else "").encode()
            + b"data: %s\n\n" % json.dumps(event).encode()
            for event in events
        )
        raw += b"" if "type" in events[0] else b"data: [DONE]\n\n"
        half = len(raw) // 2
        for start in range(0, len(raw), 50):  # events cross the parts
            if start > half and cut:
                self.close_connection = True
                return
            if start > half and slow:
                self.server.release.wait(10)
            part = raw[start : start + 50]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")


def _pieces(text: str) -> list[str]:
    return [text[place : place + 7] for place in range(0, len(text), 7)]


def _chat(api: Api, tools: bool) -> tuple[list[Any], Any]:
    about = {"id": "c1", "created": 1, "model": "m"}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    arguments = json.dumps(api.arguments)
    if tools:
        end = "tool_calls"
        call: dict[str, Any] = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
        head = {**call, "index": 0, "function": {"name": "weather", "arguments": ""}}
        deltas: list[Any] = [{"role": "assistant", "tool_calls": [head]}]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in _pieces(arguments)]
    else:
        end, message = "stop", {"role": "assistant", "content": api.text}
        deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in _pieces(api.text))]
    chunks = [
        {**about, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in [*((delta, None) for delta in deltas), ({}, end)]
    ]
    chunks.append({**about, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    choice = {"index": 0, "message": message, "finish_reason": end}
    return chunks, {**about, "object": "chat.completion", "choices": [choice], "usage": usage}


def _response(api: Api, tools: bool) -> tuple[list[Any], Any]:
    if tools:
        item: dict[str, Any] = {"type": "function_call", "id": "f1", "call_id": "t1", "name": "weather",
                                "arguments": json.dumps(api.arguments), "status": "completed"}  # fmt: skip
    else:
        part = {"type": "output_text", "text": api.text, "annotations": []}
        item = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [part]}
    whole = {"id": "r1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item],
             "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None,
             "usage": {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18,
                       "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
             }  # fmt: skip
    begun = {**whole, "status": "in_progress", "output": []}
    events = [
        {"type": "response.created", "response": begun, "sequence_number": 0},
        {"type": "response.output_item.added", "item": {**item, "content": []} if "content" in item else item,
         "output_index": 0, "sequence_number": 1},
    ]  # fmt: skip
    if not tools:
        place = {"item_id": "m1", "output_index": 0, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        events.append({"type": "response.content_part.added", "part": empty, "sequence_number": 2, **place})
        events += [
            {"type": "response.output_text.delta", "delta": piece, "logprobs": [], "sequence_number": 3 + n, **place}
            for n, piece in enumerate(_pieces(api.text))
        ]
    return [*events, {"type": "response.completed", "response": whole, "sequence_number": 99}], whole


def _message(api: Api, tools: bool) -> tuple[list[Any], Any]:
    about = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    if tools:
        reason, block = "tool_use", {"type": "tool_use", "id": "t1", "name": "weather", "input": api.arguments}
        begun: dict[str, Any] = {**block, "input": {}}
        pieces = _pieces(json.dumps(api.arguments))
        deltas: list[Any] = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    else:
        reason, block = "end_turn", {"type": "text", "text": api.text}
        begun = {**block, "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(api.text)]
    usage = {"input_tokens": 11, "output_tokens": 7}
    whole = {**about, "content": [block], "stop_reason": reason, "usage": usage}
    events = [
        {"type": "message_start", "message": {**about, "content": [], "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]  # fmt: skip
    return events, whole


ANSWERS = {"/chat/completions": _chat, "/responses": _response, "/messages": _message}


@contextmanager
def api() -> Iterator[Api]:
    """Serve until the end of the block."""
    server = Api()
    thread = threading.Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def written(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a recording once they are on disk."""
    assert recorder_of(path).flush(20)
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def reasons(path: Path) -> list[str]:
    return [row["skipped"] for row in written(path) if "skipped" in row]
