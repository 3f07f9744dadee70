"""`tuneworthy label`: one queue for cases, ratings and reviews; nothing is lost, and any answer can be taken back."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.cli.pseudo_terminal import lines_of, on_terminal
from tests.dataset.check_rows import RECIPE
from tests.ladder.simulations import write_simulation
from tuneworthy.cases.labelling import read_labels
from tuneworthy.cli import invoke
from tuneworthy.cli.label import command
from tuneworthy.cli.label_queues import (
    QUEUES,
    LabelRequest,
    counted,
    parse_json,
    parse_verdict,
    review_of,
    sheet,
    waiting,
)
from tuneworthy.cli.label_terminal import work_through
from tuneworthy.dataset.freeze import freeze
from tuneworthy.errors import UserError
from tuneworthy.people.queue import Guideline, LabelList
from tuneworthy.people.review_log import Ledger, ReviewPlan
from tuneworthy.store import Folder
from tuneworthy.types import Example, content_hash

N = 200


def line(text: str, answer: str = "an answer", **more: Any) -> bytes:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return (
        json.dumps({"id": content_hash(messages), "source": "a.jsonl:1", "messages": messages, **more}).encode() + b"\n"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = [line(f"question {i}") for i in range(N)]
    freeze(Folder(tmp_path), {"rows.jsonl": rows, "rejects.jsonl": [], "findings.jsonl": []}, RECIPE)
    return tmp_path


def fixed(root: Path, max_bad: int = 1, **options: Any) -> ReviewPlan:
    """Fix a plan, as the first session does."""
    return review_of(root, None)[1].plan(max_bad=max_bad, seed=1, planted=0, **options)


def review(root: Path, *options: str, lines: Sequence[str] = ()) -> Result:
    """Run the command; these lines are typed."""
    typed = "".join(f"{one}\n" for one in lines)
    result = CliRunner().invoke(
        command, ["review", "--project", str(root), *options], input=typed, standalone_mode=False
    )
    if result.exception is not None and not isinstance(result.exception, UserError | click.ClickException):
        raise result.exception
    return result


def document(result: Result) -> Any:
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def test_a_review_is_left_resumed_and_accepted(root: Path) -> None:
    fixed(root, max_bad=0)
    first = review(root, "--labeller", "ada", lines=["g", "/skip", "g fine", "/quit"])
    assert first.return_value == 4 and "attempt 1: rate 56 rows" in first.stderr
    assert "2 of 56 rows are rated, and at most 0 may be bad" in first.stdout
    assert "user: question" in first.stderr and "assistant: an answer" in first.stderr
    second = review(root, "--labeller", "ada", "--json", lines=["g"] * 60)
    told = document(second)
    assert second.return_value == 0 and told["status"] == "accepted" and told["n_judged"] == 56
    assert "at least 95.0% of the 200 rows are good, at 95% confidence over all attempts" in told["words"]
    assert review(root, "--status").return_value == 0


def test_it_ends_at_the_bad_row_that_decides_with_its_reason(root: Path) -> None:
    fixed(root)
    result = review(root, "--labeller", "ada", lines=["b", "", "x", "b wrong label", "g", "b", "cut off", "g"])
    assert result.return_value == 3
    assert "Give a reason" in result.stderr and "Type g (good) or b (bad)" in result.stderr
    assert "2 of 3 reviewed rows are bad, but the plan allows at most 1" in result.stdout
    assert "(ada): wrong label" in result.stdout and "(ada): cut off" in result.stdout
    assert "Next: tuneworthy data build" in result.stdout
    again = review(root, "--labeller", "ada", lines=["/undo"])
    assert again.return_value == 3 and "[" not in again.stderr.replace("[2", "")


def test_the_slip_that_decides_is_taken_back(root: Path) -> None:
    fixed(root, max_bad=0)
    assert review(root, "--labeller", "ada", lines=["b"]).return_value == 4  # the input ends before the reason
    result = review(root, "--labeller", "ada", lines=["g", "b oops", "/undo", "/undo", "/quit"])
    assert result.return_value == 4 and "0 of 56 rows are rated" in result.stdout
    assert review(root, "--labeller", "ada", lines=["b oops", "", "g"]).return_value == 3


def test_the_plan_is_explained_and_counts_planted_rows_from_the_start(tmp_path: Path) -> None:
    letters = str.maketrans("0123456789", "abcdefghij")  # a number in a row could be that of the plan
    rows = [line(f"question {str(i).translate(letters)}", f"answer {i % 5}") for i in range(300)]
    freeze(Folder(tmp_path), {"rows.jsonl": rows, "rejects.jsonl": [], "findings.jsonl": []}, RECIPE)
    first = review(tmp_path, "--labeller", "ada", lines=["g", "b no", "g", "/quit"])
    plan = Ledger.read(tmp_path / "reviews.jsonl").plans[-1]
    n_shown = len(plan.shown)
    assert n_shown == plan.n + 8 and f"rate {n_shown} rows" in first.stderr and f"[1 of {n_shown}]" in first.stderr
    assert "passes with a probability of 8" in first.stderr and "counts as an attempt" in first.stderr
    shown = (first.stdout + first.stderr).replace(str(tmp_path), "")  # a folder with a number
    assert str(plan.n) not in shown and f"3 of {n_shown} rows are rated" in first.stdout
    assert "(ada)" not in first.stdout  # a list of bad rows would lack the planted rows


def test_two_reviewers_get_their_agreement(root: Path) -> None:
    fixed(root, max_bad=2)
    review(root, "--labeller", "ada", lines=["g"] * 200)
    result = review(root, "--labeller", "bob", lines=["b no", *["g"] * 28, "/quit"])
    assert result.return_value == 4 and re.search(r"\[1 of (29|30)\]", result.stderr)  # no longer certain
    final = review(root, "--labeller", "bob", lines=["g"] * 9)
    assert final.return_value == 0 and "People agree on " in final.stdout


def test_without_a_frozen_version_the_next_step_is_named(tmp_path: Path) -> None:
    result = review(tmp_path)
    assert isinstance(result.exception, UserError) and "tuneworthy data build" in str(result.exception)


def test_a_row_is_shown_safely_and_whole() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    messages = (
        {"role": "user", "content": "two\nlines\x1b[31m\u202e"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": [{"type": "text", "text": "x"}]},
    )
    shown = sheet(Example(messages=messages, id="1f", meta={"tools": [{"name": "f"}]}))
    assert shown.splitlines()[:3] == ['tools: [{"name":"f"}]', "user: two", "    lines"]
    assert "\x1b" not in shown and "\u202e" not in shown and 'calls {"function"' in shown and '"text":"x"' in shown


def test_on_a_terminal_a_row_is_not_good_before_it_can_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(root)
    queue = QUEUES["review"](LabelRequest(root, "ada"))
    row = queue.session.next()
    assert queue.reading_s(row, (True, "")) > 0.1 and queue.reading_s(row, (False, "no")) == 0.0
    lines, times = iter(["g\n", "g\n", "b quick\n", ""]), iter([0.0, 0.0, 0.05, 9.0, 9.0, 9.1, 9.1, 9.1, 9.1])
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True, readline=lines.__next__))
    assert work_through(queue, now=times.__next__) == 2 and queue.session.n_done == 2


def test_what_the_checks_reported_is_shown_after_the_rating_only(tmp_path: Path) -> None:
    rows = [line(f"question {i}") for i in range(80)]
    finding = {"check": "label_errors", "reason": "label_error", "detail": "perhaps 'x'", "action": "report"}
    findings = [json.dumps({"id": json.loads(each)["id"], **finding}).encode() + b"\n" for each in rows]
    freeze(Folder(tmp_path), {"rows.jsonl": rows, "rejects.jsonl": [], "findings.jsonl": findings}, RECIPE)
    before = review(tmp_path, "--labeller", "ada", lines=["/skip", "/quit"])
    assert "perhaps" not in before.stderr
    after = review(tmp_path, "--labeller", "ada", lines=["g", "/quit"])
    assert after.stderr.count("label_errors/label_error: perhaps 'x'") == 1


def test_ratings_are_read_from_a_line() -> None:
    assert parse_verdict("Good") and not parse_verdict("B")
    for wrong in ("", "yes"):
        with pytest.raises(UserError):
            parse_verdict(wrong)


# --- cases -----------------------------------------------------------------------------------------------------------


def write_dispute(root: Path, case: str) -> None:
    """Let ada and bob label a case differently."""
    rows = [{"case": case, "labeller": who, "label": value, "time": "t"} for who, value in (("ada", "x"), ("bob", "y"))]
    (root / "cases.labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def say(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Type these lines on stdin."""
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def label(root: Path, *words: str) -> int:
    return invoke(["label", *words, "--project", str(root)])


def write_cases(root: Path, n: int = 4, **more: Any) -> Path:
    path = root / "cases.jsonl"
    path.write_text("".join(json.dumps({"id": f"c{i}", "input": f"question {i}", **more}) + "\n" for i in range(n)))
    return path


def given(root: Path) -> list[Any]:
    return [one.label for one in read_labels(root / "cases.labels.jsonl")]


def test_the_first_session_asks_for_the_labels_and_only_those_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 6)
    say(monkeypatch, "refund")
    assert label(tmp_path, "cases", "--labeller", "ada") == 2 and not (tmp_path / "guideline.md").exists()
    pasted = ["?", "nothing", "", "n", "card lost, refund", "- report fraud", "Report_Fraud", "skip, 12", ""]
    answers = ["", "1", "Refund", "report-fraud", "refnd", "card", "help", "+pin change", "+Pin_Change", "4", "/quit"]
    say(monkeypatch, *pasted, *answers)
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    err = " ".join(capsys.readouterr().err.split())
    assert given(tmp_path) == ["card lost", "refund", "report fraud", "pin change", "pin change"]
    assert "'Report_Fraud' differs only in spelling" in err and "Did you mean 'refund'?" in err
    assert "1 label contains it: 1 card lost" in err and "Is this `pin change`?" in err
    assert "named 'skip'" in err and "named '12'" in err and "1 nothing Press Enter to save" in err
    labels = Guideline.read(tmp_path / "guideline.md").labels
    assert [*labels] == ["card lost", "refund", "report fraud", "pin change"]
    say(monkeypatch, "help", "/quit")
    assert label(tmp_path, "--labeller", "bob") == 0
    assert "No label is known" not in (err := capsys.readouterr().err) and "3 report fraud" in err


def test_a_label_is_added_and_taken_back_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cases(tmp_path, 2)
    say(monkeypatch, "a", "", "", "+zebra", "undo", "+zebra", "undo", "a", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    assert given(tmp_path)[-1] == "a" and [*Guideline.read(tmp_path / "guideline.md").labels] == ["a"]


def test_a_list_of_numbers_is_a_list_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cases(tmp_path, 3)
    say(monkeypatch, "5, 4, 3", "2", "", "", "5", "2", "3")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    assert given(tmp_path) == ["5", "2", "3"]  # the labels, not their places


def test_a_label_with_a_comma_is_quoted_and_decline_needs_no_slash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path)
    say(monkeypatch, '"glass, broken", b', "", "", "+decline", "+7", "/foo", "decline", "help", "1", "undo", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    err = " ".join(capsys.readouterr().err.split())
    assert given(tmp_path) == [None] and [*Guideline.read(tmp_path / "guideline.md").labels] == ["glass, broken", "b"]
    assert "Saved: decline." in err and "Taken back: glass, broken." in err and err.count(" cannot be named ") == 2
    assert "'/foo' is neither a command nor an answer. Type a label or its number. +NAME" in err
    say(monkeypatch, "undo", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    assert "Taken back: decline." in capsys.readouterr().err


def test_help_ends_with_the_commands_and_repeats_no_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 1)
    (tmp_path / "guideline.md").write_text("Choose.\n\n- `a`\n- `b`: second\n")
    say(monkeypatch, "?", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    text = capsys.readouterr().err.split("> ")[1]
    assert text.index("- `b`: second") < text.index("/undo takes back") < text.index("[1 of 1]") and "- `a`" not in text


def test_the_time_left_follows_the_pace_of_the_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 60)
    (tmp_path / "guideline.md").write_text("- `a`\n")
    say(monkeypatch, *"aaaaa", "/quit")
    clock = iter(range(0, 60_000, 60))
    work_through(QUEUES["cases"](LabelRequest(tmp_path, "ada")), now=lambda: float(next(clock)))
    err = capsys.readouterr().err
    assert "[5 of 60] about 14 min left" in err and "[6 of 60] about 55 min left" in err


def test_free_text_is_asked_once_and_any_text_is_an_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path)
    say(monkeypatch, "", "Yes, at noon.", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    say(monkeypatch, "+49 30 1234", "+room", "/decline")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    assert capsys.readouterr().err.count("No label is known") == 1
    assert given(tmp_path) == ["Yes, at noon.", "+49 30 1234", "room", None]


def test_every_row_shows_labels_guideline_progress_and_empty_lines_and_help_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 3)
    text = "# Rules\n\nChoose the main request.\n\n- `a`: first\n- `b`: second\n\nNever guess."
    (tmp_path / "guideline.md").write_text(text)
    say(monkeypatch, "", "?", "/help", "/nonsense", "/undo", "a", "/skip", "b")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    err = capsys.readouterr().err
    assert err.count("1 a   2 b") == err.count("question ") == 9
    assert err.count("Guideline: Choose the main request.") == 9 and err.count("Never guess.") == 2
    assert "min left" in err and "You typed nothing" in err and "'/nonsense' is neither" in err
    assert given(tmp_path) == ["a", "b"]
    assert (tmp_path / "guideline.md").read_text() == text


def test_a_session_that_is_interrupted_keeps_every_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path)
    (tmp_path / "guideline.md").write_text("- `a`\n")
    lines = iter(["a\n", "a\n"])

    def readline() -> str:
        if (line := next(lines, None)) is None:
            raise KeyboardInterrupt
        return line

    monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=readline, isatty=lambda: False))
    assert label(tmp_path, "cases", "--labeller", "ada") == 130
    assert given(tmp_path) == ["a", "a"] and "Every answer is saved." in capsys.readouterr().err
    monkeypatch.setattr("tuneworthy.cli.label.counted", lambda _: readline())
    assert label(tmp_path, "--labeller", "ada") == 130 and "Finished calls" not in capsys.readouterr().err


def test_two_labellers_meet_and_their_labels_enter_the_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = write_cases(tmp_path)
    (tmp_path / "guideline.md").write_text("- `yes`\n- `no`\n")
    say(monkeypatch, "yes", "/skip", "no", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada", "--json") == 0
    first = printed(capsys)
    assert (first["given"], first["left"], first["agreement"]["n"]) == (2, 2, 0) and first["queue"] == "cases"
    assert label(tmp_path, "--apply") == 0
    assert "2 cases still without a label" in (out := capsys.readouterr().out) and "Next: tuneworthy label" in out
    cases = write_cases(tmp_path)
    say(monkeypatch, "yes", "/decline")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    out = capsys.readouterr().out
    assert "0 of 4 rows left" in out and out.endswith("--labeller ada cases --apply\n")
    say(monkeypatch, "yes", "yes", "yes", "yes")
    assert label(tmp_path, "cases", "--labeller", "bob") == 0
    assert "People agree on 2 of 4 rows. Agreement is 50.0% [" in capsys.readouterr().out
    assert label(tmp_path, "--apply") == 0
    out = capsys.readouterr().out
    assert "(new: 2, already present: " in out and out.count("  skipped ") == 2
    assert "Labellers disagree" in out and re.search(r"\(question \d\): ada:", out) and "New labels" not in out
    assert "asks for the answer" in " ".join(out.split()) and "not meaningful" not in out
    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    assert sorted(row["expected"] for row in rows if "expected" in row) == ["yes", "yes"]


@pytest.mark.parametrize("name", ["carol", "Ada", "bob"])
def test_anyone_decides_the_cases_on_which_labellers_disagree(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = write_cases(tmp_path)
    (tmp_path / "guideline.md").write_text("- `yes`\n- `no`\n")
    for who, answers in (("ada", ["yes"] * 4), ("bob", ["yes", "no", "yes", "yes"])):
        say(monkeypatch, *answers)
        assert label(tmp_path, "cases", "--labeller", who) == 0
    out = capsys.readouterr().out
    assert "--labeller bob cases\n" in out and "Labellers disagree on some cases." in out
    assert label(tmp_path, "--status", "--labeller", name, "--json") == 0
    assert printed(capsys)["queues"][0]["waiting"] == 1
    say(monkeypatch, "yes", "/undo", "no")
    assert label(tmp_path, "--labeller", name) == 0
    told = capsys.readouterr()
    assert ("ada: yes · bob: no" in told.err and "[1 of 1]" in told.err) or name != "carol"
    assert "on 3 of 4 rows" in told.out and " cases --apply" in told.out
    assert label(tmp_path, "--apply", "--json") == 0
    assert printed(capsys)["applied"]["disagreements"] == []
    assert sorted(json.loads(line)["expected"] for line in cases.read_text().splitlines()) == ["no", *["yes"] * 3]


@pytest.mark.parametrize("answer", ["x", "y", "by hand"])
def test_a_disagreement_on_a_case_with_an_answer_is_listed_asked_and_settled(
    answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_cases(tmp_path, 3, expected=answer)
    (tmp_path / "guideline.md").write_text("- `x`\n- `y`\n")
    write_dispute(tmp_path, "c0")
    for words in ([], ["--overwrite"]):
        assert label(tmp_path, "--apply", *words) == 0
        out = capsys.readouterr().out
        assert "ada: x · bob: y" in out and out.endswith("cases --labeller ada\n")
    say(monkeypatch, "2")
    assert label(tmp_path, "cases", "--labeller", "carol") == 0
    told = capsys.readouterr()
    assert "[1 of 1]" in told.err and "ada: x · bob: y" in told.err
    assert ("--apply" in told.out) is (answer != "y")
    by_hand = answer == "by hand"  # is replaced only if asked
    assert label(tmp_path, "--apply") == 0
    assert ("Use --overwrite" in (out := capsys.readouterr().out)) is by_hand
    assert "Labellers disagree" not in out
    assert json.loads(path.read_text().splitlines()[0])["expected"] == ("by hand" if by_hand else "y")
    say(monkeypatch)
    assert label(tmp_path, "cases", "--labeller", "carol") == 0
    assert "[1 of" not in capsys.readouterr().err
    say(monkeypatch)
    assert label(tmp_path, "cases", "--labeller", "dora", "--all") == 0
    assert "You decide" not in capsys.readouterr().err  # what carol settled is carol's
    say(monkeypatch, "undo", "1")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert label(tmp_path, "cases", "--labeller", "carol", "--all") == 0
    told = capsys.readouterr()
    assert "Taken back: y." in told.err and "Saved: x." in told.err
    assert label(tmp_path, "--apply", "--overwrite") == 0
    assert "(new: 0, replaced: 1," in capsys.readouterr().out
    assert json.loads(path.read_text().splitlines()[0])["expected"] == "x"


def test_disputed_cases_come_before_blind_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 9)
    (tmp_path / "guideline.md").write_text("- `x`\n- `y`\n")
    write_dispute(tmp_path, "c4")
    say(monkeypatch, "x", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    told = capsys.readouterr()
    assert "ada: x · bob: y" in told.err and "8 of 9 rows left" in told.out


def test_printed_commands_name_the_labeller_whose_rows_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 60)
    (tmp_path / "guideline.md").write_text("- `x`\n")
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    say(monkeypatch, "x", "x", "/quit")
    assert label(tmp_path, "cases", "--labeller", "hanna") == 0
    capsys.readouterr()
    for words in (["--status"], ["cases", "--status"]):
        assert label(tmp_path, *words) == 0
        out = capsys.readouterr().out
        assert "cases: 58 left of 60 for hanna" in out and out.endswith("--labeller hanna cases\n")
    assert label(tmp_path, "--apply") == 0
    assert capsys.readouterr().out.endswith("--labeller hanna\n")
    say(monkeypatch, "x", "/quit")
    assert label(tmp_path, "cases") == 0  # root: now both have labels
    assert "you get 30 of the 60 cases" in " ".join(capsys.readouterr().err.split())
    assert label(tmp_path, "--status") == 0
    assert "cases: 29 left of 30 for root" in capsys.readouterr().out
    say(monkeypatch, "x")
    assert label(tmp_path) == 0  # the count of the queue is that of its rows
    err = capsys.readouterr().err
    assert "`cases`: 29 rows" in err and "[2 of 30]" in err
    assert label(tmp_path, "--apply") == 0
    assert capsys.readouterr().out.endswith("--labeller hanna\n")


def test_a_finished_labeller_is_no_error_and_the_first_is_told_of_a_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 2)
    (tmp_path / "guideline.md").write_text("- `x`\n")
    say(monkeypatch, "x", "x")
    assert label(tmp_path, "--labeller", "hanna") == 0
    assert "cases --labeller NAME" in " ".join(capsys.readouterr().out.split())
    for applied in (False, True):
        for words in ([], ["cases"]):
            assert label(tmp_path, "--labeller", "hanna", *words) == 0
            out = " ".join(capsys.readouterr().out.split())
            assert "All 2 rows of hanna are labelled." in out
            assert ("cases --apply" in out) is ("--labeller NAME" in out) is (not applied), out
        assert label(tmp_path, "--apply") == 0
        capsys.readouterr()


def test_a_new_name_is_told_whose_labels_are_unfinished_and_the_next_step_repeats_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path)
    (tmp_path / "guideline.md").write_text("- `yes`\n")
    for who, shown in (("maria", False), ("Maria", False), ("root", True), ("root", True)):
        say(monkeypatch, "yes" if who != "root" else "/quit")
        assert label(tmp_path, "cases", "--labeller", who) == 0
        told = capsys.readouterr()
        assert ("maria has 2 of 4" in told.err) is shown, who
        assert f"--labeller {who} cases" in told.out
    say(monkeypatch, "yes", "yes")
    assert label(tmp_path, "cases", "--labeller", "MARIA") == 0
    assert {one.labeller for one in read_labels(tmp_path / "cases.labels.jsonl")} == {"maria"}
    capsys.readouterr()
    for who in ("maria", "root"):
        assert label(tmp_path, "--labeller", who) == 0
        assert f"--labeller {who} cases --apply" in capsys.readouterr().out
        assert label(tmp_path, "--status", "--labeller", who) == 0
        assert f"--labeller {who} cases --apply" in capsys.readouterr().out
    assert label(tmp_path, "--apply") == 0
    assert "init my-task" in capsys.readouterr().out
    assert label(tmp_path, "--status") == 0
    assert "init my-task" in capsys.readouterr().out


def test_applying_names_labels_that_differ_only_in_spelling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cases(tmp_path, 3)
    rows = [{"case": f"c{i}", "labeller": "a", "label": one, "time": "t"} for i, one in enumerate(("ok", "Ok", "no"))]
    (tmp_path / "cases.labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "guideline.md").write_text("- `ok`\n- `no`\n")
    assert label(tmp_path, "--apply", "--json") == 0
    told = printed(capsys)
    assert told["spellings"] == [["ok", "Ok"]] and told["unlabelled"] == 0
    assert told["new_labels"] == {"ok": 1, "Ok": 1, "no": 1}
    write_cases(tmp_path, 3)
    with (tmp_path / "cases.jsonl").open("a") as file:
        file.write('{"id": "k", "input": "known", "expected": "ok"}\n')
    assert label(tmp_path, "--apply") == 0
    assert "New labels: Ok (1), no (1)." in capsys.readouterr().out


def test_a_labeller_without_a_name_is_one_line_and_applying_needs_no_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    write_cases(tmp_path, 1)
    say(monkeypatch, "", "yes")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    monkeypatch.setattr("getpass.getuser", nameless)
    capsys.readouterr()
    assert label(tmp_path, "cases") == 2
    assert "a name with --labeller" in capsys.readouterr().err
    assert label(tmp_path, "--apply") == 0


def test_cases_that_have_answers_are_labelled_again_only_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 1, expected="x")
    assert label(tmp_path, "cases", "--labeller", "ada") == 2
    assert "Use --all to label them a second time" in capsys.readouterr().err
    say(monkeypatch, "", "y")
    assert label(tmp_path, "cases", "--all", "--labeller", "ada") == 0
    assert label(tmp_path, "cases", "--apply") == 0
    assert "cases that already have a different label: 1 (c0). Use --overwrite" in capsys.readouterr().out
    assert label(tmp_path, "cases", "--apply", "--overwrite") == 0
    assert json.loads((tmp_path / "cases.jsonl").read_text())["expected"] == "y"


def test_the_labels_of_a_project_are_offered_and_long_lists_are_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_simulation(tmp_path, {"weak": "'red'"}, n_cases=60, n_examples=30)
    (root / "cases.jsonl").write_text('{"id": "a", "input": "one"}\n{"id": "b", "input": "two"}\n')
    say(monkeypatch, "gren", "2", "+violet")
    assert invoke(["check", "--offline", "--project", str(root)]) == 2
    assert "--labeller NAME cases` to label them" in capsys.readouterr().out
    assert label(root, "cases", "--labeller", "ada") == 0
    assert "'gren' is not one of the 3 known labels. Did you mean 'green'?" in capsys.readouterr().err
    assert invoke(["check", "--offline", "--project", str(root)]) == 2
    assert "--labeller ada cases` to label them" in capsys.readouterr().out
    assert given(root) == ["green", "violet"]
    names = [f"label number {n}" for n in range(150)]
    rows = [{"id": f"k{n}", "input": f"known {n}", "expected": names[n % 150]} for n in range(600)]
    rows += [{"id": name, "input": name} for name in ("a", "b")]
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    say(monkeypatch, "number 14", "label nmber 1", "label number 1", "/undo", "label number 2", "/quit")
    assert label(tmp_path / "many", "cases", "--labeller", "ada") == 0
    err = " ".join(capsys.readouterr().err.split())
    assert "150 labels: type a part of a label to search. ?" in err and "11 labels contain it" in err
    assert "'label nmber 1' is not one of the 150 known labels. Did you mean 'label number 1'?" in err
    assert given(tmp_path / "many") == ["label number 2"]


def test_a_new_label_that_is_nearly_a_known_label_is_asked_back_and_undo_removes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(tmp_path, 3)
    (tmp_path / "guideline.md").write_text("- `late parcel`\n- `level 1`\n\nNever guess.\n")
    say(monkeypatch, "+late parcels", "/undo", "+level 2", "undo", "+level 2", "+Late-Parcel", "+", "undo", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    assert capsys.readouterr().err.count("Is this `late parcel`?") == 2
    assert given(tmp_path) == ["level 2"]
    text = "- `late parcel`\n- `level 1`\n\nNever guess.\n- `level 2`\n"
    assert (tmp_path / "guideline.md").read_text() == text
    say(monkeypatch, "+refund", "/quit")
    assert label(tmp_path, "cases", "--labeller", "ada") == 0
    say(monkeypatch, "refund", "/undo", "/quit")
    assert label(tmp_path, "cases", "--labeller", "bob") == 0
    assert "refund" in Guideline.read(tmp_path / "guideline.md").labels


def test_a_row_with_a_finding_is_corrected_by_the_number_of_a_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line(f"question {i}", f"answer {i % 5}") for i in range(80)]
    finding = {"check": "label_errors", "reason": "label_error", "detail": "perhaps 'x'", "action": "report"}
    findings = [json.dumps({"id": json.loads(rows[0])["id"], **finding}).encode() + b"\n"]
    freeze(Folder(tmp_path), {"rows.jsonl": rows, "rejects.jsonl": [], "findings.jsonl": findings}, RECIPE)
    say(monkeypatch, "99", "2")
    assert label(tmp_path, "findings", "--labeller", "ada") == 0
    assert "'99' is not one of the 5" in capsys.readouterr().err
    assert json.loads((tmp_path / "corrections.jsonl").read_text())["answer"] == "answer 1"


def test_a_command_without_its_slash_is_taken_unless_it_is_a_label_or_free_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for guideline, answers in (("- `undo`\n- `b`\n", ["b", "undo"]), ("", ["b", "undo"]), ("- `b`\n", [])):
        folder = tmp_path / str(len(guideline))
        folder.mkdir()
        write_cases(folder)
        (folder / "guideline.md").write_text(guideline or "The answer is free text.")
        say(monkeypatch, "b", "undo", "/quit")
        assert label(folder, "cases", "--labeller", "ada") == 0
        assert given(folder) == answers


def test_a_label_leaves_a_guideline_that_was_deleted_meanwhile(tmp_path: Path) -> None:
    Guideline.read(path := tmp_path / "guideline.md").remove("a")
    assert not path.exists()


def test_labels_of_a_closed_list_are_taken_by_name_case_and_number(tmp_path: Path) -> None:
    both = LabelList(["yes", "No"], True, Guideline.read(tmp_path / "guideline.md"))
    assert [both.choose(line) for line in ("yes", "no", "2")] == ["yes", "No", "No"]
    for line in ("3", "+new", "maybe"):
        with pytest.raises(UserError, match="is not one of the 2 known labels"):
            both.choose(line)
    assert parse_json('{"a": 1}') == {"a": 1}
    with pytest.raises(UserError, match="is not valid JSON"):
        parse_json("{a")


# --- the queue -------------------------------------------------------------------------------------------------------


def test_without_a_name_the_most_useful_open_queue_is_opened_and_named(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cases(root, 2)
    (root / "guideline.md").write_text("- `a`\n")
    found = counted(LabelRequest(root, "ada"))
    assert [name for name, queue in found.items() if not isinstance(queue, str)] == ["cases", "review", "findings"]
    assert not (root / "reviews.jsonl").exists() and not (root / "cases.labels.jsonl").exists()
    assert label(root, "--status", "--json") == 0
    queues = printed(capsys)["queues"]
    n = {row["queue"]: row["waiting"] for row in queues}
    assert all((row["minutes"] > 0) is (row["waiting"] > 0) for row in queues)
    assert n == {"cases": 2, "drafts": 0, "judge": 0, "suspects": 0, "shadow": 0, "review": 81, "findings": 0}
    say(monkeypatch, "a", "a")
    assert label(root, "--labeller", "ada") == 0
    assert "cases" not in waiting(counted(LabelRequest(root, "bob")))  # a second labeller is not needed
    assert "Queue `cases`: 2 rows." in capsys.readouterr().err
    say(monkeypatch, "/quit")
    assert label(root, "--labeller", "ada") == 4
    assert "Queue `review`: 81 rows." in capsys.readouterr().err
    empty = root / "empty"
    empty.mkdir()
    assert label(empty, "--labeller", "ada") == 2


@pytest.mark.parametrize("words", [["judge", "--all"], ["judge", "--apply"]])
def test_an_option_of_another_queue_is_refused(words: list[str], tmp_path: Path) -> None:
    write_cases(tmp_path, 1)
    assert label(tmp_path, *words) == 2
    assert not (tmp_path / "cases.labels.jsonl").exists()


def test_the_plan_of_a_queue_changes_with_rows_labels_and_guideline(tmp_path: Path) -> None:
    def plan(n: int, text: str) -> str:
        write_cases(tmp_path, n)
        (tmp_path / "guideline.md").write_text(text)
        return QUEUES["cases"](LabelRequest(tmp_path, "ada")).plan

    plans = [plan(2, "- `a`\n"), plan(3, "- `a`\n"), plan(2, "- `b`\n"), plan(2, "Rule.\n\n- `a`\n")]
    assert len({*plans}) == 4 and plan(2, "- `a`\n") == plans[0]


@pytest.mark.parametrize(
    ("queue", "typed", "shown"),
    [
        ("cases", "a, b\n\n\n1\n/undo\nb\n2\n\n", ["1 a   2 b", "Taken back: a.", "Next: tuneworthy label"]),
        (
            "review",
            "b wrong\n/undo\nb\nno\n/quit\n",
            ["[1 of 81]", "Why is it bad?", "Taken back.", "1 of 81 rows are rated"],
        ),
    ],
)
def test_a_first_session_on_a_terminal(queue: str, typed: str, shown: list[str], root: Path) -> None:
    write_cases(root, 2)
    status, text = on_terminal("label", queue, "--project", str(root), "--labeller", "ada", columns=80, typed=typed)
    assert status == (4 if queue == "review" else 0), text
    plain = " ".join(lines_of(text))
    assert all(one in plain for one in shown), plain
    assert max(len(line) for line in lines_of(text) if "> " not in line and "/" not in line) <= 80
