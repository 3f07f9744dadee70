"""The form of an answer, and metrics that compare the candidate with a limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.shadow.test_replay import priced, replayed
from tests.shadow.traffic import write_log, write_traffic_project
from tuneworthy.report.shadow import document
from tuneworthy.shadow.pairs import is_well_formed
from tuneworthy.shadow.verdict import interval
from tuneworthy.types import OutputFormat, Response

FREE, LABEL = OutputFormat(), OutputFormat(kind="choice", choices=("red", "green"))
SCHEMA = OutputFormat(kind="json_schema", schema={"type": "object", "required": ["a"]})
GOOD = ({"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},)
BAD = ({"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": '}},)


@pytest.mark.parametrize(
    ("answer", "recorded", "output", "fine"),
    [
        ("Hello.", "Hi.", FREE, True),
        ("  ", "Hi.", FREE, False),
        ("red", "green", LABEL, True),
        ("The label is red.", "green", LABEL, True),
        ("red or green", "green", LABEL, False),
        ("?", "green", LABEL, False),
        ("I cannot help with that.", "green", LABEL, True),
        ('{"a": 2}', '{"a": 1}', SCHEMA, True),
        ('{"b": 2}', '{"a": 1}', SCHEMA, False),
        ("a is 2", '{"a": 1}', SCHEMA, False),
        ('{"b": 2}', '{"a": 1}', FREE, True),
        ("[1]", '{"a": 1}', FREE, False),
        ('{"a": 1', '{"a": 1}', FREE, False),
        (GOOD, "Hi.", FREE, True),
        (GOOD, GOOD, LABEL, True),
        (BAD, GOOD, FREE, False),
        ("I will not call it.", GOOD, FREE, True),  # a refusal, which another metric counts
        ("red", GOOD, FREE, False),
    ],
)
def test_the_form_is_that_of_the_task_or_else_of_the_recording(
    answer: Any, recorded: Any, output: OutputFormat, fine: bool
) -> None:
    given, before = (
        Response(text=one) if isinstance(one, str) else Response(text="", tool_calls=one) for one in (answer, recorded)
    )
    assert is_well_formed(given, before, output) is fine


def test_an_answer_that_was_cut_off_has_no_form() -> None:
    assert not is_well_formed(Response(text="red", finish_reason="length"), Response(text="red"), LABEL)


def test_latency_under_the_load_of_a_replay_is_shown_and_stops_nothing(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 100)
    for latency, words in ((0, "100.0%"), (60, "0.0%")):
        root = write_traffic_project(tmp_path / str(latency), "better", extra="[constraints]\np95_ms = 50\n")
        toml = (root / "tuneworthy.toml").read_text()
        slow = f'function = "world.py:better"\nlatency_ms = {latency}'
        (root / "tuneworthy.toml").write_text(toml.replace('function = "world.py:better"', slow))
        status, record = replayed(root, log)
        (found,) = [one for one in record.verdict.results if one.metric == "latency"]
        assert status != 3 and found.stopped_at is None and interval(found).startswith(words)
        assert "misses a limit" not in document(record, "colours", ()).answer


def test_a_candidate_that_costs_too_much_is_stopped_whatever_a_single_answer_costs(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 100)
    for limit, words in ((5.0, ""), (0.01, "Cost exceeds its limit")):
        root = write_traffic_project(tmp_path / str(limit), "equal", extra=f"[constraints]\nusd_per_1k = {limit}\n")
        priced(root)
        status, record = replayed(root, log, "--max-usd", "5")
        assert (status == 3) == bool(words) and words in record.verdict.detail
        assert ("misses a limit" in document(record, "colours", ()).answer) == bool(words)
        cost = next(one for one in record.verdict.results if one.metric == "cost")
        assert cost.estimate is not None and -1 <= cost.estimate <= 1
