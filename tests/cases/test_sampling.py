"""Samples: each question once, all kinds represented, the same draw from the same logs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.cases import read_cases
from tuneworthy.cases.sampling import sample_cases
from tuneworthy.cases.writer import write_cases
from tuneworthy.errors import DataError, UserError
from tuneworthy.types import UNLABELLED

ANIMALS = ("cat", "dog", "fish", "bird", "horse", "mouse", "snake", "frog", "bear", "wolf")
VERBS = ("eats", "drinks", "sees", "hears", "likes", "fears", "finds", "keeps", "sells", "draws")
TEXTS = [f"{a} {v} one {b}" for a in ANIMALS for v in VERBS for b in ANIMALS[:5]]


def logs(path: Path, texts: list[str], **more: Any) -> Path:
    path.write_text("".join(json.dumps({"input": text, **more}) + "\n" for text in texts))
    return path


def test_a_sample_is_unlabelled_seeded_and_independent_of_the_order_of_the_file(tmp_path: Path) -> None:
    path = logs(tmp_path / "a.jsonl", TEXTS)
    sample = sample_cases(path, 40, seed=3)
    assert len(sample.cases) == 40
    assert all(case.expected is UNLABELLED for case in sample.cases)
    assert sample_cases(logs(tmp_path / "b.jsonl", TEXTS[::-1]), 40, seed=3).cases == sample.cases
    assert sample_cases(path, 40, seed=4).cases != sample.cases
    write_cases(tmp_path / "c.jsonl", sample.cases)
    assert read_cases(tmp_path / "c.jsonl").cases == sample.cases


def test_the_same_question_and_nearly_the_same_are_drawn_once(tmp_path: Path) -> None:
    near = [f"please send order number {i} to my home as soon as you can" for i in range(40)]
    path = tmp_path / "a.txt"
    path.write_text("\n".join([*TEXTS[:60], *[text.upper() + "!" for text in TEXTS[:60]], *near]))
    sample = sample_cases(path, 100, seed=1)
    assert sample.n_exact == 60
    texts = [case.text.lower() for case in sample.cases]
    assert sum("order number" in text for text in texts) == 1
    assert len(set(texts)) == len(texts)
    assert f"only {len(texts)} distinct questions could be drawn, but 100 were requested" in sample.notes


def test_questions_that_are_cases_already_are_not_drawn_and_are_counted(tmp_path: Path) -> None:
    path = logs(tmp_path / "a.jsonl", [*TEXTS[:30], f"{TEXTS[0].upper()}!"])
    cases = read_cases(logs(tmp_path / "cases.jsonl", [f"  {text.title()}?" for text in TEXTS[:12]])).cases
    sample = sample_cases(path, 30, seed=3, present=cases)
    assert (sample.n_read, sample.n_cases, sample.n_exact) == (31, 13, 0)
    assert not {case.text for case in sample.cases} & {*TEXTS[:12]}
    assert len(sample.cases) + sample.n_near == 18
    with pytest.raises(UserError, match="Each of the 31 questions"):
        sample_cases(path, 30, seed=3, present=read_cases(path).cases)


def test_labels_are_drawn_in_their_shares(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"input": text, "expected": "rare" if i % 10 == 0 else "common"} for i, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sample = sample_cases(path, 50, seed=1)
    assert sample.stratified_by == "label"
    assert sample.strata == {"common": 45, "rare": 5}
    assert not any(case.labelled for case in sample.cases)


def test_tags_are_drawn_in_their_shares(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"input": text, "tags": ["a" if i % 4 else "b"]} for i, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert sample_cases(path, 20, seed=1).strata == {"a": 15, "b": 5}


def test_without_labels_clusters_are_represented_and_few_rows_go_by_length(tmp_path: Path) -> None:
    sample = sample_cases(logs(tmp_path / "a.jsonl", TEXTS), 60, seed=1)
    assert sample.stratified_by == "cluster"
    assert len(sample.strata) > 3
    assert Counter(sample.strata).total() == 60
    assert sample_cases(logs(tmp_path / "a.jsonl", TEXTS[:20]), 5, seed=1).stratified_by == "length"


def test_chats_and_logs_are_sampled_by_their_question(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    turns = [[{"role": "user", "content": t}, {"role": "assistant", "content": f"Answer to {t}"}] for t in TEXTS[:30]]
    path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in turns))
    assert {case.input for case in sample_cases(path, 10, seed=1).cases} <= set(TEXTS)


def test_texts_without_a_word_are_sampled_too(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join("?" * i for i in range(1, 80)))
    assert len(sample_cases(path, 5, seed=1).cases) <= 5


def test_what_cannot_be_sampled_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be at least 1"):
        sample_cases(tmp_path / "a.txt", 0, seed=1)
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(DataError, match="at least one line of text"):
        sample_cases(tmp_path / "a.txt", 1, seed=1)
    (tmp_path / "a.jsonl").write_text('{"input": 3}\n')
    with pytest.raises(DataError, match=r"a.jsonl:1: expected a string or an object of variables"):
        sample_cases(tmp_path / "a.jsonl", 1, seed=1)
