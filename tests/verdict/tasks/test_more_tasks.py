"""Further hand-made tasks; the right outcome of each was written down before it was run."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from tests.verdict.tasks.scripted_task import HandMade, Scripted, Told, ask, share
from tests.verdict.tasks.test_added_cases import reworded
from tests.verdict.tasks.test_tasks import BUSY, COSTLY, LABELS, colour, made, noisy, other, right_on, strong

from tuneworthy.cli import invoke

# Whole ladders; tests/frozen runs the same tasks in the default suite.
pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]


def rung_of(told: Told, name: str) -> dict[str, Any]:
    return next(row for row in told.record["rungs"] if row["rung"] == name)


def uneven(i: int) -> str:
    """Labels of which one has 90%, one 7% and one 3%."""
    return "refund" if i % 100 < 3 else "parts" if i % 100 < 10 else "other"


def test_an_option_that_finds_a_rare_label_at_no_higher_cost_is_recommended(tmp_path: Path, capsys: Capture) -> None:
    models = {
        "today": Scripted(answers=lambda i: "other" if uneven(i) == "refund" else uneven(i)),
        "strong": Scripted(answers=lambda i: "other" if i == 57 else uneven(i)),
    }
    told = ask(made(tmp_path, models, truth=uneven, task={"target": 0.95}), capsys)
    assert (told.outcome, told.verdict["recommendation"]) == ("do_not_fine_tune", "model/strong")
    assert "recall of refund: 0.0%" in told.terminal


def test_right_answers_in_another_unicode_form_cost_no_dearer_model(tmp_path: Path, capsys: Capture) -> None:
    names = ("Rücksendung", "Zahlung", "Größe")
    right = {p: right_on(p, str(p)) for p in (0.98, 0.99)}

    def label(i: int, p: float | None = None) -> str:
        return names[LABELS.index(colour(i) if p is None else right[p](i))]

    models = {
        "today": Scripted(answers=lambda i: unicodedata.normalize("NFD", label(i, 0.98)), usd_per_1k=0.05),
        "strong": Scripted(answers=lambda i: label(i, 0.99), usd_per_1k=1.5),
    }
    task = made(tmp_path, models, truth=label, sections="[economics]\nrequests_per_month = 200000\n")
    told = ask(task, capsys)
    assert (told.verdict["reason_code"], told.verdict["recommendation"]) == ("gate_baseline", "baseline/today")
    assert "[[graders]]" in told.verdict["next_action"]["why"]
    told = ask(task.edit('type = "exact"', 'type = "choice"'), capsys)
    assert (told.outcome, told.verdict["recommendation"]) == ("do_not_fine_tune", "baseline/today")


def test_what_is_always_wrong_is_no_improvement_however_fast(tmp_path: Path, capsys: Capture) -> None:
    models = {
        "today": Scripted(answers=other, latency_ms=20.0),
        "second": Scripted(answers=lambda i: LABELS[(LABELS.index(colour(i)) + 2) % 3]),
    }
    limit = "[constraints]\np95_ms = 500\n"
    told = ask(made(tmp_path, models, sections=limit, n=60, n_examples=0), capsys, probe=False)
    assert {row["status"] for row in told.record["rungs"]} & {"adopted"} == set()
    assert told.verdict["recommendation"] != "model/second" and told.outcome != "do_not_fine_tune"


@pytest.mark.parametrize("limited", [False, True])
def test_speed_is_a_reason_to_adopt_only_where_it_is_limited(limited: bool, tmp_path: Path, capsys: Capture) -> None:
    models = {"today": strong(0.96, latency_ms=8.0), "second": strong(0.96)}
    sections = "[constraints]\np95_ms = 500\n" if limited else ""
    told = ask(made(tmp_path, models, sections=sections), capsys, probe=False, rungs=["model"])
    row = rung_of(told, "model")
    assert (row["status"] == "adopted") is limited, row["reason"]
    assert not limited or "lower latency (lower confidence limit" in row["reason"]


def test_costs_without_token_counts_are_said_to_be_upper_limits(tmp_path: Path, capsys: Capture) -> None:
    silent = {
        name: Scripted(answers=one.answers, usd_per_1k=one.usd_per_1k, silent=True) for name, one in COSTLY.items()
    }
    told = ask(made(tmp_path, silent, task={"target": 0.88}, sections=BUSY), capsys)
    row = told.option("baseline/today")
    assert row["unreported"] == 1.0 and row["usd_per_1k"] > 1.02555
    note = "some answers have no usable token counts from the provider and count at their maximum cost"
    assert note in told.terminal and note in told.page
    assert "at most $" in told.page.replace("\\", "") and "at most $" in told.paragraph
    assert (
        "the maximum price for the 100.0% of answers without token counts"
        in told.verdict["economics"]["assumptions"]["reference_usd_per_1k"]["source"]
    )


def test_a_local_model_that_is_good_enough_stays(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": strong(0.95), "hosted": strong(0.99, hosted=True, usd_per_1k=1.0)}
    told = ask(made(tmp_path, models, sections="[constraints]\non_device = true\n"), capsys)
    assert (told.outcome, told.verdict["recommendation"]) == ("do_not_fine_tune", "baseline/today")
    assert told.reason("locality") == "refuted"
    told.says_none_of("model/hosted scores")


def test_a_format_that_nobody_tried_to_fix_leaves_the_answer_open(tmp_path: Path, capsys: Capture) -> None:
    chatty = Scripted(answers=lambda i: f"Well, {colour(i)} it is.", shots=right_on(0.97, "shots"))
    task = made(tmp_path, {"today": chatty, "second": chatty})
    told = ask(task, capsys, rungs=["classical", "prompt", "model", "decoding"])
    assert told.outcome == "undecided" and "--rung few_shot" in told.verdict["next_action"]["command"]


@pytest.mark.slow
def test_a_style_that_no_option_has_is_no_reason_to_stop(tmp_path: Path, capsys: Capture) -> None:
    brand = [f"{word}, dear friend!" for word in ("Grand idea", "Right away", "We love that", "Done", "Lovely", "Yes")]
    plain = [f"The {word} was processed." for word in ("order", "request", "case", "form", "item", "invoice")]
    task = made(
        tmp_path,
        {name: Scripted(answers=lambda i: f"{plain[i % 6]} {plain[i % 5]}") for name in ("today", "second")},
        truth=lambda i: f"{brand[i % 6]} {random.Random(i).choice(brand)}",
        n=100,
        graders='[[graders]]\ntype = "style"\ngeneric = "generic.jsonl"',
    )
    rows = [json.dumps({"text": f"{plain[i % 6]} {random.Random(i).choice(plain)}"}) for i in range(60)]
    (task.root / "generic.jsonl").write_text("\n".join(rows) + "\n")
    told = ask(task, capsys, probe=False)
    assert told.verdict["reason_code"] != "target_met"
    assert told.reason("style") != "refuted" and told.reason("quality") != "refuted"
    assert not (told.verdict["recommendation"] or "").startswith("model/")


def test_a_few_wrong_labels_matter_little_where_the_target_is_met(tmp_path: Path, capsys: Capture) -> None:
    few: Any = lambda i: other(i) if share(0.05, "few")(i) else colour(i)  # noqa: E731
    models = {"gpt_a": strong(0.98), "claude_b": Scripted(answers=right_on(0.98, "b"))}
    told = ask(made(tmp_path, models, labels=few, task={"target": 0.85}), capsys)
    assert (told.outcome, told.verdict["recommendation"]) == ("do_not_fine_tune", "baseline/gpt_a")
    assert "suspects" not in told.verdict["next_action"]["command"]


def test_a_judge_that_misses_its_canaries_decides_nothing(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": strong(0.95), "second": strong(0.5), "judge": Scripted(answers=colour)}
    judge = '[[graders]]\ntype = "judge"\nmodel = "judge"\nrubric = "It names the colour."'
    task = made(tmp_path, models, graders=judge, n=100, n_examples=0, task={"target": 0.9})
    with (task.root / "replies.py").open("a") as file:
        file.write('\n\ndef judge(request):\n    return "good"\n')
    told = ask(task, capsys, probe=False)
    assert (told.outcome, told.verdict["reason_code"]) == ("undecided", "gate_judge")
    step = told.verdict["next_action"]  # it called worthless answers good
    assert step["command"] == "tuneworthy run" and "another `model` or `rubric`" in step["why"]


def test_fifteen_sources_are_too_few_and_are_counted(tmp_path: Path, capsys: Capture) -> None:
    fields = reworded(14) | {"n": 210}
    models = {"today": Scripted(answers=fields["truth"])}
    task = HandMade(root=tmp_path / "task", models=models, task={"target": 0.85}, **fields).write()
    told = ask(task, capsys, probe=False, rungs=["baseline"])
    assert (told.outcome, told.verdict["reason_code"]) == ("undecided", "gate_test_set")
    assert "15.0 independent cases" in told.terminal


def test_a_missing_key_is_named_and_is_no_answer(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LARGE_KEY", raising=False)
    large = (
        '[models.large]\nprovider = "openai"\nmodel = "large"\nbase_url = "https://api.example.com/v1"\n'
        'api_key_env = "LARGE_KEY"\ninput_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n'
    )
    task = made(tmp_path, {"today": right(0.6)}, sections=large, n=100, n_examples=0)
    root = str(task.root)
    assert invoke(["run", "--project", root, "--yes"]) in {0, 2, 4}
    capsys.readouterr()
    status = invoke(["decide", "--project", root])
    shown = " ".join(capsys.readouterr().out.split())
    assert status == 4 and shown.startswith("Undecided.") and "LARGE_KEY" in shown, shown


def right(p: float) -> Scripted:
    return Scripted(answers=right_on(p, "alone"))


def test_the_cheaper_of_two_that_are_as_good_is_adopted_by_its_costs_of_a_month(
    tmp_path: Path, capsys: Capture
) -> None:
    models = {"today": strong(0.95, usd_per_1k=1.0), "second": strong(0.95, usd_per_1k=0.5)}
    money = "[economics]\nrequests_per_month = 1_000_000\n"
    told = ask(made(tmp_path, models, sections=money, n_examples=0), capsys, probe=False)
    assert (told.outcome, told.verdict["recommendation"]) == ("do_not_fine_tune", "model/second")
    row = rung_of(told, "model")
    assert row["status"] == "adopted" and "$500.00 instead of $1,000.00 a month" in row["reason"]


def test_a_label_that_is_wrong_too_often_is_looked_at_before_training(tmp_path: Path, capsys: Capture) -> None:
    models = {"gpt_a": strong(0.97), "claude_b": Scripted(answers=right_on(0.97, "b"))}
    told = ask(made(tmp_path, models, labels=noisy, task={"target": 0.95}), capsys)
    assert told.outcome == "undecided" and "suspects" in told.verdict["next_action"]["command"]
