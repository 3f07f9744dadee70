"""Examples on disk: they are what was read, and memory does not grow with their texts."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tuneworthy.cases import example_store, read_examples
from tuneworthy.cases.dataset import Dataset
from tuneworthy.cases.example_store import StoredExamples, answer_counts, by_id, rows_by_answer
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Case, Example

N = 20_000
# Bytes a row: columns, numbers, what sorting them takes for a moment, and 4,096 rows that are compared with the cases
# at once. All rows of 500 characters take 2,100 more.
MOST_BYTES = 1_200


def chat(n: int, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": f"Question {n}?"}, {"role": "assistant", "content": answer}]}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def peak_of_a_split(path: Path) -> float:
    """Return the most bytes a row that are held at once while `path` is read and split."""
    cases = [Case(id=f"c{n}", input=f"Case number {n} asks", expected=f"an answer {n}") for n in range(120)]
    Dataset(cases=cases, examples=read_examples(path).examples, seed=1, dev_size=80).split  # imports
    tracemalloc.start()
    try:
        examples = read_examples(path).examples
        split = Dataset(cases=cases, examples=examples, seed=1, dev_size=80).split
        ShotPool(split.pool).fixed(3, 1)
        return tracemalloc.get_traced_memory()[1] / N
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "examples.jsonl"
    return write(path, [chat(n, f"{n} " + "long words that say nothing " * 18) for n in range(N)])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_texts(many: Path) -> None:
    assert peak_of_a_split(many) < MOST_BYTES


@pytest.mark.slow
def test_examples_that_are_held_exceed_that(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoredExamples, "at", lambda rows, numbers: [rows[int(one)] for one in numbers])
    with pytest.raises(AssertionError):
        test_memory_does_not_grow_with_the_texts(many)


def test_examples_are_what_was_read_in_every_order(tmp_path: Path) -> None:
    rows = [{**chat(n, f"a{n % 3}"), "group": f"g{n % 2}", "tags": ["t"], "price": n} for n in range(1200)]
    stored = read_examples(write(tmp_path / "a.jsonl", [*rows, rows[0]])).examples
    assert isinstance(stored, StoredExamples)
    every = list(stored)
    assert [one.source for one in every] == [f"a.jsonl:{n}" for n in range(1, 1201)]
    assert every[7].messages == tuple(chat(7, "a1")["messages"])  # type: ignore[arg-type]
    assert (every[7].group, every[7].tags, every[7].meta) == ("g1", ("t",), {"price": 7})
    assert stored[-1] == every[-1] and stored[5:9] == every[5:9] and stored == every and stored != every[1:]
    assert by_id(stored) == sorted(every, key=lambda row: row.id)
    assert list(stored.at(np.array([9, 2, 3]))) == [every[9], every[2], every[3]]
    with pytest.raises(IndexError):
        stored[1200]


def test_columns_say_the_same_of_rows_on_disk_and_in_memory(tmp_path: Path) -> None:
    rows = [chat(n, ["yes", " yes", "no", "[1]", '{"a": 1}'][n % 5]) for n in range(300)]
    stored = read_examples(write(tmp_path / "a.jsonl", rows)).examples
    held = tuple(stored)
    for name in ("ids", "groups", "asked", "questions", "answers", "objects"):
        one, other = (getattr(example_store.columns_of(each), name) for each in (stored, held))
        assert one.tolist() == other.tolist()
    assert answer_counts(stored) == Counter({"yes": 120, "no": 60, "[1]": 60, '{"a": 1}': 60})
    assert rows_by_answer(stored) == rows_by_answer(held)


def test_equally_frequent_answers_are_in_the_order_of_their_whole_text() -> None:
    texts = ["b" * 60 + "2", "a", "b" * 60 + "1", "b" * 60 + "3", "c", "c", "é", ""]
    turns = [({"role": "user", "content": "q"}, {"role": "assistant", "content": text}) for text in texts]
    rows = [Example(id=f"{n}", messages=messages) for n, messages in enumerate(turns)]
    assert rows_by_answer(rows) == [[4, 5], [7], [1], [2], [0], [3], [6]]
