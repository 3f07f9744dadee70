"""The judge among the data checks, through the command line: what it calls bad leaves, and no verdict is lost."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.check_rows import clean
from tests.dataset.taught import ask_elsewhere
from tests.dataset.test_build import PROJECT, pair, plain, version_of
from tests.killing import killed_at
from tuneworthy.cli import invoke
from tuneworthy.dataset import check_runner, freeze
from tuneworthy.dataset.judge_auditor import case_of
from tuneworthy.store import ResponseStore, folder
from tuneworthy.types import Case, Example

JUDGE = """
import json
from pathlib import Path
from tuneworthy.errors import ProviderError

def judge(request):
    assert request.output.choices == ("good", "bad")
    with (Path(__file__).parent / "asked.txt").open("a") as file:
        file.write(json.dumps([m["content"] for m in request.messages]) + "\\n")
    data = request.messages[-1]["content"]
    if "silent" in data:
        raise ProviderError("no answer", code="bad_request", retryable=False)
    return "good" if FOOLED or "Open the page on" in data and "untrue" not in data else "bad"
"""
SECTION = '\n[models.judge]\nprovider = "scripted"\nfunction = "judge.py:judge"\n[data]\nencoder = "off"\n'
ROWS = [
    *map(plain, clean()),
    pair("Who pays for the parcel of ada@example.org that came back?", "Open the page on parcels, it is untrue."),
    pair("Is there a silent hour in your shop at the weekend?", "Open the page on hours."),
]
BAD, SILENT = "examples.jsonl:61", "examples.jsonl:62"


def project(root: Path, *, fooled: bool = False, data: str = "", rows: list[dict[str, Any]] = ROWS) -> Path:
    root.mkdir()
    head = PROJECT.partition("[data]")[0]
    (root / "tuneworthy.toml").write_text(f'{head}{SECTION}judge = {{ model = "judge" }}\n{data}')
    (root / "judge.py").write_text(f"{JUDGE}\nFOOLED = {fooled}\n")
    (root / "cases.jsonl").write_text('{"input": "Could somebody explain the fee to me?", "expected": "yes"}\n')
    (root / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def built(root: Path, *more: str) -> int:
    return invoke(["data", "build", "--project", str(root), *more])


def asked_of(root: Path) -> list[list[str]]:
    path = root / "asked.txt"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_what_the_judge_calls_bad_leaves_and_a_row_without_a_verdict_stays(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    assert built(root) == 0
    version = version_of(root)
    assert [(one.source, one.reason) for one in version.rejects()] == [(BAD, "judged_bad")]
    told = {one.reason: one for one in version.findings()}
    assert (told["not_judged"].source, told["not_judged"].action) == (SILENT, "report")
    assert "rates 1.6% [0.0%, 8.8%] of 61 rows as bad" in told["judged"].detail
    assert SILENT in {row.source for row in version.examples()}
    assert built(root) == 0 and version_of(root).id == version.id
    assert invoke(["report", "data", "--out", str(root / "c.md"), "--project", str(root)]) == 0
    card = (root / "c.md").read_text().replace("\\", "")
    assert (
        "The judge rates 1.6%" in card
        and "of 61 rows as bad" in card
        and "models.judge" in card
        and "ada@example" not in card
    )


def test_the_judge_sees_no_personal_data_and_only_what_is_escaped_between_delimiters(tmp_path: Path) -> None:
    root = project(tmp_path / "p", rows=[*ROWS, pair("Is </data> the end, <b>friend</b>?", "Open the page on ends.")])
    assert built(root) == 0
    seen = [user for _, user in asked_of(root)]
    assert len(seen) > len(ROWS)
    assert not any("ada@example" in user or "</data>" in user or "<b>" in user for user in seen)
    assert any("[EMAIL_1]" in user for user in seen)
    assert all(user.startswith("<data-") for user in seen)


def test_a_judge_that_calls_a_worthless_answer_good_is_refused_and_sees_no_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path / "p", fooled=True)
    assert built(root) == 2
    assert "models.judge in [data.judge] failed its test. The judge rated" in capsys.readouterr().err
    assert not any("untrue" in user for _, user in asked_of(root))
    (root / "tuneworthy.toml").write_text((root / "tuneworthy.toml").read_text() + 'off = ["judge_audit"]\n')
    assert built(root) == 0
    assert BAD in {row.source for row in version_of(root).examples()}


def test_without_a_judge_nobody_is_asked_and_the_version_says_so(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    text = (root / "tuneworthy.toml").read_text().replace('judge = { model = "judge" }\n', "")
    (root / "tuneworthy.toml").write_text(text)
    assert built(root) == 0
    assert asked_of(root) == []
    assert "No judge rated the rows. To add a judge, set model in [data.judge]." in version_of(root).recipe.notes


def test_another_judge_makes_another_version_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    assert built(root) == 0
    first = version_of(root)
    text = (root / "tuneworthy.toml").read_text()
    kind = text.replace('{ model = "judge" }', '{ model = "judge", rubric = "Be kind" }')
    (root / "tuneworthy.toml").write_text(kind)
    assert built(root) == 0
    assert version_of(root).id != first.id
    assert any("Be kind" in system for system, _ in asked_of(root))
    (root / "tuneworthy.toml").write_text(text.replace('{ model = "judge" }', '{ model = "juge" }'))
    assert built(root) == 2


def test_a_paid_judge_needs_a_budget_and_stops_within_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path / "p")
    text = (root / "tuneworthy.toml").read_text()
    priced = 'function = "judge.py:judge"\ninput_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n'
    (root / "tuneworthy.toml").write_text(text.replace('function = "judge.py:judge"\n', priced))
    assert built(root) == 2
    assert "No budget is set, but these services are billed: judge." in capsys.readouterr().err
    assert built(root, "--max-usd", "0.03") == 4
    n_asked = len(asked_of(root))
    assert 0 < n_asked < len(ROWS)
    spent = ResponseStore(root / ".tuneworthy" / "responses.sqlite").spending().usd
    assert 0 < spent <= 0.03
    assert built(root, "--yes") == 0
    assert len(asked_of(root)) == len({json.dumps(one) for one in asked_of(root)})


def test_a_verdict_that_a_shard_elsewhere_asks_for_is_not_asked_for_here(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    assert built(root) == 0
    before = asked_of(root)
    ask_elsewhere(root)
    assert built(root) == 4 and asked_of(root) == before


def test_multi_turn_rows_and_calls_of_tools_are_judged_whole() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"x": 1}'}}
    row = Example(id="r", messages=(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "Then?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ))  # fmt: skip
    case = case_of(row)
    assert case.text == "Be brief.\nFirst?\nOne.\nThen?"
    assert json.loads(case.expected)["tool_calls"][0]["function"]["name"] == "find"
    assert case_of(Example(id="e", messages=())) == Case(id="e", input="", expected="")


STEPS = [
    (check_runner, "_decide"),
    (check_runner, "write_atomic"),
    (ResponseStore, "put"),
    (freeze, "_write"),
    (folder, "write_atomic"),
    (os, "fsync"),
]


@pytest.mark.slow
def test_a_build_killed_at_any_of_20_moments_asks_nothing_twice_that_was_committed(tmp_path: Path) -> None:
    whole = project(tmp_path / "whole")
    assert built(whole) == 0
    n_whole, n_kills, n_went_on = len(asked_of(whole)), 0, 0
    for number, moment in enumerate(sorted(random.Random(4).sample(range(1, 80), 20))):
        root = project(tmp_path / f"killed{number}")
        n_kills += killed_at(moment, STEPS, lambda root=root: built(root))  # type: ignore[misc]
        path = root / ".tuneworthy" / "responses.sqlite"
        kept = len(ResponseStore(path)) if path.exists() else 0
        before = len(asked_of(root))
        assert built(root) == 0
        assert version_of(root).id == version_of(whole).id
        assert len(asked_of(root)) - before == n_whole - kept
        n_went_on += 0 < kept < n_whole
    assert n_kills == 20 and n_went_on >= 5
