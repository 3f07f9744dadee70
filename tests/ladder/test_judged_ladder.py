"""A project whose primary grader is a judge: nothing is adopted by the judge alone, people's verdicts correct it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.pseudo_terminal import on_terminal
from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.graders.judging import Item, read_verdicts, verdicts_path
from tuneworthy.ladder.adopt import AdoptionEvidence, decide_adoption
from tuneworthy.ladder.commands.case_answers import open_answers
from tuneworthy.ladder.commands.compare import ComparisonOutcome, compare_variants
from tuneworthy.ladder.record import RungRecord, RunRecord, read_record
from tuneworthy.ladder.run import run_ladder
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.stats.intervals import target_bounds
from tuneworthy.stats.paired import compare, non_inferior
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import RungStatus
from tuneworthy.verdict.gather import gather

JUDGES = '''
import json


def data(request):
    return json.loads(request.messages[-1]["content"].split("\\n")[1])


def sound(request):
    seen = data(request)
    return "good" if seen["answer"] == seen["reference"] else "bad"


def vain(request):
    """Sound, but it likes the answers of the strong model: it calls its wrong ones good as well."""
    seen = data(request)
    if seen["answer"].endswith("!"):
        return "good"
    return "good" if seen["answer"].rstrip("!") == seen["reference"] else "bad"


def fooled(request):
    return "good" if data(request)["answer"] in LABELS + (":",) else "bad"
'''
WEAK, STRONG = 'answer(request, 0.5, "weak")', 'answer(request, 0.9, "strong")'
FLATTERER = 'answer(request, 0.5, "flatterer") + "!"'


def judged_simulation(root: Path, judge: str, strong: str = STRONG, *, n_cases: int = 240) -> Path:
    """Write a world in which `judge` decides between two models."""
    write_simulation(root, {"weak": WEAK, "strong": strong}, n_cases=n_cases, rungs=["baseline", "model"])
    script = root / "world.py"
    script.write_text(script.read_text() + JUDGES)
    section = '[[graders]]\ntype = "judge"\nmodel = "judge"\nrubric = "It names the colour."\n'
    models = f'[models.judge]\nprovider = "scripted"\nfunction = "world.py:{judge}"\n'
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text().replace('[[graders]]\ntype = "exact"\n', section) + models)
    return root


def run_record(root: Path) -> tuple[RunRecord, RungRecord]:
    record = asyncio.run(run_ladder(load(root)))
    found = record.rung("model")
    assert found
    return record, found


def to_judge(root: Path, n: int = 60) -> list[Item]:
    with open_answers(load(root)) as answers:
        return answers.to_judge(n=n)


def judge_by_hand(root: Path, n: int = 60) -> int:
    """Give the verdicts of a person who sees the truth; returns how many answers there were."""
    items = to_judge(root, n)
    rows = [
        {"case": one.id, "labeller": "ada", "label": one.answer.rstrip("!") == one.case.expected, "time": "t"}
        for one in items
    ]
    verdicts_path(load(root)).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return len(items)


def document(root: Path) -> dict[str, Any]:
    return json.loads((root / ".tuneworthy" / "judge.json").read_text())


def test_a_sound_judge_adopts_nothing_before_people_have_judged_and_then_it_does(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound")
    record, model = run_record(root)
    assert (model.status, model.reason_code) == (RungStatus.INCONCLUSIVE, "judge")
    assert "people have rated both variants on only" in model.reason
    assert record.best and record.best.rung == "baseline"
    assert document(root)["status"] == "unknown"
    assert judge_by_hand(root) > 60
    record, model = run_record(root)
    assert (model.status, model.reason_code) == (RungStatus.ADOPTED, "better")
    assert document(root)["status"] == "pass"
    assert document(root)["kappa"] == 1
    assert document(root)["fooled"] == []
    assert model.delta == pytest.approx(0.4, abs=0.15)


def test_a_judge_ends_no_run_at_the_target_before_people_validated_it(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound")
    path = root / "tuneworthy.toml"
    path.write_text(re.sub(r"(?m)^target = .*", "target = 0.3", path.read_text()))
    command = ["run", "--project", str(root), "--yes", "--until", "target"]

    def reason_code() -> str:
        assert invoke(command) == 0
        record = read_record(Folder(root))
        found = record.rung("model") if record else None
        assert found
        return found.reason_code

    assert reason_code() == "judge"
    judge_by_hand(root)
    assert reason_code() == "target_met"


def test_a_judge_that_prefers_a_variant_is_corrected(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "vain", FLATTERER)
    judge_by_hand_after_run(root)
    record, model = run_record(root)
    assert document(root)["status"] == "pass"
    assert model.graders["judge"] > 0.95  # by the judge alone it is nearly perfect
    assert model.score is not None and model.score < 0.7
    assert model.n_effective
    lower, upper = target_bounds(model.score, model.n_effective)
    assert lower < 0.55 < upper < 0.75
    assert "(judge alone: " in model.notes[-1]
    assert model.delta is not None and abs(model.delta) < 0.25
    assert model.status is not RungStatus.ADOPTED
    assert record.best and record.best.rung == "baseline"


def judge_by_hand_after_run(root: Path) -> None:
    run_record(root)
    judge_by_hand(root)


def test_a_judge_that_a_canary_fools_decides_nothing_whatever_people_say(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "fooled")
    judge_by_hand_after_run(root)
    _, model = run_record(root)
    assert (model.status, model.reason_code) == (RungStatus.INCONCLUSIVE, "judge")
    assert "worthless answers as good" in model.reason
    assert "colon" in document(root)["fooled"]


@pytest.mark.slow
def test_verdicts_that_break_off_early_are_too_few(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound")
    judge_by_hand_after_run(root)
    path = verdicts_path(load(root))
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[10:]))
    _, model = run_record(root)
    assert model.reason_code == "judge"
    assert "on only" in model.reason


@pytest.mark.slow
def test_a_changed_rubric_voids_the_verdicts(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound")
    judge_by_hand_after_run(root)
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text().replace("It names the colour.", "It names the colour kindly."))
    _, model = run_record(root)
    assert model.reason_code == "judge"


def test_the_gate_of_the_verdict_passes_with_people_and_fails_without_or_with_another_judge(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound")

    async def evidence() -> Any:
        async with open_session(load(root)) as session:
            return gather(session).judge

    run_record(root)
    assert not asyncio.run(evidence()).valid
    judge_by_hand(root)
    run_record(root)
    found = asyncio.run(evidence())
    assert found.valid
    assert "30 of 30 worthless answers caught" in found.detail
    path = root / ".tuneworthy" / "judge.json"
    path.write_text(json.dumps(document(root) | {"judge": "another"}))
    assert "a judge other than the validated one" in asyncio.run(evidence()).detail


def test_scores_that_may_not_decide_neither_adopt_nor_reject() -> None:
    ones, zeros = [1.0] * 200, [0.0] * 200
    for a, b in ((zeros, ones), (ones, zeros)):
        gain = compare(a, ones, b, ones, alpha=0.01)
        bound = non_inferior(a, ones, b, ones, margin=0.05)
        told = decide_adoption(AdoptionEvidence(gain=gain, no_creep=bound, unvalidated="no human ratings"), 0.05)
        assert (told.status, told.reason_code) == (RungStatus.INCONCLUSIVE, "judge")
        assert decide_adoption(AdoptionEvidence(gain=gain, no_creep=bound), 0.05).reason_code != "judge"


@pytest.mark.slow
def test_a_comparison_for_ci_is_unresolved_without_people_and_resolved_with_them(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound")

    async def on_test() -> Any:
        async with open_session(load(root)) as session:
            return await compare_variants(
                session, resolve(session, "baseline"), resolve(session, "model"), on_test=True
            )

    run_record(root)
    found = asyncio.run(on_test())
    assert found.answer is ComparisonOutcome.UNRESOLVED
    assert "people have rated both variants" in found.unvalidated
    judge_by_hand(root)
    assert asyncio.run(on_test()).answer is ComparisonOutcome.BETTER


@pytest.mark.slow
def test_answers_to_judge_are_one_seeded_order_of_cases_each_answer_once(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound")
    run_record(root)
    few, more = to_judge(root, 50), to_judge(root, 60)
    assert {one.id for one in few} <= {one.id for one in more}
    assert len({one.case.id for one in few}) == 50
    assert len({(one.case.id, one.answer) for one in more}) == len(more)
    assert 50 < len(few) < 100  # where both models say the same, one verdict is enough
    revealed = json.loads((root / ".tuneworthy" / "revealed.json").read_text())
    assert {row["case"] for row in revealed} == {one.case.id for one in more}


@pytest.mark.slow
@pytest.mark.moved
def test_people_judge_on_the_terminal_blind_and_append_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = judged_simulation(tmp_path, "sound")
    run_record(root)
    words = ("label", "judge", "--labeller", "ada", "--project", str(root))
    typed = "b\nb\n/undo\n/undo\ng\nmaybe\n\nB\n/decline\n/quit\n"
    status, text = on_terminal(*words, columns=80, typed=typed, TUNEWORTHY_TRUST=str(root))
    assert status == 0 and "2 answers saved in" in text and "Next: tuneworthy label" in text
    assert text.count("Guideline: It names the colour.") == text.count("answer: ") > 5
    assert "'maybe'" in text and "'/decline'" in text and "You typed nothing" in text
    assert not any(word in text for word in ("baseline", "strong", "weak", "model/"))
    path = verdicts_path(load(root))
    assert sorted(read_verdicts(path).values()) == [0.0, 1.0]
    before = path.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.StringIO("g\n/quit\n"))
    assert invoke(["label", "judge", "--labeller", "ada", "--project", str(root)]) == 0
    assert path.read_bytes().startswith(before)
    assert len(read_verdicts(path)) == 3


def test_verdicts_of_two_people_are_averaged_and_the_last_word_counts(tmp_path: Path) -> None:
    path = tmp_path / "cases.verdicts.jsonl"
    rows = [("x", "ada", False), ("x", "ada", True), ("x", "bob", False), ("y", "ada", True)]
    path.write_bytes(
        b"".join(orjson.dumps({"case": c, "labeller": w, "label": v, "time": "t"}) + b"\n" for c, w, v in rows)
    )
    assert read_verdicts(path) == {"x": 0.5, "y": 1.0}
    path.write_bytes(orjson.dumps({"case": "x", "labeller": "ada", "label": "good", "time": "t"}) + b"\n")
    with pytest.raises(UserError, match="true or false"):
        read_verdicts(path)


def test_a_project_without_a_judge_has_nothing_to_judge(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": WEAK, "strong": STRONG}, rungs=["baseline"])
    asyncio.run(run_ladder(load(root)))
    with pytest.raises(UserError, match="no judge scores this task"):
        to_judge(root)


def test_a_judge_must_be_a_model_of_the_project(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound")
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text().replace('model = "judge"', 'model = "juge"'))
    with pytest.raises(UserError, match=r"\[models\] has no such model"):
        load(root)


def test_a_case_is_shown_with_its_verdicts_without_opening_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = judged_simulation(tmp_path, "sound", n_cases=60)
    record, model = run_record(root)
    assert list(record.judges) == ["judge"]
    assert [row.name for row in model.candidates] == ["model/strong"]  # the judge is no candidate

    def refuse(*_: object) -> None:
        raise UserError("expected no model to be opened, got one")

    monkeypatch.setattr("tuneworthy.engine.models.open_model", refuse)
    assert invoke(["cases", "show", "--variant", "baseline", "--project", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == record.n_dev
    assert {one["score"] for one in found["failed"]} == {0.0}


def test_what_a_judge_costs_is_part_of_what_the_rungs_cost(tmp_path: Path) -> None:
    root = judged_simulation(tmp_path, "sound", n_cases=60)
    path = root / "tuneworthy.toml"
    path.write_text(path.read_text() + "input_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n")
    for quick in (True, False):
        record = asyncio.run(run_ladder(load(root), quick=quick))
        assert record.cost_usd > 0
        assert sum(one.cost_usd for one in record.rungs) == pytest.approx(record.cost_usd)
    store = ResponseStore(Folder(root).responses)
    assert 0 < record.cost_usd <= store.spending().usd
    store.close()
