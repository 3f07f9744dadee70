"""The reads of the views `verdict`, `history`, `data` and `live`: equal to the command line, without hidden answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from tests.ladder.simulations import write_simulation
from tests.report.report_projects import EVIDENCE, report_project
from tuneworthy.cli import invoke
from tuneworthy.cli.label_queues import QUEUES, LabelRequest
from tuneworthy.dataset.card import card_of
from tuneworthy.dataset.corrections import Correction, write_correction
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.ladder.record import read_record, write_record
from tuneworthy.people.review_log import content_of
from tuneworthy.report.card import document
from tuneworthy.report.names import names_of
from tuneworthy.store import Folder
from tuneworthy.train.phases import TrainingState
from tuneworthy.web.run_views import content_of as verdict_content
from tuneworthy.web.security import Access, Gate
from tuneworthy.web.server import READS, WRITES, create_app
from tuneworthy.web.state import UiState

MODELS = {"weak": "answer(request, 0.55)", "better": "answer(request, 0.93)"}
TRAFFIC = "[economics]\nrequests_per_month = {}\n"


def state_of(root: Path, labeller: str = "ana") -> UiState:
    return UiState(root, labeller, "engineer", lambda kind: None, dict)  # type: ignore[arg-type, return-value]


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two models that was run and decided."""
    root = write_simulation(
        tmp_path_factory.mktemp("views") / "world", MODELS, n_cases=160, rungs=["baseline", "prompt", "model"]
    )
    assert invoke(["run", "--project", str(root)]) == 0
    invoke(["decide", "--project", str(root)])
    return root


@pytest.fixture
def world(decided: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(decided, tmp_path / "world"))


def read(root: Path, name: str, **query: Any) -> Any:
    answer = TestClient(create_app(state_of(root))).get(f"/api/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def decide(root: Path, capsys: pytest.CaptureFixture[str]) -> bytes:
    capsys.readouterr()
    invoke(["decide", "--json", "--project", str(root)])
    return same(json.loads(capsys.readouterr().out))


def same(document: Any) -> bytes:
    """The document as `decide --json` writes it."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def edit(root: Path, *pairs: tuple[str, str]) -> None:
    path = root / "tuneworthy.toml"
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def with_price(name: str, line: str) -> tuple[str, str]:
    return f'function = "world.py:{name}"\n', f'function = "world.py:{name}"\n{line}\n'


def test_the_verdict_without_changes_is_byte_equal_to_decide(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = (world / ".tuneworthy" / "verdict.json").read_bytes()
    found = read(world, "verdict")
    assert (world / ".tuneworthy" / "verdict.json").read_bytes() == stored, "a reader stored a verdict"
    assert same(found["verdict"]) == decide(world, capsys)
    assert found["lines"] == "" and found["repeat"] is False


CHANGES = {
    "traffic": ({"traffic": "250000"}, [("[ladder]", TRAFFIC.format(250000) + "[ladder]")], False),
    "price": (
        {"input:better": "3.5", "output:better": "14"},
        [with_price("better", "input_usd_per_mtok = 3.5\noutput_usd_per_mtok = 14.0")],
        False,
    ),
    "price_and_traffic": (
        {"traffic": "9000000", "input:weak": "0.1", "output:weak": "0.4"},
        [
            ("[ladder]", TRAFFIC.format(9000000) + "[ladder]"),
            with_price("weak", "input_usd_per_mtok = 0.1\noutput_usd_per_mtok = 0.4"),
        ],
        False,
    ),
    "lower_target": ({"target": "0.5"}, [("target = 0.9", "target = 0.5")], True),
    "higher_target": ({"target": "0.99"}, [("target = 0.9", "target = 0.99")], True),
    "target_and_traffic": (
        {"target": "0.97", "traffic": "40000"},
        [
            ("target = 0.9", "target = 0.97"),
            ("[ladder]", TRAFFIC.format(40000) + "[ladder]"),
        ],
        True,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_value_gives_the_verdict_of_decide_with_that_value_in_the_file(
    name: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, edits, repeats = CHANGES[name]
    before, found = read(world, "verdict"), read(world, "verdict", **query)
    assert found["repeat"] is repeats
    assert found["verdict"] != before["verdict"], "the change changes nothing, so that the test cannot fail"
    edit(world, *edits)
    if repeats:
        assert invoke(["run", "--yes", "--project", str(world)]) == 0
    assert same(found["verdict"]) == decide(world, capsys)


def test_the_lines_to_paste_give_the_shown_verdict(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(world, "verdict", traffic="123456")
    path = world / "tuneworthy.toml"
    path.write_text(f"{path.read_text()}\n{found['lines']}\n")
    assert same(found["verdict"]) == decide(world, capsys)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"target": "much"}, "'much' is not a number"),
        ({"target": "1.5"}, "task.target"),
        ({"traffic": "-1"}, "requests_per_month"),
        ({"input:none": "1"}, "no model 'none'"),
        ({"margin": "0.1"}, "'margin' is no value"),
        ({"input": "1"}, "'input' is no value"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(query: dict[str, str], words: str, world: Path) -> None:
    answer = TestClient(create_app(state_of(world))).get("/api/verdict", params=query)
    assert answer.status_code == 409 and words in answer.text


def test_a_project_without_a_run_gets_the_command(tmp_path: Path) -> None:
    root = write_simulation(tmp_path / "world", MODELS, n_cases=40)
    answer = TestClient(create_app(state_of(root))).get("/api/verdict")
    assert answer.status_code == 409 and "tuneworthy run" in answer.json()["hint"]
    assert read(root, "history")["table"]["rows"] == []


def test_the_verdict_follows_an_edit_of_the_cases(world: Path) -> None:
    client = TestClient(create_app(state_of(world)))
    assert client.get("/api/verdict").json()["stale"] == []
    edit(world, ("Name the colour.", "Name the colour, please."))
    assert client.get("/api/verdict").json()["stale"] == ["the prompt has changed"]


def test_a_warm_answer_takes_less_than_300_ms(world: Path) -> None:
    client, times = TestClient(create_app(state_of(world))), []
    for target in ("0.97", "0.97", "0.96", "0.95", "0.98"):
        start = time.process_time()  # the machine of the tests may be busy
        assert client.get("/api/verdict", params={"target": target}).status_code == 200
        times.append(time.process_time() - start)
    assert sorted(times)[len(times) // 2] < 0.3, times


def test_gates_have_their_numbers_and_reasons_to_train_their_status(world: Path) -> None:
    found = read(world, "verdict")
    gates = found["gates"][0]
    names = [row[0] for row in gates["table"]["rows"]]
    evidence = dict(zip(names, gates["evidence"], strict=True))
    score = next(row["score"] for row in json.loads((world / ".tuneworthy/run.json").read_bytes())["rungs"])
    assert evidence["baseline"] == [["score", f"{score:.4g}"]]
    assert not any(value in {"null", "{}", "[]"} for rows in gates["evidence"] for _, value in rows)
    assert {row[1] for row in found["training"]["rows"]} <= {"measured", "refuted", "unknown"}
    assert [one["label"] for one in found["recommendations"]] == ["Recommendation", "Best within today's bill"]
    assert found["next"]["why"] or found["next"]["command"]


@pytest.mark.parametrize("name", EVIDENCE)
def test_each_answer_has_the_options_recommendations_and_gates_of_its_verdict(name: str, tmp_path: Path) -> None:
    made = report_project(name, tmp_path / "project")
    verdict = made.verdict.verdict
    found = verdict_content(made.project, made.record, verdict, {})
    json.dumps(found, allow_nan=False)
    assert found["outcome"] == verdict.outcome and found["verdict"] == verdict.to_dict()
    names = names_of(made.record)
    for table in found["options"]:
        assert len(table["rows"]) == len(verdict.options)
        best = None if table["best"] is None else table["rows"][table["best"]][0]
        assert best in {None, names.get(str(verdict.recommendation)), verdict.recommendation}
        assert (best is None) is (verdict.recommendation is None)
    shown = [one["option"] for one in found["recommendations"]]
    assert shown == [names.get(one, one) if one else "" for one in (verdict.recommendation, verdict.best_within_bill)]
    gates = [row[0] for part in found["gates"] for row in part["table"]["rows"]]
    assert gates == [gate.gate for gate in verdict.gates]
    assert all(len(part["evidence"]) == len(part["table"]["rows"]) for part in found["gates"])
    assert found["valid_until"] == verdict.valid_until and found["lines"] == ""


def columns(found: Any) -> list[dict[str, str]]:
    keys = [one["key"] for one in found["table"]["columns"]]
    return [dict(zip(keys, row, strict=True)) for row in found["table"]["rows"]]


def test_the_history_has_every_run_with_the_paired_difference_and_what_changed(world: Path) -> None:
    edit(world, ("ladder]\nbaseline", "ladder]\nbudget_usd = 5\nbaseline"))
    edit(world, (", 'model'", ""))
    assert invoke(["run", "--rung", "prompt", "--project", str(world)]) in {0, 2}
    edit(world, ('system = "Name the colour."', 'system = "Name one colour."'), ("'prompt'", "'prompt', 'model'"))
    assert invoke(["run", "--project", str(world)]) == 0
    assert invoke(["run", "--quick", "--project", str(world)]) == 4
    rows = columns(read(world, "history"))
    assert [row["n"] for row in rows] == ["40 dev", "160", "160", "160"]
    newest = rows[1]
    assert "the prompt has changed" in newest["changed"] and newest["both"] == "160"
    assert re.fullmatch(r"[+-]\d+\.\d", newest["delta"]) and newest["delta_ci"].startswith("[")


def test_the_history_compares_only_cases_that_both_runs_answered(world: Path) -> None:
    assert invoke(["run", "--project", str(world)]) == 0
    rows = columns(read(world, "history"))
    assert rows[0]["both"] == "160" and rows[0]["delta"] == "+0.0" and rows[0]["changed"] == "nothing"
    for path in (world / ".tuneworthy").glob("responses*"):
        path.unlink()
    rows = columns(read(world, "history"))
    assert "delta" not in rows[0] or rows[0]["delta"] == "–"
    assert rows[0]["score"] == rows[1]["score"], "the score is that of the record"


def test_a_damaged_record_of_the_history_is_refused_and_doctor_moves_it_aside(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (world / ".tuneworthy" / "runs").glob("*.json")
    path.write_text('{"task": 1')
    answer = TestClient(create_app(state_of(world))).get("/api/history")
    assert answer.status_code == 409 and path.name in answer.json()["error"]
    assert invoke(["doctor", "--project", str(world)]) == 2
    assert "missing from the history" in capsys.readouterr().out
    assert invoke(["doctor", "--repair", "--project", str(world)]) == 0
    assert columns(read(world, "history"))[0]["n"] == "160", "the last run is known without the history"


def test_a_run_keeps_no_answer_to_a_case_in_the_history(world: Path) -> None:
    (path,) = (world / ".tuneworthy" / "runs").glob("*.json")
    kept, last = (json.loads(one.read_bytes()) for one in (path, world / ".tuneworthy" / "run.json"))
    assert last["dev_cases"] and not kept["dev_cases"]
    assert any(row["dev_answers"] for row in last["rungs"]) and not any(row["dev_answers"] for row in kept["rungs"])


def test_no_view_shows_an_answer_to_a_test_case(tmp_path: Path) -> None:
    marker = "zebra-marker-77"
    root = write_simulation(
        tmp_path / "world",
        {"weak": f"'{marker} ' + answer(request, 0.55)", "better": "answer(request, 0.93)"},
        n_cases=60,
        rungs=["baseline", "model"],
    )
    path = root / "cases.jsonl"
    path.write_text(path.read_text().replace("item 7 ", "item 7 planted-question "))
    assert invoke(["run", "--project", str(root)]) == 0
    assert marker.encode() in b"".join(one.read_bytes() for one in (root / ".tuneworthy").glob("responses*"))
    client = TestClient(create_app(state_of(root)))
    for name in ("verdict", "history", "data", "live"):
        text = client.get(f"/api/{name}").text
        assert marker not in text and "planted-question" not in text, name
    assert not (root / ".tuneworthy" / "revealed.json").exists()


def training_rows(root: Path) -> list[dict[str, Any]]:
    """Rows for a build: some twice, some that are cases, some refusals, and one with an address."""
    rows = [json.loads(line) for line in (root / "examples.jsonl").read_text().splitlines()][:160]
    cases = [json.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]
    chats = [
        (f"Write about item {i} to ada{i}@example.org", "I'm sorry, but I can't help with that.") for i in range(4)
    ]
    chats += [(f"{case['input']}", case["expected"]) for case in cases[:20]]
    return [
        *rows,
        *rows[:120],
        *({"messages": [turn("user", question), turn("assistant", answer)]} for question, answer in chats),
    ]


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.fixture(scope="module")
def built(decided: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with two versions of training data; from the second, a person dropped two rows."""
    root = Path(shutil.copytree(decided, tmp_path_factory.mktemp("data") / "world"))
    (root / "logs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in training_rows(root)))
    for files in ([str(root / "logs.jsonl")], []):
        assert invoke(["data", "build", *files, "--unsafe", "--project", str(root)]) == 0
        version = latest_version(Folder(root))
        assert version is not None
        for row in list(version.examples())[:2]:
            drop = Correction(row=content_of(row), version=version.id, reviewer="ben", decision="drop")
            write_correction(root / "corrections.jsonl", drop)
    return root


def test_the_funnel_starts_with_the_rows_read_and_ends_with_the_rows_kept(built: Path) -> None:
    found = read(built, "data")
    funnel = columns({"table": found["tables"][0]})
    version = latest_version(Folder(built))
    assert version is not None and found["version"] == version.id and len(found["versions"]) == 2
    assert funnel[0]["check"] == "import" and funnel[0]["n_in"] == str(version.recipe.input.n_read)
    assert funnel[-1]["n_out"] == str(version.n_rows)
    for before, after in pairwise(funnel):
        assert before["n_out"] == after["n_in"]
    dropped = {row["check"]: int(row["dropped"]) for row in funnel[1:]}
    assert {one["check"]: 0 for one in found["reasons"]}.keys() == {name for name, n in dropped.items() if n}
    assert sum(one["n"] for one in found["reasons"]) == sum(dropped.values())
    assert columns({"table": found["sources"]})[0]["name"] == "logs.jsonl"
    card = card_of(version)
    for gate in ("size: 3 rows", "size: 3 rows."):
        (warning, *_) = document(replace(card, unsafe=(gate,))).warnings
        assert warning == "This version was frozen although a gate failed: size: 3 rows."


def test_an_older_version_can_be_chosen_and_an_unknown_one_is_refused(built: Path) -> None:
    newest, oldest = (one["id"] for one in read(built, "data")["versions"])
    assert read(built, "data", version=oldest)["version"] == oldest != newest
    answer = TestClient(create_app(state_of(built))).get("/api/data", params={"version": "nothing"})
    assert answer.status_code == 409
    assert answer.json()["hint"] == "Use the latest version, or a longer part of the ID."


def test_dropped_rows_come_in_pages_with_reason_and_masked_text(built: Path) -> None:
    rows, page = [], 0
    part = next(one for one in read(built, "data")["reasons"] if one["reason"] == "exact_duplicate")
    while len(rows) < part["n"]:
        found = read(built, "data/dropped", check=part["check"], reason=part["reason"], page=page)
        assert 0 < len(found["rows"]) <= found["size"] and found["n"] == part["n"]
        rows, page = [*rows, *found["rows"]], page + 1
    assert page > 1 and len({row["source"] for row in rows}) == part["n"]
    assert found["keep"] == '[data.policy]\nexact_duplicate = "report"'
    refused = read(built, "data/dropped", check="refusal", reason="refused")
    assert all("[EMAIL_" in row["question"] and "@" not in row["question"] for row in refused["rows"])


def test_the_text_of_a_row_that_is_a_case_stays_hidden(built: Path) -> None:
    parts = [one for one in read(built, "data")["reasons"] if one["check"] in {"contamination", "held_out"}]
    assert parts, "nothing overlaps, so that the test cannot fail"
    questions = [json.loads(line)["input"] for line in (built / "cases.jsonl").read_text().splitlines()]
    for part in parts:
        found = read(built, "data/dropped", check=part["check"], reason=part["reason"])
        assert found["keep"] == "" and not any(row["answer"] for row in found["rows"])
        assert not any(question in json.dumps(found) for question in questions)


def restore(root: Path, labeller: str = "ana", **body: str) -> Any:
    return TestClient(create_app(state_of(root, labeller))).post("/api/data/restore", json=body)


def test_a_restored_row_is_in_the_next_build_and_the_log_is_that_of_the_terminal(built: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(built, tmp_path / "world"))
    found = read(root, "data")
    dropped = read(root, "data/dropped", check="corrections", reason="dropped_by_person")["rows"]
    row = dropped[0]["row"]
    assert not dropped[0]["restored"] and row
    assert restore(root, version=found["version"], row=row).status_code == 200
    line = json.loads((root / "corrections.jsonl").read_text().splitlines()[-1])
    assert (line["row"], line["decision"], line["reviewer"]) == (row, "open", "ana")
    assert read(root, "data/dropped", check="corrections", reason="dropped_by_person")["rows"][0]["restored"]
    again = restore(root, version=found["version"], row=row)
    assert again.status_code == 409 and "restored already" in again.json()["error"]
    assert invoke(["data", "build", "--unsafe", "--project", str(root)]) == 0
    version = latest_version(Folder(root))
    assert version is not None and row in {content_of(one) for one in version.examples()}
    before = latest_version(Folder(built))
    assert before is not None and row not in {content_of(one) for one in before.examples()}


@pytest.mark.parametrize("row", ["", "0" * 64, "../../etc/passwd"])
def test_a_row_that_no_person_dropped_is_not_restored(row: str, built: Path) -> None:
    log = (built / "corrections.jsonl").read_bytes()
    assert restore(built, version=read(built, "data")["version"], row=row).status_code == 409
    assert (built / "corrections.jsonl").read_bytes() == log


# Parameters of all reads, and fields of all writes.
QUERIES = {
    "data": ("version",),
    "data/dropped": ("version", "check", "reason", "page"),
    "failures": ("a", "b", "show", "reason", "tag", "group", "search", "side", "sort", "offset"),
    "failures/case": ("case", "a", "b"),
    "failures/text": ("case", "option", "field", "offset"),
    "history": ("page",),
    "live": ("page",),
    "project": ("page",),
    "queues": ("page",),
    "verdict": ("target", "traffic", "input:better"),
}
BODIES = {
    "data/restore": ("version", "row"),
    "failures/reveal": ("a", "b", "show", "reason", "tag", "group", "search", "side"),
    "queue/open": ("kind",),
    "queue/answer": ("kind", "row", "hash", "line", "seconds", "comment", "disputed"),
    "queue/undo": ("kind",),
}
TEXTS = ("9" * 20, "9" * 5_000, "-1", "²", "1e999", "nan", "\0", "../../x", "passage." + "9" * 5_000, "a\nb", "[", "{}")
ODD = (
    "[]",
    "[1]",
    '["a"]',
    "{}",
    '{"a": 1}',
    "null",
    "0",
    "-1",
    "1.5",
    "1e308",
    "9" * 400,
    '[[["a"]]]',
    "true",
    "-1e-9",
)
GOOD_BODY = {"kind": "cases", "row": "c1", "line": "a", "hash": "", "version": ""}


@pytest.fixture
def gated(built: Path, tmp_path: Path) -> TestClient:
    """The application behind its guards, with its queues, and with answers that are loaded."""
    root = Path(shutil.copytree(built, tmp_path / "world"))
    state = UiState(root, "ana", "engineer", lambda kind: QUEUES[kind](LabelRequest(root, "ana", every=True)), dict)
    access = Access(token=(token := "t" * 43), role="engineer", host="127.0.0.1", port=80)
    head = {"Authorization": f"Bearer {token}", "Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    client = TestClient(Gate(create_app(state), access), "http://127.0.0.1", headers=head)
    while "loading" in client.get("/api/failures").json():
        state.cache["failures"]._thread.submit(int).result()
    return client


def test_an_odd_value_in_a_query_is_answered_and_never_a_fault(gated: TestClient) -> None:
    assert QUERIES.keys() == READS.keys()
    case = gated.get("/api/failures").json()["rows"][0]["id"]
    for name, parameters in QUERIES.items():
        good = {"case": case, "option": "baseline", "field": "passages"} if name == "failures/text" else {}
        for parameter in parameters:
            for text in TEXTS if len(parameters) > 1 or name == "data" else TEXTS[:2]:
                answer = gated.get(f"/api/{name}", params={**good, parameter: text})
                is_number = parameter in {"page", "offset"} and name not in {"history", "live", "project", "queues"}
                expected = {400} if is_number else {200, 409}
                assert answer.status_code in expected, (name, parameter, text[:40], answer.text)
                assert answer.status_code == 200 or answer.json()["error"]


def test_a_value_of_the_wrong_type_in_a_body_is_refused_with_its_field(gated: TestClient) -> None:
    assert BODIES.keys() == WRITES.keys()
    types = {"seconds": {"0", "1.5"}, "disputed": {"true"}}
    for name, fields in BODIES.items():
        for field in fields:
            for odd in {*ODD} - types.get(field, set()):
                body = json.dumps({**GOOD_BODY, field: "?"}).replace('"?"', odd)
                answer = gated.post(f"/api/{name}", content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code == 400, (name, field, odd, answer.text)
                assert field in answer.json()["error"] or "not valid JSON" in answer.json()["error"]
            for text in TEXTS:
                answer = gated.post(f"/api/{name}", json={**GOOD_BODY, field: text})
                assert answer.status_code in ({400} if field in types else {200, 409}), (name, field, answer.text)
        assert (
            gated.post(f"/api/{name}", content="[1]", headers={"Content-Type": "application/json"}).status_code == 400
        )


def test_without_training_data_the_view_names_the_command(world: Path) -> None:
    assert read(world, "data") == {"version": "", "command": "tuneworthy data build"}


def unfinished(root: Path, rung: str = "model") -> None:
    """Write the record of a run in a rung with 100 answers, as `run` does, with the process of the tests."""
    record = read_record(Folder(root))
    assert record is not None
    rows = [row for row in record.rungs if row.rung != rung]
    with closing(sqlite3.connect(root / ".tuneworthy" / "responses.sqlite")) as store:
        ((since,),) = store.execute("SELECT created FROM responses ORDER BY created DESC LIMIT 1 OFFSET 99")
    write_record(Folder(root), replace(record, rungs=rows, at=(rung, since, str(os.getpid()))))


def test_a_run_in_progress_shows_rung_cost_progress_and_candidates(world: Path) -> None:
    unfinished(world)
    folder = Folder(world)
    with folder.lock(lambda line: None):
        found = read(world, "live")
        assert found["running"] and str(os.getpid()) in found["process"]
        run, facts = found["run"], dict(found["run"]["facts"])
        assert run["running"] and (run["done"], run["planned"]) == (2, 3)
        assert facts["Rung"] == "model (3 of 3)" and facts["Finished rungs"] == "baseline, prompt"
        assert facts["Cost of the project so far"] == "$0" and facts["Time left"].endswith(
            "; stored answers take no time"
        )
        assert int(facts["New answers in this rung"]) >= 100
        assert run["candidates"]["rows"] and [row[0] for row in run["rungs"]["rows"]] == ["baseline", "prompt"]
    found = read(world, "live")
    assert not found["running"] and not found["run"]["running"] and "Stopped at the rung model" in found["run"]["state"]


def test_reading_a_run_in_progress_takes_no_lock(world: Path) -> None:
    unfinished(world)
    before = (world / ".tuneworthy" / "lock").stat().st_mtime_ns
    read(world, "live")
    assert (world / ".tuneworthy" / "lock").stat().st_mtime_ns == before
    with Folder(world).lock(pytest.fail):
        pass


def test_a_training_shows_its_phase_and_a_killed_one_its_next_step(world: Path) -> None:
    folder = Folder(world)
    state = TrainingState(phase="train", done=30, total=120, finished={"check": 70.0})
    folder.write("training", state)
    with folder.lock(lambda line: None):
        training = read(world, "live")["training"]
        assert training["running"] and (training["done"], training["planned"]) == (30, 120)
        assert dict(training["facts"])["Progress"] == "30 of 120" and training["next"] == ""
    assert read(world, "live")["training"]["next"] == "tuneworthy train"
    assert read(world, "live")["run"] is None


def test_the_time_left_of_a_phase_follows_its_pace(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, client, clock = Folder(world), TestClient(create_app(state_of(world))), [1000.0]
    monkeypatch.setattr("tuneworthy.web.run_views.time", SimpleNamespace(time=lambda: clock[0]))
    with folder.lock(lambda line: None):
        for done in (10, 20):
            folder.write("training", TrainingState(phase="train", done=done, total=120))
            facts = dict(client.get("/api/live").json()["training"]["facts"])
            clock[0] += 60.0
    assert facts["Time left in this phase"] == "at most about 10 min"
