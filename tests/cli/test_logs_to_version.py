"""From the raw traces of another tool to a reviewed version, as a person would: in five commands."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.cases.exports import score, trace
from tuneworthy.cases import read_cases
from tuneworthy.cli import invoke

TOPICS = {
    "card": "Where is the card that I ordered",
    "limit": "Raise the limit of my account",
    "fee": "Why was I charged",
    "close": "Please close the account",
}
SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu")


def traces() -> list[dict[str, object]]:
    rows, chance = [], random.Random(5)
    for n in range(320):
        label = list(TOPICS)[n % 4]
        words = ["".join(chance.choices(SYLLABLES, k=3)) for _ in range(12)]
        question = f"{TOPICS[label]}? The note says {' '.join(words)}."
        scores = [score(n, 0, stringValue="False")] if n % 16 == 0 else []
        rows.append(trace(n, [{"role": "user", "content": question}], {"role": "assistant", "content": label}, *scores))
    return rows


def test_raw_traces_become_a_version_in_five_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in traces()) + '{"cut": \n')
    assert invoke(["cases", "sample", "--from", "traces.jsonl", "--n", "60"]) == 0
    assert "1 row is passed over" in capsys.readouterr().err
    cases = read_cases("cases.jsonl").cases
    label = {text: name for name, text in TOPICS.items()}
    labels = [{"case": case.id, "labeller": "ada", "time": "2026-01-01T00:00:00+00:00",
               "label": next(name for text, name in label.items() if str(case.input).startswith(text))}
              for case in cases]  # fmt: skip
    Path("cases.labels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in labels))  # label cases
    assert invoke(["init", "task", "--data", "cases.jsonl"]) == 0
    err = capsys.readouterr().err
    assert "Wrote 60 labels from cases.labels.jsonl into the cases" in err and "disagree" not in err
    assert invoke(["data", "build", "traces.jsonl", "--project", "task"]) == 0
    out = capsys.readouterr().out
    assert "traces.jsonl: Langfuse export, 321 traces, 20 with feedback, 300 imported" in out
    assert "Version" in out
    assert invoke(["label", "review", "--status", "--project", "task"]) == 4
