"""`tuneworthy cases`: draw, and see why a case failed without spoiling test."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.ladder.commands.case_answers import StoredAnswer, StoredAnswers

TOPICS = (
    "rain on the roof",
    "a broken lamp",
    "the price of bread",
    "how tall trees grow",
    "trains at night",
    "cold tea",
)


def logs(path: Path, n: int = 60) -> Path:
    rows = [
        {"messages": [{"role": "user", "content": f"{TOPICS[i % 6]} {'abcdefghij'[i // 6] * 5} {TOPICS[i // 10]}"},
                      {"role": "assistant", "content": "yes" if i % 2 else "no"}]}
        for i in range(n)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_sample_is_drawn_without_answers_and_never_over_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "cases",
        "sample",
        "--from",
        str(logs(tmp_path / "logs.jsonl")),
        "--n",
        "20",
        "--project",
        str(tmp_path),
    ]
    assert invoke([*arguments, "--json"]) == 0
    told = document(capsys)
    rows = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert told["n"] == len(rows) == 20 and not any("expected" in row for row in rows)
    assert invoke(arguments) == 2
    assert "already exists" in capsys.readouterr().err
    again = tmp_path / "again.jsonl"
    assert invoke([*arguments, "--out", str(again)]) == 0
    assert "Then use it with `tuneworthy cases add" in " ".join(capsys.readouterr().out.split())
    drawn = [json.loads(line)["input"] for line in again.read_text().splitlines()]
    assert len(drawn) == 20 and not {*drawn} & {row["input"] for row in rows}


@pytest.fixture(scope="module")
def run_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    models = {"weak": "answer(request, 0.5)", "strong": "answer(request, 0.9)"}
    write_simulation(root, models, n_cases=60, n_examples=210, rungs=["baseline", "model"])
    assert invoke(["run", "--project", str(root)]) == 0
    return root


def stored(root: Path) -> int:
    db = sqlite3.connect(root / ".tuneworthy" / "responses.sqlite")
    try:
        return int(db.execute("SELECT COUNT(*) FROM responses").fetchone()[0])
    finally:
        db.close()


def side(root: Path, name: str) -> str:
    split = json.loads((root / ".tuneworthy" / "split.json").read_text())
    return str(split[name][0]["id"])


def test_the_failed_dev_cases_of_the_best_variant_are_listed_with_reasons(
    run_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stored(run_record)
    assert invoke(["cases", "show", "--json", "--project", str(run_record)]) == 0
    told = document(capsys)
    record = json.loads((run_record / ".tuneworthy" / "run.json").read_text())
    assert (told["on"], told["rung"]) == ("dev", record["best"]["rung"])
    row = next(row for row in record["rungs"] if row["rung"] == told["rung"])
    assert row["dev_answers"] and sum(told["reasons"].values()) == len(told["failed"])
    assert told["n"] == record["n_dev"]
    assert all(one["score"] < 1 for one in told["failed"])
    assert invoke(["cases", "show", "--variant", "baseline", "--project", str(run_record)]) == 0
    assert "dev cases failed according to the grader `exact`." in capsys.readouterr().out
    assert stored(run_record) == before


def test_a_case_that_was_answered_several_times_fails_once_with_its_worst_answer(
    run_record: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failures() -> Any:
        assert invoke(["cases", "show", "--json", "--project", str(run_record)]) == 0
        return document(capsys)

    once, answers = failures(), StoredAnswers.answers

    def thrice(self: StoredAnswers, *which: Any) -> list[StoredAnswer]:
        found = answers(self, *which)
        right = [replace(one, repeat=2, score=1.0, reason="") for one in found]
        return [*right, *found, *(replace(one, repeat=1) for one in found)]

    monkeypatch.setattr(StoredAnswers, "answers", thrice)
    assert failures() == once and once["failed"]


def test_a_dev_case_shows_each_rungs_answer_and_score(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = side(run_record, "dev")
    assert invoke(["cases", "show", case[:8], "--json", "--project", str(run_record)]) == 0
    told = document(capsys)
    assert (told["case"], told["side"], told["hidden"]) == (case, "dev", "")
    assert [one["rung"] for one in told["answers"]] == ["baseline", "model"]
    assert all(one["score"] in {0.0, 1.0} and one["expected"] == told["expected"] for one in told["answers"])
    assert invoke(["cases", "show", case, "--variant", "model", "--project", str(run_record)]) == 0
    out = capsys.readouterr().out
    assert f"{case} (dev)" in out and "model, model/strong: " in out and "baseline" not in out


def test_a_test_case_is_hidden_until_it_is_revealed_and_later_runs_tell_it(
    run_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = side(run_record, "test")
    assert invoke(["cases", "show", case, "--project", str(run_record)]) == 0
    out = capsys.readouterr().out
    assert "question: item" in out and "its answers are hidden" in out and "baseline/weak" not in out
    assert not (run_record / ".tuneworthy" / "revealed.json").exists()
    for _ in range(2):
        assert invoke(["cases", "show", case, "--reveal-test", "--json", "--project", str(run_record)]) == 0
        assert len(document(capsys)["answers"]) == 2
    rows = json.loads((run_record / ".tuneworthy" / "revealed.json").read_text())
    assert [(row["case"], row["command"]) for row in rows] == [(case, "cases show")]
    assert invoke(["run", "--json", "--project", str(run_record)]) == 0
    assert any("Answers to 1 test case have been revealed" in line for line in document(capsys)["notes"])


def test_showing_opens_no_model(run_record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = run_record / "world.py"
    script = world.read_text()
    world.write_text("raise SystemExit('opened')\n")
    try:
        assert invoke(["cases", "show", "--project", str(run_record)]) == 0
    finally:
        world.write_text(script)
    assert "model/strong: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["zzz"], "'zzz' must match exactly one case. Matches: none."),
        (["--variant", "nothing"], "Unknown rung in the last run: 'nothing'."),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    arguments: list[str], words: str, run_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["cases", "show", *arguments, "--project", str(run_record)]) == 2
    assert words in capsys.readouterr().err


def test_without_a_run_there_is_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_simulation(tmp_path, {"weak": "'red'"}, n_cases=60, n_examples=210)
    assert invoke(["cases", "show", "--project", str(root)]) == 2
    assert f"Run `tuneworthy run --project {root}` first" in capsys.readouterr().err


def test_a_quick_run_is_enough_to_see_dev(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = {"weak": "answer(request, 0.3)", "strong": "answer(request, 0.9)"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=210, rungs=["baseline", "model"])
    assert invoke(["run", "--quick", "--project", str(root)]) == 4
    capsys.readouterr()
    assert invoke(["cases", "show", "--json", "--project", str(root)]) == 0
    out, err = capsys.readouterr()
    assert "These answers come from a quick run" in err
    assert (json.loads(out)["rung"], json.loads(out)["n"]) == ("model", 40)
