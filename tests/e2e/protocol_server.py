"""A model of a vendor: a server that speaks the OpenAI protocol, and the support tickets that it can answer.

It needs the standard library only. A model answers a share of the tickets right, which ones depends on the ticket and
on the model: `gpt-6-sol` 90 %; any other 70 %, and 2 % more with each shot. `python protocol_server.py CSV N` writes N
tickets, prints the server's port and serves; `GET /calls` counts the requests for answers.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

WORDS = {
    "billing": "invoice charged refund payment receipt",
    "login": "password locked signin code username",
    "delivery": "parcel late courier tracking address",
    "returns": "exchange sticker size broken warranty",
}
OTHERS = [
    "please",
    "my",
    "the",
    "a",
    "today",
    "yesterday",
    "urgent",
    "again",
    "order",
    "account",
    "phone",
    "app",
    "email",
    "since",
    "week",
    "help",
    "need",
    "customer",
    "number",
    "twice",
    "still",
    "waiting",
    "nobody",
    "answers",
    "why",
    "how",
    "when",
    "thank",
    "support",
    "team",
    "last",
    "first",
    "new",
    "old",
    "blue",
    "red",
    "large",
]


def tickets(n: int, seed: int = 1) -> list[tuple[str, str]]:
    """Return `n` tickets and their labels."""
    draw = random.Random(seed)
    rows = []
    for number in range(n):
        label = draw.choice(sorted(WORDS))
        text = [*draw.sample(OTHERS, 9), draw.choice(WORDS[label].split())]
        draw.shuffle(text)
        rows.append((f"{' '.join(text)} {number}", label))
    return rows


def write_csv(path: Path, n: int) -> None:
    """Write `n` tickets with the columns `text` and `label`."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *tickets(n)])


def answer(body: dict[str, Any]) -> str:
    """Answer the last message as the model that is named would."""
    question = str(body["messages"][-1]["content"])
    right = next((label for label, words in WORDS.items() if set(words.split()) & set(question.split())), "billing")
    shots = sum(message["role"] == "assistant" for message in body["messages"])
    share = 90 if body["model"] == "gpt-6-sol" else 70 + 2 * min(shots, 8)
    dice = int(hashlib.sha256(f"{question} {body['model']}".encode()).hexdigest(), 16)
    label = right if dice % 100 < share else sorted(WORDS)[dice // 100 % len(WORDS)]
    form = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    return json.dumps(dict.fromkeys(form["properties"], label)) if form.get("properties") else label


MODELS = {"data": [{"id": "gpt-6-luna"}, {"id": "gpt-6-sol"}]}


class Server(ThreadingHTTPServer):
    """Counts the answers by model."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._send(dict(self.server.calls) if self.path == "/calls" else MODELS)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls[body["model"]] += 1
        text = answer(body)
        read = sum(len(str(message["content"])) for message in body["messages"]) // 4
        message = {"role": "assistant", "content": text}
        self._send(
            {
                "model": body["model"],
                "choices": [{"message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": read, "completion_tokens": 1 + len(text) // 4},
            }
        )

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving() -> Iterator[Server]:
    """Serve in a thread."""
    server = Server()
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    write_csv(Path(sys.argv[1]), int(sys.argv[2]))
    running = Server()
    print(running.server_port, flush=True)
    running.serve_forever()
