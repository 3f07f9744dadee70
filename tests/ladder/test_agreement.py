"""Cases with today's answers and without right ones: scores are agreement, and the verdict says so everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.ladder.simulations import TODAY, write_recorded
from tuneworthy.cases import answered_today, read_cases
from tuneworthy.cases.writer import write_cases
from tuneworthy.cli import invoke
from tuneworthy.ladder.label_sample import drawn_sample
from tuneworthy.ladder.record import RunRecord, read_record
from tuneworthy.store import Folder
from tuneworthy.web.run_views import history
from tuneworthy.web.state import UiState


def run(root: Path) -> RunRecord:
    assert invoke(["run", "--project", str(root), "--yes"]) == 0
    record = read_record(Folder(root))
    assert record is not None
    return record


def decision(root: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert invoke(["decide", "--project", str(root), "--json"]) == 4
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_recorded(tmp_path_factory.mktemp("recorded") / "world", calls=3)
    run(root)
    return root


def test_the_verdict_is_undecided_and_names_agreement_although_a_target_is_met(walked, capsys):
    verdict = decision(walked, capsys)
    assert (verdict["outcome"], verdict["reason_code"]) == ("undecided", "agreement_only")
    assert verdict["recommendation"] is None and verdict["best_within_bill"] is None
    assert {row["score"] for row in verdict["options"]} == {None}
    assert {row["target"] for row in verdict["options"]} == {None}
    agreement = {row["option"]: row["agreement"] for row in verdict["agreement"]["options"]}
    assert agreement["baseline/today"] == pytest.approx(1.0)
    assert "may answer" in verdict["reasons"][0]
    assert "not accuracy" in verdict["reasons"][1] and TODAY in verdict["reasons"][1]
    assert verdict["next_action"]["command"] == "tuneworthy label"


def test_the_certificate_says_what_the_classifier_may_keep(walked, capsys):
    (one,) = decision(walked, capsys)["agreement"]["certificates"]
    assert one["name"].startswith("classical/") and one["refused"] == ""
    assert one["share"] > 0.9 and one["upper"] <= 0.05 and one["confidence"] == 0.9
    assert one["today_differs"] == 0.0  # each prompt was asked three times, and answered alike
    assert sum(label["n"] for label in one["labels"].values()) == one["n"]


def test_the_tables_head_the_column_agreement(walked, capsys):
    capsys.readouterr()
    assert invoke(["decide", "--project", str(walked)]) == 4
    (heading,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["option"]]
    assert "agreement" in heading and "score" not in heading


def test_no_target_is_missed_where_scores_are_agreement(tmp_path, capsys):
    root = write_recorded(tmp_path / "world")
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("target =", "# target ="))
    invoke(["check", "--project", str(root)])
    assert "Add the lowest score" not in capsys.readouterr().out


def test_a_later_look_has_less_error_left(walked):
    record = read_record(Folder(walked))
    assert record is not None and record.rung("classical").certificate.look == 1
    again = run(walked)
    assert again.rung("classical").certificate.look == 1  # the same units and classifier are the same look
    assert len(orjson.loads((walked / ".tuneworthy/certificates.json").read_bytes())) == 1


def test_a_run_claims_no_target(walked):
    record = read_record(Folder(walked))
    assert record.target is None and record.agreement == TODAY


def test_a_noisy_model_of_today_gets_no_certificate(tmp_path, capsys):
    root = write_recorded(tmp_path / "noisy", noise=20)
    record = run(root)
    found = record.rung("classical").certificate
    assert found.threshold is None and "no confidence level" in found.refused
    assert found.refused in decision(root, capsys)["reasons"][1]


def test_scores_are_right_answers_once_people_have_labelled_every_case(tmp_path):
    path = write_recorded(tmp_path / "world") / "cases.jsonl"
    cases = read_cases(path).cases
    assert {case.today.borrowed for case in answered_today(cases)} == {True}
    labelled = [
        case.__class__(**{**{f: getattr(case, f) for f in case.__slots__}, "expected": "red"}) for case in cases
    ]
    assert {case.expected for case in answered_today(labelled)} == {"red"}
    assert {case.expected for case in answered_today([*labelled[1:], cases[0]])} > {
        "red"
    }  # one label is missing: agreement
    write_cases(path, labelled)
    assert read_cases(path).cases[0].today == cases[0].today  # today's answer is kept beside the label


@pytest.mark.parametrize(
    "today",
    ["red", {"model": "m"}, {"answer": "red", "calls": 0, "same": 0}, {"answer": "red", "calls": 1, "same": 2},
     {"answer": "red", "calls": "3", "same": 1}],
)  # fmt: skip
def test_a_wrong_record_of_today_is_named_with_its_line(tmp_path, today):
    path = tmp_path / "cases.jsonl"
    path.write_bytes(orjson.dumps({"input": "a", "today": today}) + b"\n")
    with pytest.raises(Exception, match="today"):
        read_cases(path)


def test_labels_of_the_sample_turn_agreement_into_accuracy(tmp_path, capsys):
    """Today's model is wrong in a fifth of the cases; the classifier, taught the right colours, is not."""
    root = write_recorded(tmp_path / "world", noise=20)
    run(root)
    sample = orjson.loads((root / ".tuneworthy/sample.json").read_bytes())
    cases = {case.id: case for case in read_cases(root / "cases.jsonl").cases}
    assert len(sample) == 100 and sum(sample.values()) == pytest.approx(300)
    truth = {case: ["red", "green", "blue"][int(cases[case].input.split()[1]) % 3] for case in sample}
    partly = list(sample)[:60]
    write_labels(root, {case: truth[case] for case in partly})
    assert decision(root, capsys)["reason_code"] == "agreement_only"
    write_labels(root, truth)
    record = run(root)
    assert record.agreement == "" and record.n_test == 100 and record.target == 0.9
    assert record.rung("classical").certificate is None
    verdict = decision_of(root, capsys)
    assert verdict["agreement"] is None and verdict["reason_code"] != "agreement_only"
    plan = orjson.loads((root / ".tuneworthy/comparisons.json").read_bytes())
    assert not any(name.endswith("@agreement") for name in plan["spent"])
    capsys.readouterr()
    assert invoke(["label", "cases", "--project", str(root), "--labeller", "ada"]) == 0
    assert "Next: tuneworthy run" in capsys.readouterr().out  # not the other 200 cases


def write_labels(root: Path, truth: dict[str, str]) -> None:
    lines = [
        {"case": case, "labeller": "ada", "label": label, "time": "2026-12-02T10:00:00"}
        for case, label in truth.items()
    ]
    (root / "cases.labels.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert invoke(["label", "cases", "--apply", "--project", str(root)]) == 0


def decision_of(root: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    invoke(["decide", "--project", str(root), "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_weighted_sample_is_unbiased_and_needs_fewer_labels_than_random_order():
    """1,000 cases; two options, 82% and 78% right, differ on a fifth; 400 samples of 100."""
    rng = np.random.default_rng(3)
    n, differ = 1000, np.arange(1000) < 200
    a = np.where(differ, rng.random(n) < 0.55, rng.random(n) < 0.88).astype(float)
    b = np.where(differ, 1 - a, a)
    b[differ] = np.where(rng.random(200) < 0.15, 0, b[differ])
    found: dict[str, list[float]] = {"a": [], "difference": [], "a, random": [], "difference, random": []}
    for seed in range(400):
        sample = drawn_sample(differ.tolist(), 100, seed)
        at, weights = np.array(list(sample)), np.array(list(sample.values()))
        found["a"].append(weights @ a[at] / weights.sum())
        found["difference"].append(weights @ (b - a)[at] / weights.sum())
        plain = rng.choice(n, 100, replace=False)
        found["a, random"].append(a[plain].mean())
        found["difference, random"].append((b - a)[plain].mean())
    assert abs(np.mean(found["a"]) - a.mean()) < 0.005
    assert abs(np.mean(found["difference"]) - (b - a).mean()) < 0.005
    needed = np.var(found["difference"]) / np.var(found["difference, random"])  # labels for the same variance
    assert needed < 0.7
    assert np.var(found["a"]) / np.var(found["a, random"]) < 1.25  # of a single score it needs somewhat more


@pytest.mark.parametrize("command", [["report"], ["status"]])
def test_a_page_for_people_calls_agreement_by_its_name(walked, command, capsys):
    decision(walked, capsys)
    assert invoke([*command, "--project", str(walked)]) == 0
    said = capsys.readouterr().out
    assert "Score of each option" not in said and "setup scores" not in said and "with an expected answer" not in said
    if command == ["report"]:
        page = (walked / "report.html").read_text()
        assert f"Agreement with {TODAY}, not accuracy." in said and "Agreement of each option" in said
        assert ">score<" not in page and "Score of" not in page


def test_the_history_charts_runs_of_one_measure(walked):
    found = history(UiState(walked, "ada", "engineer", pytest.fail, dict), {})
    assert found["measure"] == "agreement" and f"(agreement with {TODAY})" in str(found["table"])


def test_recorded_answers_are_not_audited_as_labels(walked, capsys):
    assert invoke(["label", "audit", "--project", str(walked)]) == 2
    assert "no labels to audit" in capsys.readouterr().err


def test_a_run_of_the_classifiers_alone_asks_no_model_and_needs_no_budget(tmp_path, capsys):
    root = write_recorded(tmp_path / "world", calls=3)
    for file in root.glob("*.py"):
        file.write_text(
            file.read_text().replace("def today(", "def today(*_):\n    raise RuntimeError\n\n\ndef other(")
        )
    assert invoke(["run", "--project", str(root), "--rung", "classical"]) == 0  # without --yes
    record = read_record(Folder(root))
    assert record is not None and [one.rung for one in record.rungs] == ["classical"] and record.cost_usd == 0
    (one,) = decision(root, capsys)["agreement"]["certificates"]
    assert one["share"] > 0.9
    assert invoke(["run", "--project", str(root), "--rung", "baseline", "--yes"]) != 0  # today's model would be asked
