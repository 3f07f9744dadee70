"""Hand-made tasks through the command line: the right outcome, the right recommendation, and no false sentence.

Each was found by trying to fool the verdict.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.verdict.tasks.scripted_task import HandMade, Scripted, ask, share

from tuneworthy.cli import invoke

# Whole ladders; tests/frozen runs the same tasks in the default suite.
pytestmark = pytest.mark.slow

LABELS = ("red", "green", "blue")
EXIT = {"fine_tune": 0, "do_not_fine_tune": 3, "undecided": 4}
Capture = pytest.CaptureFixture[str]


def colour(i: int) -> str:
    return LABELS[random.Random(f"truth{i}").randrange(3)]


def other(i: int) -> str:
    return LABELS[(LABELS.index(colour(i)) + 1) % 3]


def right_on(
    p: float, salt: str = "", truth: Callable[[int], str] = colour, wrong: Any = other
) -> Callable[[int], str]:
    """Right for a share of the questions, and the same wrong answer to each other one."""
    holds = share(p, salt)
    return lambda i: truth(i) if holds(i) else wrong(i)


def fraud(i: int) -> str:
    return "fraud" if share(0.07, "fraud")(i) else "ok"


def serial(i: int) -> str:
    """A fact that no input holds."""
    return f"{random.Random(f'serial{i}').randrange(10**6):06d}"


def made(tmp_path: Path, models: dict[str, Scripted], **more: Any) -> HandMade:
    fields: dict[str, Any] = {"truth": colour} | more
    return HandMade(root=tmp_path / "task", models=models, **fields).write()


def weak(p: float = 0.6, **more: Any) -> Scripted:
    return Scripted(answers=right_on(p, "weak"), **more)


def strong(p: float = 0.96, **more: Any) -> Scripted:
    return Scripted(answers=right_on(p, "strong"), **more)


CONFUSED = {"today": weak(0.65), "second": Scripted(answers=right_on(0.66, "weak"))}


def test_a_constant_classifier_never_beats_a_model_that_finds_the_rare_label(tmp_path: Path, capsys: Capture) -> None:
    finder = Scripted(answers=lambda i: "fraud" if fraud(i) == "fraud" or share(0.02, "false alarm")(i) else "ok")
    task = made(
        tmp_path, {"today": Scripted(answers=lambda i: "ok"), "strong": finder}, truth=fraud, task={"target": 0.93}
    )
    told = ask(task, capsys)
    assert (told.outcome, told.status) == ("do_not_fine_tune", 3)
    assert told.verdict["recommendation"] == "model/strong"
    classical = next(row for row in told.verdict["options"] if row["kind"] == "classical")
    assert classical["target"] != "met" and "recall of `fraud`: 0.0%" in " ".join(classical["notes"])
    assert "gives every case the same answer" in told.terminal and "majority" in told.page
    marked = [reason for reason in told.verdict["reasons"] if "gives every case the same answer" in reason]
    assert marked and marked[0] not in " ".join(told.terminal.split()), "the table says it already"
    told.says_none_of("No language model is needed", "Ship a classif")


def test_the_majority_share_is_shown_without_examples(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": Scripted(answers=lambda i: "ok"), "second": Scripted(answers=lambda i: "ok")}
    task = made(tmp_path, models, truth=fraud, task={"target": 0.9}, n=300, n_examples=0)
    told = ask(task, capsys)
    assert told.option("baseline/today")["target"] == "missed"
    assert "gives every case the same answer" in told.terminal and "majority" in told.paragraph
    assert told.outcome != "do_not_fine_tune" or told.verdict["reason_code"] != "target_met"


def rare(i: int) -> bool:
    return share(0.04, "rare")(i)


CONSTANTS: dict[str, tuple[Callable[[int], Any], str, str]] = {
    "json": (lambda i: json.dumps({"fraud": rare(i)}), "json_fields", json.dumps({"fraud": False})),
    "number": (lambda i: str(10 + i) if rare(i) else "0", "numeric", "0"),
    "decline": (lambda i: colour(i) if rare(i) else None, "exact", "I don't know."),
}


@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("slips", [False, True])
def test_always_giving_the_frequent_answer_meets_no_target_whatever_the_task(
    name: str, slips: bool, tmp_path: Path, capsys: Capture
) -> None:
    """96 of 100 cases expect the same: a model that says nothing else knows nothing, even if it slips now and then."""
    truth, grader, always = CONSTANTS[name]
    today = Scripted(answers=lambda i: "{}" if slips and i % 37 == 7 else always)
    task = made(tmp_path, {"today": today}, truth=truth, n=300, n_examples=0, graders=f'[[graders]]\ntype = "{grader}"')
    told = ask(task, capsys, probe=False, rungs=["baseline"])
    row = told.option("baseline/today")
    assert row["score"] > 0.9 and row["target"] == ("unresolved" if slips else "missed"), row
    assert told.outcome != "do_not_fine_tune"
    told.says_none_of("meets the target", "is good enough")


@pytest.mark.parametrize(
    "named",
    [None, "cost", *(pytest.param(name, marks=pytest.mark.slow) for name in ("quality", "latency", "format", "style"))],
)
def test_what_the_team_has_in_mind_changes_nothing(named: Any, tmp_path: Path, capsys: Capture) -> None:
    told = ask(made(tmp_path, CONFUSED, task={"target": 0.85, "motivation": named}), capsys)
    assert (told.outcome, told.verdict["reason_code"]) == ("fine_tune", "levers_exhausted")
    first = "A fine-tuning pilot is worthwhile. No measured option"
    assert told.terminal.startswith(first) and "is untested." in told.terminal.splitlines()[0]
    assert told.verdict["training"]["method"] == "sft"
    assert named is None or f"Your reason to train ({named})" in told.terminal
    told.says_none_of("The reason to train is measured")


@pytest.mark.parametrize(
    "problem", ["style", *(pytest.param(name, marks=pytest.mark.slow) for name in ("factual_knowledge", "reasoning"))]
)
def test_the_kind_of_problem_changes_nothing(problem: str, tmp_path: Path, capsys: Capture) -> None:
    told = ask(made(tmp_path, CONFUSED, task={"target": 0.85, "problem": problem}), capsys)
    assert (told.outcome, told.verdict["reason_code"]) == ("fine_tune", "levers_exhausted")


def test_facts_without_documents_are_no_reason_to_train(tmp_path: Path, capsys: Capture) -> None:
    guess = right_on(0.11, "", serial, lambda i: "000000")
    task = made(tmp_path, {"today": Scripted(answers=guess), "second": Scripted(answers=guess)}, truth=serial)
    told = ask(task, capsys)
    assert (told.outcome, told.status) == ("undecided", 4)
    assert "[documents]" in told.verdict["next_action"]["why"]
    told.says_none_of("Fine-tune. ", "is measured")


def test_facts_whose_documents_do_not_exist_may_be_trained_with_a_warning(tmp_path: Path, capsys: Capture) -> None:
    guess = right_on(0.11, "", serial, lambda i: "000000")
    task = made(
        tmp_path,
        {"today": Scripted(answers=guess), "second": Scripted(answers=guess)},
        truth=serial,
        sections='[[waivers]]\ngate = "retrieval"\nreason = "no documents exist"\n',
    )
    told = ask(task, capsys)
    assert told.outcome == "fine_tune" and "facts slowly" in told.terminal
    told.says_none_of("is measured. ")


COSTLY = {"today": strong(0.94, usd_per_1k=1.02555), "small": weak(0.74, usd_per_1k=0.05)}
BUSY = "[economics]\nrequests_per_month = 20_000_000\n"


def test_a_high_bill_that_a_small_model_could_cut_is_a_reason(tmp_path: Path, capsys: Capture) -> None:
    told = ask(made(tmp_path, COSTLY, task={"target": 0.88}, sections=BUSY), capsys)
    assert (told.outcome, told.verdict["training"]["method"]) == ("fine_tune", "distil")
    assert told.reason("cost") == "measured" and "$20,511 a month" in told.terminal
    assert told.verdict["recommendation"] == "baseline/today"


def test_without_the_traffic_the_verdict_says_from_which_volume(tmp_path: Path, capsys: Capture) -> None:
    told = ask(made(tmp_path, COSTLY, task={"target": 0.88}), capsys)
    assert (told.outcome, told.verdict["reason_code"]) == ("undecided", "cost_unknown")
    assert "requests_per_month" in told.terminal and "Do not fine-tune below" in told.terminal


def test_a_small_bill_is_no_reason(tmp_path: Path, capsys: Capture) -> None:
    told = ask(
        made(tmp_path, COSTLY, task={"target": 0.88}, sections="[economics]\nrequests_per_month = 50_000\n"), capsys
    )
    assert (told.outcome, told.reason("cost")) == ("do_not_fine_tune", "refuted")


def test_a_cheaper_model_that_loses_the_target_is_not_adopted(tmp_path: Path, capsys: Capture) -> None:
    holds = share(0.915, "a")
    models = {
        "today": Scripted(answers=lambda i: colour(i) if holds(i) or i % 100 < 1 else other(i), usd_per_1k=1.0),
        "small": Scripted(answers=lambda i: colour(i) if holds(i) and i % 25 else other(i), usd_per_1k=0.1),
    }
    task = made(
        tmp_path,
        models,
        n=300,
        task={"target": 0.9, "margin": 0.09},
        sections="[economics]\nrequests_per_month = 1000\n",
    )
    told = ask(task, capsys)
    status = next(row["status"] for row in told.record["rungs"] if row["rung"] == "model")
    assert status != "adopted"
    assert told.verdict["recommendation"] == "baseline/today"


def test_a_small_model_near_the_target_is_settled_before_any_training(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": strong(0.93, usd_per_1k=1.02555), "small": weak(0.89, usd_per_1k=0.05)}
    told = ask(made(tmp_path, models, sections=BUSY), capsys)
    assert told.outcome == "undecided" and told.verdict["recommendation"] == "baseline/today"
    action = told.verdict["next_action"]
    assert action["command"] == "tuneworthy cases add" and 0 < action["chance_to_settle"] <= 1


def test_a_better_option_is_named_with_the_price_of_the_difference(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": strong(0.97, usd_per_1k=1.0), "small": weak(0.89, usd_per_1k=0.1)}
    told = ask(made(tmp_path, models, task={"target": 0.85}, sections=BUSY), capsys)
    assert (told.outcome, told.verdict["recommendation"]) == ("do_not_fine_tune", "model/small")
    first = told.terminal.splitlines()[0]
    assert "within today's bill, today's setup scores highest" in first.lower() and "$18,000 more a month" in first


def test_a_slow_teacher_makes_latency_a_reason(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": weak(0.74), "strong": strong(0.97, latency_ms=60.0)}
    told = ask(made(tmp_path, models, task={"target": 0.88}, n=100, sections="[constraints]\np95_ms = 40\n"), capsys)
    assert (told.outcome, told.verdict["training"]["method"]) == ("fine_tune", "distil")
    assert told.reason("latency") == "measured" and told.option("model/strong")["violates"]


def test_a_hosted_model_may_teach_what_must_run_on_the_device(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": weak(0.7), "strong": strong(0.97, hosted=True, usd_per_1k=1.0)}
    told = ask(made(tmp_path, models, sections="[constraints]\non_device = true\n"), capsys)
    assert (told.outcome, told.verdict["training"]["method"]) == ("fine_tune", "distil")
    assert told.reason("locality") == "measured"
    assert told.option("model/strong")["violates"] and told.verdict["recommendation"] == "baseline/today"


def test_nothing_is_sent_to_a_hosted_model_where_data_stays(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": weak(0.7), "strong": strong(0.97, hosted=True, usd_per_1k=1.0)}
    told = ask(made(tmp_path, models, sections="[constraints]\non_device = true\ndata_stays = true\n"), capsys)
    assert told.outcome == "fine_tune" and told.verdict["reason_code"] == "levers_exhausted"
    assert "model/strong" not in {row["option"] for row in told.verdict["options"]}
    assert told.record["cost_usd"] == 0


def test_without_a_target_there_are_options_and_no_outcome(tmp_path: Path, capsys: Capture) -> None:
    told = ask(made(tmp_path, CONFUSED, task={"target": None}), capsys)
    assert (told.outcome, told.status, told.verdict["reason_code"]) == ("undecided", 4, "no_target")
    assert "task.target" in told.terminal and len(told.verdict["options"]) > 3
    told.says_none_of("is met", "is missed")


def test_a_model_that_was_not_run_leaves_the_answer_open(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": weak(0.6), "strong": strong()}
    told = ask(made(tmp_path, models), capsys, rungs=["classical", "prompt", "few_shot", "decoding"])
    assert told.outcome == "undecided" and "--rung model" in told.verdict["next_action"]["command"]
    assert told.verdict["next_action"]["calls"] > 0


def test_a_project_with_one_model_asks_for_another(tmp_path: Path, capsys: Capture) -> None:
    told = ask(made(tmp_path, {"today": weak(0.6)}), capsys)
    assert told.outcome == "undecided" and "[models]" in told.verdict["next_action"]["why"]


def test_a_waived_rung_could_not_meet(tmp_path: Path, capsys: Capture) -> None:
    waiver = '[[waivers]]\ngate = "other_models"\nreason = "must run on the customer\'s device"\n'
    told = ask(made(tmp_path, {"today": weak(0.6)}, sections=waiver), capsys)
    assert (told.outcome, told.verdict["reason_code"]) == ("fine_tune", "levers_exhausted")


def noisy(i: int) -> str:
    """Labels of which a part is wrong: models agree on the truth against them."""
    return other(i) if share(0.16, "noise")(i) else colour(i)


def test_wrong_labels_are_suspected_and_decide_nothing_before_people_looked(tmp_path: Path, capsys: Capture) -> None:
    models = {"gpt-a": strong(0.98), "claude-b": Scripted(answers=right_on(0.97, "b"))}
    task = made(tmp_path, {name.replace("-", "_"): one for name, one in models.items()}, labels=noisy)
    told = ask(task, capsys)
    assert told.outcome == "undecided"
    assert told.verdict["reason_code"] == "errors_label_or_grader"
    assert "suspects" in told.verdict["next_action"]["command"]
    assert told.verdict["next_action"]["person_minutes"] <= 30


def noisy_in_test(i: int) -> str:
    """Cases of which a part has the wrong label; the labels of the examples, and so of dev, are right."""
    return other(i) if i < 1000 and share(0.25, "noise")(i) else colour(i)


def test_wrong_labels_in_test_alone_leave_the_answer_open(tmp_path: Path, capsys: Capture) -> None:
    models = {"gpt_a": strong(0.9), "claude_b": Scripted(answers=right_on(0.89, "b"))}
    task = made(tmp_path, models, labels=noisy_in_test)
    told = ask(task, capsys)
    assert (told.outcome, told.verdict["reason_code"]) == ("undecided", "errors_dev")
    assert told.verdict["next_action"]["command"] == "tuneworthy label audit"
    assert re.search(r"scores \S+% on dev \(n = 80\) but \S+% on test", " ".join(told.terminal.split()))
    waiver = '[[waivers]]\ngate = "dev"\nreason = "the cases are newer than the examples"\n'
    (task.root / "tuneworthy.toml").write_text((task.root / "tuneworthy.toml").read_text() + waiver)
    assert ask(task, capsys).outcome == "fine_tune"


def test_models_of_one_family_that_share_their_errors_accuse_no_label(tmp_path: Path, capsys: Capture) -> None:
    same = right_on(0.7, "shared")
    models = {"gpt_4": Scripted(answers=same), "gpt_5": Scripted(answers=same), "gpt_6": Scripted(answers=same)}
    told = ask(made(tmp_path, models), capsys)
    assert told.outcome == "fine_tune"
    assert not [row for row in told.verdict["errors"] if row["class"] == "label_or_grader" and row["n_failed"]]


def test_a_format_that_shots_fix_needs_no_training(tmp_path: Path, capsys: Capture) -> None:
    chatty = Scripted(answers=lambda i: f"I think it is {colour(i)}, maybe.", shots=right_on(0.97, "shots"))
    told = ask(made(tmp_path, {"today": chatty, "second": chatty}), capsys)
    assert told.outcome == "do_not_fine_tune"
    assert told.verdict["recommendation"].startswith("few_shot/")


def test_training_that_never_pays_is_refused_where_a_wrong_answer_has_a_price(tmp_path: Path, capsys: Capture) -> None:
    money = "[economics]\nrequests_per_month = 1000\nusd_per_wrong_answer = 0.01\n"
    told = ask(made(tmp_path, CONFUSED, task={"target": 0.85}, sections=money), capsys)
    assert (told.outcome, told.verdict["reason_code"]) == ("do_not_fine_tune", "economics")


def test_where_a_wrong_answer_has_no_price_money_decides_nothing(tmp_path: Path, capsys: Capture) -> None:
    money = "[economics]\nrequests_per_month = 1000\n"
    told = ask(made(tmp_path, CONFUSED, task={"target": 0.85}, sections=money), capsys)
    assert told.outcome == "fine_tune" and "a wrong answer" in told.verdict["economics"]["why"]


def test_a_score_on_the_target_names_cases_with_their_chance(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": weak(0.82), "second": weak(0.82)}
    told = ask(made(tmp_path, models, task={"target": 0.85}, n=150), capsys)
    assert told.outcome == "undecided"
    action = told.verdict["next_action"]
    assert action["command"] in {"tuneworthy cases add", "tuneworthy label suspects"}
    assert action["person_minutes"] <= 2400
    assert action["chance_to_settle"] is not None


def test_today_stays_where_another_option_is_hardly_cheaper(tmp_path: Path, capsys: Capture) -> None:
    models = {"today": strong(0.95, usd_per_1k=1.0), "second": strong(0.95, usd_per_1k=0.95)}
    told = ask(
        made(tmp_path, models, task={"target": 0.85}, sections="[economics]\nrequests_per_month = 1000\n"), capsys
    )
    assert (told.outcome, told.verdict["recommendation"]) == ("do_not_fine_tune", "baseline/today")


@pytest.mark.slow
def test_a_classical_baseline_that_is_as_good_is_taken_home(tmp_path: Path, capsys: Capture) -> None:
    hints = {"red": "crimson rose apple", "green": "meadow leaf grass", "blue": "ocean sky wave"}
    task = made(
        tmp_path,
        {"today": strong(0.93, usd_per_1k=1.0), "second": strong(0.93, usd_per_1k=1.0)},
        text=lambda i: f"{hints[colour(i)]} {i * 7919 % 104729}",
        sections="[economics]\nrequests_per_month = 1000\n",
    )
    told = ask(task, capsys)
    assert told.outcome == "do_not_fine_tune"
    assert told.verdict["recommendation"].startswith("classical/")
    assert told.verdict["next_action"]["command"] == "tuneworthy export classifier"


def test_fewer_than_fifty_cases_decide_nothing(tmp_path: Path, capsys: Capture) -> None:
    told = ask(made(tmp_path, CONFUSED, n=40), capsys)
    assert (told.outcome, told.verdict["reason_code"]) == ("undecided", "gate_test_set")


def test_cases_that_were_chosen_by_their_label_change_its_recall_and_no_score(tmp_path: Path, capsys: Capture) -> None:
    misses = share(0.3, "missed")
    today = Scripted(answers=lambda i: "ok" if misses(i) else fraud(i))
    task = made(tmp_path, {"today": today}, truth=fraud, n=900, n_examples=0, task={"target": 0.9, "critical": "LATER"})
    settings, cases = task.root / "tuneworthy.toml", task.root / "cases.jsonl"
    settings.write_text(settings.read_text().replace('"LATER"', "{ fraud = 0.5 }"))
    rows = cases.read_text().splitlines(keepends=True)
    cases.write_text("".join(rows[:200]))
    before = ask(task, capsys, probe=False, rungs=["baseline"]).option("baseline/today")
    with cases.open("a") as file:
        file.writelines(row for row in rows[200:] if json.loads(row)["expected"] == "fraud")
    assert invoke(["cases", "add", "--project", str(task.root)]) == 0
    after = ask(task, capsys, probe=False, rungs=["baseline"])
    assert after.option("baseline/today") | {"target": 0, "p95_ms": 0} == before | {"target": 0, "p95_ms": 0}
    record = json.loads((task.root / ".tuneworthy/run.json").read_text())
    assert before["target"] == "unresolved" and after.option("baseline/today")["target"] == "met"
    assert record["split"]["additions"] == 0 and record["n_test"] == record["rungs"][0]["n"] == 100
