"""Logs of Langfuse and MLflow, through the vendors' clients: filtered there, resumed, masked, only read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.calls.log_servers import LABELS, PUBLIC, SECRET, Call, LogServer, calls, cursor_at, log_server
from tuneworthy.calls import connectors
from tuneworthy.calls.connectors import LATE, local_calls
from tuneworthy.calls.groups import read_calls
from tuneworthy.cli import invoke
from tuneworthy.errors import AuthError, MissingPackage, OutsideFault, TuneworthyError, UserError

BASE = {"langfuse": "langfuse:", "mlflow": "mlflow:experiment=support"}
READS = {
    "langfuse": {("GET", "/api/public/v2/observations"), ("GET", "/api/public/v3/scores")},
    "mlflow": {
        ("GET", "/api/2.0/mlflow/experiments/get-by-name"),
        ("POST", "/api/3.0/mlflow/traces/search"),
        ("POST", "/api/3.0/mlflow/traces/batchGetInfos"),
        ("GET", "/api/3.0/mlflow/traces/batchGet"),
        ("GET", "/api/2.0/mlflow/traces"),  # of older servers, where the search is unknown
    },
}


@pytest.fixture(params=["langfuse", "mlflow"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogServer]:
    monkeypatch.setattr(connectors, "SIZES", {"calls": 7, "scores": 5, "traces": 7})
    with log_server(request.param, monkeypatch) as one:
        yield one
        assert {(method, path) for method, path, _ in one.asked} <= READS[one.kind]


@dataclass
class Fetched:
    """The file of a source, with the numbers of its note."""

    path: Path
    n_calls: int
    n_new: int


def fetched(server: LogServer, folder: Path, filters: str = "") -> Fetched:
    path, (note,) = local_calls(BASE[server.kind] + "&" * bool(filters and server.kind == "mlflow") + filters, folder)
    found = re.search(r": (\d+) calls or traces, (\d+) of them new", note)
    assert found
    return Fetched(path, int(found[1]), int(found[2]))


def ids(path: Path) -> list[str]:
    """Return the identifiers in a file: those of calls, or of traces."""
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [row["id"] if "id" in row else row["info"]["trace_id"] for row in rows]


def expected(server: LogServer, fits: Callable[[Call], bool]) -> list[str]:
    return sorted({call.id if server.kind == "langfuse" else call.trace for call in calls() if fits(call)})


def test_a_servers_log_becomes_a_project_with_todays_answers(
    server: LogServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEWORTHY_TRUST", str(tmp_path))
    monkeypatch.setattr("tuneworthy.scaffold.MIN_COMPARED", 20)
    command = ["init", str(tmp_path / "p"), "--from", BASE[server.kind]]
    assert invoke(command) == 2
    out, err = capsys.readouterr()
    assert "48 calls from 2026-11-01 to 2026-11-07, in 2 groups" in out and "--call" in err
    n = len(server.asked)
    assert invoke([*command, "--call", "1"]) == 0
    assert len(server.asked) - n <= 4 and " 0 of them new" in capsys.readouterr().err
    cases = [json.loads(line) for line in (tmp_path / "p" / "cases.jsonl").read_bytes().splitlines()]
    assert len(cases) >= 20 and {case["today"]["answer"] for case in cases} == {*LABELS}
    assert {case["today"]["model"] for case in cases} == {"openai:gpt-4o-mini"} and "expected" not in cases[0]
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        content = path.read_bytes()
        assert SECRET.encode() not in content and b"@example.org" not in content, path


def test_calls_keep_the_facts_that_the_groups_show(server: LogServer, tmp_path: Path) -> None:
    read = read_calls(fetched(server, tmp_path).path)
    labels, tools = read.groups
    assert (labels.calls, tools.calls, read.others) == (24, 24, 0)
    assert tools.uses_tools and not labels.uses_tools and [*labels.models] == ["gpt-4o-mini"]
    assert labels.p95_s == 0.8 and 5 < labels.days < 6
    assert {one.tokens for one in labels.replies} == {(900, 0, 3)} and not labels.replies[0].estimated
    assert labels.today("gpt-4o-mini").parameters == {"temperature": 0}
    assert tools.prompts[0].tools[0]["function"]["name"] == "find_order"


FILTERS: list[tuple[str, str, Callable[[Call], bool]]] = [
    ("both", "", lambda call: True),
    ("both", "name=tickets", lambda call: call.name == "tickets"),
    ("both", "from=2026-11-03", lambda call: call.n >= 6),
    ("both", "to=2026-11-03T00:00:00Z", lambda call: call.n < 6),
    ("both", "from=2026-11-02&to=2026-11-04&name=tickets", lambda call: 2 <= call.n < 10 and call.name == "tickets"),
    ("langfuse", "tag=prod", lambda call: True),
    ("langfuse", "tag=prod&tag=beta", lambda call: "beta" in call.tags),
    ("langfuse", "score=helpful>=0.8", lambda call: call.score >= 0.8 and call.kind == "sort"),
    ("langfuse", "score=helpful<=0.1&name=chat", lambda call: call.score <= 0.1 and call.name == "chat" and
        call.kind == "sort"),
    ("langfuse", "score=helpful=0.5", lambda call: call.score == 0.5 and call.kind == "sort"),
    ("langfuse", "score=good=true&from=2026-11-03", lambda call: call.n % 2 == 0 and call.n >= 6),
    ("langfuse", "score=mood=calm", lambda call: call.n // 3 % 2 == 0),
    ("mlflow", "tag=env=beta", lambda call: call.tags[-1] == "beta"),
    ("mlflow", "score=helpful>=0.8", lambda call: call.score >= 0.8),
    ("mlflow", "score=helpful<=0.2&name=chat", lambda call: call.score <= 0.2 and call.name == "chat"),
    ("mlflow", "score=good=true", lambda call: call.n % 2 == 0),
    ("mlflow", "name=Tom%27s %26 co", lambda call: False),
]  # fmt: skip


BY_SERVER = [(kind, text, fits) for place, text, fits in FILTERS for kind in BASE if place in {"both", kind}]


@pytest.mark.parametrize(("server", "filters", "fits"), BY_SERVER, indirect=["server"])
def test_filters_are_applied_by_the_server(
    server: LogServer, filters: str, fits: Callable[[Call], bool], tmp_path: Path
) -> None:
    found = fetched(server, tmp_path, filters)
    assert sorted(ids(found.path)) == expected(server, fits) and found.n_new == found.n_calls


@pytest.mark.parametrize(
    ("damage", "filters"),
    [("none", ""), ("none", "score=helpful>=0"), ("a cut line", ""), ("no progress", ""), ("old progress", "")],
)
def test_a_stopped_run_continues_without_a_loss_or_a_repetition(
    damage: str, filters: str, server: LogServer, tmp_path: Path
) -> None:
    server.fault, server.fault_from = 403, 6
    with pytest.raises(AuthError):
        fetched(server, tmp_path, filters)
    (path,) = tmp_path.glob("*.jsonl")
    progress, first = path.with_suffix(".progress"), ids(path)
    assert 0 < len(first) < 48 and json.loads(progress.read_bytes())[2]
    if damage == "a cut line":  # the page was not synced, so that the progress has the page before
        path.write_bytes(path.read_bytes()[:-40])
    if damage in {"a cut line", "no progress"}:
        progress.unlink()
    if damage == "old progress":
        progress.write_text(json.dumps([*json.loads(progress.read_bytes())[:2], cursor_at(7)]))
    server.fault_from = 10**9
    n = len(server.asked)
    found = fetched(server, tmp_path, filters)
    whole = expected(server, lambda call: not filters or server.kind == "mlflow" or call.kind == "sort")
    assert sorted(ids(path)) == whole and found.n_calls == len(whole) == len(set(ids(path)))
    if damage == "none":
        assert found.n_new == len(whole) - len(first)
        start = next(asked for _, way, asked in server.asked[n:] if way.endswith(("observations", "search", "scores")))
        assert start.get("cursor") or start.get("page_token")


def test_a_later_run_asks_only_for_new_calls(server: LogServer, tmp_path: Path) -> None:
    for call in server.calls[-2:]:
        call.finished = False
    first = fetched(server, tmp_path)
    assert first.n_new == (46 if server.kind == "langfuse" else 23)
    until = json.loads(first.path.with_suffix(".progress").read_bytes())[1]
    now = datetime.fromisoformat(until)
    for call in server.calls[-2:]:  # it began before the first run, and ended after it
        call.finished, call.start = True, now - LATE / 2
    n = len(server.asked)
    again = fetched(server, tmp_path)
    assert again.n_new == (2 if server.kind == "langfuse" else 1) and len(set(ids(again.path))) == again.n_calls
    since = now - LATE
    sent = json.dumps(server.asked[n:])
    assert since.isoformat()[:19] in sent if server.kind == "langfuse" else str(round(since.timestamp() * 1000)) in sent
    assert fetched(server, tmp_path).n_new == 0
    again.path.unlink()  # the progress alone says nothing
    assert fetched(server, tmp_path).n_new == again.n_calls


FAULTS: list[tuple[str, int, bytes, type[TuneworthyError], str]] = [
    ("keys", 401, b"You are not authenticated: KEY", AuthError, "Check the variables of the keys"),
    ("no such address", 404, b"<html>KEY</html>", UserError, "Check address and filters"),
    ("filters", 400, b"KEY", UserError, "Check address and filters"),
    ("rate", 429, b'{"message": "slow down KEY"}', OutsideFault, "Wait a minute"),
    ("server", 503, b"KEY", OutsideFault, "Wait a minute"),
    ("timeout", 0, b"", OutsideFault, "did not answer"),
    ("a page for people", 200, b"<html>KEY</html>", UserError, "not as such a server"),
    ("other JSON", 200, b'{"data": "KEY", "traces": "KEY"}', UserError, "not as such a server"),
    ("redirect", 302, b"", UserError, "not as such a server"),
]  # fmt: skip


@pytest.mark.parametrize("row", FAULTS, ids=[row[0] for row in FAULTS])
def test_a_fault_of_the_server_is_an_error_with_a_next_step_and_no_key(
    row: tuple[str, int, bytes, type[TuneworthyError], str],
    server: LogServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, status, body, error, step = row
    monkeypatch.setattr(connectors, "TIMEOUT_S", 0.2)
    elsewhere = LogServer(server.kind)  # it would wait for ever
    server.headers = {"location": f"{elsewhere.address}/api"} if status == 302 else {}
    # MLflow's client first asks for the experiment
    server.fault, server.fault_from = status, int(server.kind == "mlflow")
    server.body = body.replace(b"KEY", SECRET.encode())
    with pytest.raises(error, match=step) as raised:
        fetched(server, tmp_path)
    server.release.set()
    elsewhere.server_close()
    shown = str(raised.value) + "".join(capfd.readouterr())
    assert SECRET not in shown and raised.value.__cause__ is None and raised.value.__context__ is None
    assert len([*tmp_path.glob("*.jsonl")]) == 1 and not [*tmp_path.glob("*.progress")]


def test_an_address_that_nobody_serves_is_an_error_that_names_the_variable(
    server: LogServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = {"langfuse": "LANGFUSE_BASE_URL", "mlflow": "MLFLOW_TRACKING_URI"}[server.kind]
    monkeypatch.setenv(name, "http://ada:hunter2222@127.0.0.1:9")
    with pytest.raises(OutsideFault, match=name) as raised:
        fetched(server, tmp_path)
    assert "hunter2222" not in str(raised.value)
    for value, message in (("", "must be set"), ("file:///tmp/x", "the address with http:// or https://")):
        monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=f"{name}.*{message}"):
            fetched(server, tmp_path)
    monkeypatch.setattr("tuneworthy.extras.find_spec", lambda _: None)
    with pytest.raises(MissingPackage, match=rf"tuneworthy\[{server.kind}\]"):
        fetched(server, tmp_path)
    assert server.asked == []


@pytest.mark.parametrize("endless", ["cursor", "page"])
@pytest.mark.parametrize("filters", ["", "score=helpful>=0"])
def test_a_log_without_an_end_is_noticed(
    endless: str, filters: str, server: LogServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connectors, "MAX_REPEATED", 3)
    server.endless = endless
    with pytest.raises(OutsideFault, match="again and again"):
        fetched(server, tmp_path, filters)
    assert len(server.asked) < 40


@pytest.mark.parametrize("filters", [
    f"langfuse://{PUBLIC}:{SECRET}@host/", f"langfuse:{SECRET}", "langfuse:nmae=x", "langfuse:name=a&name=b",
    "langfuse:name=", "langfuse:tag=a&tag=", f"langfuse:from={SECRET}", "langfuse:score=helpful",
    "langfuse:score=helpful>=good", "langfuse:score=helpful>0.8", "langfuse:score=mood=calm,angry",
    "langfuse:experiment=support", "mlflow:", "mlflow:name=tickets", "mlflow:experiment=support&tag=prod",
    "mlflow:experiment=support&score=a`b=true", "mlflow:experiment=support&name=%22 OR",
])  # fmt: skip
def test_a_source_that_cannot_be_asked_for_is_an_error_without_its_values(filters: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown, missing, set twice or malformed\. Write, for example") as raised:
        local_calls(filters, tmp_path)
    assert SECRET not in str(raised.value) and not [*tmp_path.iterdir()]


def test_an_experiment_that_does_not_exist_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with log_server("mlflow", monkeypatch), pytest.raises(UserError, match="no such experiment"):
        local_calls("mlflow:experiment=suport", tmp_path)


def test_a_file_is_no_source(tmp_path: Path) -> None:
    for text in ("calls.jsonl", "langfuse", "C:/langfuse.jsonl"):
        assert local_calls(text, tmp_path) == (Path(text), [])


def test_spans_in_a_store_of_another_address_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with log_server("mlflow", monkeypatch) as server:
        for call in server.calls[8:10]:
            call.finished = None
        with pytest.raises(UserError, match="trace t004 are not on the tracking server"):
            fetched(server, tmp_path)


def test_a_trace_that_lost_its_spans_is_counted_among_the_calls_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log_server("mlflow", monkeypatch) as server:
        server.calls[8].session = "lost"
        found = fetched(server, tmp_path)
    read = read_calls(found.path)
    assert found.n_calls == 24 and read.n_calls == 46
    assert read.skipped["the span is not a call of a model"] == 24  # 23 chains, and the trace


def test_a_sample_of_cases_is_drawn_from_a_servers_log(server: LogServer, tmp_path: Path) -> None:
    out = tmp_path / "cases.jsonl"
    command = [
        "cases",
        "sample",
        "--from",
        BASE[server.kind],
        "--n",
        "10",
        "--out",
        str(out),
        "--project",
        str(tmp_path),
    ]
    assert invoke(command) == 0
    assert len(out.read_bytes().splitlines()) == 10 and SECRET not in out.read_text()
