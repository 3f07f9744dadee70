"""Spans of copied requests: by the GenAI conventions, without texts, and never in anyone's way."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.shadow.test_live_recording import CHAT
from tests.shadow.test_recording import user
from tests.shadow.traffic import write_traffic_project
from tuneworthy.config import load
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.shadow.copies import PAIRED, CopyHead
from tuneworthy.shadow.recording import TRAFFIC
from tuneworthy.shadow.spans import ENDPOINT, PairSpans, open_tracer, pair_spans
from tuneworthy.shadow.worker import Worker, WorkerOrder
from tuneworthy.store import Folder
from tuneworthy.types import Failure, Trace

SECOND = 10**9
HEAD = replace(CHAT, session="s", began=10 * SECOND, ended=12 * SECOND)
TRACE = Trace(
    case_id="c", variant_id="v", repeat=0, messages=(), response=None, error=Failure(code="timeout", message="t")
)
QUESTION = "item 1 thing SECRET from tenant-1 now"


def made(spans: PairSpans, exporter: InMemorySpanExporter, head: CopyHead, answer: bytes) -> list[ReadableSpan]:
    request = orjson.dumps({"model": "house-model", "messages": [user(QUESTION)]})
    spans.record(head, request, answer, TRACE, (13 * SECOND, 14 * SECOND))
    return list(exporter.get_finished_spans())


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> PairSpans:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return PairSpans(provider.get_tracer("t"), "https://api.example", "openai", "own", "http://127.0.0.1:8080/v1")


def completion(text: str = "SECRET") -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    return orjson.dumps({"model": "house-model-1", "choices": [choice], "usage": usage})


def streamed(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def test_a_pair_is_two_spans_of_one_trace_with_what_the_conventions_ask_for(
    spans: PairSpans, exporter: InMemorySpanExporter
) -> None:
    candidate, production = made(spans, exporter, HEAD, completion())
    assert (production.name, candidate.name) == ("chat house-model", "chat own")
    assert dict(production.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "house-model",
        "gen_ai.response.model": "house-model-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "api.example",
        "server.port": 443,
    }
    assert dict(candidate.attributes or {})["error.type"] == "timeout" and candidate.kind is SpanKind.CLIENT
    assert candidate.parent is not None and candidate.parent.span_id == production.context.span_id
    times = [(span.start_time, span.end_time) for span in (production, candidate)]
    assert times == [(10 * SECOND, 12 * SECOND), (13 * SECOND, 14 * SECOND)]


@pytest.mark.parametrize(
    ("path", "answer", "usage"),
    [
        (
            "/v1/chat/completions",
            streamed(
                {"model": "m", "choices": [{"delta": {"content": "SECRET"}, "finish_reason": "stop"}]},
                {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}},
            ),
            (5, 3),
        ),
        (
            "/v1/messages",
            streamed(
                {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
            ),
            (5, 3),
        ),
        (
            "/v1/responses",
            streamed({"type": "response.completed", "response": {"model": "m", "usage": {"input_tokens": 5}}}),
            (5, None),
        ),
    ],
)
def test_tokens_are_read_of_streams_too(
    path: str, answer: bytes, usage: tuple[int, int | None], spans: PairSpans, exporter: InMemorySpanExporter
) -> None:
    _, production = made(spans, exporter, replace(HEAD, path=path, streamed=True), answer)
    about = dict(production.attributes or {})
    assert (about.get("gen_ai.usage.input_tokens"), about.get("gen_ai.usage.output_tokens")) == usage
    assert about["gen_ai.provider.name"] == ("anthropic" if path == "/v1/messages" else "openai")


def test_the_child_of_the_proxy_makes_them_of_each_pair_and_they_hold_no_text(
    tmp_path: Path, spans: PairSpans, exporter: InMemorySpanExporter
) -> None:
    root = write_traffic_project(tmp_path / "p", "equal")

    async def work() -> str:
        async with open_session(load(root), beside=True) as session:
            order = WorkerOrder(root=str(root), candidate="current", judge_s=60.0)
            worker = Worker(session, resolve(session, "current"), order, os.open(os.devnull, os.O_WRONLY))
            assert worker.spans is None, "nothing is exported unless an address is given"
            worker.spans = spans
            return await worker._pair(HEAD, orjson.dumps({"model": "m", "messages": [user(QUESTION)]}), completion())

    assert asyncio.run(work()) == PAIRED and (Folder(root).path / TRAFFIC).read_bytes().count(b"\n") == 1
    candidate, production = exporter.get_finished_spans()
    assert "SECRET" not in candidate.to_json() + production.to_json()
    assert dict(candidate.attributes or {})["gen_ai.response.finish_reasons"] == ("stop",)


@pytest.mark.parametrize("model", ["m" * 10**5, ["m" * 10**5], {"m": 1}])
def test_the_name_of_a_model_that_a_client_chose_stays_short(
    model: Any, spans: PairSpans, exporter: InMemorySpanExporter
) -> None:
    answer = orjson.dumps({**orjson.loads(completion()), "model": model})
    spans.record(HEAD, orjson.dumps({"model": model}), answer, TRACE, (SECOND, 2 * SECOND))
    (production,) = (span for span in exporter.get_finished_spans() if span.parent is None)
    names = [
        production.name,
        *(dict(production.attributes or {})[f"gen_ai.{one}.model"] for one in ("request", "response")),
    ]
    assert all(isinstance(name, str) and len(name) <= 105 for name in names)


def test_without_an_address_there_are_no_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert open_tracer() is None


def test_a_collector_gets_them_without_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    posts: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{server.server_port}")
    tracer: Any = open_tracer()
    spans = PairSpans(tracer, "https://api.example", "openai", "own", "")
    spans.record(HEAD, orjson.dumps({"model": "m", "messages": [user(QUESTION)]}), completion(), TRACE, (1, 2))
    tracer.span_processor.force_flush()
    server.shutdown()
    server.server_close()
    ((path, body),) = posts
    assert path == "/v1/traces" and body.count(b"gen_ai.request.model") == 2 and b"tuneworthy-shadow-proxy" in body
    assert b"SECRET" not in body


def test_a_collector_that_is_down_delays_no_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    root = write_traffic_project(tmp_path / "p", "equal")

    async def work() -> PairSpans | None:
        async with open_session(load(root), beside=True) as session:
            return pair_spans(session, resolve(session, "current"), "http://api.example")

    found = asyncio.run(work())
    assert found is not None and (found.provider, found.address) == ("scripted", "")
    started = time.perf_counter()
    for _ in range(100):
        found.record(HEAD, b"{}", completion(), TRACE, (SECOND, 2 * SECOND))
    assert time.perf_counter() - started < 1.0
