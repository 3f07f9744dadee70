"""Cases that join a decided project, and cases that reword each other: through the command line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from tests.verdict.tasks.scripted_task import WORDS, HandMade, Scripted, ask, share

from tuneworthy.cli import invoke
from tuneworthy.stats.comparisons import ComparisonPlan

# Whole ladders; tests/frozen runs the same tasks in the default suite.
pytestmark = pytest.mark.slow

LABELS = ("red", "green", "blue")
Capture = pytest.CaptureFixture[str]


def colour(i: int) -> str:
    return LABELS[random.Random(f"truth{i}").randrange(3)]


def right(p: float, salt: str) -> Scripted:
    holds = share(p, salt)
    return Scripted(answers=lambda i: colour(i) if holds(i) else LABELS[(LABELS.index(colour(i)) + 1) % 3])


def project(tmp_path: Path, **more: Any) -> HandMade:
    # The second is ahead on dev, so it is compared.
    models = {"today": right(0.86, "a"), "second": right(0.87, "b")}
    fields: dict[str, Any] = {"task": {"target": 0.85}, "n": 160, "n_examples": 300} | more
    task = HandMade(root=tmp_path / "task", truth=colour, models=models, **fields)
    task.n += 60
    task.write()
    task.n -= 60
    path = task.root / "cases.jsonl"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(rows[: task.n]))
    (task.root / "more.jsonl").write_text("".join(rows[task.n :]))
    return task


def command(capsys: Capture, *words: str, status: int = 0) -> str:
    assert invoke(list(words)) == status, capsys.readouterr()
    return capsys.readouterr().out


def shown(capsys: Capture, task: HandMade, verb: str, *, status: Any = (0, 3, 4)) -> dict[str, Any]:
    assert invoke([verb, "--project", str(task.root), "--json"]) in status, capsys.readouterr().err
    return dict(json.loads(capsys.readouterr().out))


def test_added_cases_are_used_and_charged_and_change_the_next_action(tmp_path: Path, capsys: Capture) -> None:
    task = project(tmp_path)
    before = ask(task, capsys)
    plan = TypeAdapter(ComparisonPlan).validate_json((task.root / ".tuneworthy/comparisons.json").read_bytes())
    out = command(capsys, "cases", "add", str(task.root / "more.jsonl"), "--project", str(task.root))
    assert out.startswith("60 cases added. The test set has 220 cases.")
    stale = shown(capsys, task, "decide")
    assert stale["outcome"] == "undecided" and stale["next_action"]["command"] == "tuneworthy run"
    shown(capsys, task, "check")
    shown(capsys, task, "status")
    after = ask(task, capsys)
    assert (before.record["n_test"], after.record["n_test"]) == (160, 220)
    assert {row["n"] for row in after.record["rungs"] if row["score"] is not None} == {220}
    assert after.record["comparisons"]["made"] > before.record["comparisons"]["made"]
    charged = json.loads((task.root / ".tuneworthy/comparisons.json").read_text())
    assert sum(charged["added"].values()) == pytest.approx(sum(plan.added.values()) + plan.reserve / 2)
    assert after.verdict["next_action"] != before.verdict["next_action"]
    assert before.verdict["next_action"] != stale["next_action"]
    shown(capsys, task, "check")


def reworded(size: int) -> dict[str, Any]:
    """Fields of a project whose questions are rewordings of one source each, `size` at a time."""

    def text(i: int) -> str:
        source = random.Random(i // size).sample(WORDS, 12)
        return " ".join(random.Random(i).sample(source, 12))

    return {"text": text, "rewords": True, "truth": lambda i: colour(i // size), "n": 200}


def test_forty_sources_of_five_rewordings_are_forty_effective_cases(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": right(0.86, "a")}
    task = HandMade(root=tmp_path / "task", models=models, task={"target": 0.85}, **reworded(5)).write()
    checked = shown(capsys, task, "check")
    assert (checked["power"]["n"], round(checked["power"]["n_groups"])) == (200, 40)
    assert not [one for one in checked["findings"] if one["check"] == "few_groups"]


def test_ten_sources_claim_nothing_however_many_rewordings(tmp_path: Path, capsys: Capture) -> None:
    fields = reworded(20)
    models = {"today": Scripted(answers=fields["truth"]), "second": right(0.3, "b")}
    task = HandMade(root=tmp_path / "task", models=models, task={"target": 0.85}, **fields).write()
    told = ask(task, capsys, probe=False, rungs=["baseline", "model"])
    assert (told.outcome, told.verdict["reason_code"]) == ("undecided", "gate_test_set")
    assert {row["target"] for row in told.verdict["options"] if row["score"] is not None} == {"unresolved"}
    assert next(row for row in told.record["rungs"] if row["rung"] == "model")["reason_code"] in {
        "few_groups",
        "behind_on_dev",
    }
