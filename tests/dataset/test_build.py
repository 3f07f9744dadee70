"""`data build` and `report data` through the command line: counts add up, gates hold, kills lose nothing."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.dataset.check_rows import TOPICS, clean, faq
from tests.killing import killed_at
from tests.moving import elsewhere
from tuneworthy.cases import pii
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.dataset import build, card, check_runner, data_checks, freeze
from tuneworthy.dataset.card import card_of
from tuneworthy.dataset.checks.personal_data import PersonalData
from tuneworthy.dataset.effect import EffectMeter
from tuneworthy.dataset.freeze import Version, full_version, is_full, latest_version, open_version
from tuneworthy.dataset.importing.folder import latest_import
from tuneworthy.dataset.records import Difference, Effect
from tuneworthy.errors import UserError
from tuneworthy.report.card import document as card_document
from tuneworthy.store import Folder, folder, frozen
from tuneworthy.types import Example
from tuneworthy.verdict.gather_training import training_of

PROJECT = """
[task]
name = "shop"
[examples]
[[graders]]
type = "exact"
[models.m]
provider = "scripted"
function = "a.py:a"
[ladder]
baseline = "m"
[data]
encoder = "off"
"""
MAIL = "ada@example.org"
LEAK = "Could somebody explain the voucher fee number 3 to me today?"


def pair(question: str, answer: str = "You find it on the page of your account.", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **more}


def plain(row: Example) -> dict[str, Any]:
    return {"messages": list(row.messages)}


ROWS = [
    *map(plain, clean()),
    plain(clean()[0]),
    pair(f"{clean()[1].question} Thanks!", clean()[1].answer),
    pair(LEAK),
    pair(f"My address is {MAIL}, is my parcel on its way to the <b>new</b> flat?"),
    pair("What is the plan for the old garden?", "As an AI language model, I cannot help with that."),
    *map(plain, faq(30)),
]


def project(root: Path, data: str = "", rows: list[dict[str, Any]] = ROWS) -> Path:
    root.mkdir()
    (root / "tuneworthy.toml").write_text(PROJECT + data)
    cases = [{"input": LEAK, "expected": "It is on the page of fees."}]
    cases += [{"input": f"Could somebody explain {topic} {i}?", "expected": f"It is on the page on {topic} {i}."}
              for i, topic in enumerate(TOPICS)]  # fmt: skip
    (root / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    (root / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def version_of(root: Path) -> Version:
    return open_version(Folder(root))


def test_every_row_is_in_the_version_or_among_the_rejects(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    assert invoke(["data", "build", "--project", str(root)]) == 0
    version = version_of(root)
    kept, rejects = list(version.examples()), list(version.rejects())
    sources = [row.source for row in kept] + [reject.source for reject in rejects]
    assert sorted(sources) == sorted(f"examples.jsonl:{line}" for line in range(1, len(ROWS) + 1))
    assert [stage.check for stage in version.recipe.checks] == list(data_checks())
    for before, after in pairwise(version.recipe.checks):
        assert before.n_out == after.n_in
    assert version.recipe.checks[-1].n_out == len(kept) == version.n_rows
    assert sum(stage.n_drop for stage in version.recipe.checks) == len(rejects)
    why = {reject.source: reject.reason for reject in rejects}
    assert [why[f"examples.jsonl:{line}"] for line in (61, 62, 63, 65)] == [
        "exact_duplicate", "near_duplicate", "overlap_exact", "refused"
    ]  # fmt: skip
    (copy,) = (one for one in rejects if one.reason == "exact_duplicate")
    assert copy.other is not None and copy.other.source == "examples.jsonl:1"
    assert set(version.recipe.times.seconds) == set(data_checks())
    assert {gate.check for gate in version.recipe.gates} == {n for n, c in data_checks().items() if c.gate}
    content = (version.folder / "rows.jsonl").read_text()
    assert MAIL not in content and "[EMAIL_1]" in content
    assert [one.reason for one in version.findings() if one.action == "mask"] == ["personal_data"]


def test_a_build_whose_rows_all_overlap_names_the_overlap_the_counts_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(
        tmp_path / "p",
        rows=[pair(LEAK, f"answer {i}") for i in range(4)] + [pair("Hm?", "As an AI language model, I cannot help.")],
    )
    assert invoke(["data", "build", "--project", str(root)]) == 2
    error = capsys.readouterr().err
    assert "All 5 rows were dropped: 4 by `contamination` (the same letters and digits as a case's question)" in error
    assert "; 1 by `" in error and "4 rows overlap a case" in error and "pass --n-cases to `init`" in error
    odd = project(tmp_path / "q", rows=[pair("Hm?", "As an AI language model, I cannot help with that.")])
    assert invoke(["data", "build", "--project", str(odd)]) == 2
    error = capsys.readouterr().err
    assert "1 by `refusal`" in error and "overlap" not in error.partition("error[")[2]


def test_a_version_is_named_by_its_content_and_does_not_change(tmp_path: Path) -> None:
    root, other = project(tmp_path / "p"), project(tmp_path / "q")
    for each in (root, root, other):
        assert invoke(["data", "build", "--project", str(each)]) == 0
    version = version_of(root)
    assert version.id == version_of(other).id
    full = full_version(Folder(root), version)
    assert full is not None
    assert {path for path in version.folder.parent.iterdir() if path.is_dir()} == {version.folder, full.folder}
    for name in ("rows.jsonl", "rejects.jsonl", "findings.jsonl", "recipe.json"):
        path = version.folder / name
        assert path.stat().st_mode & 0o222 == 0
        before = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(before.replace(b"0", b"1", 1) if before else b"{}\n")
        with pytest.raises(UserError, match="has changed since it was frozen"):
            version_of(root)
        path.write_bytes(before)
    version_of(root)


def test_a_build_freezes_a_version_without_overlaps_to_measure_and_one_with_them_to_ship(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = pair(f"{LONG} {LEAK} Write to {MAIL}.", "It is on the page of fees.")
    root = project(
        tmp_path / "p", rows=[*ROWS, private, pair(LEAK, "As an AI language model, I cannot help with that.")]
    )
    assert invoke(["data", "build", "--project", str(root)]) == 0
    store, honest = Folder(root), version_of(root)
    full = full_version(store, honest)
    assert full is not None and (full.recipe.honest, honest.recipe.honest) == (honest.id, "")
    assert [is_full(store, name) for name in (honest.id, full.id, None)] == [False, True, False]
    more = [*full.examples()][honest.n_rows :]
    assert [*full.examples()][: honest.n_rows] == [*honest.examples()]
    assert [row.question for row in more] == [LEAK, f"{LONG} {LEAK} Write to [EMAIL_1]."]  # no refusal, and masked
    assert full.n_rows == full.recipe.n_rows == honest.n_rows + 2
    assert [gate.passed for gate in full.recipe.gates if gate.check == "contamination"] == [False]
    sources = [{one.source for one in (*each.examples(), *each.rejects())} for each in (honest, full)]
    assert sources[0] == sources[1] and not {row.source for row in more} & {one.source for one in full.rejects()}
    assert invoke(["train", "--all-rows", "--project", str(root)]) == 2
    assert "has been compared on the test set yet" in capsys.readouterr().err
    (root / "examples.jsonl").write_text("".join(json.dumps(plain(row)) + "\n" for row in clean()))
    assert invoke(["data", "build", "--project", str(root)]) == 0
    assert full_version(store, version_of(root)) is None  # the latest has no overlaps


def test_a_gate_that_fails_freezes_nothing_unless_unsafe_which_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path / "p", 'policy = { contamination = "report" }\n')
    assert invoke(["data", "build", "--project", str(root)]) == 3
    assert "gate failed: contamination: still present: overlap_exact (n = 1)" in capsys.readouterr().err
    assert latest_version(Folder(root)) is None
    assert invoke(["data", "build", "--unsafe", "--json", "--project", str(root)]) == 0
    assert json.loads(capsys.readouterr().out)["unsafe"] is True
    assert version_of(root).recipe.unsafe is True
    assert invoke(["report", "data", "--out", str(root / "c.md"), "--project", str(root)]) == 0
    assert "This version was frozen although a gate failed: contamination" in (root / "c.md").read_text()


@pytest.mark.parametrize("name", [name for name, each in data_checks().items() if each.gate])
def test_a_check_with_a_gate_that_is_off_fails_it(name: str, tmp_path: Path) -> None:
    root = project(tmp_path / "p", f'off = ["{name}"]\n')
    assert invoke(["data", "build", "--project", str(root)]) == 3
    assert latest_version(Folder(root)) is None


def test_a_teacher_of_any_shape_is_built_and_told_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teachers = [{"model": "big\x07", "parameters": [1]}, {"model": "small", "parameters": "p"}]
    rows = [{**row, "meta": {"teacher": teachers[n % 2]}} for n, row in enumerate(ROWS)]
    root = project(tmp_path / "p", "teacher_mix = true", rows)
    assert invoke(["data", "build", "--project", str(root)]) == 0
    told = capsys.readouterr()
    assert (
        "The rows come from" in told.out
        and " big" in told.out.partition("The rows come from")[2]
        and "\x07" not in told.out + told.err
    )
    assert invoke(["report", "data", "--project", str(root)]) == 0


def test_personal_data_that_no_mask_covers_fails_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path / "p", 'policy = { personal_data = "mask" }\n')
    monkeypatch.setattr(PersonalData, "repair", lambda self, row: row)
    assert invoke(["data", "build", "--project", str(root)]) == 3
    captured = capsys.readouterr()
    assert "Next: tuneworthy label review" not in captured.out
    assert "personal data, the first is" in captured.out and "personal_data (n = 1)" in captured.err


def test_policies_are_followed_and_wrong_ones_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path / "p", 'off = ["near"]\npolicy = { personal_data = "drop", exact = "report" }\n')
    assert invoke(["data", "build", "--project", str(root)]) == 0
    stages = {stage.check: stage for stage in version_of(root).recipe.checks}
    assert (stages["personal_data"].n_drop, stages["exact"].n_report, "near" in stages) == (1, 1, False)
    for number, data in enumerate(['off = ["naer"]\n', 'policy = { naer = "drop" }\n', 'policy = { near = "mask" }\n']):
        assert invoke(["data", "build", "--project", str(project(tmp_path / f"w{number}", data))]) == 2
        assert "naer" in (said := capsys.readouterr().err) or "'mask'" in said


def test_a_long_check_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_runner, "EVERY_S", 0)
    monkeypatch.setattr(check_runner, "SPACING", 20)
    root = project(tmp_path / "p")
    assert invoke(["data", "build", "--project", str(root)]) == 0
    told = capsys.readouterr().err
    counts = [
        [int(n) for n in re.findall(r"\d+", line)] for line in told.splitlines() if line.strip().startswith("chat: ")
    ]
    assert [40, len(ROWS)] in counts


def test_the_latest_import_goes_before_the_examples_file(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(plain(row)) + "\n" for row in clean()[:20]))
    assert invoke(["data", "build", "--project", str(root)]) == 0
    assert invoke(["data", "build", str(tmp_path / "log.jsonl"), "--project", str(root)]) == 0
    assert {row.source.split(":")[0] for row in version_of(root).examples()} == {"log.jsonl"}


def test_the_card_says_all_and_shows_no_personal_data(tmp_path: Path) -> None:
    root = project(tmp_path / "p", 'licence = "CC-BY-4.0"\npolicy = { personal_data = "report" }\n')
    assert invoke(["data", "build", "--unsafe", "--project", str(root)]) == 0
    for name in ("card.html", "card.md"):
        assert invoke(["report", "data", "--out", str(root / name), "--project", str(root)]) == 0
        page = (root / name).read_text()
        for told in (
            "exact_duplicate",
            "overlap_exact",
            "near_duplicate",
            "CC-BY-4.0",
            version_of(root).id,
            "examples.jsonl",
        ):
            assert told in page.replace("\\", ""), (name, told)
        assert MAIL not in page and "<b>new" not in page and LEAK not in page
    page = (root / "card.html").read_text()
    assert "&lt;b&gt;new" in page
    assert "http://" not in page and "https://" not in page and "<script" not in page


LONG = "Which of these 3 parts do you still have? " + " ".join(f"bolt{n} nut{n * 7}" for n in range(80)) + "."


def test_a_row_that_gives_a_case_away_leaves_for_that_before_it_is_a_duplicate(tmp_path: Path) -> None:
    answer = "It is on the page of fees."  # of the case
    repeated = [pair(f"{LONG} {LEAK}", answer), pair(f"{LONG} {LEAK} Thanks!", answer)]
    rows = [*map(plain, clean()), *repeated]
    root = project(tmp_path / "p", rows=rows)
    assert invoke(["data", "build", "--project", str(root)]) == 0
    assert {reject.source: reject.reason for reject in version_of(root).rejects()} == {
        f"examples.jsonl:{line}": "overlap_ngram" for line in (len(rows) - 1, len(rows))
    }
    root = project(tmp_path / "q", 'off = ["contamination"]\n', rows)
    assert invoke(["data", "build", "--unsafe", "--project", str(root)]) == 0
    assert [reject.reason for reject in version_of(root).rejects()] == ["near_duplicate"]


SHORT_CASE = "Where is my green card?"


@pytest.fixture
def with_hidden_overlaps(tmp_path: Path) -> Version:
    """Return a version: rows that give cases away left as cut off or as a copy, or stay and are repeated."""
    near = [pair("Where is my blue card?"), pair("where is my BLUE card")]
    rows = [*map(plain, clean()), pair(LEAK, meta={"finish_reason": "length"}), *near, near[1]]
    root = project(tmp_path / "p", rows=rows)
    with (root / "cases.jsonl").open("a") as file:
        file.write(json.dumps({"input": SHORT_CASE, "expected": "yes"}) + "\n")
    assert invoke(["data", "build", "--project", str(root)]) == 0
    return version_of(root)


def test_a_long_question_but_for_one_word_fails_the_gate_if_it_stays_and_a_short_one_is_counted(
    tmp_path: Path, with_hidden_overlaps: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*map(plain, clean()), pair(LEAK.replace("fee", "price"), "yes")]
    root = project(tmp_path / "long", 'policy = { overlap_edit = "report", overlap_ngram = "report" }\n', rows)
    cases = [{"input": LEAK, "expected": "yes"}]
    (root / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    capsys.readouterr()
    assert invoke(["data", "build", "--project", str(root)]) == 3
    assert "gate failed: contamination: still present: overlap_edit (n = 1)" in capsys.readouterr().err
    dataset = training_of(load(tmp_path / "p"), Folder(tmp_path / "p"), None, ())[0].dataset
    assert dataset is not None and (dataset.overlaps, dataset.n_near) == ("", 1)


def test_what_gives_a_case_away_and_left_for_another_reason_is_not_trained_on(with_hidden_overlaps: Version) -> None:
    left = {reject.reason: reject for reject in with_hidden_overlaps.rejects()}
    assert left.keys() == {"truncated", "exact_duplicate"} and all(reject.contamination for reject in left.values())
    assert [one.contamination for one in with_hidden_overlaps.findings()] == [True]
    assert not list(with_hidden_overlaps.dropped())


def test_what_gives_a_case_away_and_left_for_another_reason_is_not_shown(with_hidden_overlaps: Version) -> None:
    told = card_of(with_hidden_overlaps)
    shown = {one.reason: one.examples for one in told.reasons}
    questions = {one.question for reason in ("truncated", "exact_duplicate") for one in shown[reason]}
    assert questions == {"hidden because it overlaps a case"}


def test_the_card_masks_frequent_answers_and_with_the_engine_of_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [pair(one.question, MAIL if n % 2 else "Ask Mrs Lovelace.") for n, one in enumerate(clean())]
    root = project(tmp_path / "p", 'policy = { personal_data = "report" }\n', rows)
    assert invoke(["data", "build", "--unsafe", "--project", str(root)]) == 0
    version = version_of(root)
    (top,) = (one.counts for one in card_of(version).distributions if one.title == "Most frequent answers")
    assert sorted(top) == [("Ask Mrs Lovelace.", 30), ("[EMAIL_1]", 30)]

    class Names:
        def find_all(self, texts: list[str]) -> Any:
            for number, text in enumerate(texts):
                if (start := text.find("Lovelace")) >= 0:
                    yield number, [pii.match_of(text, "person", start, start + len("Lovelace"))]

    monkeypatch.setattr(card, "open_engine", lambda name: {"patterns": Names()}[name])
    (top,) = (one.counts for one in card_of(version).distributions if one.title == "Most frequent answers")
    assert ("Ask Mrs [PERSON_1].", 30) in top


def test_output_and_card_say_in_one_sentence_what_was_dropped_and_what_that_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path / "p")
    assert invoke(["data", "build", "--project", str(root)]) == 0
    version = version_of(root)
    n_dropped = len(ROWS) - version.n_rows
    sentence = card_of(version).summary
    assert sentence.startswith(f"The checks dropped {n_dropped} of {len(ROWS)} rows (most: ")
    assert sentence.endswith("held-out rows, with and without the dropped rows (nearest, n = 94).")
    assert capsys.readouterr().out.count(sentence) == 1
    assert card_document(card_of(version)).sentence.startswith(sentence)


def test_checks_that_only_together_cost_accuracy_report_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(self: Any, rows: Any, dropped: Any, *, certain: bool = False, begin: Any = None) -> Effect:
        if certain:
            return Effect(status="certain", n_rows=90, n_dropped=len(dropped))
        shown = len(dropped) > 2  # all together, until one of the checks only reports
        ci = (-0.03, -0.01) if shown else (-0.02, 0.01)
        return Effect(status="measured", n_rows=90, n_dropped=len(dropped), dev=Difference(-0.01, ci, 90))

    monkeypatch.setattr(EffectMeter, "measure", measure)
    root = project(tmp_path / "p", 'policy = { outside_labels = "report" }')  # else it finds what `refusal` leaves
    assert invoke(["data", "build", "--project", str(root)]) == 0
    recipe = version_of(root).recipe
    stages = {stage.check: (stage.n_drop, stage.n_report) for stage in recipe.checks}
    assert sorted(stages[name] for name in ("refusal", "exact", "near")) == [(0, 1), (1, 0), (1, 0)]
    assert sum("Together, the checks cost accuracy" in note for note in recipe.notes) == 1
    policy = 'policy = { outside_labels = "report", refusal = "drop", exact = "drop", near = "drop" }'
    root = project(tmp_path / "q", policy)
    assert invoke(["data", "build", "--project", str(root)]) == 0
    assert version_of(root).recipe.n_rows == recipe.n_rows - 1


def test_a_check_that_dev_shows_to_gain_is_never_the_dearest() -> None:
    def stage(name: str, dev: Difference, rows: Difference) -> Any:
        effect = Effect(status="measured", n_rows=90, n_dropped=9, dev=dev, rows=rows)
        return SimpleNamespace(check=SimpleNamespace(name=name, codes={name: ""}, gate=()), dropped=[1], effect=effect)

    gains = stage("gains", Difference(0.03, (0.01, 0.05), 90), Difference(-0.02, (-0.05, 0.01), 90))
    costs = stage("costs", Difference(-0.02, (-0.05, 0.01), 90), Difference(-0.01, (-0.03, 0.01), 90))
    checked: Any = SimpleNamespace(stages=[gains, costs])
    assert build._dearest(checked, {}) is costs.check
    assert build._dearest(checked, {"costs": "drop"}) is None


# --- killed ---------------------------------------------------------------------------------------------------------


N_STEPS = 70
"""Fewer than a build takes: each moment below is one of it."""


STEPS = [
    *((check_runner, name) for name in ("_decide", "write_atomic")),
    (freeze, "_write"),
    *((frozen, name) for name in ("write_atomic", "sync")),
    (folder, "write_atomic"),
    (os, "fsync"),
    (shutil, "rmtree"),
    (Path, "rename"),
    (Path, "chmod"),
]


@pytest.mark.parametrize("n", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_build_killed_at_any_of_20_moments_ends_the_same(tmp_path: Path, n: int) -> None:
    whole = project(tmp_path / "whole")
    assert invoke(["data", "build", "--project", str(whole)]) == 0
    wanted = version_of(whole)
    n_kills = 0
    for number, moment in enumerate([*sorted(random.Random(3).sample(range(1, N_STEPS), n)), 10**9]):
        root = project(tmp_path / f"killed{number}")
        killed = killed_at(moment, STEPS, lambda root=root: invoke(["data", "build", "--project", str(root)]))  # type: ignore[misc]
        n_kills += killed
        if (there := latest_version(Folder(root))) is not None:
            there.verify()
        assert invoke(["data", "build", "--project", str(root)]) == 0
        version = version_of(root)
        assert version.id == wanted.id
        made, expected = ({path.name for path in one.folder.parent.iterdir()} for one in (version, wanted))
        assert made == expected
    assert n_kills == n


def test_a_build_that_goes_on_runs_no_finished_check_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(tmp_path / "p")
    ran: list[str] = []
    real = check_runner._findings

    def failing(check: Any, rows: Any, context: Any, staged: Any) -> Any:
        ran.append(check.name)
        if check.name == "personal_data" and ran.count("personal_data") == 1:
            raise KeyboardInterrupt
        return real(check, rows, context, staged)

    monkeypatch.setattr(check_runner, "_findings", failing)
    assert invoke(["data", "build", "--project", str(root)]) == 130
    first = list(ran)
    assert invoke(["data", "build", "--project", str(root)]) in {0, 130}
    assert ran[len(first)] == "personal_data"


def test_a_project_that_was_renamed_builds_again_and_imports_nothing_twice(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    assert invoke(["data", "build", "--project", str(root)]) == 0
    with elsewhere(root) as moved:
        assert invoke(["data", "build", "--project", str(moved)]) == 0
    (root / "log.jsonl").write_text("".join(json.dumps(plain(row)) + "\n" for row in clean()[:20]))
    for _ in range(2):
        with elsewhere(root) as moved:
            assert invoke(["data", "build", str(moved / "log.jsonl"), "--project", str(moved)]) == 0
    found = latest_import(Folder(root))
    assert found is not None and [one.path for one in found.record.sources] == ["log.jsonl"]


def test_a_file_that_contains_the_path_of_its_project_is_found(tmp_path: Path) -> None:
    (tmp_path / "p" / ".tuneworthy").mkdir(parents=True)
    with pytest.raises(AssertionError, match="moved"), elsewhere(tmp_path / "p") as moved:
        (moved / ".tuneworthy" / "a").write_text(f"in {moved}/x")
