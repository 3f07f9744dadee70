"""The reads and writes of the view of failures: filters, sorts, windows, parts of texts, and hidden test answers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.web.stored_project import write_project
from tuneworthy.store import Folder
from tuneworthy.web import failures
from tuneworthy.web.server import create_app
from tuneworthy.web.state import UiState

LABELS = ("billing", "refund", "login")
# In every answer to every case: it must not leave the server with a test case.
MARKER = "marker-7f3a"
N = 160


def cases(n: int = N) -> list[dict[str, Any]]:
    return [
        {"id": f"c{i:03}", "input": f"Question {i} on {i * 7919}", "expected": LABELS[i % 3], "tags": [f"t{i % 2}"]}
        for i in range(n)
    ]


def wrong(case: dict[str, Any]) -> str:
    return LABELS[(LABELS.index(case["expected"]) + 1) % 3]


def write_labels(root: Path) -> Path:
    """A label task: A is wrong on every fourth case, B on every fifth; the text says which one answered."""
    rows = cases()
    a = {c["input"]: f"{wrong(c) if i % 4 == 0 else c['expected']} by A {MARKER}" for i, c in enumerate(rows)}
    b = {c["input"]: f"{wrong(c) if i % 5 == 0 else c['expected']} by B {MARKER}" for i, c in enumerate(rows)}
    return write_project(root, rows, {"baseline": a, "prompt": b}, grader='type = "choice"')


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that no test changes."""
    return write_labels(tmp_path_factory.mktemp("labels"))


class Client:
    """Asks the application as a page does."""

    def __init__(self, root: Path) -> None:
        self.state = UiState(root, "ada", "engineer", pytest.fail, dict)
        self.http = TestClient(create_app(self.state))
        self.bodies: list[str] = []

    def get(self, name: str = "failures", status: int = 200, **query: Any) -> Any:
        """Return a read, once the answers are loaded."""
        deadline = time.monotonic() + 60
        while True:
            answer = self.http.get(f"/api/{name}", params=query)
            self.bodies.append(answer.text)
            found = answer.json()
            if "loading" not in found:
                assert answer.status_code == status, found
                return found
            assert time.monotonic() < deadline
            self.state.cache["failures"]._thread.submit(int).result()

    def post(self, **body: Any) -> Any:
        answer = self.http.post("/api/failures/reveal", json=body)
        self.bodies.append(answer.text)
        return answer.json()

    def every_row(self, **query: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            found = self.get(offset=len(rows), **query)
            rows += found["rows"]
            if len(rows) >= found["total"]:
                return rows


@pytest.fixture
def client(shared: Path) -> Client:
    return Client(shared)


def place(row: dict[str, Any]) -> int:
    return int(row["id"][1:])


def test_each_filter_selects_what_it_says_and_the_numbers_agree(client: Client) -> None:
    dev = client.every_row(side="dev")
    assert dev and all(row["side"] == "dev" for row in dev)
    passes = {
        "all": lambda i: True,
        "worse": lambda i: i % 5 == 0 and i % 4,
        "better": lambda i: i % 4 == 0 and i % 5,
        "wrong": lambda i: i % 20 == 0,
    }
    counts = client.get()["counts"]
    for name, is_in in passes.items():
        expected = {place(row) for row in dev if is_in(place(row))}
        assert {place(row) for row in client.every_row(show=name)} == expected
        assert counts[name] == len(expected)
    assert {place(row) % 2 for row in client.every_row(tag="t1")} == {1}
    assert client.get(tag="nothing")["total"] == 0
    assert {row["b"]["reason"] for row in client.every_row(reason="wrong", show="worse")} == {"wrong"}


def test_confusion_groups_are_those_of_b_and_filter(client: Client) -> None:
    groups = dict(map(tuple, client.get()["groups"]))
    dev = client.every_row()
    assert groups and set(groups) <= {f"{label} → {LABELS[(i + 1) % 3]}" for i, label in enumerate(LABELS)}
    assert sum(groups.values()) == sum(place(row) % 5 == 0 for row in dev)
    name = next(iter(groups))
    rows = client.every_row(group=name)
    assert len(rows) == groups[name]
    assert {(row["expected"], row["b"]["text"].split()[0]) for row in rows} == {tuple(name.split(" → "))}
    assert dict(map(tuple, client.get(group=name)["groups"])) == groups  # the other groups stay on offer


@pytest.mark.parametrize("words", ["QUESTION 1", "Refund", "by b", "c01", "login by a"])
def test_the_search_covers_id_question_expected_and_both_answers(words: str, client: Client) -> None:
    texts = {
        row["id"]: [row["id"], row["question"], row["expected"], row["a"]["text"], row["b"]["text"]]
        for row in client.every_row()
    }
    found = {row["id"] for row in client.every_row(search=words)}
    expected = {name for name, parts in texts.items() if any(words.lower() in part.lower() for part in parts)}
    assert found == expected != set()
    assert client.get(search=f"{words} nowhere")["total"] == 0


def test_what_changed_comes_first_and_the_worst_before_the_better(client: Client) -> None:
    rows = client.every_row()
    deltas = [row["b"]["score"] - row["a"]["score"] for row in rows]
    kinds = [(-1, 1, 0).index(int(delta)) for delta in deltas]
    assert kinds == sorted(kinds) and set(kinds) == {0, 1, 2}
    ids = [row["id"] for row in client.every_row(sort="id")]
    assert ids == sorted(ids)
    scores = [row["b"]["score"] for row in client.every_row(sort="score")]
    assert scores == sorted(scores)
    lengths = [len(row["b"]["text"]) for row in client.every_row(sort="length")]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("query", [
    {"a": "absent"}, {"b": "../../etc"}, {"show": "x"}, {"sort": "__proto__"}, {"side": "everything"},
])  # fmt: skip
def test_an_unknown_value_is_refused_and_the_next_request_works(query: dict[str, str], client: Client) -> None:
    assert client.get()["total"]
    assert client.get(status=409, **query)["error"]
    assert client.get()["total"]


def test_test_cases_are_counted_until_they_are_revealed_and_all_that_a_filter_reads_are_recorded(
    tmp_path: Path,
) -> None:
    client = Client(write_labels(tmp_path / "p"))
    found = client.get()
    hidden = found["hidden"]
    state = client.state.cache["failures"]
    test = [case.id for case, is_test in zip(state.cases, state.is_test, strict=True) if is_test]
    assert hidden == len(test) > 0 and found["revealed"] == 0
    for query in ({"side": "test"}, {"side": "all"}, {"search": "Question"}, {"side": "all", "search": test[0]}):
        assert not {row["id"] for row in client.every_row(**query)} & set(test)
        assert client.get(**query)["hidden"] == hidden  # it does not depend on the filter, which would answer questions
    for name in ("failures/case", "failures/text"):
        answer = client.get(name, 409, case=test[0], option="prompt", field="text")
        assert "hidden" in answer["error"]
    seen = "".join(client.bodies)
    assert not any(f'"{one}"' in seen for one in test)
    odd = [one for one in test if int(one[1:]) % 2]
    worse = {one for one in odd if int(one[1:]) % 5 == 0}
    assert worse and client.post(show="worse", tag="t1") == {"revealed": len(odd)}
    rows = json.loads((tmp_path / "p" / ".tuneworthy" / "revealed.json").read_text())
    assert sorted(row["case"] for row in rows) == sorted(odd) and {row["command"] for row in rows} == {"ui"}
    assert {row["id"] for row in client.every_row(side="test")} == set(odd)
    assert {row["id"] for row in client.every_row(side="test", show="worse")} == worse
    assert client.get()["hidden"] == hidden - len(odd) and client.get()["revealed"] == len(odd)
    assert client.get("failures/case", case=odd[0])["answers"][1]["text"]["text"].endswith(MARKER)
    other = next(one for one in test if one not in odd)
    client.get("failures/case", 409, case=other)
    client.post(show="worse", tag="t1")
    assert len(json.loads((tmp_path / "p" / ".tuneworthy" / "revealed.json").read_text())) == len(odd)
    assert client.post(show="worse", search=other.upper()) == {"revealed": 1}
    assert client.get("failures/case", case=other)["id"] == other


def test_a_reveal_records_the_same_cases_whatever_their_answers_are(tmp_path: Path) -> None:
    rows = cases(60)
    right = {row["input"]: row["expected"] for row in rows}
    bad = {row["input"]: f"{wrong(row)} by B {MARKER}" for row in rows}
    clients = [
        Client(
            write_project(tmp_path / f"p{n}", rows, {"baseline": right, "prompt": answers}, grader='type = "choice"')
        )
        for n, answers in enumerate((right, bad))
    ]
    dev = {row["id"] for row in clients[0].every_row(side="dev")}
    assert [client.get(show="worse")["total"] for client in clients] == [0, len(dev)]
    group = clients[1].get()["groups"][0][0]
    filters = [{"show": "worse"}, {"show": "wrong"}, {"reason": "wrong"}, {"group": group}, {"search": MARKER}]
    (one, *others) = sorted({row["id"] for row in rows} - dev)
    for query in [*({**query, "search": one} for query in filters[:-1]), *filters[::-1]]:
        files = [client.state.root / ".tuneworthy" / "revealed.json" for client in clients]
        assert client_reveals(clients, query)
        records = [[row["case"] for row in json.loads(file.read_text())] for file in files]
        assert records[0] == records[1], query
        if query.get("search") == one:
            assert records[0] == [one]
    assert len(records[0]) == 1 + len(others)


def client_reveals(clients: list[Client], query: dict[str, str]) -> bool:
    """Return whether a reveal has the same answer in all projects."""
    return len({str(client.post(**query)) for client in clients}) == 1


def test_scores_are_computed_once_and_a_new_run_or_label_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_labels(tmp_path / "p")
    client, loads = Client(root), list[str]()
    plain = failures.FailureIndex._load
    monkeypatch.setattr(failures.FailureIndex, "_load", lambda self, name: (loads.append(name), plain(self, name))[1])
    before = client.get()
    for query in ({"show": "worse"}, {"search": "x"}, {"a": "prompt", "b": "baseline"}):
        client.get(**query)
    assert sorted(loads) == ["baseline", "prompt"]
    record = root / ".tuneworthy" / "run.json"
    os.utime(record, ns=(1, 1))
    assert client.get()["counts"] == before["counts"] and len(loads) == 4
    first = before["rows"][0]
    lines = (root / "cases.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    changed = [row | {"expected": wrong(row)} if row["id"] == first["id"] else row for row in rows]
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    found = {row["id"]: row for row in client.every_row()}
    assert found[first["id"]]["expected"] != first["expected"]
    assert found[first["id"]]["b"]["score"] != first["b"]["score"]


def test_new_answers_of_another_process_are_noticed_when_it_has_ended(shared: Path) -> None:
    client = Client(shared)
    client.get()
    index = client.state.cache["failures"]
    assert index.is_current
    index.n_stored -= 1
    assert not index.is_current
    with Folder(shared).lock(lambda _: None):
        assert index.is_current


def test_without_a_run_the_view_says_what_to_run_and_works_after_it(tmp_path: Path) -> None:
    root = write_labels(tmp_path / "p")
    record = root / ".tuneworthy" / "run.json"
    content = record.read_bytes()
    record.unlink()
    client = Client(root)
    assert client.get(status=409)["hint"] == "Run `tuneworthy run` first."
    record.write_bytes(content)
    assert client.get()["total"]


def test_a_huge_row_comes_in_parts_that_make_the_whole(tmp_path: Path) -> None:
    rows = cases(60)
    long = " ".join(f"wörd{i}" for i in range(600_000))[:5_000_000]
    answers = {rung: {row["input"]: f"{rung} {long}" for row in rows[:6]} for rung in ("baseline", "prompt")}
    detail = {f"entry {i}": {"score": i % 2, "reason": f"of entry {i}"} for i in range(6_700)}
    documents = [f"# Page {i}\n\n" + f"Page {i} has text. " * 40 for i in range(400)]
    client = Client(write_project(tmp_path / "p", rows, answers, detail=detail, documents=documents))
    client.get()
    assert client.post() == {"revealed": sum(client.state.cache["failures"].is_test)}
    listed = client.get(side="all", sort="length")
    assert max(len(body) for body in client.bodies) < 100_000
    assert all(len(row[key]["text"]) <= failures.SNIPPET for row in listed["rows"] for key in "ab")
    case = listed["rows"][0]["id"]
    found = client.get("failures/case", case=case)
    assert len(json.dumps(found)) < 60_000
    answer = found["answers"][0]
    text, part = answer["text"]["text"], answer["text"]
    while part["next"] < part["length"]:
        part = client.get("failures/text", case=case, option="baseline", field="text", offset=part["next"])
        assert len(part["text"]) <= failures.PART
        text += part["text"]
    assert text == f"baseline {long}"
    passages, more = answer["passages"]["rows"], answer["passages"]
    while more["next"] < more["length"]:
        more = client.get("failures/text", case=case, option="baseline", field="passages", offset=more["next"])
        passages += more["rows"]
    assert len(passages) == 400 and len({row["document"] for row in passages}) == 400
    last = client.get("failures/text", case=case, option="baseline", field=passages[399]["field"])
    assert last["text"].startswith(passages[399]["text"]) and len(last["text"]) == last["length"]
    parts, offset = "", 0
    while True:
        part = client.get("failures/text", case=case, option="baseline", field="detail", offset=offset)
        parts, offset = parts + part["text"], part["next"]
        if offset >= part["length"]:
            break
    assert len(json.loads(parts)) == 6_701
    for field in ("", "passage.400", "passage.x", "name", "__class__"):
        client.get("failures/text", 409, case=case, option="baseline", field=field)


def test_an_option_without_stored_answers_is_shown_without_them(tmp_path: Path) -> None:
    root = write_labels(tmp_path / "p")
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text() + '\n[prompt]\nsystem = "Another prompt."\n')
    client = Client(root)
    found = client.get(b="current")
    assert found["counts"] == {"all": found["total"], "worse": 0, "better": 0, "wrong": 0}
    assert {row["b"]["score"] for row in found["rows"]} == {None}
    detail = client.get("failures/case", case=found["rows"][0]["id"], b="current")
    assert [one["stored"] for one in detail["answers"]] == [True, False]
