"""The frame of the command line: bugs keep their traceback, errors are one sentence, mistyped names get the nearest."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.errors import UserError, did_you_mean
from tuneworthy.ladder import check as check_module


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)
    return temporary


def broken(*_: object, **__: object) -> None:
    raise AttributeError("'NoneType' object has no attribute 'planted'")


def plant_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.cli.check.check_project", broken, raising=False)  # imports the original
    monkeypatch.setattr(check_module, "check_project", broken)


def test_a_bug_is_written_to_a_log_of_the_project(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_simulation(tmp_path / "p", {"weak": "answer(request, 0.4)"}, n_cases=60, n_examples=0)
    plant_bug(monkeypatch)
    assert invoke(["check", "--project", str(root)]) == 1
    out, err = capsys.readouterr()
    (log,) = (root / ".tuneworthy" / "logs").glob("bug-*.log")
    assert out == "" and err.count("\n") == 1 and str(log) in err
    assert "Traceback" not in err and "AttributeError" not in err
    text = log.read_text()
    assert "has no attribute 'planted'" in text and "in broken" in text and f"check --project {root}" in text
    assert not [*temporary.iterdir()]


def test_without_a_project_the_log_of_a_bug_lies_in_the_temporary_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant_bug(monkeypatch)
    assert invoke(["--debug", "check"]) == 1
    err = capsys.readouterr().err
    (log,) = temporary.glob("tuneworthy-*/bug-*.log")
    assert str(log) in err and "Traceback" in err and "in broken" in err
    assert not Path(".tuneworthy").exists()


def test_an_error_is_a_sentence_without_a_class_name_and_debug_shows_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["run", "--project", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E-") and "ConfigError" not in err and ".." not in err
    assert invoke(["--debug", "run", "--project", str(tmp_path)]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(["rum"], "'run'"), (["decode", "sweeep"], "'sweep'"), (["run", "--qick"], "'--quick'")],
)
def test_a_mistyped_command_or_option_gets_the_nearest(
    arguments: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(arguments) == 2
    assert f"Did you mean {nearest}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["init", "p\udcff", "--data", "x.csv", "--json"], ["models", "pull", "\udcff"]])
def test_a_byte_that_is_no_text_is_refused_in_every_argument(
    words: list[str], temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(words) == 2
    assert "\\udcff' is not valid UTF-8" in capsys.readouterr().err


def test_message_and_hint_are_joined_with_one_full_stop() -> None:
    assert str(UserError("No GGUF file yet.", hint="Run `x`.")) == "No GGUF file yet. Run `x`."
    assert str(UserError("No GGUF file yet", hint="Run `x`")) == "No GGUF file yet. Run `x`."
    assert str(UserError("a: 1\nb: 2", hint="Fix both.")) == "a: 1\nb: 2.\nFix both."
    assert did_you_mean("zzz", ["prompt"]) == ""


@pytest.mark.slow
def test_verbose_logs_to_stderr_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, n_cases=60, n_examples=0)
    command = [sys.executable, "-m", "tuneworthy", "-vv", "check", "--json", "--project", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("{") and " DEBUG tuneworthy." in done.stderr
    quiet = subprocess.run([*command[:3], *command[4:]], capture_output=True, text=True, check=False)
    assert quiet.stdout == done.stdout and quiet.stderr == ""
    assert logging.getLogger("tuneworthy").handlers == []


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "tuneworthy", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tuneworthy, version ")


@pytest.mark.parametrize("group", [[], ["cases"], ["data"]])
def test_a_group_without_a_command_shows_its_help_and_no_error(
    group: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(group) == 2
    shown = capsys.readouterr().err
    assert invoke([*group, "--help"]) == 0
    assert shown == capsys.readouterr().out


@pytest.mark.parametrize(("error", "status"), [
    (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), 2),
    (OSError("8192 requested and 576 written"), 2),
    (OSError(28, "No space left on device"), 2),
    (RuntimeError("8192 rows requested and 576 written"), 1),
    (RuntimeError("(os error 28) is in the text"), 1),
    (OSError("no number"), 1),
])  # fmt: skip
def test_a_full_disk_is_no_bug_in_whatever_form_a_library_reports_it(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("tuneworthy.cli.check.check_project", fail, raising=False)
    assert invoke(["check"]) == status
    assert ("error[E-INPUT-01]" in capsys.readouterr().err) == (status == 2) != bool([*temporary.iterdir()])
