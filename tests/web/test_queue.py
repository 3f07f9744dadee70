"""The queues of `ui`: an answer counts for the row that its person saw, and can be taken back after a reload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.dataset.check_rows import RECIPE
from tests.dataset.test_corrections import PROJECT, ROWS, label_error
from tuneworthy.cases.labelling import label_path, read_labels
from tuneworthy.cli.label_queues import QUEUES, LabelRequest
from tuneworthy.dataset.corrections import FILE_NAME, Correction, read_corrections, write_correction
from tuneworthy.dataset.freeze import freeze
from tuneworthy.store import Folder
from tuneworthy.store.lines import append_line
from tuneworthy.web.server import create_app
from tuneworthy.web.state import UiState

GUIDELINE = "Choose.\n\n- `card`\n- `cash`\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with cases to label, and three reported training rows."""
    (tmp_path / "tuneworthy.toml").write_text(PROJECT)
    (tmp_path / "guideline.md").write_text(GUIDELINE)
    write_cases(tmp_path, {f"c{i}": f"Question {i}" for i in range(5)})
    odd = {"id": ROWS[3]["id"], "check": "language", "reason": "rare_language", "detail": "de", "action": "report"}
    findings = [odd, label_error(ROWS[1], "a", 0.4), label_error(ROWS[0], "b", 0.1)]
    contents = {"rows.jsonl": ROWS[:6], "rejects.jsonl": [], "findings.jsonl": findings}
    lines = {name: [json.dumps(row).encode() + b"\n" for row in rows] for name, rows in contents.items()}
    freeze(Folder(tmp_path), lines, RECIPE)
    return tmp_path


def write_cases(root: Path, texts: dict[str, str]) -> None:
    rows = [{"id": name, "input": text} for name, text in texts.items()]
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class Tab:
    """A tab of the page with an open queue.

    Attributes:
        rows: As they were loaded.
    """

    def __init__(self, root: Path, kind: str, labeller: str = "ada") -> None:
        state = UiState(root, labeller, "engineer", lambda kind: QUEUES[kind](LabelRequest(root, labeller)), dict)
        self.http, self.kind = TestClient(create_app(state)), kind
        self.reload()

    def post(self, name: str, status: int = 200, **body: Any) -> Any:
        answer = self.http.post(f"/api/queue/{name}", json={"kind": self.kind, **body})
        assert answer.status_code == status, answer.text
        return answer.json()

    def reload(self) -> None:
        self.rows = {row["id"]: row for row in self.post("open")["rows"]}

    def answer(self, row: str, line: str, status: int = 200) -> Any:
        shown = self.rows[row]
        body = {"hash": shown["hash"], "line": line, "seconds": 9.5, "disputed": shown["disputed"]}
        return self.post("answer", status, row=row, **body)


def labels(root: Path) -> dict[str, Any]:
    return {f"{one.labeller} {one.case}": one.label for one in read_labels(label_path(root / "cases.jsonl"))}


def test_an_answer_to_a_row_that_changed_or_is_gone_is_refused(root: Path) -> None:
    tab = Tab(root, "cases")
    tab.answer("c0", "card")
    write_cases(root, {"c0": "Question 0", "c1": "Another question", "c2": "Question 2"})
    for row in ("c1", "c4"):
        refused = tab.answer(row, "card", 409)
        assert "changed, decided or removed" in refused["error"] and refused["hint"] == "Reload the page."
    assert labels(root) == {"ada c0": "card"}
    tab.answer("c2", "cash")
    tab.reload()
    assert "c4" not in tab.rows and tab.rows["c1"]["text"] == "Another question"
    tab.answer("c1", "card")
    assert labels(root) == {"ada c0": "card", "ada c2": "cash", "ada c1": "card"}


def test_a_label_of_another_person_meanwhile_does_not_change_a_row(root: Path) -> None:
    tab = Tab(root, "cases")
    tab.answer("c0", "card")
    for row in ("c0", "c1"):
        append_line(label_path(root / "cases.jsonl"), {"case": row, "labeller": "ben", "label": "cash", "time": "t"})
    tab.answer("c0", "cash")  # disputed meanwhile, and shown without the labels
    tab.answer("c1", "card")
    assert labels(root) == {"ada c0": "cash", "ben c0": "cash", "ben c1": "cash", "ada c1": "card"}


def decisions(root: Path) -> dict[str, tuple[str, str]]:
    return {row: (one.reviewer, one.decision) for row, one in read_corrections(root / FILE_NAME).items()}


def test_the_last_decision_about_a_finding_is_taken_back_after_a_reload_and_after_another_write(root: Path) -> None:
    tab = Tab(root, "findings")
    first, second, third = tab.rows
    tab.answer(second, "d")
    tab.answer(first, "k")
    tab.answer(second, "k")  # again: it is the last decision now
    other = Correction(row=third, version="v", reviewer="ben", decision="drop")
    write_correction(root / FILE_NAME, other)
    assert [row["id"] for row in tab.post("undo")["row"]] == [second]
    assert decisions(root) == {first: ("ada", "keep"), third: ("ben", "drop")}
    tab.reload()
    assert [*tab.rows] == [second]
    assert [row["id"] for row in tab.post("undo")["row"]] == [first]
    assert "no answer of yours" in tab.post("undo", 409)["error"]
    assert decisions(root) == {third: ("ben", "drop")}


def test_a_finding_is_decided_again_after_another_write_and_the_last_decision_counts(root: Path) -> None:
    tab = Tab(root, "findings")
    first, second, third = tab.rows
    tab.answer(first, "d")
    write_correction(root / FILE_NAME, Correction(row=second, version="v", reviewer="ben", decision="drop"))
    tab.answer(first, "k")
    assert decisions(root) == {first: ("ada", "keep"), second: ("ben", "drop")}
    refused = tab.answer(second, "k", 409)
    assert "changed, decided or removed" in refused["error"]
    assert tab.answer(third, "k")["left"] == 0
