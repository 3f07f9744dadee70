"""Suspected labels decide nothing before people labelled a draw of them again."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from scripts.simulations.label_errors import draw_audit
from tests.ladder.simulations import write_simulation

from tuneworthy.cases import read_cases
from tuneworthy.cases.labelling import LabelSession, read_labels
from tuneworthy.cli import invoke, label_terminal
from tuneworthy.cli.label_queues import LabelRequest, open_suspects
from tuneworthy.config import load
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.task_data import read_data
from tuneworthy.stats.intervals import lower_bound
from tuneworthy.store import Folder
from tuneworthy.types import Case
from tuneworthy.verdict import label_audit
from tuneworthy.verdict.error_analysis import FILE, ErrorAnalysis
from tuneworthy.verdict.label_audit import (
    AT_MOST,
    DRAW_SEED,
    LOOK_ALPHA,
    RELABELLED,
    SESSION,
    Relabelling,
    audited_share,
    chance_to_show,
    drawn,
    read_relabelled,
    relabelling,
    suspects_path,
)


def report(n_suspected: int, n_failed: int) -> ErrorAnalysis:
    """An error analysis that suspects the label `red` of the first failures."""
    names = [f"case {n}" for n in range(n_failed)]
    return ErrorAnalysis(
        of={},
        n_dev=80,
        n_failed=n_failed,
        n_probed=n_failed,
        classes=dict.fromkeys(names[:n_suspected], "label_or_grader")
        | dict.fromkeys(names[n_suspected:], "unexplained"),
        suspects=dict.fromkeys(names[:n_suspected], "blue"),
        answers=dict.fromkeys(names, "blue"),
    )


@pytest.mark.parametrize(
    ("failures", "n_wrong", "n_labelled", "found"),
    [
        ((20, 24), 15, 15, True),
        ((20, 24), 9, 15, None),  # the interval of what was confirmed contains one half
        ((20, 24), 3, 15, False),
        ((20, 24), 14, 14, None),  # too few are labelled
        ((20, 24), 0, 0, None),
        ((7, 7), 6, 7, True),
        ((0, 21), 12, 15, True),  # what no model suspects counts as well
    ],
)
def test_people_confirm_or_refute_what_is_suspected(
    failures: tuple[int, int], n_wrong: int, n_labelled: int, found: bool | None, tmp_path: Path
) -> None:
    project = load(write_simulation(tmp_path / "world", {"weak": "'red'"}, n_cases=3, n_examples=0))
    analysis = report(*failures)
    rows = [
        {"case": name, "labeller": "ada", "label": "Blue" if n < n_wrong else "red", "time": "now"}
        for n, name in enumerate(drawn(analysis)[:n_labelled])
    ]
    suspects_path(project).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    result = relabelling(analysis, read_relabelled(project))
    assert result.wrong is found and result.n == n_labelled
    assert result.to_label == failures[1] - n_labelled


def test_a_third_label_is_no_error_that_relabelling_repairs(tmp_path: Path) -> None:
    project = load(write_simulation(tmp_path / "world", {"weak": "'red'"}, n_cases=3, n_examples=0))
    rows = [{"case": case, "labeller": "ada", "label": "green", "time": "now"} for case in drawn(report(20, 24))]
    suspects_path(project).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert relabelling(report(20, 24), read_relabelled(project)).wrong is False


def relabelled(analysis: ErrorAnalysis, n: int, wrong: int) -> Relabelling:
    """What follows after people labelled the first `n` failures and found `wrong` labels among them."""
    first = drawn(analysis)[:n]
    return relabelling(analysis, {case: "blue" if at < wrong else "red" for at, case in enumerate(first)})


def test_the_draw_is_always_the_same_and_the_labels_of_its_first_stay() -> None:
    analysis = report(40, 130)
    first = drawn(analysis)
    assert len(first) == AT_MOST and first == drawn(analysis) and len(drawn(report(7, 7))) == 7
    assert first == drawn(analysis, dict.fromkeys(first[:5], "blue"))
    more = drawn(analysis, dict.fromkeys(first, "red"))
    assert more[:AT_MOST] == first and len(more) == 2 * AT_MOST


def test_whoever_stops_after_fifteen_left_a_random_part_that_may_decide(tmp_path: Path) -> None:
    analysis, path = report(20, 40), tmp_path / "labels.jsonl"
    pool = [Case(id=name, input=name, expected="red") for name in sorted(drawn(analysis))]
    session = LabelSession(pool, path, "ada", seed=DRAW_SEED, share=1.0)
    assert list(session.assigned) == drawn(analysis)
    while session.n_done < RELABELLED and (case := session.next()) is not None:
        session.submit(case.id, "blue")
    labels = {row.case: row.label for row in read_labels(path)}
    assert relabelling(analysis, labels).wrong is True


def test_the_rest_of_a_session_is_named_with_its_chance() -> None:
    analysis = report(100, 200)
    assert relabelled(analysis, 30, 20).wrong is True
    close = relabelled(analysis, 30, 19)
    assert close.wrong is None and close.chances[0] > close.chances[1]  # most were wrong
    assert close.to_label == AT_MOST - 30 and relabelled(analysis, AT_MOST, 33).to_label == AT_MOST
    few = relabelled(report(10, 20), 15, 9)
    assert few.to_label == 5 and sum(few.chances) < 0.8  # there are no more failures


def settled_after(share: float, seed: int) -> tuple[bool | None, int]:
    """What one session settles where a share of the failures is the label's, and after how many labels."""
    random, analysis, labels = np.random.default_rng(seed), report(40, 100), dict[str, str]()
    for at, name in enumerate(drawn(analysis), 1):
        labels[name] = "blue" if random.random() < share else "red"
        if at % RELABELLED == 0 and relabelling(analysis, labels).wrong is not None:
            break
    return relabelling(analysis, labels).wrong, len(labels)


@pytest.mark.slow
def test_four_looks_err_in_at_most_a_tenth_of_the_sessions_and_settle_what_is_clear_early() -> None:
    even = [settled_after(0.5, seed)[0] for seed in range(400)]
    assert even.count(True) / 400 <= 0.12 and even.count(False) / 400 <= 0.12
    most = [settled_after(0.7, seed) for seed in range(400)]
    assert np.mean([wrong is True for wrong, _ in most]) >= 0.92
    assert np.mean([n for _, n in most]) <= 35
    assert np.mean([settled_after(0.9, seed)[1] for seed in range(100)]) <= 17


def test_a_session_ends_as_soon_as_its_labels_settle_the_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_simulation(tmp_path / "world", {"weak": "'red'"}, n_cases=200, n_examples=0)
    project = load(root)
    dev = [case for case in read_data(project).split.dev if case.labelled]
    names, said = [case.id for case in dev], {case.text: str(case.expected) for case in dev}
    analysis = replace(report(0, len(names)), answers=dict.fromkeys(names, "no such label"))
    Folder(root).write(FILE, analysis)
    shown: list[str] = []
    monkeypatch.setattr(label_terminal, "note", lambda *lines: shown.append("\n".join(lines)))
    monkeypatch.setattr(
        label_terminal, "ask_line", lambda _: next((label for text, label in said.items() if text in shown[-1]), "")
    )
    queue = open_suspects(LabelRequest(root, "ada"))
    assert label_terminal.work_through(queue) == RELABELLED == len(read_labels(queue.log)) < len(names)
    assert queue.waiting == 0


def test_the_chance_of_labels_is_that_of_draws() -> None:
    random = np.random.default_rng(5)
    shares = random.beta(0.5 + 9, 0.5 + 6, 20_000)
    totals = 9 + random.binomial(30, shares)
    shown = [lower_bound(int(k), 45, LOOK_ALPHA) > 0.5 for k in totals]
    assert chance_to_show(9, 15, 30)[0] == pytest.approx(np.mean(shown), abs=0.02)


def test_the_labels_of_suspects_are_written_into_the_cases_and_those_of_examples_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n_examples in (0, 420):  # without examples dev is drawn from the cases
        root = write_simulation(tmp_path / str(n_examples), {"weak": "'red'"}, n_cases=120, n_examples=n_examples)
        project = load(root)
        case = next(case for case in read_data(project).split.dev if case.expected == "red")
        row = {"case": case.id, "labeller": "ada", "label": "blue", "time": "now"}
        suspects_path(project).write_bytes(orjson.dumps(row) + b"\n")
        assert invoke(["label", "suspects", "--apply", "--project", str(root)]) == 0
        written = [one.expected for one in read_cases(root / "cases.jsonl").cases if one.id == case.id]
        assert written == (["blue"] if n_examples == 0 else [])
        assert (f"Correct this example: {case.text}" in capsys.readouterr().out) is bool(n_examples)


# --- audit of test ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose models are right on 95%, with every tenth label of the cases wrong, measured on test."""
    root = write_simulation(
        tmp_path_factory.mktemp("audit") / "world",
        {"weak": "answer(request, 0.95)", "other": "answer(request, 0.94, 'b')"},
        n_cases=200,
        rungs=["model"],
    )
    path = root / "cases.jsonl"
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for at, row in enumerate(rows):
        row["expected"] = "red" if at % 10 == 0 and row["expected"] != "red" else row["expected"]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert invoke(["run", "--rung", "baseline", "--rung", "model", "--yes", "--project", str(root)]) == 0
    return root


@pytest.fixture
def noisy(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, and a person who knows the right label of every question."""
    shown: list[str] = []

    def truth(_: str) -> str:
        asked = re.findall(r"item (\d+)", shown[-1])
        return ("red", "green", "blue")[int(asked[-1]) % 3] if asked else ""

    monkeypatch.setattr(label_terminal, "note", lambda *lines: shown.append("\n".join(lines)))
    monkeypatch.setattr(label_terminal, "ask_line", truth)
    shutil.copytree(measured, tmp_path / "world")
    return tmp_path / "world"


def verdict_of(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    invoke(["decide", "--json", "--project", str(root)])
    answer: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    return answer


def test_an_audit_of_test_finds_the_share_of_wrong_labels_and_its_labels_mend_every_score(
    noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = ["label", "audit", "--labeller", "ada", "--project", str(noisy)]
    assert verdict_of(noisy, capsys)["label_ceiling"] is None
    assert invoke(label) == 0
    assert capsys.readouterr().out.endswith(f"Next: tuneworthy label --project {noisy} --labeller ada audit --apply\n")
    strata = Folder(noisy).read(label_audit.STRATA, dict[str, bool]) or {}
    audited = read_relabelled(load(noisy))
    assert len(strata) == 200 and sum(strata[case] for case in audited) == sum(strata.values()) > 10
    assert sum(not strata[case] for case in audited) == SESSION[False]
    verdict = verdict_of(noisy, capsys)
    found, today = verdict["label_ceiling"], verdict["options"][0]
    cases = read_cases(noisy / "cases.jsonl").cases
    wrong = np.mean([case.expected != ("red", "green", "blue")[int(case.text.split()[1]) % 3] for case in cases])
    assert found["share"] == pytest.approx(wrong, abs=0.02) and found["n"] == len(audited)
    assert found["ci95"][0] <= wrong <= found["ci95"][1] and found["ceiling"] == 1 - found["share"]
    assert today["score"] < 0.91 and found["scores"][today["option"]] == pytest.approx(0.95, abs=0.02)
    assert invoke([*label, "--apply"]) == 0
    assert capsys.readouterr().out.endswith(f"Next: tuneworthy run --project {noisy}\n")
    assert invoke(["run", "--rung", "baseline", "--rung", "model", "--yes", "--project", str(noisy)]) == 0
    after = verdict_of(noisy, capsys)
    assert after["label_ceiling"]["share"] < 0.02 and after["options"][0]["score"] == pytest.approx(0.95, abs=0.02)
    assert (Folder(noisy).read(label_audit.STRATA, dict[str, bool]) or {}) == strata


def test_a_label_is_wrong_only_if_all_people_who_labelled_the_case_contradict_it(
    noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["label", "audit", "--labeller", "ada", "--project", str(noisy)]) == 0
    alone = verdict_of(noisy, capsys)["label_ceiling"]
    expected = {case.id: case.expected for case in read_cases(noisy / "cases.jsonl").cases}
    path = suspects_path(load(noisy))
    ada = [orjson.loads(line) for line in path.read_bytes().splitlines()]

    def with_bob(answer: Any) -> Any:
        bob = [{**row, "labeller": "bob", "label": answer(row["label"], expected[row["case"]])} for row in ada]
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in (*bob, *ada)))  # hers are the last
        return verdict_of(noisy, capsys)["label_ceiling"]

    def third(label: str, given: str) -> str:
        return label if label == given else next(one for one in ("red", "green", "blue") if one not in {label, given})

    assert alone["uncorrected"] and alone["share"] > 0.02 and with_bob(third) == alone
    agreed = with_bob(lambda label, given: given)
    assert not agreed["uncorrected"] and agreed["share"] == 0.0


def test_the_sheet_of_an_audit_tells_neither_label_nor_answer_nor_stratum(
    noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(label_terminal, "note", lambda *lines: shown.append("\n".join(lines)))
    monkeypatch.setattr(label_terminal, "ask_line", lambda _: "/quit" if len(shown) > 30 else "/skip")
    assert invoke(["label", "audit", "--labeller", "ada", "--project", str(noisy)]) == 0
    sheets = [text for text in shown if "item " in text]
    assert len(sheets) > 10 and not any(
        label in sheet.partition("\n\n")[0] for sheet in sheets for label in ("red", "green", "blue")
    )
    strata = Folder(noisy).read(label_audit.STRATA, dict[str, bool]) or {}
    order = [
        strata[case.id] for sheet in sheets for case in read_cases(noisy / "cases.jsonl").cases if case.text in sheet
    ]
    assert 0 < sum(order[:15]) < 15  # mixed


def test_a_test_case_that_is_added_gets_a_stratum_and_no_other_case_changes_its_own(noisy: Path) -> None:
    strata = {case.id: False for case in read_data(load(noisy)).split.test}
    first = min(strata)
    del strata[first]
    Folder(noisy).write(label_audit.STRATA, strata)
    with open_answers(load(noisy)) as answers:
        drawn = label_audit.cases_to_audit(answers)
    stored = Folder(noisy).read(label_audit.STRATA, dict[str, bool]) or {}
    assert stored.keys() == {*strata, first} and stored.items() >= strata.items()
    assert len(drawn) == SESSION[False] + stored[first]


@pytest.mark.parametrize(("right", "answer"), [("b", False), ("g", True)])
def test_where_answers_are_no_labels_a_person_says_whether_the_expected_answer_is_right(
    right: str, answer: bool, noisy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Folder(noisy).read("split", dict[str, Any]) or {}
    Folder(noisy).write("split", {**stored, "kind": ["free_text", "texts"]})
    shown: list[str] = []
    monkeypatch.setattr(label_terminal, "note", lambda *lines: shown.append("\n".join(lines)))
    monkeypatch.setattr(label_terminal, "ask_line", lambda _: right)
    assert invoke(["label", "audit", "--labeller", "ada", "--project", str(noisy)]) == 0
    assert sum("reference: " in text for text in shown) == len(read_labels(suspects_path(load(noisy))))
    found = verdict_of(noisy, capsys)["label_ceiling"]
    assert found["share"] == (0.0 if answer else 1.0) and found["scores"] == {}
    before = (noisy / "cases.jsonl").read_bytes()
    capsys.readouterr()
    assert invoke(["label", "audit", "--apply", "--project", str(noisy)]) == 0
    assert ("Correct this example" in capsys.readouterr().out) is not answer
    assert (noisy / "cases.jsonl").read_bytes() == before


def test_labels_of_dev_alone_offer_the_audit_of_test(noisy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = read_data(load(noisy))
    for case, offered in ((data.split.dev[0], True), (data.split.test[0], False)):
        row = {"case": case.id, "labeller": "ada", "label": case.expected, "time": "now"}
        suspects_path(load(noisy)).write_bytes(orjson.dumps(row) + b"\n")
        capsys.readouterr()
        assert invoke(["label", "suspects", "--apply", "--project", str(noisy)]) == 0
        next_step = capsys.readouterr().out.partition("Next: tuneworthy run ")[2]
        assert (" audit" in next_step) is offered and next_step


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
def test_the_interval_of_the_share_covers_the_truth_where_errors_are_random_hard_or_alluring(noise: float) -> None:
    rng, hits = np.random.default_rng(7), []
    for draw in range(500):
        n, lure, hard = (100, 300)[draw % 2], (0.0, 0.3)[draw // 2 % 2], (1.0, 3.0)[draw // 4 % 2]
        strata, share = draw_audit(rng, n=n, noise=noise, right=0.85, lure=lure, hard=hard)
        _, low, high = audited_share(strata, sum(row[2] for row in strata))
        _, narrow, _ = audited_share([(row[1], row[1], row[2]) for row in strata], sum(row[2] for row in strata))
        hits.append((low <= noise <= high, low <= share <= high, narrow <= share))
    covered = np.mean(hits, axis=0)
    assert covered[0] >= 0.93 and covered[1] >= 0.93
    assert covered[2] < 0.9  # as if the sample were all of test: its failures are over-represented


def test_corrected_labels_no_longer_count_and_unseen_strata_widen_the_interval() -> None:
    strata = [(40, 40, 30), (260, 40, 0)]
    assert audited_share(strata, 30)[0] == pytest.approx(0.1) and audited_share(strata, 0)[0] == 0.0
    assert audited_share([(40, 40, 30), (260, 260, 0)], 30)[2] < audited_share(strata, 30)[2]
    assert audited_share([(40, 40, 30), (260, 0, 0)], 30)[2] > 0.95
    assert audited_share(strata, 30, 0.25)[1] < audited_share(strata, 30)[1]  # few sources
