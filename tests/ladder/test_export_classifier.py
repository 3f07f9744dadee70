"""`export classifier` through the real command line: what it hands over answers as measured, or it writes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.errors import UserError
from tuneworthy.exports import classifier as command
from tuneworthy.ladder.record import read_record
from tuneworthy.providers.address import free_port
from tuneworthy.store import Folder
from tuneworthy.verdict.decide import take_home
from tuneworthy.verdict.options import Option


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("walked") / "world"
    write_simulation(root, {"weak": "'red'"}, n_cases=90, rungs=["classical", "baseline"], learnable=True)
    for name in ("cases.jsonl", "examples.jsonl"):  # wrong labels, so that nothing is certain
        lines = (root / name).read_text().splitlines()
        noisy = [line.replace('"green"', '"blue"') if at % 4 == 0 else line for at, line in enumerate(lines)]
        (root / name).write_text("\n".join(noisy) + "\n")
    assert invoke(["run", "--project", str(root)]) == 0
    return root


@pytest.fixture
def project(walked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(walked, tmp_path / "world"))


def export(project: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> Any:
    capsys.readouterr()
    assert (
        invoke(["export", "classifier", "--project", str(project), "--out", str(project / "out"), "--json"]) == status
    )
    document = json.loads(capsys.readouterr().out)
    return document["error"] if status else document


def test_a_variant_is_written_beside_a_process_that_holds_the_lock(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_to_wait(line: str) -> None:
        raise UserError(f"waits: {line}")

    monkeypatch.setattr("tuneworthy.cli.export.note", refuse_to_wait)
    stored = {path: path.read_bytes() for path in (project / ".tuneworthy").glob("**/*.json")}
    with Folder(project).lock(refuse_to_wait):
        command_line = ["export", "variant", "baseline", "--project", str(project), "--out", str(tmp_path / "out")]
        assert invoke(command_line) == 0 and (tmp_path / "out" / "prompt.md").exists()
        assert {path: path.read_bytes() for path in (project / ".tuneworthy").glob("**/*.json")} == stored
        assert invoke(["export", "classifier", "--project", str(project), "--out", str(tmp_path / "c")]) == 2
        assert "waits: " in capsys.readouterr().err  # it runs the model, and stores what that answers


def test_a_classical_winner_has_no_prompt_and_the_refusal_names_the_command_that_exports_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["export", "variant", "classical", "--project", str(project)]) == 2
    assert "which has no prompt to export. Run `tuneworthy export classifier" in capsys.readouterr().err


def test_the_folder_answers_every_case_as_measured(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = export(project, capsys)
    record = read_record(Folder(project))
    assert record is not None
    assert (document["n_test"], document["n_dev"]) == (record.n_test, record.n_dev)
    out = project / "out"
    assert {path.name for path in out.iterdir()} == {Path(path).name for path in document["paths"]}
    assert document["size"] == sum(path.stat().st_size for path in out.iterdir()) < 1e6
    done = subprocess.run(
        [sys.executable, out / "classifier.py", "item 5 leafy meadow 9"], capture_output=True, text=True, check=True
    )
    assert done.stdout == '"green"\n'
    readme = (out / "README.md").read_text()
    score = next(rung for rung in record.rungs if rung.rung == "classical")
    assert f"{score.score:.1%}" in readme and str(score.variant) in readme and "90 test cases" in readme


def altered(change: Callable[[np.ndarray[Any, Any]], None]) -> Callable[..., dict[str, bytes]]:
    """Export weights that are not those that were fitted, with the hash that belongs to them."""

    def write(*arguments: Any) -> dict[str, bytes]:
        files = standalone_files(*arguments)
        with np.load(io.BytesIO(files["weights.npz"])) as stored:
            arrays = dict(stored)
        change(arrays["model/labels/weights"])
        content = io.BytesIO()
        np.savez(content, **arrays)
        model = json.loads(files["model.json"])
        model["weights_sha256"] = hashlib.sha256(content.getvalue()).hexdigest()
        return files | {"weights.npz": content.getvalue(), "model.json": json.dumps(model).encode()}

    return write


standalone_files = command.standalone_files


def flip_the_largest(weights: np.ndarray[Any, Any]) -> None:
    weights.flat[np.abs(weights).argmax()] *= -5


def nudge_the_largest(weights: np.ndarray[Any, Any]) -> None:
    weights.flat[np.abs(weights).argmax()] *= 1.02


@pytest.mark.parametrize("change", [flip_the_largest, pytest.param(nudge_the_largest, marks=pytest.mark.slow)])
def test_one_weight_that_changed_is_found_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    monkeypatch.setattr(command, "standalone_files", altered(change))
    error = export(project, capsys, status=3)
    assert error["code"] == "E-GATE-01"
    assert not (project / "out").exists()
    assert not list((project / ".tuneworthy").glob("tmp*"))


@pytest.mark.slow
def test_a_difference_on_test_shows_no_answer_and_one_on_dev_does(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers_blue(*arguments: Any) -> dict[str, bytes]:
        files = standalone_files(*arguments)
        source = files["classifier.py"].decode().replace("text = MODEL.predict([question])[0]", 'text = "blue"')
        return files | {"classifier.py": source.encode()}

    monkeypatch.setattr(command, "standalone_files", answers_blue)
    assert "measured" not in export(project, capsys, status=3)["message"].partition(", first on ")[2]
    real = command.measured_answers

    async def dev_alone(*arguments: Any) -> Any:
        template, rows, model = await real(*arguments)
        return template, [row for row in rows if not row.test], model

    monkeypatch.setattr(command, "measured_answers", dev_alone)
    assert "exported blue)" in export(project, capsys, status=3)["message"]


def test_a_folder_that_imports_more_than_numpy_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def imports(*arguments: Any) -> dict[str, bytes]:
        files = standalone_files(*arguments)
        source = files["classifier.py"].replace(b"import hashlib", b"import hashlib, orjson")
        return files | {"classifier.py": source}

    monkeypatch.setattr(command, "standalone_files", imports)
    assert "ModuleNotFoundError: orjson" in export(project, capsys, status=3)["message"]


@pytest.mark.parametrize("rungs", [["baseline"], []])
def test_without_a_classical_winner_there_is_nothing_to_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rungs: list[str]
) -> None:
    root = write_simulation(tmp_path, {"weak": "'red'"}, n_cases=60, rungs=rungs or ["baseline"])
    if rungs:
        assert invoke(["run", "--project", str(root)]) == 0
    message = export(root, capsys, status=2)["message"]
    assert ("has no classical baseline" if rungs else "There is no run yet") in message


@pytest.mark.slow
def test_cross_fitted_dev_cases_are_compared_with_the_model_of_all_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_simulation(
        tmp_path, {"weak": "'red'"}, n_cases=140, n_examples=30, rungs=["classical", "baseline"], learnable=True
    )
    assert invoke(["run", "--project", str(root)]) == 0
    assert export(root, capsys)["n_dev"] == 70


@pytest.mark.slow
def test_a_prompt_that_does_more_than_insert_variables_comes_filled_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_simulation(tmp_path, {"weak": "'red'"}, n_cases=60, rungs=["classical", "baseline"], learnable=True)
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("[prompt]", '[prompt]\nuser = "Q: {{ input | upper }}"'))
    assert invoke(["run", "--project", str(root)]) == 0
    assert export(root, capsys)["n_test"] == 60
    assert "Pass the filled-in prompt" in (root / "out" / "README.md").read_text()


@pytest.mark.slow
def test_a_prompt_of_several_variables_is_filled_in_by_the_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_simulation(tmp_path, {"weak": "'red'"}, n_cases=60, rungs=["classical", "baseline"], learnable=True)
    for name in ("cases.jsonl", "examples.jsonl"):  # examples become texts: `service: ...`, a line each
        rows = [json.loads(line) for line in (root / name).read_text().splitlines()]
        asked = [row.get("input") or row["messages"][0]["content"] for row in rows]
        answers = [row.get("expected") or row["messages"][1]["content"] for row in rows]
        rows = [
            {"input": {"service": f"s{at}", "line": text}, "expected": answer}
            for at, (text, answer) in enumerate(zip(asked, answers, strict=True))
        ]
        (root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("[prompt]", '[prompt]\nuser = "{{ line }} ({{ service }})"'))
    assert invoke(["run", "--project", str(root)]) == 0
    assert export(root, capsys)["n_dev"] > 0
    model = json.loads((root / "out" / "model.json").read_text())
    assert model["template"] == ["", "line", " (", "service", ")"]
    assert "pass all of them as a dictionary" in (root / "out" / "README.md").read_text()


@pytest.mark.slow
def test_serve_runs_the_exported_server_until_it_is_stopped(project: Path) -> None:
    port = free_port()
    environment = {**os.environ, "TUNEWORTHY_TRUST": str(project), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tuneworthy", "serve", "--what", "classifier", "--project", str(project)]
    child = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert child.stderr is not None
        assert any(f"http://127.0.0.1:{port}/predict" in line for line in child.stderr)
        body = json.dumps({"text": "item 5 leafy meadow 9"}).encode()
        for _ in range(600):  # it says so before the server listens
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/predict", body) as reply:
                    assert json.load(reply)["answer"] == "green"
                    break
            except urllib.error.URLError:
                time.sleep(0.05)
        else:
            pytest.fail("the server did not answer")
    finally:
        child.send_signal(signal.SIGTERM)
        _, rest = child.communicate()
    assert child.returncode == 0, rest
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/predict", body)


def test_a_check_that_no_classifier_has_is_refused_and_nothing_is_served(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["serve", "--what", "classifier", "--check", "--project", str(project)]) == 2
    assert "E-USAGE-01" in capsys.readouterr().err


def test_the_verdict_names_the_export_of_a_classical_winner() -> None:
    option = Option(option="classical/linear", rung="classical", kind="classical")
    assert take_home(option).command == "tuneworthy export classifier"


def test_the_readme_shows_the_lines_that_every_text_has() -> None:
    mails = ["Subject: Hi\nBody: Dear all,\nNote: x", "Subject: \nBody: y\nBody: z"]
    assert command.shape_of(mails) == "Subject: ...\nBody: ..."
    assert command.shape_of([*mails, "no such line"]) == command.shape_of([]) == ""
