"""Local servers of the parts of Langfuse's and MLflow's APIs that read logs: they filter, page and refuse likewise.

Sources: `openapi.yml` of Langfuse (`GET /api/public/v2/observations`, `GET /api/public/v3/scores`; the answers were
checked against its schemas), the protocol buffers of MLflow 3.17 (`SearchTracesV3`, `BatchGetTraces`), which its client
parses, and a real `mlflow server` with SQLite, whose filters and answers these follow.
"""

from __future__ import annotations

import base64
import json
import operator
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

SECRET, PUBLIC = "sk-lf-0f2c7f4b-93d1-4a6e-8d55-7a1b2c3d4e5f", "pk-lf-11111111-2222-3333-4444-555555555555"
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
LABELS = ("refund", "delivery", "login")
WORDS = ["order", "parcel", "invoice", "password", "account", "street", "gift", "colour", "shoe", "receipt"]
TOOL = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object", "properties": {}}}}
COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt, "=": operator.eq}


class Call:
    """A generation within a trace, as the program had it.

    A trace has two: one that answers with a label, one that answers with a call of a tool. Three traces are a session.
    """

    def __init__(self, n: int, kind: str) -> None:
        self.n, self.kind, self.trace = n, kind, f"t{n:03}"
        self.id = f"{self.trace}-{kind}"
        self.start = START + timedelta(hours=6 * n, seconds=kind == "look")
        self.name, self.tags = ("tickets" if n % 4 else "chat"), ["prod"] if n % 3 else ["prod", "beta"]
        self.session, self.score = f"s{n // 3}", round((n % 11) / 10, 1)
        self.finished: bool | None = True  # None: its spans are elsewhere
        text = f"{WORDS[n % 10]} {WORDS[n * 7 % 10]} number {n}, write to ada{n}@example.org, key {SECRET}"
        self.request: dict[str, Any] = {
            "model": "gpt-4o-mini",
            "temperature": 0,
            "messages": [{"role": "system", "content": f"You {kind} tickets."}, {"role": "user", "content": text}],
        }
        self.answer: dict[str, Any] = {"role": "assistant", "content": LABELS[n % 3]}
        if kind == "look":
            self.request["tools"] = [TOOL]
            call = {"name": "find_order", "arguments": json.dumps({"order": n})}
            self.answer |= {"content": None, "tool_calls": [{"id": "c", "type": "function", "function": call}]}
        self.tokens = {"input": 900 if kind == "sort" else 40, "output": 3}


def cursor_at(start: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"start": start}).encode()).decode()


def calls(n: int = 24) -> list[Call]:
    return [Call(number, kind) for number in range(n) for kind in ("sort", "look")]


class LogServer(ThreadingHTTPServer):
    """A server.

    Attributes:
        kind: "langfuse" or "mlflow".
        calls: Of its log.
        asked: Method, path and parameters of each request, in their order.
        fault: Status with which it answers from the request `fault_from` on; 0 waits for `release`.
        body: Of such an answer.
        endless: "cursor" repeats the cursor of a page, "page" the page with new cursors.
    """

    daemon_threads = True

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), {"langfuse": LangfuseHandler, "mlflow": MlflowHandler}[kind])
        self.kind, self.calls = kind, calls()
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.fault, self.fault_from, self.body, self.endless = 200, 10**9, b"", ""
        self.release = threading.Event()
        self.headers: dict[str, str] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", 2**16  # one packet for an answer
    server: LogServer

    def log_message(self, *_: object) -> None: ...

    def handle_one(self) -> None:
        parts = urlsplit(self.path)
        asked = {key: value if key == "trace_ids" else value[0] for key, value in parse_qs(parts.query).items()}
        if size := int(self.headers.get("content-length", 0)):
            asked |= json.loads(self.rfile.read(size))
        self.server.asked.append((self.command, parts.path, asked))
        if len(self.server.asked) > self.server.fault_from:
            if not self.server.fault:
                self.server.release.wait(20)
            self.say(self.server.fault or 200, self.server.body)
            return
        status, answer = self.answer(parts.path, asked)
        self.say(status, json.dumps(answer).encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        raise NotImplementedError

    def page(self, rows: list[Any], size: int, cursor: str | None) -> tuple[list[Any], str | None]:
        start = json.loads(base64.urlsafe_b64decode(cursor))["start"] if cursor else 0
        end = start + size
        if self.server.endless:
            end, rows = (size, rows) if self.server.endless == "cursor" else (end, rows[:size] * 9_000)
        more = cursor_at(end)
        return rows[start : start + size], more if end < len(rows) or self.server.endless else None

    def say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"content-length": str(len(body))} | self.server.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


# --- Langfuse ---------------------------------------------------------------------------------------------------------

GROUPS = {
    "core": ["id", "traceId", "startTime", "endTime", "projectId", "parentObservationId", "type"],
    "basic": [
        "name",
        "level",
        "statusMessage",
        "version",
        "environment",
        "bookmarked",
        "public",
        "userId",
        "sessionId",
    ],
    "io": ["input", "output"],
    "model": ["providedModelName", "internalModelId", "modelParameters"],
    "usage": ["usageDetails", "costDetails", "totalCost", "usagePricingTierName"],
    "metrics": ["latency", "timeToFirstToken"],
    "trace_context": ["tags", "release", "traceName"],
}


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def observation(call: Call, kind: str = "GENERATION") -> dict[str, Any]:
    """Return an `ObservationV2` with all fields; input and output are texts."""
    span = kind != "GENERATION"
    return {
        "id": f"{call.trace}-span" if span else call.id,
        "traceId": call.trace,
        "startTime": iso(call.start),
        "endTime": iso(call.start + timedelta(seconds=0.8)) if call.finished else None,
        "projectId": "p1",
        "parentObservationId": None if span else f"{call.trace}-span",
        "type": kind,
        "name": call.kind,
        "level": "DEFAULT",
        "statusMessage": None,
        "version": None,
        "environment": "default",
        "bookmarked": False,
        "public": False,
        "userId": f"ada{call.n}@example.org",
        "sessionId": call.session,
        "input": json.dumps({key: call.request[key] for key in ("messages", "tools") if key in call.request}),
        "output": json.dumps(call.answer) if call.finished else None,
        "providedModelName": None if span else "gpt-4o-mini",
        "internalModelId": "m1",
        "modelParameters": {"temperature": 0},
        "usageDetails": {**call.tokens, "total": sum(call.tokens.values())},
        "costDetails": {"input": 0.1},
        "totalCost": 0.1,
        "usagePricingTierName": None,
        "latency": 0.8,
        "timeToFirstToken": None,
        "tags": call.tags,
        "release": None,
        "traceName": call.name,
        "modelId": "m1",
        "inputPrice": "0.0001",
        "outputPrice": "0.0001",
        "totalPrice": None,
    }


def _fits(row: dict[str, Any], condition: dict[str, Any]) -> bool:
    value, wanted = row[condition["column"]], condition["value"]
    match condition["type"], condition["operator"]:
        case "string", "=":
            return bool(value == wanted)
        case "stringOptions", "any of":
            return value in wanted
        case "arrayOptions", "all of":
            return set(wanted) <= set(value)
        case "datetime", sign:
            return bool(COMPARE[sign](datetime.fromisoformat(value), datetime.fromisoformat(wanted)))
    raise KeyError(condition["type"])


class LangfuseHandler(_Handler):
    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        login = base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()
        if self.headers.get("authorization") != f"Basic {login}":
            return 401, {"message": f"Invalid credentials: {SECRET}", "error": "UnauthorizedError"}
        if self.command != "GET":
            return 405, {"message": "Method not allowed"}
        if path == "/api/public/v2/observations":
            return self._observations(asked)
        if path == "/api/public/v3/scores":
            return self._scores(asked)
        return 404, {"message": "not found"}

    def _observations(self, asked: dict[str, Any]) -> tuple[int, Any]:
        rows = [observation(call, kind) for call in self.server.calls for kind in ("GENERATION", "SPAN")]
        try:  # newest first
            rows = [row for row in rows if all(_fits(row, one) for one in json.loads(asked["filter"]))][::-1]
        except KeyError as error:
            return 400, {"message": f"Invalid filter {error}", "error": "InvalidRequestError"}
        if not 0 < int(asked["limit"]) <= 1000:
            return 400, {"message": "limit"}
        kept = {field for group in asked["fields"].split(",") for field in GROUPS[group]}
        kept |= {"modelId", "inputPrice", "outputPrice", "totalPrice"}
        found, cursor = self.page(rows, int(asked["limit"]), asked.get("cursor"))
        data = [{key: value for key, value in row.items() if key in kept} for row in found]
        return 200, {"data": data, "meta": {"cursor": cursor} if cursor else {}}

    def _scores(self, asked: dict[str, Any]) -> tuple[int, Any]:
        bounds = {"valueMin", "valueMax"} & asked.keys()
        if int(asked["limit"]) > 100 or (bounds and asked.get("dataType") != "NUMERIC"):
            return 400, {"message": "limit or dataType"}
        rows = []
        for call in self.server.calls:
            subject = {"kind": "observation", "id": call.id, "traceId": call.trace}
            if call.kind == "sort":
                rows.append(score("helpful", call.score, "NUMERIC", subject))
                rows.append(score("good", call.n % 2 == 0, "BOOLEAN", {"kind": "trace", "id": call.trace}))
            if call.n % 6 == 0:
                rows.append(score("mood", "calm", "CATEGORICAL", {"kind": "session", "id": call.session}))
        fit = [row for row in rows if row["name"] == asked["name"] and row["dataType"] == asked["dataType"]]
        fit = [row for row in fit if row["value"] >= float(asked["valueMin"])] if "valueMin" in asked else fit
        fit = [row for row in fit if row["value"] <= float(asked["valueMax"])] if "valueMax" in asked else fit
        if "value" in asked:
            fit = [row for row in fit if str(row["value"]).lower() == asked["value"]]
        found, cursor = self.page(fit, int(asked["limit"]), asked.get("cursor"))
        if "subject" not in asked.get("fields", ""):
            found = [{key: value for key, value in row.items() if key != "subject"} for row in found]
        return 200, {"data": found, "meta": {"limit": int(asked["limit"])} | ({"cursor": cursor} if cursor else {})}


def score(name: str, value: Any, kind: str, subject: dict[str, str]) -> dict[str, Any]:
    """Return a `ScoreV3`."""
    now = iso(START)
    return {"id": f"{name}-{subject['id']}", "projectId": "p1", "name": name, "source": "API", "timestamp": now,
            "environment": "default", "createdAt": now, "updatedAt": now, "dataType": kind, "value": value,
            "subject": subject}  # fmt: skip


# --- MLflow -----------------------------------------------------------------------------------------------------------


def otlp(value: Any) -> dict[str, Any]:
    """Return a value as an attribute of OTLP has it."""
    if isinstance(value, dict):
        return {"kvlist_value": {"values": [{"key": key, "value": otlp(one)} for key, one in value.items()]}}
    if isinstance(value, list):
        return {"array_value": {"values": [otlp(one) for one in value]}}
    return {"string_value": value} if isinstance(value, str) else {} if value is None else {"int_value": value}


def _span(call: Call, name: str, kind: str, asked: Any, said: Any, **more: Any) -> dict[str, Any]:
    begun = int(call.start.timestamp() * 1e9)
    facts = {"mlflow.traceRequestId": call.trace, "mlflow.spanType": kind, "mlflow.spanInputs": asked,
             "mlflow.spanOutputs": said, **more}  # fmt: skip
    ids = {"trace_id": base64.b64encode(bytes(16)).decode(), "span_id": _span_id(name)}
    return ids | ({"parent_span_id": _span_id("root")} if name != "root" else {}) | {
        "name": name, "start_time_unix_nano": begun, "end_time_unix_nano": begun + 800_000_000,
        "status": {"code": "STATUS_CODE_OK"},
        "attributes": [{"key": key, "value": otlp(value)} for key, value in facts.items()]}  # fmt: skip


def _span_id(name: str) -> str:
    return base64.b64encode(name.encode().ljust(8)[:8]).decode()


class MlflowHandler(_Handler):
    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if self.headers.get("authorization") != f"Bearer {SECRET}":
            return 401, f"You are not authenticated: {SECRET}"
        infos = {call.trace: self._info(call) for call in self.server.calls}
        match self.command, path:
            case "GET", "/api/2.0/mlflow/experiments/get-by-name":
                if asked["experiment_name"] == "support":
                    return 200, {"experiment": {"experiment_id": "7", "name": "support", "lifecycle_stage": "active"}}
                return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}
            case "POST", "/api/3.0/mlflow/traces/search":
                return self._search(asked, infos)
            case "POST", "/api/3.0/mlflow/traces/batchGetInfos":
                return 200, {"trace_infos": [infos[name] for name in asked["trace_ids"]]}
            case "GET", "/api/3.0/mlflow/traces/batchGet":
                spans = {name: self._spans(name) for name in asked["trace_ids"]}
                return 200, {
                    "traces": [{"trace_info": infos[name], "spans": rows} for name, rows in spans.items() if rows]
                }
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": "not found"}

    def _info(self, call: Call) -> dict[str, Any]:
        place = {"mlflow_experiment": {"experiment_id": "7"}, "type": "MLFLOW_EXPERIMENT"}
        said = [("helpful", call.score), ("good", call.n % 2 == 0)]
        stored = "TRACKING_STORE" if call.finished is not None else "ARTIFACT_REPO"
        return {
            "trace_id": call.trace, "trace_location": place, "request_time": iso(call.start),
            "state": "OK" if call.finished in {True, None} else "IN_PROGRESS",
            "trace_metadata": {"mlflow.trace.session": call.session, "mlflow.user": f"ada{call.n}@example.org"},
            "assessments": [{"assessment_id": f"a{call.n}", "assessment_name": name, "trace_id": call.trace,
                             "source": {"source_type": "HUMAN", "source_id": "ada@example.org"},
                             "feedback": {"value": value}} for name, value in said],
            "tags": {"mlflow.traceName": call.name, "env": call.tags[-1], "mlflow.trace.spansLocation": stored,
                     "mlflow.artifactLocation": "s3://elsewhere/t"},
            "request_preview": json.dumps(call.request)}  # fmt: skip

    def _spans(self, name: str) -> list[dict[str, Any]]:
        mine = [call for call in self.server.calls if call.trace == name]
        spans = [_span(mine[0], "root", "CHAIN", {"text": "x"}, "done")] if mine[0].session != "lost" else []
        for call in mine if spans else ():
            used = {"prompt_tokens": call.tokens["input"], "completion_tokens": call.tokens["output"]}
            answer = {"choices": [{"index": 0, "message": call.answer, "finish_reason": "stop"}], "usage": used}
            model = {"mlflow.llm.model": "gpt-4o-mini", "mlflow.llm.provider": "openai"}
            spans.append(_span(call, call.kind, "CHAT_MODEL", call.request, answer, **model))
        return spans

    def _search(self, asked: dict[str, Any], infos: dict[str, Any]) -> tuple[int, Any]:
        rows = [call for call in self.server.calls if call.kind == "sort"]
        for clause in filter(None, asked.get("filter", "").split(" AND ")):
            found = re.fullmatch(r"(\S+?)\.?(?:`(.+)`)? (>=|<=|=|<|>) (['\"]?)(.*)\4", clause)
            assert found, clause
            place, key, sign, quoted, value = found.groups()
            values = {
                "timestamp_ms": lambda call: call.start.timestamp() * 1000,
                "trace.name": lambda call: call.name,
                "tags": lambda call, key=key: infos[call.trace]["tags"].get(key),
                "feedback": lambda call, key=key: {"helpful": call.score, "good": call.n % 2 == 0}[key],
            }
            if place not in values or (place == "feedback" and sign != "=" and quoted):
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": f"Invalid clause: {clause}"}
            wanted: Any = value if quoted else float(value)
            same = COMPARE[sign]
            mine = {call.id: values[place](call) for call in rows}
            if place == "feedback" and quoted:
                mine = {name: json.dumps(one) for name, one in mine.items()}
            rows = [call for call in rows if same(mine[call.id], wanted)]
        assert asked["order_by"] == ["timestamp_ms ASC"]
        assert asked["locations"][0]["mlflow_experiment"] == {"experiment_id": "7"}
        found_rows, token = self.page(rows, asked["max_results"], asked.get("page_token"))
        answer = {"traces": [infos[call.trace] for call in found_rows]}
        return 200, answer | ({"next_page_token": token} if token else {})


@contextmanager
def log_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogServer]:
    """Serve a log, with the environment of its client; the clients do not pause between tries."""
    with LogServer(kind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        for name, value in {
            "LANGFUSE_BASE_URL": server.address, "LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET,
            "MLFLOW_TRACKING_URI": server.address, "MLFLOW_TRACKING_TOKEN": SECRET, "MLFLOW_DISABLE_TELEMETRY": "",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
            "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
            "MLFLOW_ALLOW_HTTP_REDIRECTS": "true",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("langfuse.api.core.http_client._retry_timeout", lambda **_: 0)
        try:
            yield server
        finally:
            server.release.set()
            server.shutdown()
            thread.join()
