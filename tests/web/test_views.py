"""The reads of the views `verdict` and `history`: equal to the command line, and without a hidden answer."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient
from tests.ladder.simulations import write_simulation

from tuneworthy.cli import invoke
from tuneworthy.web.server import create_app
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
    assert evidence["baseline"] == [["score", str(score)]]
    assert {row[1] for row in found["training"]["rows"]} <= {"measured", "refuted", "unknown"}
    assert [one["label"] for one in found["recommendations"]] == ["Recommendation", "Best within today's bill"]
    assert found["next"]["why"] or found["next"]["command"]


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
    for name in ("verdict", "history"):
        text = client.get(f"/api/{name}").text
        assert marker not in text and "planted-question" not in text, name
    assert not (root / ".tuneworthy" / "revealed.json").exists()
