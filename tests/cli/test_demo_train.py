"""`demo --train` goes on with the verbs that a user would run, in their order, and stops where one cannot go on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import tuneworthy.cli.demo
from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.cli.demo import STEPS, go_on, write_demo
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.verdict.answer import ANSWERS, load_verdict
from tuneworthy.verdict.gates import GATES, NEVER_WAIVED, stage_gates


class Verbs:
    """Notes what it is asked to run, and answers with an exit status."""

    def __init__(self, **statuses: int) -> None:
        self.statuses, self.ran = statuses, []

    def main(self, words: list[str], **_: Any) -> int | None:
        self.ran.append(words)
        return self.statuses.get(words[0])


def walked(monkeypatch: pytest.MonkeyPatch, **statuses: int) -> tuple[int, list[list[str]]]:
    verbs = Verbs(**statuses)
    monkeypatch.setattr(tuneworthy.cli.demo, "root", verbs)
    return go_on(Path("demo")), verbs.ran


def test_every_step_is_run_in_the_project_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    status, ran = walked(monkeypatch)
    assert status == 0 and ran == [[*words, "--project", "demo"] for words in STEPS]
    assert [words[0] for words in ran] == ["data", "train"]


def test_a_no_of_parity_is_an_answer_and_any_other_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    status, ran = walked(monkeypatch, train=3)
    assert (status, len(ran)) == (0, len(STEPS))
    status, ran = walked(monkeypatch, data=3)
    assert (status, len(ran)) == (3, 1)


@pytest.mark.moved
def test_the_demo_ends_with_the_verdict_why_and_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.95)"}

    def write(folder: Path) -> None:
        write_simulation(folder, models, n_cases=60, n_examples=210, rungs=["baseline", "model"])

    monkeypatch.setattr(tuneworthy.cli.demo, "write_demo", write)
    assert invoke(["demo", str(tmp_path / "demo")]) == 0
    lines = capsys.readouterr().out.splitlines()
    verdict = load_verdict(load(tmp_path / "demo"))
    assert verdict is not None
    answer = next(place for place, line in enumerate(lines) if line.startswith(ANSWERS[verdict.verdict.outcome]))
    assert lines[answer].endswith(verdict.verdict.reasons[0]) and lines[answer + 1].startswith("  ")
    assert [line.split(":")[0] for line in lines[answer:] if line and line[0] != " "][1:] == [
        "Next",
        f"Valid until {verdict.verdict.valid_until}.",
        "Report",
    ]
    assert any(line.split()[:2] == ["model", "adopted"] for line in lines[:answer])


def test_what_the_demo_waives_are_gates_that_can_be_waived_each_with_its_reason(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo")
    waived = {one.gate for one in load(tmp_path / "demo").waivers}
    assert waived == {"dataset_review", "pilot", "shadow"}
    assert waived <= {*stage_gates("to_train"), *stage_gates("to_ship")} - NEVER_WAIVED and all(
        GATES.get(name) for name in waived
    )


def test_a_demo_that_was_killed_while_it_was_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    write_demo(whole)
    expected = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    for after in range(len(expected)):
        with monkeypatch.context() as patch:
            killed_after(patch, after)
            with pytest.raises(KeyboardInterrupt):
                write_demo(broken)
        write_demo(broken)
        assert {path.relative_to(broken): path.read_bytes() for path in broken.rglob("*") if path.is_file()} == expected
        shutil.rmtree(broken)


def killed_after(patch: pytest.MonkeyPatch, n_files: int) -> None:
    """Let `write_demo` be stopped in the file after the first `n_files`."""
    write, left = tuneworthy.cli.demo.write_atomic, iter(range(n_files))

    def stopped(path: Path, content: bytes) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(path, content)

    patch.setattr(tuneworthy.cli.demo, "write_atomic", stopped)


def test_the_demo_writes_over_no_file_of_the_user_s(tmp_path: Path) -> None:
    (tmp_path / "examples.jsonl").write_text("mine\n")
    with pytest.raises(UserError, match=r"examples\.jsonl already exists"):
        write_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["examples.jsonl"]
    assert (tmp_path / "examples.jsonl").read_text() == "mine\n"
