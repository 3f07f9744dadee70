"""What is shown of a task comes from dev and examples: labels and schema never from test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cases.splits import Split, make_split
from tuneworthy.config import load
from tuneworthy.config.project import Project
from tuneworthy.ladder.rung import view_of
from tuneworthy.ladder.rungs.prompt import PromptRung
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.task_data import read_data
from tuneworthy.ladder.task_info import TaskInfo, task_of
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.types import Case

TOML = """
[task]
name = "t"
[[graders]]
type = "exact"
[models.m]
provider = "scripted"
function = "world.py:m"
[ladder]
baseline = "m"
"""


def project_of(root: Path, grader: str = 'type = "exact"') -> Project:
    root.mkdir(exist_ok=True)
    (root / "tuneworthy.toml").write_text(TOML.replace('type = "exact"', grader))
    return load(root)


def split_of(dev: Sequence[Any], test: Sequence[Any]) -> Split:
    """A split whose sides have these right answers."""
    sides = [
        tuple(Case(id=f"{side}{i}", input=f"{side} {i}", expected=value) for i, value in enumerate(values))
        for side, values in (("dev", dev), ("test", test))
    ]
    drawn = make_split([*sides[0], *sides[1]], seed=7, dev_size=120)
    return Split(dev=sides[0], test=sides[1], shots=(), origin="cases", seed=7, dev_size=120, kind=drawn.kind)


def test_a_label_that_only_test_has_is_no_choice_and_is_told(tmp_path: Path) -> None:
    task, notes = task_of(project_of(tmp_path), split_of(["a", "b"] * 30, ["a", "b"] * 30 + ["c"]))
    assert task.labels == task.structured.choices == ("a", "b")
    (note,) = notes
    assert note.startswith("1 label occurs only in the test set (c)")


def test_where_nothing_is_only_in_test_nothing_is_told(tmp_path: Path) -> None:
    assert task_of(project_of(tmp_path), split_of(["a", "b"] * 30, ["a", "b"] * 30))[1] == []


def test_labels_that_the_project_file_names_are_known(tmp_path: Path) -> None:
    project = project_of(tmp_path, 'type = "choice"\nlabels = ["a", "b", "c"]')
    task, notes = task_of(project, split_of(["a", "b"] * 30, ["a", "b"] * 30 + ["c"]))
    assert task.structured.choices == ("a", "b", "c") and notes == []


def test_a_dev_too_small_to_know_the_labels_holds_no_answer_to_them(tmp_path: Path) -> None:
    seen = [f"label {i}" for i in range(20)]
    task, notes = task_of(project_of(tmp_path), split_of(seen[:12], [*seen, *seen, *seen]))
    assert not task.closed and task.structured.kind == "free"
    assert "Labels that occur only once make up 12 of 12 answers in dev cases and examples" in notes[0]
    assert notes[1].startswith("8 labels occur only in the test set")
    named = project_of(tmp_path, f'type = "choice"\nlabels = {seen}')
    task, notes = task_of(named, split_of(seen[:12], [*seen, *seen, *seen]))
    assert task.closed and len(task.structured.choices) == 20 and notes == []


def test_a_contract_is_not_proposed_where_labels_are_missing(tmp_path: Path) -> None:
    async def proposed() -> tuple[set[str], set[str]]:
        async with open_session(load(write_simulation(tmp_path / "world", {"weak": "'red'"}))) as session:
            view, names = view_of(session, best=current(session), n_dev=80), []
            for closed in (True, False):
                task = TaskInfo(kind="label", labels=("a", "b"), closed=closed)
                proposal = await PromptRung().propose(replace(view, task=task))
                names.append({one.name for one in proposal.candidates})
            return names[0], names[1]

    closed, unclosed = asyncio.run(proposed())
    assert closed - unclosed == {"prompt/contract", "prompt/xml_contract"}


def test_one_label_is_no_choice(tmp_path: Path) -> None:
    task, _ = task_of(project_of(tmp_path), split_of(["a"] * 5, ["a", "b"] * 30))
    assert task.structured.kind == "free"


def test_the_schema_has_no_field_that_only_test_has_and_says_whom_it_rules_out(tmp_path: Path) -> None:
    dev, test = [{"city": "Oslo"}] * 60, [{"city": "Oslo"}] * 58 + [{"city": "Rome", "year": 3}, {"year": 4}]
    task, notes = task_of(project_of(tmp_path), split_of(dev, test))
    assert task.schema is not None and list(task.schema["properties"]) == ["city"]
    assert notes[0].startswith("In 2 of 60 test cases, the expected answer does not match the schema")
    assert task_of(project_of(tmp_path), split_of(dev, dev))[1] == []


@pytest.mark.parametrize("grader", ['type = "choice"', 'type = "exact"'])
def test_graders_know_the_labels_that_only_test_has(grader: str, tmp_path: Path) -> None:
    rows = [{"input": f"item {i} thing {i * 7919 % 104729} n{i}", "expected": "ab"[i % 2]} for i in range(110)]
    project = project_of(tmp_path, grader)
    (tmp_path / "cases.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    unlike = next(i for i, row in enumerate(rows) if row["input"] in {c.text for c in read_data(project).split.test})
    rows[unlike]["expected"] = "rare"
    (tmp_path / "cases.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    data = read_data(project)
    side = "test" if any(case.expected == "rare" for case in data.split.test) else "dev"
    assert "rare" in data.labels
    assert ("rare" in data.task.labels) is (side == "dev")
