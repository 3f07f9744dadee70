"""What a person reads, in files to read whole: the help and output of every command at 80 columns.

`make snapshots` writes tests/snapshots anew; read the difference as a user would before you commit it.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from difflib import unified_diff
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke, root
from tuneworthy.cli.safe_stream import _wrapped

SNAPSHOTS = Path(__file__).parent / "snapshots"
WIDTH = 80


def compare(name: str, text: str) -> None:
    """Hold `text` against the snapshot, or write it where UPDATE_SNAPSHOTS is set."""
    path = SNAPSHOTS / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    old = path.read_text(encoding="utf-8").splitlines()
    if change := list(unified_diff(old, text.splitlines(), lineterm="", n=0)):
        pytest.fail("\n".join([f"{name} has changed: run `make snapshots` and read the difference", *change[:40]]))


# --- every command ----------------------------------------------------------------------------------------------

COMMANDS: dict[str, list[str]] = {
    "init": ["init new --data tickets.csv --input text --expected label"],
    "record": ["record --upstream ftp://api.example.org"],
    "trust": ["trust show"],
    "check": ["check --offline"],
    "run": ["run --quick", "run", "run --rung few_shots"],
    "decide": ["decide"],
    "status": ["status"],
    "compare": ["compare baseline model/strong", "compare baseline nothing"],
    "report": ["report --out report.md", "report data --out card.md"],
    "doctor": ["doctor"],
    "cases sample": ["cases sample --from examples.jsonl --n 50 --out drawn.jsonl"],
    "ui": ["ui --bind 0.0.0.0:80"],
    "label": ["label --status", "label cases --apply", "label review --status", "label findings --labeller ada"],
    "cases show": ["cases show"],
    "models list": ["models list"],
    "models pull": ["models pull pypi:nothing"],
    "data build": ["data build examples.jsonl"],
    "data curve": ["data curve"],
    "data export": ["data export --format openai --out rows"],
    "data distill": ["data distill"],
    "plan": ["plan"],
    "train": ["train"],
    "export card": ["export card"],
    "export gguf": ["export gguf"],
    "export ollama": ["export ollama"],
    "export variant": ["export variant best"],
    "export classifier": ["export classifier --out classifier"],
    "export router": ["export router --out router"],
    "serve": ["serve"],
    "decode explain": ["decode explain probs=85,5,3 --temperature 0.7"],
    "decode sweep": ["decode sweep --calls 200"],
    "decode uncertainty": ["decode uncertainty"],
    "shadow replay": ["shadow replay examples.jsonl --candidate best"],
    "shadow proxy": ["shadow proxy ftp://api.example.org"],
    "shadow report": ["shadow report", "shadow report --out shadow.md"],
    "cases add": ["cases add tickets.csv --input text --expected label"],
    "cases draft": ["cases draft --about tickets"],
    "demo": [],
}
"""Command to what is typed, in the order in which it is typed; `demo` needs a model."""


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command and group, with its path."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            part = command.get_command(context, name)
            assert part is not None
            yield from leaves(part, (*path, name))


def steady(text: str, folder: Path) -> str:
    """Return what is printed as a terminal of 80 columns shows it, without what differs from run to run."""
    text = text.replace(str(folder), "/home/me/world")
    text = re.sub(r"\b(?=[a-f]*\d)[0-9a-f]{8,64}\b", "0123abcd", text)
    text = re.sub(r"\b20\d\d-\d\d-\d\d([ T]\d\d:\d\d[:\d+]*)?", "2026-11-27", text)
    text = re.sub(r"item \d+ thing \d+\nassistant: \w+", "item 1 thing 7919\nassistant: green", text)
    text = re.sub(r"<?\b\d+(\.\d+)? ms\b", "<1 ms", text)
    text = re.sub(r"(?m)^(.* (?:met|missed) .*?) +<?[\d.]+$", r"\1      0", text)  # p95 of `decide`, ms
    text = re.sub(r"(?m)^(.* \[0\.\d+, \d\.\d+\] +0) +<?[\d.]+$", r"\1   <0.1", text)  # p50 of `run`, ms
    lines = [_wrapped(line, WIDTH) if len(line) > WIDTH else line for line in text.splitlines()]
    return "\n".join(lines)


def wide(text: str) -> list[str]:
    """Return the lines that a terminal of 80 columns breaks, but for those without a place to break."""
    return [line for line in text.splitlines() if len(line) > WIDTH and " " in re.sub("`[^`]*`", "", line.strip())]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.95)"}
    folder = write_simulation(
        tmp_path_factory.mktemp("snapshots") / "world", models, n_cases=60, n_examples=210,
        rungs=["baseline", "prompt", "model"],
        extra='[data]\noff = ["near", "label_errors"]',
    )  # fmt: skip
    rows = [
        f"ticket {n} about {'refund' if n % 2 else 'delivery'} {n * 7919 % 104729},{'ab'[n % 2]}" for n in range(120)
    ]
    (folder / "tickets.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (folder / "numbers.json").write_text('{"yes": 0.85, "no": 0.1, "maybe": 0.05}')
    return folder


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("terminal")
def test_the_help_of_every_command_reads_as_in_the_snapshot(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []
    for path, command in leaves(root):
        monkeypatch.setattr(command, "_help_option", None)  # of a test before this one, which ran the command alone
        assert invoke([*path, "--help"]) == 0
        page = capsys.readouterr().out
        assert len(page.splitlines()) <= 40, path  # one screen
        pages.append(f"$ {' '.join(['tuneworthy', *path, '--help'])}\n{page}")
    text = f"\n{'=' * WIDTH}\n".join(pages)
    compare("help.txt", text)
    assert wide(text) == []


@pytest.mark.usefixtures("terminal")
@pytest.mark.skipif(
    any(find_spec(name) for name in ("torch", "optuna")),
    reason="the snapshot is of an installation with the extras local and dev, which commands mention",
)
def test_the_output_of_every_command_reads_as_in_the_snapshot(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    pages = []
    for line in (line for lines in COMMANDS.values() for line in lines):
        monkeypatch.setattr("sys.stdin", io.StringIO("/quit\n"))
        status = invoke(line.split())
        out, err = capsys.readouterr()
        shown = [steady(part, world) for part in (err, out) if part.strip()]
        pages.append("\n".join([f"$ tuneworthy {line}", *shown, f"(exit status {status})\n"]))
    text = f"\n{'=' * WIDTH}\n".join(pages)
    compare("output.txt", text)
    assert wide(text) == []


def test_every_command_is_in_the_snapshots() -> None:
    groups = {path[:n] for path, _ in leaves(root) for n in range(len(path))}
    assert {" ".join(path) for path, _ in leaves(root) if path not in groups} == set(COMMANDS)


def test_a_line_that_is_too_wide_is_found() -> None:
    assert wide("word " * 20) and not wide("x" * 99) and not wide(f"`{'word ' * 20}`")


def test_a_change_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPDATE_SNAPSHOTS", raising=False)
    with pytest.raises(pytest.fail.Exception, match="make snapshots"):
        compare("output.txt", "something else")
