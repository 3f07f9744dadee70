"""`tuneworthy cases`: draw, label blind, apply, and see why a case failed without spoiling test."""

from __future__ import annotations

import io
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cases.labelling import read_labels
from tuneworthy.cli import invoke
from tuneworthy.cli.label_terminal import choose, parse_json
from tuneworthy.errors import UserError
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


def say(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Type these lines on stdin."""
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


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


def test_two_labellers_meet_and_their_labels_enter_the_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text("".join(json.dumps({"id": f"c{i}", "input": f"question {i}"}) + "\n" for i in range(4)))
    label = ["cases", "label", "--project", str(tmp_path)]
    say(monkeypatch, "yes", "/skip", "no", "/quit")
    assert invoke([*label, "--labeller", "ada", "--json"]) == 0
    first = document(capsys)
    assert first["given"] == 2 and first["agreement"]["n"] == 0
    say(monkeypatch, "yes", "/decline")
    assert invoke([*label, "--labeller", "ada"]) == 0
    assert "4 of 4 done." in capsys.readouterr().err
    say(monkeypatch, "yes", "yes", "yes", "yes")
    assert invoke([*label, "--labeller", "bob", "--share", "1"]) == 0
    out = capsys.readouterr().out
    assert "The labellers agree on 2 of 4 cases. Agreement is 50.0% [" in out
    assert "Next: tuneworthy cases label " in out and " --apply" in out
    assert invoke([*label, "--apply"]) == 0
    out = capsys.readouterr().out
    assert (
        "(new: 2, already present: " in out
        and out.count("  skipped ") == 2
        and "Edit the file to resolve the conflict" in out
    )
    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    assert sorted(row["expected"] for row in rows if "expected" in row) == ["yes", "yes"]


def test_a_labeller_without_a_name_is_one_line_and_applying_needs_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    (tmp_path / "cases.jsonl").write_text('{"id": "a", "input": "one"}\n')
    label = ["cases", "label", "--project", str(tmp_path)]
    say(monkeypatch, "yes")
    assert invoke([*label, "--labeller", "ada"]) == 0
    monkeypatch.setattr("getpass.getuser", nameless)
    capsys.readouterr()
    assert invoke(label) == 2
    assert "a name with --labeller" in capsys.readouterr().err
    assert invoke([*label, "--apply"]) == 0


def test_cases_that_have_answers_are_labelled_again_only_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cases.jsonl").write_text('{"id": "a", "input": "one", "expected": "x"}\n')
    assert invoke(["cases", "label", "--project", str(tmp_path), "--labeller", "ada"]) == 2
    assert "Use --all to label them a second time" in capsys.readouterr().err
    say(monkeypatch, "y")
    assert invoke(["cases", "label", "--all", "--project", str(tmp_path), "--labeller", "ada"]) == 0
    assert invoke(["cases", "label", "--apply", "--project", str(tmp_path)]) == 0
    assert "cases that already have a different label: 1 (a). Use --overwrite" in capsys.readouterr().out
    assert invoke(["cases", "label", "--apply", "--overwrite", "--project", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "cases.jsonl").read_text())["expected"] == "y"


def test_the_labels_of_a_label_task_are_offered_and_typing_errors_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_simulation(tmp_path, {"weak": "'red'"}, n_cases=60, n_examples=30)
    (root / "cases.jsonl").write_text('{"id": "a", "input": "one"}\n{"id": "b", "input": "two"}\n')
    say(monkeypatch, "gren", "2", "+violet")
    assert invoke(["cases", "label", "--project", str(root), "--labeller", "ada"]) == 0
    assert "'gren' is not one of the 3 known labels. Did you mean 'green'?" in capsys.readouterr().err
    labels = [json.loads(line)["label"] for line in (root / "cases.labels.jsonl").read_text().splitlines()]
    assert labels == ["green", "violet"]


@pytest.mark.parametrize("n_labels", [3, 150])
def test_a_slip_of_the_keyboard_is_no_label_at_any_number_of_labels(
    n_labels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [f"label number {n % n_labels}" for n in range(4 * n_labels)]
    rows = [{"id": f"k{n}", "input": f"known {n}", "expected": label} for n, label in enumerate(known)]
    rows += [{"id": name, "input": name} for name in ("a", "b")]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    say(monkeypatch, "?", "/undo", "/help", "label nmber 1", "label number 1", "/undo", "label number 2", "+new label")
    assert invoke(["cases", "label", "--project", str(tmp_path), "--labeller", "ada"]) == 0
    err = capsys.readouterr().err
    assert "'?' is neither a command nor an answer" in err and "'/help' is neither" in err
    assert "There is no label of yours to take back." in err
    assert f"'label nmber 1' is not one of the {n_labels} known labels. Did you mean 'label number 1'?" in err
    kept = read_labels(tmp_path / "cases.labels.jsonl")
    assert [label.label for label in kept] == ["label number 2", "new label"]
    assert sum("undo" in line for line in (tmp_path / "cases.labels.jsonl").read_text().splitlines()) == 1


def test_labels_that_were_given_before_are_the_labels_of_the_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": f"c{n}", "input": f"question {n}"} for n in range(6)]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    say(monkeypatch, "refund", "refund", "refnd", "refund", "+delivery", "delivery", "delivery")
    assert invoke(["cases", "label", "--project", str(tmp_path), "--labeller", "ada"]) == 0
    assert "'refnd' is not one of the 1 known label." in capsys.readouterr().err
    labels = [label.label for label in read_labels(tmp_path / "cases.labels.jsonl")]
    assert labels == ["refund"] * 3 + ["delivery"] * 3


def test_the_plus_of_a_new_label_is_no_part_of_it_from_the_first_case_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": f"c{n}", "input": f"question {n}"} for n in range(7)]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    say(monkeypatch, "+room", "+laptop", "room", "room", "laptop", "+leave", "leave")
    assert invoke(["cases", "label", "--project", str(tmp_path), "--labeller", "ada"]) == 0
    labels = [label.label for label in read_labels(tmp_path / "cases.labels.jsonl")]
    assert labels == ["room", "laptop", "room", "room", "laptop", "leave", "leave"]


def test_the_plus_of_a_number_is_part_of_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": f"c{n}", "input": f"question {n}"} for n in range(2)]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    say(monkeypatch, "+49 30 1234", "+5")
    assert invoke(["cases", "label", "--project", str(tmp_path), "--labeller", "ada"]) == 0
    assert [label.label for label in read_labels(tmp_path / "cases.labels.jsonl")] == ["+49 30 1234", "+5"]


def test_choices_are_taken_by_name_case_and_number() -> None:
    both = ["yes", "No"]
    assert [choose(line, both, numbered=both, closed=True) for line in ("yes", "no", "2")] == ["yes", "No", "No"]
    for line in ("3", "+new", "maybe"):
        with pytest.raises(UserError, match="is not one of the 2 known labels"):
            choose(line, both, numbered=both, closed=True)
    assert parse_json('{"a": 1}') == {"a": 1}
    with pytest.raises(UserError, match="is not valid JSON"):
        parse_json("{a")


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
    assert invoke(["cases", "show", "--failed", "--json", "--project", str(run_record)]) == 0
    told = document(capsys)
    record = json.loads((run_record / ".tuneworthy" / "run.json").read_text())
    assert (told["on"], told["rung"]) == ("dev", record["best"]["rung"])
    row = next(row for row in record["rungs"] if row["rung"] == told["rung"])
    assert told["reasons"] == {reason: count for reason, count in row["reasons"].items() if reason != "right"}
    assert told["n"] == record["n_dev"]
    assert all(one["score"] < 1 for one in told["failed"])
    assert invoke(["cases", "show", "--failed", "--variant", "baseline", "--project", str(run_record)]) == 0
    assert "dev cases failed according to the grader `exact`." in capsys.readouterr().out
    assert stored(run_record) == before


def test_a_case_that_was_answered_several_times_fails_once_with_its_worst_answer(
    run_record: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failures() -> Any:
        assert invoke(["cases", "show", "--failed", "--json", "--project", str(run_record)]) == 0
        return document(capsys)

    once, answers = failures(), StoredAnswers._answers

    def thrice(self: StoredAnswers, *which: Any) -> list[StoredAnswer]:
        found = answers(self, *which)
        right = [replace(one, repeat=2, score=1.0, reason="") for one in found]
        return [*right, *found, *(replace(one, repeat=1) for one in found)]

    monkeypatch.setattr(StoredAnswers, "_answers", thrice)
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
        assert invoke(["cases", "show", "--failed", "--project", str(run_record)]) == 0
    finally:
        world.write_text(script)
    assert "model/strong: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["zzz"], "'zzz' must match exactly one case. Matches: none."),
        (["--failed", "--variant", "nothing"], "Unknown rung in the last run: 'nothing'."),
        ([], "Pass either the ID of a case or --failed."),
        (["a", "--failed"], "Pass either the ID of a case or --failed."),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    arguments: list[str], words: str, run_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["cases", "show", *arguments, "--project", str(run_record)]) == 2
    assert words in capsys.readouterr().err


def test_without_a_run_there_is_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_simulation(tmp_path, {"weak": "'red'"}, n_cases=60, n_examples=210)
    assert invoke(["cases", "show", "--failed", "--project", str(root)]) == 2
    assert f"Run `tuneworthy run --project {root}` first" in capsys.readouterr().err


def test_a_quick_run_is_enough_to_see_dev(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = {"weak": "answer(request, 0.3)", "strong": "answer(request, 0.9)"}
    root = write_simulation(tmp_path, models, n_cases=60, n_examples=210, rungs=["baseline", "model"])
    assert invoke(["run", "--quick", "--project", str(root)]) == 4
    capsys.readouterr()
    assert invoke(["cases", "show", "--failed", "--json", "--project", str(root)]) == 0
    out, err = capsys.readouterr()
    assert "These answers come from a quick run" in err
    assert (json.loads(out)["rung"], json.loads(out)["n"]) == ("model", 40)
