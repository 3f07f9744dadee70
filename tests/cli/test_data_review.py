"""`tuneworthy data review` on a terminal: plan, verdicts, the second sample, exit status."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.dataset.check_rows import RECIPE
from tuneworthy.cli.data_review import command
from tuneworthy.cli.review_terminal import parse_verdict, sheet
from tuneworthy.dataset.freeze import freeze
from tuneworthy.errors import UserError
from tuneworthy.people.review_log import Ledger
from tuneworthy.store import Folder
from tuneworthy.types import Example, content_hash

N = 200


def line(text: str, **more: Any) -> bytes:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "an answer"}]
    return (
        json.dumps({"id": content_hash(messages), "source": "a.jsonl:1", "messages": messages, **more}).encode() + b"\n"
    )


def left_out(text: str, reason: str, **more: Any) -> bytes:
    return (
        json.dumps({"id": "x", "check": "c", "reason": reason, "row": json.loads(line(text)), **more}).encode() + b"\n"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rejects = [left_out(f"r{i}", "refusal" if i % 2 else "contamination") for i in range(10)]
    rejects.append(b'{"reason": "not_json", "text": "{"}\n')
    contents = {
        "rows.jsonl": [line(f"question {i}") for i in range(N)],
        "rejects.jsonl": rejects,
        "findings.jsonl": [],
    }
    freeze(Folder(tmp_path), contents, RECIPE)
    return tmp_path


def review(root: Path, verb: str, *options: str, lines: Sequence[str] = ()) -> Result:
    """Run the command; these lines are typed."""
    typed = "".join(f"{one}\n" for one in lines)
    result = CliRunner().invoke(command, [verb, "--project", str(root), *options], input=typed, standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, UserError | click.ClickException):
        raise result.exception
    return result


def document(result: Result) -> Any:
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def test_plans_are_listed_and_nothing_is_fixed(root: Path) -> None:
    result = review(root, "plan")
    assert result.return_value is None and "--max-bad   rows" in result.stdout
    told = document(review(root, "plan", "--json"))
    assert [plan["max_bad"] for plan in told["plans"]] == [0, 1, 2, 3, 4]
    assert told["plans"][0]["n"] == 56 and 0 < told["plans"][0]["passes"]["1.0%"] < 1
    assert not (root / "reviews.jsonl").exists()
    assert review(root, "status").return_value == 4


def test_a_review_is_left_taken_up_and_accepted(root: Path) -> None:
    first = review(
        root, "start", "--max-bad", "0", "--seed", "1", "--reviewer", "ada", lines=["g", "/skip", "g fine", "/quit"]
    )
    assert first.return_value == 4 and "attempt 1: rate 56 of the 200 rows that nobody has reviewed" in first.stderr
    assert "0 of 2 reviewed rows are bad (at most 0 allowed), and 54 of 56 rows remain" in first.stdout
    assert "user: question" in first.stderr and "assistant: an answer" in first.stderr
    second = review(root, "start", "--reviewer", "ada", "--json", lines=["g"] * 60)
    told = document(second)
    assert second.return_value == 0 and told["status"] == "accepted" and told["n_judged"] == 56
    assert "at least 95.0% of the 200 rows are good, at 95% confidence over all attempts" in told["words"]
    assert review(root, "status").return_value == 0


def test_it_ends_at_the_bad_row_that_decides_with_its_reason(root: Path) -> None:
    result = review(
        root, "start", "--max-bad", "1", "--reviewer", "ada", lines=["b", "x", "b wrong label", "g", "b cut off", "g"]
    )
    assert result.return_value == 3
    assert "Type b, followed by the reason why the row is bad." in result.stderr
    assert "Type g, or b and a reason" in result.stderr
    assert (
        "2 of 3 reviewed rows are bad, but the plan allows at most 1" in result.stdout
        and "(ada): wrong label" in result.stdout
    )
    again = review(root, "start", "--again", "--max-bad", "0", "--json", lines=["/quit"])
    assert again.return_value == 4 and document(again)["plan"]["attempt"] == 2


def test_a_rating_stays_and_the_command_to_change_it_is_named(root: Path) -> None:
    result = review(root, "start", "--max-bad", "4", "--seed", "1", "--reviewer", "ada", lines=["g", "/undo", "/quit"])
    assert "data review correct" in result.stderr.partition("[2 of")[2]
    said = [json.loads(one) for one in (root / "reviews.jsonl").read_text().splitlines()]
    assert [one["good"] for one in said if one["kind"] == "verdict"] == [True]


def test_the_plan_cannot_be_changed_later(root: Path) -> None:
    review(root, "start", "--max-bad", "2", lines=["/quit"])
    result = review(root, "start", "--max-bad", "3", lines=["/quit"])
    assert isinstance(result.exception, UserError) and "max-bad was fixed at 2" in str(result.exception)


def test_two_reviewers_get_their_agreement(root: Path) -> None:
    review(root, "start", "--max-bad", "2", "--seed", "1", "--reviewer", "ada", lines=["g"] * 200)
    result = review(root, "start", "--reviewer", "bob", lines=["b no", *["g"] * 28, "/quit"])
    assert "The reviewers agree on 28 of 29 rows" in result.stdout
    assert (
        result.return_value == 4
        and "1 of 100 reviewed rows is bad (at most 2 allowed), and 2 of 102 rows remain" in result.stdout
    )  # no longer certain
    assert review(root, "start", "--reviewer", "bob", lines=["g"] * 9).return_value == 0


def test_a_slip_is_made_bad_later(root: Path) -> None:
    review(root, "start", "--max-bad", "0", "--seed", "1", "--reviewer", "ada", lines=["g", "/quit"])
    verdict = json.loads((root / "reviews.jsonl").read_text().splitlines()[-1])
    nothing = review(root, "correct", "elsewhere", "--reviewer", "ada", "--because", "a slip")
    assert isinstance(nothing.exception, UserError) and "contains the row 'elsewhere'" in str(nothing.exception)
    result = review(root, "correct", verdict["row"][:8], "--reviewer", "ada", "--because", "a slip")
    assert result.return_value == 3 and "a slip" in result.stdout and "Next: tuneworthy data build" in result.stdout


def test_a_shortened_id_of_several_rows_is_refused(root: Path) -> None:
    review(root, "start", "--max-bad", "2", "--seed", "1", "--reviewer", "ada", lines=["/quit"])
    plan = Ledger.read(root / "reviews.jsonl").plans[-1]
    first = Counter(row[0] for row in plan.shown).most_common(1)[0][0]
    nothing = review(root, "correct", first, "--reviewer", "ada", "--because", "a slip")
    assert isinstance(nothing.exception, UserError) and "several rows begin" in str(nothing.exception)


def test_a_plan_says_that_it_counts_before_it_is_drawn(root: Path) -> None:
    assert "counts as an attempt" in review(root, "plan").stdout
    first = review(root, "start", "--reviewer", "ada", lines=["/quit"])
    assert first.stderr.index("counts as an attempt") < first.stderr.index("attempt 1:")
    assert "counts as an attempt" not in review(root, "start", "--reviewer", "ada", lines=["/quit"]).stderr


def test_a_slip_of_an_earlier_attempt_is_made_bad_later(root: Path) -> None:
    first = document(review(root, "start", "--max-bad", "0", "--reviewer", "ada", "--json", lines=["g", "b no"]))
    good = first["plan"]["rows"][0]
    again = review(root, "start", "--again", "--reviewer", "ada", "--json", lines=["/quit"])
    assert document(again)["plan"]["attempt"] == 2
    told = document(review(root, "correct", good, "--reviewer", "ada", "--because", "wrong", "--json"))
    assert (told["status"], told["n_refuted"]) == ("rejected", 1)


def test_without_a_frozen_version_the_next_step_is_told(tmp_path: Path) -> None:
    result = review(tmp_path, "start")
    assert isinstance(result.exception, UserError) and "tuneworthy data build" in str(result.exception)


def test_a_row_is_shown_safely_and_whole() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    messages = (
        {"role": "user", "content": "two\nlines\x1b[31m\u202e"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": [{"type": "text", "text": "x"}]},
    )
    shown = sheet(Example(messages=messages, id="1f", meta={"tools": [{"name": "f"}]}))
    assert shown.splitlines()[:4] == ["row 1f", 'tools: [{"name":"f"}]', "user: two", "    lines"]
    assert "\x1b" not in shown and "\u202e" not in shown and 'calls {"function"' in shown and '"text":"x"' in shown


def test_on_a_terminal_a_row_is_not_good_before_it_can_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.3, 0.5, 10.0, 10.1, 20.0])  # a row: shown, "g", "g"; the next: shown, "g"; a third: shown
    monkeypatch.setattr("tuneworthy.cli.review_terminal._clock", lambda: times.__next__)
    result = review(root, "start", "--reviewer", "ada", lines=["g", "g", "g", "b quick", "/quit"])
    assert [f"cannot be read in {s} seconds" in result.stderr for s in (0.1, 0.3, 0.5)] == [True, True, False]
    assert "1 of 2 reviewed rows" in result.stdout  # a bad one needs no time


def test_what_the_checks_reported_is_shown_after_the_rating_only(tmp_path: Path) -> None:
    rows = [line(f"question {i}") for i in range(80)]
    finding = {"check": "label_errors", "reason": "label_error", "detail": "perhaps 'x'", "action": "report"}
    findings = [json.dumps({"id": json.loads(each)["id"], **finding}).encode() + b"\n" for each in rows]
    freeze(Folder(tmp_path), {"rows.jsonl": rows, "rejects.jsonl": [], "findings.jsonl": findings}, RECIPE)
    before = review(tmp_path, "start", "--reviewer", "ada", lines=["/skip", "/quit"])
    assert "perhaps" not in before.stderr
    after = review(tmp_path, "start", "--reviewer", "ada", lines=["g", "/quit"])
    assert after.stderr.count("label_errors/label_error: perhaps 'x'") == 1


def test_a_second_reviewer_sees_how_many_rows_are_theirs(root: Path) -> None:
    review(root, "start", "--max-bad", "0", "--seed", "1", "--reviewer", "ada", lines=["g"] * 200)
    # all rows of the plan are judged, so all that both are asked about
    result = review(root, "start", "--reviewer", "bob", lines=["g", "/quit"])
    assert "[1 of 30]" in result.stderr and "[2 of 30]" in result.stderr


def test_verdicts_are_read_from_a_line() -> None:
    assert parse_verdict(" Good ok ") == (True, "ok") and parse_verdict("BAD  it lies") == (False, "it lies")
    for wrong in ("", "yes", "b", "bad "):
        with pytest.raises(UserError):
            parse_verdict(wrong)


def test_a_user_without_a_name_is_asked_for_one_only_where_it_matters(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", nameless)
    assert document(review(root, "status", "--json"))["status"] == "no_plan"
    for options in (("start",), ("correct", "x", "--because", "y")):
        error = review(root, *options).exception
        assert isinstance(error, UserError) and "a name with --reviewer" in str(error)


def nameless() -> str:
    raise KeyError("getpwuid(): uid not found: 4711")
