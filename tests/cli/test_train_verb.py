"""`tuneworthy train`: its steps, and what a person sees of the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.cli import train as train_steps
from tuneworthy.cli.train import STEPS, StepResult, check_forms, merge_adapter, show_rows, steps_of
from tuneworthy.config import load
from tuneworthy.errors import GateFailed
from tuneworthy.ship.parity.run import check_parity
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, latest_artifact, write_artifact
from tuneworthy.train.phases import FILE, TrainingState
from tuneworthy.train.render import Rendered, TokenRow

FUNCTIONS = dict(zip(STEPS, ("train", "merge_adapter", "export", "check_forms", "compare"), strict=True))


def test_what_cannot_be_seen_in_a_row_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    row = [("<user>\x1b[2J\x1b]0;title\x07 two  spaces\n", False), ("yes\u202e<end>", True)]
    prepared: Any = SimpleNamespace(shown=[row], rendered=Rendered([TokenRow("a", [1, 2], [0, 1])], {}, 0, ""))
    show_rows(prepared)
    told = capsys.readouterr().err
    assert "<user>\\x1b[2J\\x1b]0;title\\x07 two  spaces\n  ⟦yes\\u202e<end>⟧" in told
    assert "1 rows, 2 tokens, 50.0% supervised" in told


@pytest.fixture
def world(tmp_path: Path) -> Path:
    models = {"weak": "answer(request, 0.4)", "served": "answer(request, 0.9)"}
    return write_simulation(tmp_path / "world", models, rungs=["baseline", "fine_tune"])


Run = Callable[..., tuple[int, list[str], Any, str]]


@pytest.fixture
def run(world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `train` with steps that do nothing; those of `faults` end with a status, or raise."""

    def run(*words: str, **faults: int | Exception) -> tuple[int, list[str], Any, str]:
        ran: list[str] = []

        def step(name: str) -> Callable[..., StepResult]:
            def done(*_: object, **__: object) -> StepResult:
                ran.append(name)
                if isinstance(fault := faults.get(name, 0), Exception):
                    raise fault
                return StepResult(document={"made by": name}, line=f"{name} done", status=fault)

            return done

        for name, function in FUNCTIONS.items():
            monkeypatch.setattr(train_steps, function, step(name))
        status = invoke(["train", *words, "--project", str(world), "--json"])
        told = capsys.readouterr()
        return status, ran, json.loads(told.out), told.err

    return run


def test_train_goes_on_to_the_comparison_and_names_the_next_command(run: Run) -> None:
    status, ran, document, told = run()
    assert status == 0 and ran == list(STEPS) == list(document)
    assert told.splitlines()[-1].startswith("Next: tuneworthy decide")
    assert all(f"{name}: {name} done (" in told for name in STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_one_step_runs_alone(run: Run, step: str) -> None:
    status, ran, document, told = run("--only", step)
    assert (status, ran, document) == (0, [step], {"made by": step})
    assert told.splitlines()[-1].startswith("Next: tuneworthy " + ("decide" if step == "fine_tune" else "train"))


def test_failed_parity_is_an_answer_and_a_failed_step_names_how_to_continue(run: Run) -> None:
    assert run(parity=3)[:2] == (3, list(STEPS))
    assert run("--only", "parity", parity=4)[0] == 4
    status, ran, document, told = run(export=GateFailed("No room."))
    assert (status, ran) == (3, ["train", "merge", "export"]) and document["error"]["message"] == "No room."
    assert "`export` stopped" in told and "run `tuneworthy train" in told
    assert "stopped" not in run(train=GateFailed("No."))[3]  # nothing is done yet
    assert "--rung fine_tune`" in run(fine_tune=GateFailed("No."))[3]


def test_options_that_contradict_each_other_are_refused(run: Run) -> None:
    for words in (
        ["--pilot", "--only", "merge"],
        ["--server", "b@http://a"],
        ["--only", "merge", "--server", "b@http://a"],
    ):
        status, ran, *_ = run(*words)
        assert (status, ran) == (2, [])


def test_the_steps_follow_the_method_and_the_server(world: Path) -> None:
    def steps(extra: str, *, all_rows: bool = False) -> list[str]:
        (world / "tuneworthy.toml").write_text(text + extra)
        return steps_of(load(world), all_rows=all_rows)

    text = (world / "tuneworthy.toml").read_text()
    assert steps("") == list(STEPS)
    assert steps("", all_rows=True) == ["train", "merge", "export", "parity"]
    assert steps('[train]\nmethod = "classifier"\n') == ["train", "fine_tune"]
    assert steps('[serve]\nmodel = "served"\n') == ["train", "merge", "parity", "fine_tune"]


def made(root: Path, kind: Kind, parent: str | None, **about: Any) -> Artifact:
    return write_artifact(
        Folder(root), kind, lambda folder: (folder / "file").write_text("x") and None, parent=parent, about=about
    )


def test_a_step_that_is_done_is_not_repeated(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, project, checked = Folder(world), load(world), list[str]()
    base = made(world, "base", None)
    adapter = made(world, "adapter", base.id, dataset=None)
    merged = made(world, "merged", adapter.id)
    other = made(world, "adapter", base.id, dataset=None, run="other")
    made(world, "merged", other.id)
    store.write("models/latest-adapter", {"id": adapter.id})
    found = merge_adapter(store)
    assert (found.document["merged"], found.document["again"]) == (merged.id, True)
    latest = latest_artifact(store, "merged")
    assert latest is not None and latest.id == merged.id  # which `export` takes

    def check(*arguments: Any, **_: Any) -> Any:
        checked.append("")
        models = {merged.id: {}, **{one.id: {} for one in arguments[1].ggufs}}
        document = {
            "status": "pass",
            "adapter": adapter.id,
            "models": models,
            "checks": [],
            "cause": None,
            "n_prompts": 1,
        }
        store.write("parity", document)
        return document

    monkeypatch.setattr(train_steps, check_parity.__name__, check)
    monkeypatch.setattr("tuneworthy.ship.parity.request.rows_of", lambda *_: [])
    for n, again in ((1, False), (1, False), (2, True)):
        check_forms(project, store, None, again=again)
        assert len(checked) == n
    made(world, "gguf", merged.id)  # another file to prove
    check_forms(project, store, None, again=False)
    assert len(checked) == 3


def test_status_decide_and_report_show_the_phase_of_a_run_that_was_stopped(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--project", str(world)]
    assert invoke(["run", *at]) == 0
    state = TrainingState(status="stopped", phase="training steps", done=3, total=9, finished={"prepare data": 1.0})
    for shown in (False, True):
        for words in (["status"], ["decide"], ["report"]):
            capsys.readouterr()
            invoke([*words, *at])
            told = capsys.readouterr()
            assert ("training steps (3 of 9), " in told.out + told.err) is shown
        Folder(world).write(FILE, state)
    capsys.readouterr()
    assert invoke(["status", "--json", *at]) == 0
    found = json.loads(capsys.readouterr().out)["training"]
    assert (found["status"], found["finished"]) == ("stopped", {"prepare data": 1.0})
