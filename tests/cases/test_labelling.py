"""Labelling is blind, on disk at once, resumable; two labellers give the ceiling of any score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rows import case
from sklearn.metrics import cohen_kappa_score

from tuneworthy.cases import read_cases
from tuneworthy.cases.labelling import (
    CANNOT_DECIDE,
    Label,
    LabelSession,
    Remark,
    agreement,
    apply_labels,
    read_answers,
    read_labels,
)
from tuneworthy.errors import DataError, UserError
from tuneworthy.types import UNLABELLED

CASES = [case(f"question {i}", "known") for i in range(200)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.jsonl"


def label_all(session: LabelSession, label: Any = "x", n: int = 1000) -> list[str]:
    asked = []
    while len(asked) < n and (waiting := session.next()) is not None:
        session.submit(waiting.id, label)
        asked.append(waiting.id)
    return asked


def test_a_case_is_handed_out_without_its_answer(path: Path) -> None:
    waiting = LabelSession(CASES, path, "ann", seed=1).next()
    assert waiting is not None
    assert waiting.expected is UNLABELLED


def test_a_label_is_on_disk_at_once_and_the_session_resumes(path: Path) -> None:
    first = LabelSession(CASES, path, "ann", seed=1)
    asked = label_all(first, n=3)
    assert [label.case for label in read_labels(path)] == asked
    again = LabelSession(CASES, path, "ann", seed=1)
    assert again.n_done == 3
    assert set(label_all(again)).isdisjoint(asked)
    assert LabelSession(CASES, path, "ann", seed=1).next() is None


def test_a_second_labeller_gets_a_seeded_share_and_sees_no_earlier_label(path: Path) -> None:
    label_all(LabelSession(CASES, path, "ann", seed=1), n=2)
    second = LabelSession(CASES, path, "bob", seed=1, share=0.25)
    assert len(second.assigned) == 50
    assert second.n_done == 0
    assert second.assigned == LabelSession(CASES[::-1], path, "bob", seed=1).assigned
    assert set(second.assigned) != set(LabelSession(CASES, path, "bob", seed=2).assigned)
    assert len(LabelSession(CASES[:60], path, "bob", seed=1).assigned) == 30


def test_a_skipped_case_comes_last(path: Path) -> None:
    session = LabelSession(CASES[:3], path, "ann", seed=1)
    first = session.next()
    assert first is not None
    session.skip(first.id)
    assert label_all(session)[-1] == first.id


def test_a_case_that_is_not_waiting_cannot_be_labelled(path: Path) -> None:
    session = LabelSession(CASES, path, "ann", seed=1)
    with pytest.raises(UserError, match="not waiting for an answer"):
        session.submit("no such case", "x")
    with pytest.raises(UserError, match="No labeller name"):
        LabelSession(CASES, path, " ", seed=1)


def test_a_second_answer_to_a_row_replaces_the_first_and_one_undo_takes_it_back(path: Path) -> None:
    session = LabelSession(CASES, path, "ann", seed=1)
    (first, second) = label_all(session, n=2)
    session.submit(first, "changed")
    assert {row.case: row.label for row in read_labels(path)}[first] == "changed" and session.n_done == 2
    assert session.undo() == "changed" and session.next().id == first
    assert [row.case for row in read_labels(path)] == [second]


def test_a_case_that_no_one_could_decide_has_no_label_and_stays_open_for_others(path: Path) -> None:
    session = LabelSession(CASES, path, "ann", seed=1)
    row = session.next().id
    session.submit(row, CANNOT_DECIDE, Remark("two labels fit", "0123456789ab"))
    assert read_labels(path) == [] and session.next().id != row
    (one,) = read_answers(path)
    assert (one.case, one.label, one.comment) == (row, CANNOT_DECIDE, "two labels fit")
    assert LabelSession(CASES, path, "ann", seed=1).n_done == 1
    assert row in LabelSession(CASES, path, "bob", seed=1, share=1.0).assigned
    assert session.undo() is CANNOT_DECIDE and read_answers(path) == []


def test_a_label_that_two_sessions_take_back_leaves_a_readable_file(path: Path) -> None:
    session = LabelSession(CASES, path, "ann", seed=1)
    (row,) = label_all(session, n=1)
    session.take_back(row)
    session.take_back(row)
    assert read_labels(path) == []


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_line_that_a_crash_cut_off_is_asked_again(path: Path, cut: int) -> None:
    asked = label_all(LabelSession(CASES[:5], path, "ann", seed=1), n=3)
    path.write_bytes(path.read_bytes()[:-cut])
    resumed = LabelSession(CASES[:5], path, "ann", seed=1)
    assert resumed.n_done == (3 if cut == 1 else 2)
    label_all(resumed)
    labels = read_labels(path)
    assert len(labels) == len({label.case for label in labels}) == 5
    assert {label.case for label in labels} >= set(asked)


def test_a_wrong_line_of_a_label_file_is_named(path: Path) -> None:
    path.write_text('{"case": "a"}\n')
    with pytest.raises(DataError, match=r"labels.jsonl:1: expected a label"):
        read_labels(path)


def pairs(*said: tuple[Any, Any]) -> list[Label]:
    return [Label(f"c{i}", who, label, "t") for i, two in enumerate(said) for who, label in zip("ab", two, strict=True)]


def test_agreement_is_raw_with_interval_and_beyond_chance() -> None:
    said = [("x", "x")] * 12 + [("y", "y")] * 5 + [("x", "y")] * 2 + [("y", "z")]
    result = agreement([*pairs(*said), Label("alone", "a", "x", "t")])
    assert (result.n, result.n_agree, result.raw) == (20, 17, 0.85)
    assert result.ci95 == pytest.approx((0.6211, 0.9679), abs=1e-4)  # scipy.stats.binomtest(17, 20), exact
    assert result.kappa == pytest.approx(cohen_kappa_score(*zip(*said, strict=True)))
    assert [item.labels for item in result.disagreements][-1] == {"a": "y", "b": "z"}
    assert "agree on 17 of 20 rows. Agreement is 85.0%" in str(result)


def test_agreement_without_pairs_or_without_variety_is_not_made_up() -> None:
    assert agreement([Label("c", "a", "x", "t")]).raw is None
    assert agreement(pairs(("x", "x"), ("x", "x"))).kappa is None


def test_declining_and_the_text_null_differ_and_the_last_label_holds() -> None:
    assert agreement(pairs((None, "null"))).n_agree == 0
    assert agreement([*pairs(("x", "y")), Label("c0", "b", "x", "t")]).n_agree == 1


def test_labels_are_written_into_the_cases_and_disagreements_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    rows = [{"input": f"q{i}", "note": "mine"} for i in range(4)] + [{"input": "old", "expected": "was"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ids = [item.id for item in read_cases(file).cases]
    said = [Label(ids[0], "a", "x", "t"), Label(ids[1], "a", None, "t"), Label(ids[2], "a", "x", "t")]
    said += [Label(ids[2], "b", "y", "t"), Label(ids[4], "a", "is", "t"), Label("gone", "a", "x", "t")]
    done = apply_labels(file, said)
    assert (done.n_written, done.n_same, done.conflicts, done.unknown) == (2, 0, (ids[4],), ("gone",))
    assert [item.case for item in done.disagreements] == [ids[2]]
    assert [item.expected for item in read_cases(file).cases] == ["x", None, UNLABELLED, UNLABELLED, "was"]
    assert json.loads(file.read_text().splitlines()[0])["note"] == "mine"
    again = apply_labels(file, said, overwrite=True)
    assert (again.n_written, again.n_same, again.relabelled) == (1, 2, (ids[4],))
    assert read_cases(file).cases[4].expected == "is"
    assert [entry.name for entry in tmp_path.iterdir()] == ["cases.jsonl"]


def test_labels_are_not_written_into_a_file_of_another_format(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("input,expected\na,x\n")
    with pytest.raises(UserError, match="not in the csv/columns format"):
        apply_labels(file, [])


def test_a_label_of_one_turn_leaves_the_other_turns_of_its_conversation(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 3
    (file := tmp_path / "cases.jsonl").write_text(json.dumps({"id": "chat", "messages": turns, "tags": ["x"]}) + "\n")
    before = read_cases(file).cases
    apply_labels(file, [Label(before[1].id, "ann", "c", "2026-01-01T00:00:00")], overwrite=True)
    after = read_cases(file).cases
    assert [one.id for one in after] == [one.id for one in before]
    assert [one.expected for one in after] == ["b", "c", "b"]
    assert {(one.group, one.tags) for one in after} == {("chat", ("x",))}
