"""Encoders and rerankers behind HTTP: what is sent, what comes back, and faults that are told without the key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest

from tuneworthy.config.retrieval import EncoderServer, RerankServer
from tuneworthy.errors import OutsideFault
from tuneworthy.retrieval import servers
from tuneworthy.retrieval.servers import ServerEncoder, ServerReranker

KEY = "TUNEWORTHY_TEST_KEY"


@contextmanager
def serving(*answers: tuple[int, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve one answer after the other (the last one again and again); yields the address and what was sent."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = answers[min(len(seen), len(answers) - 1)]
            seen.append({"path": self.path, "key": self.headers.get("Authorization"), **sent})
            content = json.dumps(body(sent) if callable(body) else body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", seen
        finally:
            server.shutdown()
            thread.join()


def vectors(sent: dict[str, Any]) -> dict[str, Any]:
    """Vectors of other lengths, in the wrong order."""
    rows = [{"index": place, "embedding": [float(len(text)), 0.0]} for place, text in enumerate(sent["input"])]
    return {"data": rows[::-1]}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-test-secret-0000")
    monkeypatch.setattr(servers.time, "sleep", lambda _: None)


def test_texts_are_sent_with_their_prefix_and_come_back_in_order_and_of_length_one() -> None:
    with serving((200, vectors)) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m", api_key_env=KEY, query_prefix="query: ")
        found = ServerEncoder(config).encode_questions(["a", "bb"])
    assert seen[0]["input"] == ["query: a", "query: bb"] and seen[0]["path"] == "/v1/embeddings"
    assert seen[0]["key"] == "Bearer sk-test-secret-0000"
    assert np.allclose(np.linalg.norm(found, axis=1), 1) and found.shape == (2, 2)


def test_a_reranker_scores_every_text_in_the_order_it_was_sent() -> None:
    rows = {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}
    with serving((200, rows)) as (url, seen):
        scores = ServerReranker(RerankServer(type="server", base_url=url, model="m")).score("q", ["a", "b"])
    assert scores == [0.1, 0.9] and seen[0]["documents"] == ["a", "b"] and seen[0]["key"] is None


def test_a_fault_that_may_pass_is_tried_again_and_one_that_stays_is_told_without_the_key() -> None:
    with serving((503, {}), (200, vectors)) as (url, seen):
        config = EncoderServer(type="server", base_url=url, model="m", api_key_env=KEY)
        assert len(ServerEncoder(config).encode(["a"])) == 1 and len(seen) == 2
    with serving((401, {})) as (url, seen), pytest.raises(OutsideFault) as told:
        ServerEncoder(config.model_copy(update={"base_url": url})).encode(["a"])
    assert len(seen) == 1 and "401" in str(told.value) and "secret" not in str(told.value)


def test_too_few_vectors_are_refused() -> None:
    with serving((200, {"data": []})) as (url, _):
        config = EncoderServer(type="server", base_url=url, model="m")
        with pytest.raises(OutsideFault, match="expected the answer of /embeddings"):
            ServerEncoder(config).encode(["a"])
