"""Pairs come of corrections, ratings, edits and several answers, and a build counts and checks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.check_rows import row, worse
from tests.dataset.test_build import PROJECT
from tuneworthy.cases.pairs import REJECTED, rejected_answer
from tuneworthy.cases.writer import write_rows
from tuneworthy.config import load
from tuneworthy.dataset.base import CheckContext
from tuneworthy.dataset.build import build_version
from tuneworthy.dataset.corrections import Correction, corrections_check
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.judge_auditor import pair_scorer
from tuneworthy.dataset.records import Recipe, row_of
from tuneworthy.dataset.rows import StoredRows, rows_with
from tuneworthy.people.review_log import content_of
from tuneworthy.store import Folder
from tuneworthy.types import Example


def log(question: str, answer: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **more}


def built(root: Path, rows: list[dict[str, Any]], grader: str = 'type = "exact"') -> tuple[list[Example], Recipe]:
    """The rows of a version that was built from a log of `rows`, and its recipe."""
    prose = '[data]\npolicy = { outside_labels = "report" }'  # though the cases expect labels
    project = PROJECT.replace('type = "exact"', grader).replace("[data]", prose)
    (root / "tuneworthy.toml").write_text(project)
    (root / "cases.jsonl").write_text("".join(f'{{"input": "case {n}?", "expected": "a"}}\n' for n in range(60)))
    (root / "examples.jsonl").write_text(
        "".join(json.dumps(log(f"What is {n} plus one?", f"It is {n + 1}.")) + "\n" for n in range(8))
    )
    path = root / "log.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    store = Folder(root)
    import_files(store, [path])
    version, recipe = build_version(load(root), store, unsafe=True)
    assert version is not None
    return list(version.examples()), recipe


def test_corrections_and_ratings_become_pairs_and_are_counted(tmp_path: Path) -> None:
    rows, recipe = built(tmp_path, [
        log("Where is the bank?", "In the north.", correction="In the south of the town."),
        log("Where is the well?", "Behind the house.", thumbs="up"),
        log("Where is the well?", "There is no well here.", thumbs="down"),
        log("Who has the key?", "Nobody knows about it.", thumbs="down"),
        log("Who has the book?", "The man in the library."),
    ])  # fmt: skip
    assert {one.question: rejected_answer(one) for one in rows} == {
        "Where is the bank?": "In the north.",
        "Where is the well?": "There is no well here.",
        "Who has the book?": "",
    }
    assert recipe.n_pairs == 2


def test_an_answer_that_nobody_rated_is_not_put_beside_a_disliked_one(tmp_path: Path) -> None:
    rows, recipe = built(tmp_path, [
        log("Where is the well?", "Behind the house."),
        log("Where is the well?", "There is no well here.", thumbs="down"),
    ])  # fmt: skip
    assert [rejected_answer(one) for one in rows] == [""] and recipe.n_pairs == 0


def test_an_edited_answer_is_the_better_one_of_a_pair() -> None:
    old = row("Hm?", "No.")
    edit = Correction(row=content_of(old), version="v", reviewer="ada", decision="answer", answer="Yes.")
    check = corrections_check({content_of(old): edit})
    finding = next(iter(check.run([old, row("Well?")], CheckContext())))
    made = finding.changed
    assert finding.row == 0 and made is not None
    assert (made.answer, rejected_answer(made)) == ("Yes.", "No.")


def test_a_pair_whose_worse_answer_the_grader_prefers_stays_as_a_row(tmp_path: Path) -> None:
    grader = 'type = "regex"\npattern = "^It is"'
    rows, recipe = built(tmp_path, [
        {"prompt": "Where is the bank?", "chosen": "Over there in town.", "rejected": "It is in the south."},
        {"prompt": "Where is the well?", "chosen": "It is behind the house.", "rejected": "No idea about that."},
    ], grader)  # fmt: skip
    assert [rejected_answer(one) for one in rows] == ["", "No idea about that."]
    (stage,) = (one for one in recipe.checks if one.check == "pairs")
    assert stage.reasons["wrong_order"].mask == 1 and recipe.n_pairs == 1


@pytest.mark.parametrize(
    ("grader", "scored"), [('type = "exact"', (1.0, 0.0)), ('type = "judge"\nmodel = "m"\nrubric = "Good?"', None)]
)
def test_a_judge_is_not_called_to_compare_pairs(
    tmp_path: Path, grader: str, scored: tuple[float, float] | None
) -> None:
    (tmp_path / "tuneworthy.toml").write_text(PROJECT.replace('type = "exact"', grader))
    scorer = pair_scorer(load(tmp_path), (), (), ())
    assert (scorer and scorer([worse("Hm?", "Yes.", "No.")])) == (scored and [scored])


def test_only_rows_with_a_key_are_parsed_for_it(tmp_path: Path) -> None:
    rows = [row("a?", "b"), worse("c?", "d", "e"), row(f'"{REJECTED}": f?', "g"), row("h?", "i")]
    path = tmp_path / "rows.jsonl"
    write_rows(path, map(row_of, rows))
    stored = StoredRows(path)
    assert [*rows_with(stored, REJECTED)] == [(1, rows[1])]
    changed = stored.keep(stored.places[1:], {3: rows[1]})  # by place in the file
    assert [number for number, _ in rows_with(changed, REJECTED)] == [0, 2]
    assert [*rows_with(rows, REJECTED)] == [*enumerate(rows)]
    path.write_bytes(path.read_bytes().replace(b'"id"', b'"ib"', 1))
    assert len([*rows_with(StoredRows(path), REJECTED)]) == 1
