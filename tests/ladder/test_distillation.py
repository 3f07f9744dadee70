"""Distillation from any variant: who may teach, which questions are asked, and the table from today to the student."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ladder.simulations import write_simulation
from tests.ladder.tuned_simulations import make_models
from tuneworthy.cli import invoke
from tuneworthy.config import Project
from tuneworthy.config.models import Scripted
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.dataset.importing.folder import latest_import
from tuneworthy.errors import UserError
from tuneworthy.ladder import own_models as tuned_module
from tuneworthy.ladder.distillation import _is_long
from tuneworthy.ladder.record import RungRecord, RunRecord, read_record
from tuneworthy.report.tables import distillation_table
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, find_artifact
from tuneworthy.types import Case, Response, Trace

WEAK = "reply(request, 0.75 if has_shots(request) else 0.3)"
SERVED = """

from tuneworthy.types import Response


def reply(request, share):
    tokens = sum(len(message["content"]) for message in request.messages) // 4
    known = question(request).startswith("item")
    return Response(text=answer(request, share) if known else "?", input_tokens=tokens, output_tokens=1)


def base(request):
    return reply(request, 0.3)


def original(request):
    return reply(request, 0.6)


def student(request):
    return reply(request, 0.97)
"""
EXTRA = """
[few_shot]
k = [4]
[data]
encoder = "off"
[train]
system = ""
[teacher]
variant = "few_shot"
allows_training = true
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A world whose model is right only with shots; models of the first version answer by `original`."""
    root = tmp_path / "world"
    options = {"n_cases": 120, "n_examples": 260, "rungs": ["baseline", "few_shot", "fine_tune"]}
    write_simulation(root, {"weak": WEAK}, extra=EXTRA, **options)  # type: ignore[arg-type]
    with (root / "world.py").open("a") as file:
        file.write(SERVED)

    def config(project: Project, gguf: Artifact) -> Scripted:
        merged = find_artifact(Folder(root), gguf.parent or "")
        adapter = find_artifact(Folder(root), merged.parent or "") if merged else None
        function = adapter.manifest["plays"] if adapter else "base"
        return Scripted(provider="scripted", function=f"world.py:{function}")

    monkeypatch.setattr(tuned_module, "gguf_config", config)
    assert invoke(["run", "--project", str(root)]) == 0
    return root


def command(root: Path, *words: object, status: int = 0) -> None:
    assert invoke([*map(str, words), "--project", str(root)]) == status


def train(root: Path, plays: str, system: str = "") -> RunRecord:
    """Make a model of the latest rows that answers by the function `plays`, compare it, and return the record."""
    command(root, "data", "build", "--unsafe")  # its labels follow no words
    version = latest_version(Folder(root))
    assert version is not None
    make_models(root, dataset=version.id, plays=plays, prompt={"system": system, "user": "{{ input }}"})
    command(root, "run")
    record = read_record(Folder(root))
    assert record is not None
    return record


def edit(root: Path, old: str, new: str) -> None:
    path = root / "tuneworthy.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def steps(record: RunRecord) -> dict[str, RungRecord]:
    return {row.rung: row for row in record.distillation}


def refused(capsys: pytest.CaptureFixture[str], root: Path) -> str:
    capsys.readouterr()
    command(root, "data", "distill", status=2)
    return capsys.readouterr().err


def test_each_step_has_gain_and_saving_and_the_student_answers_without_shots(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not train(world, "original").distillation  # it learned from people
    capsys.readouterr()
    command(world, "data", "distill", "--json")
    told = json.loads(capsys.readouterr().out)["steps"]
    assert [row["rung"] for row in told] == ["today", "teacher"]
    record = train(world, "student")
    found = steps(record)
    assert [*found] == ["today", "teacher", "original rows", "student"]
    few_shot, tuned = record.rung("few_shot"), record.rung("fine_tune")
    assert few_shot is not None and tuned is not None
    assert found["teacher"].variant == few_shot.variant and found["teacher"].delta is None
    assert found["student"].variant == tuned.variant and found["student"].reason == ""
    difference = record.difference("few_shot", "fine_tune")
    assert difference is not None
    assert (found["student"].delta, found["student"].delta_ci) == (difference.delta, difference.ci95)
    for row, share in ((found["today"], 0.3), (found["original rows"], 0.6), (found["student"], 0.97)):
        assert row.score == pytest.approx(share, abs=0.13) and row.ci95 and row.latency_p50_ms is not None
    student = record.variants[tuned.variant or ""]
    assert student.shots is None and student.retrieval is None
    assert (found["student"].input_tokens or 0) < 0.3 * (found["teacher"].input_tokens or 0)
    assert found["original rows"].variant in record.variants
    table = distillation_table(record.distillation)
    assert table is not None and len(table.rows) == 4 and "input tokens" in table.note
    capsys.readouterr()
    invoke(["decide", "--project", str(world)])
    shown = capsys.readouterr().out
    assert table.title in shown and "original rows" in shown


def test_a_student_that_still_reads_the_teachers_prompt_is_marked(world: Path) -> None:
    command(world, "data", "distill")
    shots = "Name the colour of these things: " + "item 7 is red, item 8 is green, item 9 is blue. " * 30
    found = steps(train(world, "student", system=shots))
    assert "prompt is still long" in found["student"].reason
    assert (found["student"].input_tokens or 0) > (found["teacher"].input_tokens or 0)


@pytest.mark.parametrize(("system", "shots", "is_long"), [(9, 300, False), (260, 300, True), (260, 0, False)])
def test_a_long_question_does_not_make_the_prompt_of_a_student_long(system: int, shots: int, is_long: bool) -> None:
    case = Case(id="a", input="x" * 4000)

    def asked(n: int, **more: Any) -> Any:
        turns = ({"role": "system", "content": "s" * n}, {"role": "user", "content": case.input})
        response = Response(text="y", input_tokens=(n + 4000) // 4)
        trace = Trace(case_id="a", variant_id="v", repeat=0, messages=turns, response=response)
        return SimpleNamespace(variant=SimpleNamespace(**{"shots": None, "retrieval": None} | more), traces=[trace])

    assert _is_long(asked(shots or 300, shots=shots or None), asked(system), [case]) is is_long


def test_a_teacher_that_is_a_folder_is_found_from_any_folder(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolve(_: object, name: str) -> None:
        asked.append(name)
        raise UserError("Asked.", hint="")

    monkeypatch.setattr("tuneworthy.ladder.commands.teacher.resolve", resolve)
    monkeypatch.chdir(tmp_path)
    command(world, "data", "distill", status=2)
    (world / "changed").mkdir()
    (world / "changed" / "tuneworthy.toml").write_text("")
    edit(world, 'variant = "few_shot"', 'variant = "changed"')
    command(world, "data", "distill", status=2)
    assert asked == ["few_shot", str(world / "changed")]


def test_a_teacher_that_changed_since_it_answered_is_not_compared(world: Path) -> None:
    command(world, "data", "distill")
    edit(world, 'system = "Name the colour."', 'system = "Name the colour of it."')
    teacher = steps(train(world, "student"))["teacher"]
    assert teacher.score is None and teacher.reason.startswith("changed")
    assert (teacher.name or "").startswith("few_shot/")


def test_a_tuned_model_teaches_and_the_best_one_does_not_once_it_is_the_student(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(world, "original")
    edit(world, 'variant = "few_shot"', 'variant = "fine_tune"')
    command(world, "data", "distill")
    made = latest_import(Folder(world))
    assert made is not None and made.record.distilled is not None
    assert made.record.distilled.teacher.variant == "fine_tune/greedy"
    found = steps(train(world, "student"))
    assert found["teacher"].score == pytest.approx(0.6, abs=0.13) and "original rows" not in found
    assert "is now the student" in refused(capsys, world)
    edit(world, 'variant = "fine_tune"', 'variant = "best"')
    assert "is now the student" in refused(capsys, world)
    edit(world, 'variant = "best"', f'variant = "{found["teacher"].variant}"')
    command(world, "data", "distill")  # its id goes on teaching


def test_a_teacher_that_does_not_exist_is_refused(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(world, 'variant = "few_shot"', 'variant = "few_shots"')
    assert "few_shot" in refused(capsys, world).partition("few_shots")[2]
    edit(world, 'variant = "few_shots"', 'variant = "teacher.json"')
    assert "cannot be read" in refused(capsys, world)


def test_an_exported_teacher_is_found_from_any_folder(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(world, "export", "variant", "few_shot", "--out", world / "exported")
    edit(world, 'variant = "few_shot"', 'variant = "exported/variant.json"')
    monkeypatch.chdir(tmp_path)
    command(world, "data", "distill", "--limit", 5)
    made = latest_import(Folder(world))
    assert made is not None and made.record.distilled is not None
    assert made.record.distilled.teacher.variant.startswith("few_shot/")


@pytest.mark.parametrize("data", ['off = ["contamination"]', 'policy = { contamination = "report" }'])
def test_dev_and_test_questions_never_reach_the_teacher(world: Path, data: str) -> None:
    edit(world, 'encoder = "off"', f'encoder = "off"\n{data}')
    cases = [json.loads(line) for line in (world / "cases.jsonl").read_text().splitlines()]
    rows: list[dict[str, Any]] = [{"input": case["input"]} for case in cases[:40]]
    rows += [{"input": f"item {i} thing {i * 7919 % 104729} n{i}"} for i in range(50_000, 50_010)]
    (world / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command(world, "data", "distill", world / "q.jsonl")
    made = latest_import(Folder(world))
    assert made is not None and made.record.distilled is not None
    assert made.record.distilled.n_asked == 10


def test_a_table_needs_two_steps() -> None:
    row = RungRecord(rung="today", status="reference")  # type: ignore[arg-type]
    assert distillation_table([row]) is None
    assert distillation_table([row, replace(row, rung="teacher", input_tokens=9.0)]) is not None
