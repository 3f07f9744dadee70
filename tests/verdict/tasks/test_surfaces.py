"""Hand-made tasks of other surfaces: the verdict does not depend on what an answer looks like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.verdict.tasks.scripted_task import HandMade, Scripted, ask
from tests.verdict.tasks.test_tasks import BUSY, COSTLY, colour, made, right_on, strong, weak

from tuneworthy.cli import invoke

# Whole ladders; tests/frozen runs the same tasks in the default suite.
pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]
SMALL: dict[str, Any] = {"n": 160, "n_examples": 0}
TAGS = ("food", "music", "sport", "travel", "work")


def as_json(reply: Callable[[int], str]) -> Callable[[int], str]:
    return lambda i: json.dumps({"colour": reply(i)})


def test_labels_in_json_are_a_closed_set_and_need_no_documents(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": Scripted(answers=as_json(right_on(0.6))), "second": Scripted(answers=as_json(right_on(0.6)))}
    labels: Any = lambda i: {"colour": colour(i)}  # noqa: E731
    task = made(tmp_path, models, labels=labels, graders='[[graders]]\ntype = "json_fields"', **SMALL)
    told = ask(task, capsys, probe=False)
    assert told.verdict["reason_code"] != "rung_retrieval"
    told.says_none_of("facts from documents", "[documents]")


def tags(i: int) -> list[str]:
    return [TAGS[i % 5], TAGS[(i + 1 + i // 5 % 3) % 5]]


def test_several_labels_at_once_have_no_recall_of_one(tmp_path: Path, capsys: Capture) -> None:
    full = lambda i: ", ".join(tags(i))  # noqa: E731
    models = {
        "today": Scripted(answers=right_on(0.6, truth=full, wrong=lambda i: "none")),
        "strong": Scripted(answers=right_on(0.97, "s", truth=full, wrong=lambda i: "none")),
    }
    labels: Any = tags
    task = made(tmp_path, models, labels=labels, graders='[[graders]]\ntype = "includes"', **SMALL)
    told = ask(task, capsys, probe=False)
    assert told.option("model/strong")["target"] == "met"
    assert told.verdict["recommendation"] == "model/strong"
    told.says_none_of("recall of", "occur only in the test set", "majority class")


def test_a_model_that_never_answers_has_no_score(tmp_path: Path, capsys: Capture) -> None:
    task = made(tmp_path, {"today": weak(0.6), "second": weak(0.6)}, **SMALL)
    (task.root / "replies.py").write_text(
        "from tuneworthy.errors import ProviderError\n\n\ndef today(request):\n"
        '    raise ProviderError("it is down", code="server", retryable=False)\n\n\nsecond = today\n'
    )
    root = str(task.root)
    capsys.readouterr()
    assert invoke(["run", "--project", root, "--yes"]) == 4
    capsys.readouterr()
    assert invoke(["decide", "--project", root]) == 4
    terminal = capsys.readouterr().out
    assert invoke(["decide", "--project", root, "--json"]) == 4
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["outcome"], verdict["reason_code"]) == ("undecided", "gate_baseline")
    assert {row["kind"] for row in verdict["options"]} == {"classical", "fine_tune"}  # what no model answers
    assert "0.0%" not in terminal and "it is down" in terminal
    assert invoke(["status", "--project", root]) == 0
    assert "score 0.0%" not in capsys.readouterr().out


def test_an_option_that_is_too_dear_is_not_said_to_miss_the_target(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": weak(0.6, usd_per_1k=0.1), "strong": strong(0.97, usd_per_1k=6.0)}
    limit = "[constraints]\nusd_per_1k = 1.0\n"
    told = ask(made(tmp_path, models, sections=limit, **SMALL), capsys)
    assert told.option("model/strong")["target"] == "met" and told.option("model/strong")["violates"]
    assert told.verdict["recommendation"] != "model/strong"
    told.says_none_of("no measured option meets the target")


def test_the_recommended_option_is_what_is_exported(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": weak(0.6, usd_per_1k=1.0), "small": strong(0.97, usd_per_1k=0.1)}
    task = made(tmp_path, models, sections="[economics]\nrequests_per_month = 1000\n", **SMALL)
    told = ask(task, capsys, probe=False)
    assert (told.outcome, told.verdict["recommendation"]) == ("do_not_fine_tune", "model/small")
    command = told.verdict["next_action"]["command"]
    assert command == "tuneworthy export variant model"
    out = tmp_path / "winner"
    assert invoke([*command.split()[1:], "--project", str(task.root), "--out", str(out)]) == 0, capsys.readouterr().err
    assert any('"small"' in path.read_text() for path in out.iterdir())


def test_on_a_device_with_one_model_the_answer_is_open(tmp_path: Path, capsys: Capture) -> None:
    device = "[constraints]\non_device = true\n"
    told = ask(made(tmp_path, {"today": weak(0.6)}, sections=device, **SMALL), capsys)
    assert told.outcome == "undecided" and "[models]" in told.verdict["next_action"]["why"]


def test_status_names_the_next_step_of_the_verdict_with_its_cost(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": weak(0.82), "second": weak(0.82)}
    task = made(tmp_path, models, task={"target": 0.85}, **SMALL)
    told = ask(task, capsys, probe=False)
    assert told.outcome == "undecided"
    capsys.readouterr()
    assert invoke(["status", "--project", str(task.root)]) == 0
    shown = capsys.readouterr().out
    assert told.verdict["next_action"]["why"].split(".")[0] in shown
    assert "no calls, no cost, a few seconds" not in shown
    assert "The chance of settling this question is then about" in told.terminal


REMOVED: dict[str, Callable[[HandMade], HandMade]] = {
    "motivation": lambda task: task.edit('motivation = "style"\n', ""),
    "problem": lambda task: task.edit('problem = "reasoning"\n', ""),
    "traffic": lambda task: task.edit("requests_per_month = 20_000_000", ""),
    "target": lambda task: task.edit("target = 0.88\n", ""),
    "models": lambda task: task.edit(COSTLY["small"].section("small"), ""),
    "waivers": lambda task: task.edit(WAIVER, ""),
}
WAIVER = '[[waivers]]\ngate = "decoding"\nreason = "the settings are given by the customer"\n'


def test_removing_a_fact_gives_the_same_outcome_or_none(tmp_path: Path, capsys: Capture) -> None:
    stated = {"target": 0.88, "motivation": "style", "problem": "reasoning"}
    rungs = 'rungs = ["classical", "baseline", "prompt", "model", "few_shot"]'
    task = made(tmp_path, COSTLY, task=stated, sections=BUSY + WAIVER, ladder=rungs, **SMALL)
    before = ask(task, capsys, probe=False)
    assert before.outcome == "fine_tune"
    path = task.root / "tuneworthy.toml"
    whole = path.read_text()
    for fact, removed in REMOVED.items():
        removed(task)
        after = ask(task, capsys, probe=False).outcome
        assert after == before.outcome or (after == "undecided" and fact not in {"motivation", "problem"}), fact
        path.write_text(whole)
