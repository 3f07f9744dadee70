"""The whole way on data that real people wrote; nothing of it is in the project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.real_data import REAL_DATA, needs_real_data

from tuneworthy.cases import Dataset, find_overlaps, read_cases, read_examples
from tuneworthy.cases.agreement import ExpectedAnswer
from tuneworthy.cases.dataset import Overlaps
from tuneworthy.cases.sampling import sample_cases
from tuneworthy.types import Case, Example

DATA = REAL_DATA
pytestmark = needs_real_data


@pytest.mark.slow
def test_banking77_is_read_split_and_rid_of_overlaps() -> None:
    cases = read_cases(DATA / "banking77/test.csv").cases
    examples = read_examples(DATA / "banking77/train.csv").examples
    assert (len(cases), len(examples)) == (3080, 10003)
    clean = Dataset(cases=cases[::10], examples=examples, seed=7, dev_size=120)
    split = clean.split
    assert (split.kind.name, split.origin) == ("label", "examples")
    assert (len(split.dev), len(split.test)) == (120, 308)
    assert 0 < len(clean.contamination.cases.dropped) < 0.03 * len(examples)
    assert len(split.shots) + 120 + len(clean.contamination.cases.dropped) + len(
        clean.contamination.dev.dropped
    ) == len(examples)


def test_banking77_is_sampled_by_label() -> None:
    sample = sample_cases(DATA / "banking77/train.csv", 154, seed=1)
    assert sample.stratified_by == "label"
    assert len(sample.strata) > 70


def slots(row: dict[str, Any]) -> dict[str, str]:
    text, found = row["userInput"]["text"], {}
    for label in row.get("labels", []):
        span = label.get("valueSpan", {})
        found[label["slot"]] = text[span.get("startIndex", 0) : span.get("endIndex", 0)]
    return found


def restaurant(tmp_path: Path, name: str) -> Path:
    path = tmp_path / f"{name}.jsonl"
    seen: dict[str, dict[str, Any]] = {}
    for row in json.loads((DATA / f"restaurant8k/{name}.json").read_text()):
        asked = ", ".join(row.get("context", {}).get("requestedSlots", []))
        question = f"{row['userInput']['text']} [asked: {asked}]"
        seen.setdefault(question, {"input": question, "expected": slots(row)})
    path.write_text("".join(json.dumps(row) + "\n" for row in seen.values()))
    return path


@pytest.mark.slow
def test_restaurant8k_is_a_json_task(tmp_path: Path) -> None:
    cases = read_cases(restaurant(tmp_path, "test")).cases
    examples = read_examples(restaurant(tmp_path, "train")).examples
    clean = Dataset(cases=cases[:400], examples=examples, seed=7, dev_size=120)
    assert clean.split.kind.name == "json"
    assert len(clean.split.dev) == 120
    assert all(isinstance(case.expected, dict) for case in clean.split.dev)
    assert clean.contamination.cases.by_reason["exact"] > 0


@pytest.mark.slow
def test_the_overlaps_of_real_data_are_those_that_were_looked_at(tmp_path: Path) -> None:
    cases, examples = (
        read_cases(DATA / "banking77/test.csv").cases,
        read_examples(DATA / "banking77/train.csv").examples,
    )
    banking = find_overlaps(examples, cases)
    found = {"exact": 28, "prompt": 0, "ngram": 400, "edit": 870, "group": 0}
    assert banking.by_reason == found and len({case for hit in banking.dropped for case in hit.cases}) == 907
    assert same_answer(banking, examples, cases) == 1
    cases, examples = (
        read_cases(restaurant(tmp_path, "test")).cases,
        read_examples(restaurant(tmp_path, "train")).examples,
    )
    slots = find_overlaps(examples, cases)
    found = {"exact": 268, "prompt": 0, "ngram": 184, "edit": 527, "group": 0}
    assert same_answer(slots, examples, cases) >= 0.95
    assert slots.by_reason == found and len({case for hit in slots.dropped for case in hit.cases}) == 688


def same_answer(overlaps: Overlaps[Example], rows: Sequence[Example], cases: Sequence[Case]) -> float:
    """Return the share of the dropped rows that have the answer of their case."""
    expected = {case.id: ExpectedAnswer(case.expected) for case in cases}
    alike = [expected[hit.case_id].agreement(rows[hit.row]) == "same" for hit in overlaps.dropped]
    return sum(alike) / len(alike)
