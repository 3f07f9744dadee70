"""What a person reads on a terminal of 80 columns, and in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import click
import pytest

from tests.ladder import check_projects
from tests.report import report_records
from tuneworthy import cli
from tuneworthy.cli import invoke
from tuneworthy.cli.invocation import Invocation
from tuneworthy.cli.options import print_json
from tuneworthy.cli.safe_stream import safe_streams
from tuneworthy.cli.tables import show_run
from tuneworthy.config import load


@pytest.mark.parametrize(("columns", "headings"), [("80", "$"), ("", "p50 ms")])
def test_the_table_of_a_run_keeps_its_names_and_honours_the_width(
    columns: str, headings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    record = report_records.plain()
    with safe_streams(Invocation()):
        show_run(record, load(check_projects.clean(tmp_path).write()))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:3] == ["rung", "status", "variant"]
    assert lines[2].endswith(headings)
    for rung in record.rungs:
        assert any(line.removeprefix("*").split()[:2] == [rung.rung, rung.status.split("_")[0]] for line in lines)
        assert rung.name is None or any(rung.name in line for line in lines)
    assert max(map(len, lines[:4])) <= int(columns or 160)
    assert not [line for line in lines if line != line.rstrip()]


class Screen(StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_of_its_width_and_commands_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = check_projects.clean(tmp_path / "my project").write()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", screen := Screen())
    assert invoke(["check", "--project", root.name]) == 0
    text = screen.getvalue()
    assert "Next: tuneworthy run --project 'my project'\n" in text
    assert max(map(len, text.splitlines())) <= 80 < len(text)
    assert "\\x1b" not in text


def test_a_json_document_is_printed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document = {"next": f"Run `tuneworthy decide`. {'word ' * 40}"}
    monkeypatch.setattr(sys, "stdout", screen := Screen())
    with safe_streams(Invocation(project=Path("elsewhere"))):
        print_json(document)
    assert json.loads(screen.getvalue()) == document


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with safe_streams(Invocation()):
        click.echo("word " * 40 + "end")
    assert capsys.readouterr().out == "word " * 40 + "end\n"


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            part = command.get_command(context, name)
            assert part is not None
            yield from leaves(part, f"{path} {name}")
    else:
        yield path, command


def test_exactly_the_commands_that_have_the_option_get_it() -> None:
    complete = Invocation(project=Path("a")).complete
    for path, command in leaves(cli.root, "tuneworthy"):
        takes = any(option.name == "root" for option in command.params)
        assert complete(f"Run `{path} x`.") == f"Run `{path}{' --project a' * takes} x`."
    assert (
        complete("tuneworthy runs it. tuneworthy run --project b") == "tuneworthy runs it. tuneworthy run --project b"
    )
    assert Invocation().complete("tuneworthy run") == "tuneworthy run"
