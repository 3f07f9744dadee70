"""What is known of training is gathered from a project that was really built, run and decided; what is stale by
hash is named and not used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ladder.tuned_simulations import make_artifact, write_proven_model, write_tuned_simulation
from tests.train.shapes import SMOLLM2_135M

from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.errors import UserError
from tuneworthy.retrieval.library import documents_hash
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import latest_artifact
from tuneworthy.verdict.evidence import ContinuedPilot
from tuneworthy.verdict.gather import read_state
from tuneworthy.verdict.gather_training import training_of
from tuneworthy.verdict.playbook import Checklist, checklist

EXTRA = """
[data]
encoder = "off"
policy = { near = "report", exact = "report", label_errors = "report" }
"""
WAIVED = "".join(
    f'[[waivers]]\ngate = "{name}"\nreason = "not in this test"\n' for name in ("dataset_review", "pilot", "shadow")
)


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, patched: pytest.MonkeyPatch) -> Path:
    """A scripted project with a frozen dataset and a tuned model that was put to test, and proofs of it."""
    root = write_tuned_simulation(tmp_path_factory.mktemp("training") / "world", patched, extra=EXTRA + WAIVED)
    write_proven_model(root)
    return root


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(trained, tmp_path / "world"))


def verdict(root: Path, capsys: pytest.CaptureFixture[str], status: int) -> dict[str, Any]:
    capsys.readouterr()
    assert invoke(["decide", "--json", "--project", str(root)]) == status
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def gates(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["gate"]: row for row in document["gates"]}


def test_a_tuned_model_whose_gates_hold_is_shipped_and_says_so_everywhere(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verdict(world, capsys, 0)
    assert (found["outcome"], found["stage"], found["reason_code"]) == ("ship", "to_ship", "tuned_improves")
    told = gates(found)
    assert told["dataset_frozen"]["status"] == told["dataset_contamination"]["status"] == "pass"
    assert told["teacher_terms"]["status"] == "not_applicable" and told["dataset_review"]["status"] == "waived"
    assert {told[name]["status"] for name in ("parity", "improvement", "regressions", "serving")} == {"pass"}
    assert invoke(["decide", "--project", str(world)]) == 0
    assert "Ship the fine-tuned model" in capsys.readouterr().out
    page = world / "report.md"
    assert invoke(["report", "--out", str(page), "--project", str(world)]) == 0
    text = page.read_text()
    assert "Ship the fine-tuned model" in text and "Regression sets of the fine-tuned model" in text


@pytest.mark.parametrize(
    ("status", "gate"), [("fail", "fail"), ("unknown", "unknown"), ("pass", "pass"), (None, "pass")]
)
def test_general_text_that_raw_text_made_worse_is_a_regression(
    world: Path, capsys: pytest.CaptureFixture[str], status: str | None, gate: str
) -> None:
    adapter = latest_artifact(Folder(world), "adapter")
    assert adapter is not None
    found = {"name": "general text", "hash": "h", "status": status, "n": 200, "unscored": 0, "margin": 0.01}
    path = adapter.folder / "manifest.json"
    path.chmod(0o644)
    path.write_text(json.dumps(adapter.manifest | {"text": {"regression": found} if status else None}))
    shown = gates(verdict(world, capsys, {"fail": 3, "unknown": 4}.get(gate, 0)))["regressions"]
    assert shown["status"] == gate and ("general text" in shown["evidence"]["sets"]) == (status is not None)


def test_the_checklist_is_done_to_its_end(world: Path) -> None:
    steps = {step.step: step.status for step in checked(world).steps}
    assert {steps[name] for name in ("dataset", "training", "parity")} == {"done"}
    assert steps["shadow"] == "not_applicable"  # waived


def checked(root: Path) -> Checklist:
    return checklist(read_state(load(root)))


def change(root: Path, name: str, **changed: Any) -> None:
    folder = Folder(root)
    folder.write(name, folder.read(name, dict) | changed)


def _other_cases(root: Path) -> None:
    path = root / "cases.jsonl"
    path.write_text(path.read_text() + '{"input": "item 9999 thing 1", "expected": "red"}\n')


def _unsafe(root: Path) -> None:
    """Freeze a version although a gate failed, and train on it."""
    version = latest_version(Folder(root))
    assert version is not None
    edit_recipe(root, lambda recipe: recipe["gates"].append({"check": "chat", "passed": False, "detail": "2 bad"}))


def edit_recipe(root: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change the recipe of the version in place: it is then no longer what was frozen."""
    version = latest_version(Folder(root))
    assert version is not None
    path = version.folder / "recipe.json"
    document = json.loads(path.read_text())
    edit(document)
    path.chmod(0o644)
    path.write_text(json.dumps(document))


def _regression_set_added(root: Path) -> None:
    file = root / "tuneworthy.toml"
    extra = '[[regressions]]\nname = "late"\npath = "late.jsonl"\n[[regressions.graders]]\ntype = "exact"\n'
    file.write_text(file.read_text() + extra)
    (root / "late.jsonl").write_text('{"input": "a", "expected": "b"}\n')


FAULTS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "other adapter proven": (
        lambda root: change(root, "parity", adapter="b" * 16),
        "parity",
        "The parity check does not cover the current model",
    ),
    "other export proven": (
        lambda root: change(root, "parity", gguf="b" * 16),
        "parity",
        "The parity check does not cover the current model",
    ),
    "parity failed": (
        lambda root: change(root, "parity", status="fail", cause="template changed"),
        "parity",
        "template changed",
    ),
    "other file asked": (
        lambda root: change(root, "parity", gguf=None, models={"b" * 16: {"status": "pass"}}),
        "parity",
        "does not cover the current model (form `gguf`): it covers " + "b" * 16,
    ),
    "parity not shown": (
        lambda root: change(root, "parity", status="unknown", detail="4 answers are too few"),
        "parity",
        "too few",
    ),
    "no parity": (
        lambda root: (Folder(root).path / "parity.json").unlink(),
        "parity",
        "Run `tuneworthy train --only parity`",
    ),
    "guard added": (_regression_set_added, "regressions", "late"),
    "version changed": (_unsafe, "", ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_stale_or_missing_closes_its_gate_and_is_named(
    name: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault, gate, words = FAULTS[name]
    fault(world)
    if not gate:
        found = verdict(world, capsys, 0)
        row = gates(found)["dataset_frozen"]
        assert row["status"] == "fail" and "have been modified" in row["detail"]
        return
    failed = name == "parity failed"  # what was not shown is open, and says no to nothing
    found = verdict(world, capsys, 3 if failed else 4)
    assert found["outcome"] == ("do_not_ship" if failed else "undecided")
    assert found["reason_code"] == f"gate_{gate}"
    row = gates(found)[gate]
    assert row["status"] == ("fail" if failed else "unknown") and words in row["detail"]


def test_a_file_that_differs_does_not_condemn_the_one_that_was_put_to_test_nor_is_it_carried_by_it(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Folder(world).read("parity", dict)["gguf"]
    right, wrong = {"status": "pass", "cause": None}, {"status": "fail", "cause": "fact_lost"}
    for models, status in (({own: right, "b" * 16: wrong}, "pass"), ({own: wrong, "b" * 16: right}, "fail")):
        change(world, "parity", **wrong, models=models)
        assert gates(verdict(world, capsys, 0 if status == "pass" else 3))["parity"]["status"] == status


@pytest.mark.parametrize("models", [["b"], {"b" * 16: "pass"}])
def test_a_proof_that_cannot_be_read_asks_for_a_new_one(
    models: object, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(world, "parity", models=models)
    assert invoke(["decide", "--project", str(world)]) == 2
    assert f"`tuneworthy doctor --project {world} --repair`" in capsys.readouterr().err


def test_a_verdict_about_shipping_no_longer_holds_when_a_proof_is_another(world: Path) -> None:
    assert invoke(["decide", "--project", str(world)]) == 0
    assert read_state(load(world)).verdict_stale == []
    change(world, "parity", status="fail")
    assert read_state(load(world)).verdict_stale == ["parity was checked again"]


def test_an_adapter_trained_since_is_named_and_cases_that_changed_open_the_overlap_gate(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = latest_artifact(Folder(world), "base")
    assert base is not None
    make_artifact(world, "adapter", base.id, dataset="other", seed=1)
    found = verdict(world, capsys, 0)
    assert any("is newer than" in words for words in found["stale"])
    _other_cases(world)
    changed = gates(verdict(world, capsys, 4))
    assert (
        changed["dataset_contamination"]["status"] == "unknown"
        and "The dev or test cases have changed" in changed["dataset_contamination"]["detail"]
    )


def pilot(root: Path, **changed: Any) -> None:
    version = latest_version(Folder(root))
    base = latest_artifact(Folder(root), "base")
    assert version is not None and base is not None
    points = [
        {"size": size, "seed": seed, "score": 0.5 + 0.05 * power + 0.002 * seed, "data": "built", "steps": size}
        for power, size in enumerate((25, 50, 100, 200))
        for seed in (0, 1)
    ]
    document = {"dataset": version.id, "base": base.id, "baseline": 0.4, "n_examples": 400, "points": points}
    Folder(root).write("pilot", document | changed)


def test_a_pilot_becomes_the_forecast_and_its_gate_only_if_it_is_about_this_dataset_and_base(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pilot(world)
    found = verdict(world, capsys, 0)
    assert found["forecast"]["status"] == "measured" and found["forecast"]["gain"] == pytest.approx(0.3, abs=0.05)
    assert found["forecast"]["baseline"] == 0.4
    assert gates(found)["pilot"]["status"] == "pass"
    # the tuned model was compared on test, so that its gain is the measured one
    money = found["economics"]
    rungs = {row["option"]: row["rung"] for row in found["options"]}
    rows = {(row["a"], row["b"]): row for row in Folder(world).read("run", dict)["differences"]}
    measured = rows[rungs[money["reference"]], "fine_tune"]
    assert money["assumptions"]["gain"]["value"] == pytest.approx(measured["ci95"][0])
    for changed, words in (({"dataset": "x"}, "used version x"), ({"base": "y"}, "pilot runs is y")):
        pilot(world, **changed)
        found = verdict(world, capsys, 0)
        assert found["forecast"]["status"] == "unknown" and gates(found)["pilot"]["status"] == "waived"
        assert any(words in stale for stale in found["stale"])


def test_raw_text_of_other_documents_is_not_advised(world: Path) -> None:
    def found() -> ContinuedPilot:
        evidence = training_of(load(world), Folder(world), None, ())[0].pilot
        assert evidence is not None
        return evidence.continued

    folder = world / "documents"
    folder.mkdir()
    (folder / "a.md").write_text("# A\nThe ship left at noon.\n")
    pilot(world, documents=documents_hash(load(world)), continued={"helps": True, "detail": "It helps."})
    assert found().helps
    (folder / "b.md").write_text("# B\nIt came back.\n")
    assert not found().helps and "changed" in found().detail
    shutil.rmtree(folder)
    assert not found().helps


def test_the_cost_of_a_pilot_is_that_of_the_projects_own_base_where_it_is_known(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "for an 8B model" in gates(verdict(world, capsys, 0))["pilot"]["detail"]
    (world / "small").mkdir()
    (world / "small" / "config.json").write_text(json.dumps(SMOLLM2_135M))
    with (world / "tuneworthy.toml").open("a") as file:
        file.write('[train]\nbase = "small"\ngpu_memory_gib = 24\n')
    told = gates(verdict(world, capsys, 0))["pilot"]["detail"]
    assert "8B" not in told and "$0.0" in told and "for small" in told


def test_a_document_that_is_none_is_the_users_to_mend(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pilot", "parity", "serving"):
        before = Folder(world).read(name, dict)
        Folder(world).write(name, {"status": "perhaps"})
        with pytest.raises(UserError, match=f"{name}.json"):
            read_state(load(world))
        assert invoke(["decide", "--project", str(world)]) == 2
        (Folder(world).path / f"{name}.json").unlink()
        if before is not None:
            Folder(world).write(name, before)


def test_rows_that_a_model_wrote_need_terms_that_allow_it(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for allows, status in ((None, "unknown"), (False, "fail"), (True, "pass")):
        teachers = [{"model": "big", "n_rows": 3, "allows_training": allows, "pin": "p", "first": "", "last": ""}]
        edit_recipe(world, lambda recipe, teachers=teachers: recipe.update(teachers=teachers))  # type: ignore[misc]
        row = gates(verdict(world, capsys, 0))["teacher_terms"]
        assert row["status"] == status and "big (n = 3)" in row["detail"].lower()
