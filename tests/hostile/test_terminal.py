"""No text of others steers the terminal: every command of the tree runs in a project full of hostile text."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from rich.text import Text

from tests.hostile.table import tried
from tuneworthy.cli import invoke, root, safe_stream, terminal
from tuneworthy.cli.invocation import Invocation

HOSTILE = {
    "ESC [31m": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;title\x07",
    "link": "\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "clear": "\x1b[2J\x1b[H",
    "DCS": "\x1bPq\x1b\\",
    "bell": "\x07",
    "backspace": "ok\b\b",
    "return": "safe\revil",
    "form feed": "\x0c",
    "C1 CSI": "\x9b31m",
    "C1 OSC": "\x9d0;t\x9c",
    "NEL": "\x85",
    "RLO": "\u202egnp",
    "isolate": "\u2066x\u2069",
    "zero width": "a\u200bb\u200d",
    "BOM": "\ufeff",
    "tag": "\U000e0041",
    "selector": "\U000e0101",
    "line separator": "\u2028",
    "delete": "\x7f",
    "shift out": "\x0e",
    "private": "\ue000",
    "NUL": "\0",
}
ALL = "".join(HOSTILE.values())
NAMES = ALL.replace("\0", "").replace("/", "").replace("\r", "")  # what a name of a file may hold


def bad(output: str) -> list[str]:
    """Return the characters of an output that can do more than be read."""
    return [
        hex(ord(one))
        for one in output
        if (unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} and one not in "\t\n")
        or 0xE0000 <= ord(one) <= 0xE0FFF
    ]


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command of the tree."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            part = group.get_command(context, name)
            assert part is not None
            yield from commands(part, (*path, name))
    else:
        yield path


COMMANDS = sorted(commands(root))
# Arguments without which a command says only that they are missing.
ARGUMENTS = {
    ("cases", "show"): ["c1"],
    ("cases", "sample"): ["cases.jsonl"],
    ("cases", "add"): ["cases.jsonl"],
    ("compare",): [ALL.replace("\0", ""), "best"],
    ("data", "build"): ["cases.jsonl"],
    ("init",): ["new", "--data", "cases.jsonl"],
    ("models", "pull"): [NAMES],
    ("demo",): [NAMES, "--help"],
    ("decode", "explain"): [f"preset={NAMES}", "probs=1"],
    ("ui",): ["--bind", NAMES],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project whose every text is hostile."""
    folder = tmp_path_factory.mktemp("hostile") / f"p{NAMES[:60]}"
    folder.mkdir()
    rows = [
        {"id": f"c{n}", "input": f"{n} {ALL}", "expected": f"x{ALL}" if n % 2 else "y", "tags": [ALL]}
        for n in range(60)
    ]
    (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = json.dumps(ALL).replace("\\u007f", "\\u007F")
    text = re.sub(
        r"\\ud[89ab]..\\ud[c-f]..", lambda pair: f"\\U{ord(json.loads(chr(34) + pair[0] + chr(34))):08x}", text
    )
    (folder / "pipeline.py").write_text(f"def answer(case):\n    return {ALL!r}\n")
    (folder / "tuneworthy.toml").write_text(
        f"""[task]
name = "hostile"
target = 0.9
[cases]
path = "cases.jsonl"
[prompt]
system = {text}
[[graders]]
type = "exact"
[models.small]
provider = "python"
function = "pipeline.py:answer"
input_usd_per_mtok = 0
output_usd_per_mtok = 0
[ladder]
baseline = "small"
rungs = ["classical", "baseline"]
"""
    )
    assert invoke(["run", "--yes", "--project", str(folder)]) in {0, 4}
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_what_steers_a_terminal(
    project: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    status = invoke([*command, *ARGUMENTS.get(command, ())])
    out, err = capsys.readouterr()
    good = not bad(out) and not bad(err) and "Traceback" not in err and status != 1
    tried("hostile text to the terminal", " ".join(command), good, (status, bad(out), bad(err), err[-600:]))


@pytest.mark.parametrize("name", HOSTILE)
def test_each_kind_of_hostile_text_is_written_out(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with safe_stream.safe_streams(Invocation()):
        click.echo(HOSTILE[name])
        click.echo(HOSTILE[name], err=True)
        terminal.console().print(HOSTILE[name], Text(HOSTILE[name]))
        print(HOSTILE[name], file=sys.stderr)
    out, err = capsys.readouterr()
    tried("hostile text to the terminal", name, not bad(out + err), (out, err))


def test_json_keeps_the_text_and_escapes_it(project: Path) -> None:
    from tuneworthy.report.text import escaped

    text = json.dumps([ALL, "\u00fc"], ensure_ascii=False)
    assert json.loads(escaped(text)) == [ALL, "\u00fc"]
    assert not bad(escaped(text))
    assert "\u00fc" in escaped(text)


def test_without_the_sanitiser_the_text_steers_the_terminal(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(safe_stream, "inert", lambda text: text)
    monkeypatch.setattr(terminal, "inert", lambda text: text)
    monkeypatch.chdir(project)
    invoke(["cases", "show", "c1"])
    out, err = capsys.readouterr()
    assert bad(out + err)


def test_consoles_are_made_at_the_one_door() -> None:
    source = Path(terminal.__file__).parents[1]
    made = [path.name for path in source.rglob("*.py") if re.search(r"(?<!def )\b(Safe)?Console\(", path.read_text())]
    assert made == ["terminal.py"]
