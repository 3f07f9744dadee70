"""A server of the batch interfaces of OpenAI and Anthropic, with their single calls; it counts and it bills.

Shapes follow the vendors' SDKs (`openai.types.Batch`, `anthropic.types.messages.MessageBatch`). Batches end at once,
or after `polls` looks. A fault replaces one answer: `faults["create"] = [500]` refuses, `["lost"]` acts and closes the
connection without a word, `["hang"]` acts and answers too late.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.chat_server import completion

Line = dict[str, Any]
# US dollars a million tokens, and the share that a batch costs.
INPUT, OUTPUT, FACTOR = 100.0, 400.0, 0.5
USD = (20 * INPUT + 5 * OUTPUT) / 1e6


def usd_of(answer: Line) -> float:
    """Return the price of a single call with this answer, US dollars."""
    usage = answer["usage"]
    read, written = (usage.get(f"{old}_tokens", usage.get(f"{new}_tokens")) for old, new in
                     (("prompt", "input"), ("completion", "output")))  # fmt: skip
    return float(read * INPUT + written * OUTPUT) / 1e6


class BatchServer(ThreadingHTTPServer):
    """The server.

    Attributes:
        submitted: How often each question was sent in a batch.
        single: How often it was sent in a single call.
        bill: US dollars, as its owner pays.
        faults: By step (upload, create, state, results, list, cancel, chat), the answers to the next requests.
        polls: Looks at a batch until it has ended.
        ending: Status at the end (OpenAI's words).
        ran: Share of the requests of an expired or cancelled batch that were run.
        late: Looks at a batch that has ended in which its files are missing.
        broken: Questions whose requests fail within a batch.
        distort: Changes the lines of results; what it removes was billed.
        hidden: Looks at the list in which the latest batch is missing.
        page: Batches on a page of the list.
        stuck: Whether each page is the first one, 50 times.
        repeats_id: Whether the creator of a batch gets the id of the first one.
        served: The name of the model.
        room: Requests in OpenAI's queue, at most.
    """

    daemon_threads, request_queue_size = True, 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.submitted, self.single, self.asked = Counter[str](), Counter[str](), Counter[str]()
        self.bill = 0.0
        self.faults: dict[str, list[Any]] = defaultdict(list)
        self.polls, self.late, self.ending, self.ran, self.broken = 0, 0, "completed", 0.5, set[str]()
        self.distort: Callable[[list[Line]], list[Any]] = lambda lines: lines
        self.hidden, self.page, self.repeats_id, self.served = 0, 100, False, "gpt-6-luna"
        self.reason, self.room = "the input file is invalid", 10**6
        self.stuck = False
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error."""

    # what a batch does
    def add(self, kind: str, lines: list[Line], **about: Any) -> dict[str, Any]:
        name = f"batch_{kind}_{1 + len(self.batches)}"
        batch = {"id": name, "kind": kind, "n": len(lines), "at": time.time(), "polls": 0, "cancelled": False, **about}
        n_open = sum(one["n"] for one in self.batches.values() if one["rows"] and not self.ended(one))
        is_full = kind == "openai" and n_open + len(lines) > self.room
        batch["ending"] = ending = "failed" if is_full else self.ending
        batch["code"], batch["rows"] = "token_limit_exceeded" if is_full else "x", []
        rows: list[Line] = []
        for place, line in enumerate(lines):
            body = line["body"] if kind == "openai" else line["params"]
            question = str(body["messages"][-1]["content"])
            self.submitted[question] += not is_full
            run = ending == "completed" or (ending in {"expired", "cancelled"} and place < len(lines) * self.ran)
            state = "failed" if question in self.broken else "run" if run else ending
            self.bill += FACTOR * usd_of(self.answer(body, kind)) if state == "run" else 0.0
            rows.append({"id": line["custom_id"], "state": state, "body": body})
        batch["rows"] = [] if ending == "failed" else rows
        self.batches[name] = batch
        return batch

    def ended(self, batch: dict[str, Any]) -> bool:
        return batch["polls"] >= self.polls or batch["cancelled"]

    def answer(self, body: Line, kind: str) -> Line:
        text = f"answer to {body['messages'][-1]['content']}"
        if kind == "openai":
            return completion({**body, "model": self.served}, text)
        return {"id": "m", "type": "message", "role": "assistant", "model": self.served, "stop_reason": "end_turn",
                "content": [{"type": "text", "text": text}],
                "usage": {"input_tokens": 20, "output_tokens": 5}}  # fmt: skip

    def openai_batch(self, batch: dict[str, Any]) -> Line:
        ended, rows = self.ended(batch), batch["rows"]
        status = ("cancelled" if batch["cancelled"] else batch["ending"]) if ended else "in_progress"
        done = sum(row["state"] == "run" for row in rows)
        here = ended and not self.late
        self.late -= bool(ended and self.late)
        errors = {"object": "list", "data": [{"code": batch["code"], "message": self.reason, "line": 1}]}
        return {
            "id": batch["id"], "object": "batch", "endpoint": batch["endpoint"], "completion_window": "24h",
            "input_file_id": batch["input_file_id"], "status": status, "created_at": int(batch["at"]),
            "metadata": batch["metadata"], "errors": errors if status == "failed" else None,
            "output_file_id": f"out-{batch['id']}" if here and done else None,
            "error_file_id": f"err-{batch['id']}" if here and done < len(rows) else None,
            "request_counts": {"total": batch["n"], "completed": done if ended else 0,
                               "failed": len(rows) - done if ended else 0},
        }  # fmt: skip

    def openai_lines(self, batch: dict[str, Any], *, errors: bool) -> list[Line]:
        lines: list[Line] = []
        for row in batch["rows"]:
            line: Line = {"id": "r", "custom_id": row["id"], "response": None, "error": None}
            if row["state"] == "run":
                line["response"] = {
                    "status_code": 200,
                    "request_id": "q",
                    "body": self.answer(row["body"], "openai"),
                }
            elif row["state"] == "failed":
                body = {"error": {"message": "the model crashed", "type": "server_error"}}
                line["response"] = {"status_code": 500, "request_id": "q", "body": body}
            else:
                line["error"] = {"code": f"batch_{row['state']}", "message": f"This request was {row['state']}."}
            if errors is (row["state"] != "run"):
                lines.append(line)
        return lines

    def message_batch(self, batch: dict[str, Any]) -> Line:
        ended = self.ended(batch)
        counts = Counter("succeeded" if row["state"] == "run" else "errored" for row in batch["rows"])
        at = datetime.fromtimestamp(batch["at"], UTC).isoformat()
        names = ("processing", "succeeded", "errored", "canceled", "expired")
        return {
            "id": batch["id"], "type": "message_batch", "created_at": at, "expires_at": at, "ended_at": None,
            "processing_status": "ended" if ended else "in_progress", "cancel_initiated_at": None,
            "archived_at": None, "results_url": "https://elsewhere.example/results" if ended else None,
            "request_counts": {name: (counts[name] if ended else batch["n"] * (name == "processing"))
                               for name in names},
        }  # fmt: skip

    def message_lines(self, batch: dict[str, Any]) -> list[Line]:
        kinds = {"failed": "errored", "cancelled": "canceled"}
        lines = []
        for row in batch["rows"]:
            if row["state"] == "run":
                result = {"type": "succeeded", "message": self.answer(row["body"], "anthropic")}
            else:
                error = {"type": "error", "error": {"type": "api_error", "message": "the model crashed"}}
                result = {"type": kinds.get(row["state"], row["state"])}
                result |= {"error": error} if result["type"] == "errored" else {}
            lines.append({"custom_id": row["id"], "result": result})
        return lines

    def packed(self, lines: list[Line]) -> bytes:
        return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in self.distort(lines))


class _Handler(BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", 2**16
    server: BatchServer

    def log_message(self, *_: object) -> None: ...

    def handle_one(self) -> None:
        parts = urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        query = {name: value[0] for name, value in parse_qs(parts.query).items()}
        path = parts.path.removeprefix("/v1")
        step, act = self._step(path, data, query)
        with self.server.lock:
            self.server.asked[step] += 1
            fault = self.server.faults[step].pop(0) if self.server.faults[step] else None
            answer: Any = {"error": {"message": f"played {fault}", "type": "x"}}
            if not isinstance(fault, int):
                answer = act()
        if fault == "lost":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "hang":
            time.sleep(1.0)
        if fault == "half":
            answer = bytes(answer)[: len(answer) * 2 // 3]
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(fault if isinstance(fault, int) else 404 if answer is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = handle_one

    def _step(self, path: str, data: bytes, query: dict[str, str]) -> tuple[str, Callable[[], Any]]:
        server, is_post = self.server, self.command == "POST"
        if found := re.fullmatch(r"/files/(\w+)-([\w-]+)/content", path):
            kind, name = found.groups()
            lines = lambda: server.openai_lines(server.batches[name], errors=kind == "err")  # noqa: E731
            return "results", lambda: server.packed(lines())
        if path == "/files":
            return "upload", lambda: self._upload(data)
        if path in {"/batches", "/messages/batches"} and is_post:
            return "create", lambda: self._create(json.loads(data), path)
        if path in {"/batches", "/messages/batches"}:
            return "list", lambda: self._list(path, query)
        if found := re.fullmatch(r"(/messages)?/batches/([\w-]+)(/cancel|/results)?", path):
            messages, name, what = found.groups()
            return {"/cancel": "cancel", "/results": "results"}.get(what, "state"), lambda: self._look(
                server.batches[name], what, messages
            )
        return "chat", lambda: self._chat(json.loads(data), path)

    def _upload(self, data: bytes) -> Line:
        kind = self.headers["content-type"]
        boundary = kind.partition("boundary=")[2].encode()
        assert kind.startswith("multipart/form-data") and data.rstrip().endswith(b"--" + boundary + b"--")
        purpose, file = data.split(b"--" + boundary)[1:3]
        assert purpose.split(b"\r\n\r\n")[1].strip() == b"batch" and b'filename="' in file
        name = f"file-{len(self.server.files)}"
        self.server.files[name] = file.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        return {"id": name, "object": "file", "purpose": "batch"}

    def _create(self, body: Line, path: str) -> Line:
        server = self.server
        if path == "/batches":
            assert body["completion_window"] == "24h"
            lines = [json.loads(line) for line in server.files[body["input_file_id"]].splitlines()]
            assert {(line["method"], line["url"]) for line in lines} == {("POST", body["endpoint"])}
            about = {name: body[name] for name in ("input_file_id", "endpoint", "metadata")}
            answer = server.openai_batch(server.add("openai", lines, **about))
            return {**answer, "id": "batch_openai_1"} if server.repeats_id else answer
        assert self.headers["anthropic-version"]
        ids = [line["custom_id"] for line in body["requests"]]
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in ids) and len(set(ids)) == len(ids)
        return server.message_batch(server.add("anthropic", body["requests"]))

    def _list(self, path: str, query: dict[str, str]) -> Line:
        server, kind = self.server, "openai" if path == "/batches" else "anthropic"
        show = server.openai_batch if kind == "openai" else server.message_batch
        found = [one for one in reversed(server.batches.values()) if one["kind"] == kind]
        if server.hidden:
            server.hidden -= 1
            found = found[1:]
        names = [one["id"] for one in found]
        cursor = query.get("after") or query.get("after_id")
        start = names.index(cursor) + 1 if cursor and not server.stuck else 0
        end = start + server.page
        return {
            "data": [show(one) for one in found[start:end]],
            "has_more": end < len(found) or (server.stuck and server.asked["list"] < 50),
        }

    def _look(self, batch: dict[str, Any], what: str | None, messages: str | None) -> Any:
        if what == "/results":
            return self.server.packed(self.server.message_lines(batch))
        if what == "/cancel":
            batch["cancelled"] = True
        else:
            batch["polls"] += 1
        return self.server.message_batch(batch) if messages else self.server.openai_batch(batch)

    def _chat(self, body: Line, path: str) -> Line:
        self.server.single[str(body["messages"][-1]["content"])] += 1
        answer = self.server.answer(body, "anthropic" if path == "/messages" else "openai")
        self.server.bill += usd_of(answer)
        return answer


@contextmanager
def batch_server() -> Iterator[BatchServer]:
    with BatchServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
