"""Cases that are added join test; what repeats, rewords dev or overlaps examples stays out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.ladder.check_projects import Folder as World
from tests.ladder.check_projects import case, clean

from tuneworthy.cases.addition import AddedCases, add_cases
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.task_data import read_data
from tuneworthy.store import Folder


def begun(root: Path) -> World:
    """A project whose split was drawn."""
    world = clean(root)
    world.write()
    Folder(root).write("split", read_data(load(root)).split.stored())
    return world


def add(root: Path, *rows: Any) -> AddedCases:
    (root / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return add_cases(load(root), root / "more.jsonl")


def turned(text: str) -> str:
    return " ".join(reversed(text.split()))


def test_new_cases_join_test_and_nothing_else_moves(tmp_path: Path) -> None:
    begun(tmp_path)
    before = read_data(load(tmp_path)).split
    result = add(tmp_path, *(case(i) for i in range(500, 560)))
    after = read_data(load(tmp_path)).split
    assert (len(result.added), result.n_test) == (60, len(before.test) + 60) == (60, len(after.test))
    assert [one.id for one in after.dev] == [one.id for one in before.dev]
    assert [one.id for one in after.shots] == [one.id for one in before.shots]
    assert len(after.additions) == 1 and {one.id for one in after.test} >= set(after.additions[0])
    add(tmp_path, case(600))
    assert [len(ids) for ids in read_data(load(tmp_path)).split.additions] == [60, 1]


def test_what_repeats_is_refused_and_what_rewords_a_test_case_is_grouped(tmp_path: Path) -> None:
    begun(tmp_path)
    test = read_data(load(tmp_path)).split.test
    result = add(
        tmp_path,
        case(3),
        {"input": f"{test[5].text.upper()}!", "expected": "x"},
        {"input": turned(test[5].text), "expected": test[5].expected},
        case(501),
    )
    assert (len(result.repeated), len(result.added), result.grouped) == (2, 2, 1)
    split = read_data(load(tmp_path)).split
    assert split.effective_groups < len(split.test)


def test_what_rewords_dev_or_overlaps_an_example_is_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    split = read_data(load(tmp_path)).split
    assert split.origin == "examples"
    dev, shot = split.dev[0], split.shots[0]
    result = add(
        tmp_path,
        {"input": turned(dev.text), "expected": dev.expected},
        {"input": shot.question, "expected": "crimson"},
        case(501),
    )
    assert (len(result.overlapping), len(result.added)) == (2, 1)
    assert len((tmp_path / "cases.jsonl").read_text().splitlines()) == 91
    after = read_data(load(tmp_path)).split
    assert [one.id for one in after.shots] == [one.id for one in split.shots]


def test_a_case_of_a_group_that_stands_in_dev_is_refused(tmp_path: Path) -> None:
    world = clean(tmp_path)
    world.cases = [case(i) | {"group": f"g{i // 2}"} for i in range(200)]
    world.replace("[examples]", "")
    world.write()
    Folder(tmp_path).write("split", read_data(load(tmp_path)).split.stored())
    split = read_data(load(tmp_path)).split
    assert split.origin == "cases"
    result = add(
        tmp_path, case(501) | {"group": split.dev[0].group}, case(502) | {"group": split.test[0].group}, case(503)
    )
    assert (len(result.overlapping), len(result.added)) == (1, 2)


def test_before_the_first_run_they_only_join_the_file(tmp_path: Path) -> None:
    clean(tmp_path).write()
    result = add(tmp_path, case(501), case(1))
    assert (len(result.added), len(result.repeated), result.n_test) == (1, 1, None)
    assert len(read_data(load(tmp_path)).cases) == 91


def test_rows_that_were_appended_by_hand_join_without_a_file(tmp_path: Path) -> None:
    world = begun(tmp_path)
    world.cases.append(case(501))
    world.write()
    assert any("cases add" in note for note in read_data(load(tmp_path)).notes)
    assert len(add_cases(load(tmp_path)).added) == 1
    assert not any("cases add" in note for note in read_data(load(tmp_path)).notes)


def test_unlabelled_cases_and_files_that_take_no_rows_are_refused(tmp_path: Path) -> None:
    world = begun(tmp_path)
    with pytest.raises(UserError, match="no expected answer"):
        add(tmp_path, {"input": "anything"})
    rows = "input,expected\n" + "".join(f"{one['input']},{one['expected']}\n" for one in world.cases)
    (tmp_path / "cases.csv").write_text(rows)
    world.replace("[examples]", '[cases]\npath = "cases.csv"\n[examples]')
    world.write()
    with pytest.raises(UserError, match="cannot be appended") as refused:
        add(tmp_path, case(501))
    assert "cases add" in (refused.value.hint or "")


def test_columns_of_other_names_are_named_as_init_names_them(tmp_path: Path) -> None:
    begun(tmp_path)
    more = tmp_path / "more.csv"
    rows = [case(i) for i in range(500, 503)]
    more.write_text("said,verdict\n" + "".join(f'"{row["input"]}","{row["expected"]}"\n' for row in rows))
    with pytest.raises(UserError, match=r"`input`(.|\n)*--input COLUMN --expected COLUMN.*`cases add`"):
        add_cases(load(tmp_path), more)
    with pytest.raises(UserError, match="no expected answer") as error:
        add_cases(load(tmp_path), more, ["said"])
    assert "--expected COLUMN" in error.value.hint
    assert (
        invoke(["cases", "add", str(more), "--input", "said", "--expected", "verdict", "--project", str(tmp_path)]) == 0
    )
    added = [row for row in read_data(load(tmp_path)).split.test if row.text in {str(row["input"]) for row in rows}]
    assert len(added) == 3 and all(row.labelled for row in added)
