"""`label findings`: decisions about findings reach the next build, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.dataset.check_rows import RECIPE
from tuneworthy.cli.label import command
from tuneworthy.cli.label_queues import parse_decision
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext
from tuneworthy.dataset.check_runner import run_checks
from tuneworthy.dataset.corrections import FILE_NAME, corrections_check, read_corrections, suspect_rows
from tuneworthy.dataset.freeze import Version, freeze
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.types import Case, content_hash


def line(question: str, answer: str) -> dict[str, Any]:
    said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": content_hash(said), "source": "a.jsonl:1", "messages": said}


ROWS = [line(f"q{i}", "ab"[i % 2]) for i in range(6)] + [line("both", "a"), line("Both", "b")]


PROJECT = """
[task]
name = "t"
[[graders]]
type = "exact"
[models.m]
provider = "scripted"
function = "m.py:f"
[ladder]
baseline = "m"
"""


def label_error(row: dict[str, Any], label: str, score: float) -> dict[str, Any]:
    text = messages.MORE_LIKE.format(label=label)
    found = {"check": "label_errors", "reason": "label_error", "detail": text, "score": score, "action": "report"}
    return {"id": row["id"], "source": "", **found}


@pytest.fixture
def version(tmp_path: Path) -> Version:
    odd = {"id": ROWS[3]["id"], "check": "language", "reason": "rare_language", "detail": "de", "action": "report"}
    findings = [odd, label_error(ROWS[1], "a", 0.4), label_error(ROWS[0], "b", 0.1)]
    contents = {"rows.jsonl": ROWS, "rejects.jsonl": [], "findings.jsonl": findings}
    lines = {name: [json.dumps(row).encode() + b"\n" for row in rows] for name, rows in contents.items()}
    return freeze(Folder(tmp_path), lines, RECIPE)


def decide(root: Path, *typed: str) -> Result:
    options = ["findings", "--project", str(root), "--labeller", "ada"]
    text = "".join(f"{each}\n" for each in typed)
    return CliRunner().invoke(command, options, input=text, standalone_mode=False, catch_exceptions=False)


def rebuilt(root: Path) -> dict[str, str]:
    """Return question to answer after the corrections were applied to the rows."""
    path = root / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    check = corrections_check(read_corrections(root / FILE_NAME))
    checked = run_checks(path, [check], CheckContext(), policy={})
    return {row.question: row.answer for row in checked.rows}


def test_the_likeliest_wrong_labels_come_first_and_a_contradiction_is_shown_as_a_pair(version: Version) -> None:
    suspects = suspect_rows(version, {})
    assert [suspect.row.question for suspect in suspects] == ["q0", "q1", "both", "Both", "q3"]
    assert [suspect.suggested for suspect in suspects] == ["b", "a", "", "", ""]
    assert [suspect.rival.answer if suspect.rival else "" for suspect in suspects] == ["", "", "b", "a", ""]


def test_each_decision_reaches_the_next_build_and_nothing_else_changes(version: Version, tmp_path: Path) -> None:
    before = {row["messages"][0]["content"]: row["messages"][1]["content"] for row in ROWS}
    result = decide(tmp_path, "a", "k", "d", "e c", "e +c", "/skip", "/quit")
    assert "suggested label: b" in result.stderr and "the same question with the answer: b" in result.stderr
    assert "'c' is not one of the 2 known labels" in result.stderr
    changed = {**before, "q0": "b", "Both": "c"}
    del changed["both"]
    assert rebuilt(tmp_path) == changed
    assert [row.question for row in version.examples()] == list(before)  # a frozen version stays
    assert [suspect.row.question for suspect in suspect_rows(version, read_corrections(tmp_path / FILE_NAME))] == ["q3"]


def test_of_a_case_that_a_row_resembles_the_question_is_shown(tmp_path: Path) -> None:
    case = Case(id="c1", input="where is my card?", expected="a")
    near = {"id": ROWS[3]["id"], "check": "contamination", "reason": "overlap_possible", "action": "report"}
    near["detail"] = messages.say("case", case="c1")
    contents = {"rows.jsonl": ROWS[:6], "rejects.jsonl": [], "findings.jsonl": [near]}
    lines = {name: [json.dumps(row).encode() + b"\n" for row in rows] for name, rows in contents.items()}
    version = freeze(Folder(tmp_path), lines, RECIPE)
    (tmp_path / "cases.jsonl").write_text('{"id": "c1", "input": "where is my card?", "expected": "a"}\n')
    (tmp_path / "tuneworthy.toml").write_text(PROJECT)
    (suspect,) = suspect_rows(version, {}, [case])
    assert suspect.reasons == ('contamination/overlap_possible: case c1 "where is my card?"',)
    assert '"where is my card?"' in decide(tmp_path, "/quit").stderr


def test_a_decision_is_taken_back(version: Version, tmp_path: Path) -> None:
    decide(tmp_path, "d", "/undo", "/quit")
    assert read_corrections(tmp_path / FILE_NAME) == {} and len(suspect_rows(version, {})) == 5


def test_corrections_are_attributed(version: Version, tmp_path: Path) -> None:
    decide(tmp_path, "a", "a", "d", "/quit")
    rebuilt(tmp_path)
    check = corrections_check(read_corrections(tmp_path / FILE_NAME))
    found = list(run_checks(tmp_path / "rows.jsonl", [check], CheckContext(), policy={}).findings())
    assert "ada gave rows a new answer (n = 2)" in [each.detail for each in found]
    assert all(each.version == version.id for each in read_corrections(tmp_path / FILE_NAME).values())


def test_where_nothing_is_suggested_nothing_is_accepted(version: Version, tmp_path: Path) -> None:
    result = decide(tmp_path, "k", "k", "a", "/quit")
    assert "No label is suggested" in result.stderr and len(read_corrections(tmp_path / FILE_NAME)) == 2


@pytest.mark.parametrize("typed", ["", "e", "a yes", "x", "drop it"])
def test_what_decides_nothing_is_refused(typed: str) -> None:
    with pytest.raises(UserError, match="Type a, k, d"):
        parse_decision(typed)
