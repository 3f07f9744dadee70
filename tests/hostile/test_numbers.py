"""Dollars, shares, minutes and counts are finite numbers, on the command line, in the project file and in the store."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import ValidationError

from tests.hostile.test_trust import HEAD, project, run, write  # noqa: F401
from tuneworthy import config
from tuneworthy.cli import invoke, root
from tuneworthy.cli.options import FiniteFloat
from tuneworthy.config.base import Section
from tuneworthy.errors import UserError
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import Response

# ruff: noqa: F811
ODD = ["nan", "inf", "-inf", "1e400", "NaN", "Infinity", "-1", "1e15"]


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Parameter]]:
    for option in command.params:
        yield f"{context.command_path} {option.name}", option
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, click.Context(inner, info_name=name, parent=context))


def test_each_number_of_the_command_line_is_finite() -> None:
    options = dict(commands(root, click.Context(root)))
    decimal = {name: option for name, option in options.items() if isinstance(option.type, click.types.FloatParamType)}
    assert len(decimal) >= 9
    assert [name for name, option in decimal.items() if not isinstance(option.type, FiniteFloat)] == []
    for option in decimal.values():
        for text in ("nan", "inf", "-inf", "1e400", "1e15", "-1e15"):
            with pytest.raises(click.BadParameter):
                option.type.convert(text, option, None)


def test_each_whole_number_of_the_command_line_has_an_upper_end() -> None:
    options = dict(commands(root, click.Context(root)))
    whole = {
        name: option.type
        for name, option in options.items()
        if isinstance(option.type, click.types.IntParamType) and not getattr(option, "count", False)
    }
    assert len(whole) >= 7
    for name, kind in whole.items():
        for text in (str(2**32), str(10**30), "-3"):
            with pytest.raises(click.BadParameter):
                kind.convert(text, options[name], None)


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize(
    "words",
    [["run", "--max-usd"], ["shadow", "proxy", "http://127.0.0.1:9", "--share"]],
)  # fmt: skip
def test_an_odd_number_is_a_usage_error(words: list[str], text: str, project: Path) -> None:
    write(project, "")
    assert invoke([*words, text, "--project", str(project)]) == 2


def sections(section: type[Section] = Section) -> Iterator[type[Section]]:
    for inner in section.__subclasses__():
        yield inner
        yield from sections(inner)


def test_each_number_of_the_project_file_is_strict() -> None:
    assert config
    tried = 0
    for section in {*sections()}:
        if not section.__module__.startswith("tuneworthy.config"):
            continue
        section.model_rebuild()
        for name, field in section.model_fields.items():
            if not any(part in {"float", "int"} for part in str(field.annotation).replace("'", " ").split()) and (
                field.annotation not in {float, int}
            ):
                continue
            for value in (math.nan, math.inf, -math.inf, True, "5", 1e15, 10**30):
                tried += 1
                with pytest.raises(ValidationError) as caught:
                    section.model_validate({name: value})
                places = [error["loc"][0] for error in caught.value.errors()]
                assert name in places, (section, name, value)
    assert tried > 100


@pytest.mark.parametrize("value", ["true", '"5"', "nan", "inf", "-1", "1e15", "1e400"])
def test_a_budget_is_an_amount_of_money(value: str, project: Path) -> None:
    write(project, "")
    path = project / "tuneworthy.toml"
    path.write_text(path.read_text().replace("budget_usd = 1.0", f"budget_usd = {value}"))
    assert run(project, "check --offline") == 2


@pytest.mark.parametrize("value", [1e308, 1e15, -1.0, math.inf, "x", None, b"x"])
@pytest.mark.parametrize("table", ["responses", "further_answers", "open_calls"])
def test_a_stored_cost_is_an_amount_of_money(value: Any, table: str, project: Path) -> None:
    write(project, "")
    folder = Folder(project)
    folder.create()
    store = ResponseStore(folder.responses)
    store.put(b"k" * 16, Response(text="a"), 0.5)
    store.put(b"k" * 16, Response(text="b"), 0.5, store.open_call(b"k" * 16, 0.5))
    store.open_call(b"j" * 16, 0.5)
    store.close()
    column = "ceiling_usd" if table == "open_calls" else "cost_usd"
    with sqlite3.connect(folder.responses) as database:
        try:
            database.execute(f"UPDATE {table} SET {column} = ?", (value,))
        except sqlite3.IntegrityError:
            return
    database.close()
    store = ResponseStore(folder.responses)
    with pytest.raises(UserError, match="row 1"):
        store.spending()
    if table == "responses":
        with pytest.raises(UserError, match="row 1"):
            store.get_many([b"k" * 16])
    store.close()
    assert run(project, "status") == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 1e15])
def test_the_limit_of_a_run_is_an_amount_of_money(value: float, project: Path) -> None:
    import tuneworthy

    write(project, "")
    with pytest.raises(UserError, match="max_usd"):
        tuneworthy.open(project).run(max_usd=value)
