"""Cases that are added join test; what repeats, rewords dev or overlaps examples stays out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.ladder.check_projects import Folder as World
from tests.ladder.check_projects import case, clean

from tuneworthy.cases import dataset
from tuneworthy.cases.addition import AddedCases, add_cases
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.task_data import read_data
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.store import Folder
from tuneworthy.verdict.gather import overlaps_left


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


def test_portions_that_no_run_measured_between_are_one_addition(tmp_path: Path) -> None:
    begun(tmp_path)
    command = ["cases", "add", str(tmp_path / "more.jsonl"), "--project", str(tmp_path)]
    for i, measured in ((500, False), (510, False), (520, True)):
        if measured:
            plan = ComparisonPlan(planned=("model",), added={"model+1": 0.001}, spent={"model:a~b@c+1": "model+1"})
            Folder(tmp_path).write("comparisons", asdict(plan))
        (tmp_path / "more.jsonl").write_text("".join(json.dumps(case(j)) + "\n" for j in range(i, i + 10)))
        assert invoke(command) == 0
    assert [len(ids) for ids in read_data(load(tmp_path)).split.additions] == [20, 10]


@pytest.mark.parametrize("step", [1, 6])
def test_an_addition_of_a_critical_label_counts_for_its_recall_only(step: int, tmp_path: Path) -> None:
    world = begun(tmp_path)
    before = read_data(load(tmp_path)).split
    world.replace("target = 0.5", 'target = 0.5\ncritical = ["crimson"]')
    world.write()
    assert not add(tmp_path, *map(case, range(500, 530))).by_label
    for i in range(600, 606, step):
        rows = [case(j) | {"expected": "crimson"} for j in range(i, i + step)]
        (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        result = add_cases(load(tmp_path), tmp_path / "more.jsonl", joins=i > 600)
    split = read_data(load(tmp_path)).split
    assert result.by_label and [len(ids) for ids in split.additions] == [30]
    assert (len(split.test), len(split.chosen), result.n_test) == (len(before.test) + 30, 6, len(before.test) + 36)
    assert not set(split.by_label) & {one.id for one in split.test}


def test_what_repeats_or_rewords_a_test_case_is_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    test = read_data(load(tmp_path)).split.test
    result = add(
        tmp_path,
        case(3),
        {"input": f"{test[5].text.upper()}!", "expected": "x"},
        {"input": turned(test[5].text), "expected": test[5].expected},
        case(501),
    )
    assert (len(result.repeated), len(result.overlapping), len(result.added)) == (2, 1, 1)


def test_added_cases_that_copy_one_another_are_one_group(tmp_path: Path) -> None:
    begun(tmp_path)
    new = case(501)
    assert len(add(tmp_path, new, new | {"input": turned(new["input"])}, case(502)).added) == 3
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


def with_twins(root: Path) -> World:
    """A begun project without examples; 40 of its cases reword another case that has another label."""
    world = clean(root)
    world.cases = [case(i) for i in range(160)]
    world.cases += [
        {"input": turned(row["input"]), "expected": case(i + 1)["expected"]} for i, row in enumerate(world.cases[:40])
    ]
    world.replace("[examples]", "")
    world.write()
    Folder(root).write("split", read_data(load(root)).dataset.settled())
    return world


def relabel(world: World) -> None:
    for twin, row in zip(world.cases[160:200], world.cases, strict=False):
        twin["expected"] = row["expected"]
    world.write()


def test_corrected_labels_move_no_case_and_let_no_copy_cross_the_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = with_twins(tmp_path)
    before = read_data(load(tmp_path))
    relabel(world)
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "find_overlaps", None)  # nothing is judged again
        after = read_data(load(tmp_path))
    assert len(after.dataset.changes.relabelled) == 40 and overlaps_left(after) == {}
    for one, other in ((before.split.dev, after.split.dev), (before.split.test, after.split.test)):
        assert [(case.id, case.group) for case in one] == [(case.id, case.group) for case in other]


def test_a_copy_that_comes_to_cross_the_split_leaves_dev_and_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = with_twins(tmp_path)
    stored = read_data(load(tmp_path)).split
    dev, test = stored.dev[0], stored.test[0]
    for row in world.cases:
        row.update({"group": "same"} if row["input"] in {dev.text, test.text} else {})
    world.write()
    data = read_data(load(tmp_path))
    assert overlaps_left(data) == {} and [one.id for one in data.split.dev] == [one.id for one in stored.dev[1:]]
    assert data.split.counts["dev"] == len(data.split.dev)
    assert set(data.split.reasons) > set(stored.reasons)
    listed = [json.loads(line) for line in data.dataset.write_dropped(Folder(tmp_path)).read_text().splitlines()]
    assert {"row": dev.text, "question": test.text}.items() <= next(
        row for row in listed if row["reason"] == "group"
    ).items()
    with monkeypatch.context() as patch:
        patch.setattr(dataset.ContaminationReport, "left_out", ())
        assert overlaps_left(read_data(load(tmp_path))) == {"development cases in test": 1}
    for row in world.cases:
        row["group"] = "same"
    world.write()
    with pytest.raises(UserError, match="Every dev case"):
        read_data(load(tmp_path))


def test_rows_that_are_added_by_hand_and_refused_change_nothing(tmp_path: Path) -> None:
    world = with_twins(tmp_path)
    before = read_data(load(tmp_path)).split
    copies = [{"input": f"{one.text} now", "expected": one.expected} for one in (*before.dev[:9], *before.test[:9])]
    world.cases += [*copies, *(case(i) for i in range(500, 510))]
    world.write()
    result = add_cases(load(tmp_path))
    assert (len(result.overlapping), len(result.added)) == (18, 10)
    data = read_data(load(tmp_path))
    assert overlaps_left(data) == {} and len(data.split.test) == len(before.test) + 10
    assert [(one.id, one.group) for one in data.split.dev] == [(one.id, one.group) for one in before.dev]


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
