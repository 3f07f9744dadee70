"""The reference pages say what the code says, and the code says it of everything."""

from __future__ import annotations

import re
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import get_args

import click
import pytest

from tuneworthy.cli import VERBS, invoke, root
from tuneworthy.config.task import Problem
from tuneworthy.dataset.messages import REASONS

SCRIPT = Path(__file__).parents[2] / "scripts" / "docs.py"


def load() -> ModuleType:
    spec = spec_from_file_location("tuneworthy_docs", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs = load()
COMMANDS = dict(docs.every_command())
PAGES = docs.pages()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_what_the_code_says(page: str) -> None:
    assert docs.current(page) == PAGES[page], f"docs/reference/{page} is stale: run `python scripts/docs.py`"


def test_the_licence_of_every_direct_dependency_is_on_the_page() -> None:
    project = tomllib.loads((SCRIPT.parents[1] / "pyproject.toml").read_text())["project"]
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name not in {"all", "dev"}}
    names = {re.split(r"[<>=!~;\[ ]", need)[0] for need in [*project["dependencies"], *chain(*extras.values())]}
    page = (SCRIPT.parents[1] / "docs" / "licences.md").read_text()
    assert {name for name in names if not re.search(rf"\b{re.escape(name)}\b", page)} == set()


def test_the_pages_tell_of_sections_within_sections_and_of_steps_that_are_no_checks() -> None:
    assert "### `[data.judge]`" in docs.project_file() and "| `rubric` |" in docs.project_file()
    page = docs.data_checks()
    assert [code for codes in REASONS.values() for code in codes if f"| `{code}` |" not in page] == []


def test_the_output_for_machines_is_described_key_by_key() -> None:
    page = docs.json_page()
    assert "### `options[]`" in page and "### `rungs[]`" in page
    assert "| `class` | one of" in page and "| `message` |" not in page and "| `limits` |" not in page
    assert "None" not in page
    assert page.count("The keys of [`rungs[]`](#rungs).") == 1 and "`distillation[].fields`" not in page


def test_a_row_that_many_tables_share_is_on_the_page_once() -> None:
    page = PAGES["commands.md"]
    assert page.count("| `--json` |") == 1 and page.count("| `--quick` |") == 1
    assert page.count("`--json`") > 30
    page = PAGES["providers.md"]
    assert page.count("| `timeout_s` |") == page.count("| `base_url` |") == 1 and page.count("`base_url`") > 3
    assert PAGES["graders.md"].count("| `type` |") == 1
    assert "| all engines | `temperature` | 0 |" in PAGES["decoding-presets.md"]


@pytest.mark.slow
def test_a_stale_page_is_told_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    assert docs.main(["--check"]) == 1
    assert "docs/reference/commands.md: expected what the code says, got an older page" in capsys.readouterr().out
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    (tmp_path / "checks.md").write_text("old")
    assert docs.main(["--check"]) == 1


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help_an_example_and_words_on_each_option(path: str) -> None:
    assert docs.faults(path, COMMANDS[path]) == []


def test_what_a_command_lacks_is_found() -> None:
    @click.command("bare")
    @click.argument("thing")
    @click.option("--deep")
    def bare(thing: str, deep: str) -> None:
        """Do something."""

    assert docs.faults("bare", bare) == [
        "bare: no example",
        "bare THING: not named in the help",
        "bare --deep: no help",
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_the_short_help_of_a_verb_is_what_the_list_of_verbs_says(verb: str) -> None:
    assert COMMANDS[verb].get_short_help_str(100) == VERBS[verb]
    assert len(VERBS[verb]) < 60
    assert COMMANDS[verb].name == verb


def test_every_key_of_the_project_file_is_described() -> None:
    assert docs.undescribed() == []


def test_every_key_stands_on_the_page() -> None:
    page = PAGES["project-file.md"]
    assert all(f"[{name}" in page for name in ("task", "graders", "models.NAME", "ladder", "waivers"))
    assert "| `base_url` | text | " in PAGES["providers.md"]
    assert '## `type = "exact"`' in PAGES["graders.md"]
    assert "| `seed` | integer, ≥ 0 | `7` | Seed of every draw of this project. |" in page


@pytest.mark.parametrize("path", COMMANDS)
def test_help_works_and_exits_0(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([*path.split(), "--help"]) == 0
    assert "Usage: tuneworthy" in capsys.readouterr().out


def test_the_list_of_commands_is_the_list_of_verbs() -> None:
    assert root.list_commands(click.Context(root)) == list(VERBS)


def test_every_exit_status_is_on_the_page_of_commands() -> None:
    rows = dict(docs.exit_rows())
    assert list(rows) == ["0", "1", "2", "3", "4", "5", "130"]
    assert "do not fine-tune" in rows["3"] and "exceed the budget" in rows["4"]


def test_the_decision_matrix_has_a_row_for_each_problem_and_a_link_for_each_mark() -> None:
    page = (Path(__file__).parents[2] / "docs/concepts/decision-matrix.md").read_text()
    assert re.findall(r"^\| `(\w+)`", page, re.M) == list(get_args(Problem))
    marks, links = set(re.findall(r"\]\[(\d)\]", page)), dict(re.findall(r"^\[(\d)\]: (\S+)", page, re.M))
    assert marks == set(links) and all(link.startswith("https://arxiv.org/abs/") for link in links.values())


def test_the_command_line_stays_small_enough_to_learn() -> None:
    leaves = {path: command for path, command in COMMANDS.items() if not isinstance(command, click.Group)}
    lines = {
        path: command.get_help(click.Context(command, info_name=path, terminal_width=80)).count("\n") + 1
        for path, command in COMMANDS.items()
    }
    assert len(VERBS) <= 22 and len(leaves) <= 38
    assert sum(len(command.params) for command in leaves.values()) <= 200
    assert [path for path, n in lines.items() if n > 40] == []
