"""Small planted tasks of our own writing, and the readers of the real data (skipped where it is absent)."""

from __future__ import annotations

import csv
import json

import pytest
from tests.real_data import REAL_DATA, VARIABLE

from tuneworthy.types import Example, content_hash


def example(question: str, answer: object) -> Example:
    """One training record; an answer that is not text is written as JSON."""
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": text})
    return Example(messages=messages, id=content_hash(list(messages)))


def banking77(part: str) -> list[tuple[str, str]]:
    """Return (question, intent) pairs, or skip the test."""
    path = REAL_DATA / "banking77" / f"{part}.csv"
    if not path.exists():
        pytest.skip(f"{VARIABLE} names no folder with {path.parent.name}/")
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def restaurant8k(part: str) -> list[tuple[str, dict[str, str]]]:
    """Return (text and requested slots, slots found) pairs, or skip the test."""
    path = REAL_DATA / "restaurant8k" / f"{part}.json"
    if not path.exists():
        pytest.skip(f"{VARIABLE} names no folder with {path.parent.name}/")
    pairs = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        text = row["userInput"]["text"]
        requested = ", ".join(row.get("context", {}).get("requestedSlots", [])) or "none"
        spans = {label["slot"]: label["valueSpan"] for label in row.get("labels", [])}
        found = {slot: text[span.get("startIndex", 0) : span["endIndex"]] for slot, span in spans.items()}
        pairs.append((f"{text}\nRequested slots: {requested}", found))
    return pairs


def micro_f1(predicted: list[dict[str, str]], expected: list[dict[str, str]]) -> float:
    """Micro F1 over (field, value) pairs, case-insensitive."""
    tp = wrong = 0
    for p, e in zip(predicted, expected, strict=True):
        left = {(k, str(v).casefold()) for k, v in p.items()}
        right = {(k, str(v).casefold()) for k, v in e.items()}
        tp += len(left & right)
        wrong += len(left ^ right)
    return 2 * tp / (2 * tp + wrong) if tp else 0.0
