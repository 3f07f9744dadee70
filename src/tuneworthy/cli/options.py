"""Options and small pieces that several verbs share."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

import click

from tuneworthy.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])


class Dollars(click.FloatRange):
    """An amount of money; `nan`, which is above and below no limit, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the amount."""
        amount = float(super().convert(value, param, ctx))
        if isnan(amount):
            self.fail(f"expected an amount in US dollars, got {value}", param, ctx)
        return amount


def project_option(function: F) -> F:
    """Add `--project DIR`."""
    return click.option(
        "--project",
        "root",
        type=click.Path(path_type=Path, file_okay=False),
        default=".",
        show_default="current folder",
        help="The project folder.",
    )(function)


def json_option(function: F) -> F:
    """Add `--json`: stdout is one JSON document, everything else goes to stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print only JSON on stdout.")(function)


def spending_options(function: F) -> F:
    """Add `--max-usd` and `--yes`."""
    limit = click.option("--max-usd", type=Dollars(min=0), help="Most that this run may spend.")
    agreed = click.option("--yes", is_flag=True, help="Do not ask before money is spent.")
    return limit(agreed(function))


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn a fault of the disk into one line that says where it lies.

    Raises:
        UserError: `path` cannot be written.
    """
    try:
        yield
    except OSError as error:
        from tuneworthy.errors import UserError

        raise UserError(f"expected to write {path}, got: {error.strerror}", hint="name another place") from None


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    import orjson

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))


def note(message: str) -> None:
    """Say something to a person: on stderr, so that stdout stays clean."""
    click.echo(message, err=True)


def person(given: str | None, option: str) -> str:
    """Return the name of who judges: as given with `option`, else the name of the user.

    Raises:
        UserError: The system knows no name, as in a container.
    """
    try:
        return given or getpass.getuser()
    except (ImportError, KeyError, OSError):
        raise UserError("expected a user with a name, got none from the system", hint=f"use {option}") from None
