"""Options and small pieces that several verbs share."""

import getpass
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
from click.core import ParameterSource

from tuneworthy.cli.invocation import Invocation
from tuneworthy.errors import UserError
from tuneworthy.report.text import escaped, inert
from tuneworthy.trust import own_path

F = TypeVar("F", bound=Callable[..., Any])
PATH, FOLDER_PATH = click.Path(path_type=Path), click.Path(path_type=Path, file_okay=False)
FILE_PATH = click.Path(path_type=Path, dir_okay=False)


class FiniteFloat(click.FloatRange):
    """A number below `MAX_AMOUNT`; no limit would apply to `nan` or `inf`."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from tuneworthy.types import MAX_AMOUNT  # loads pydantic's types, which `--help` does without

        number = float(super().convert(value, param, ctx))
        if not abs(number) < MAX_AMOUNT:
            self.fail(f"{value} is not a number below {MAX_AMOUNT:.0e}.", param, ctx)
        return number

    def _describe_range(self) -> str:  # of click, which would show `x<=None`
        return "" if self.min is self.max else super()._describe_range()


class CountFrom(click.IntRange):
    """A number of things; more than 31 bits are no count."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = int(super().convert(value, param, ctx))
        if number >= 2**31:
            self.fail(f"{value} is not a number below {2**31}.", param, ctx)
        return number


SHARE, POSITIVE = FiniteFloat(0, 1, min_open=True), CountFrom(1)
DOLLARS = FiniteFloat(min=0)


def remember_project(ctx: click.Context, option: click.Parameter, root: Path) -> Path:
    if invocation := ctx.find_object(Invocation):
        invocation.project = root
    return root


project_option = click.option(
    "--project",
    "root",
    type=FOLDER_PATH,
    default=".",
    show_default="current folder",
    callback=remember_project,
    help="Project folder.",
)


def wants_json() -> bool:
    return click.get_current_context().ensure_object(Invocation).as_json


# Stdout is one JSON document, everything else goes to stderr.
json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, _, wanted: setattr(ctx.ensure_object(Invocation), "as_json", wanted),
    help="Print only JSON to stdout.",
)
input_option = click.option(
    "--input", "inputs", metavar="COL", multiple=True, help="Column of the question; repeatable."
)
expected_option = click.option("--expected", metavar="COL", help="Column of the expected answer.")


def export_option(default: str) -> Callable[[F], F]:
    """Add `--out` with a default name, which is refused if it is a link that leads out of the working folder."""

    def own(ctx: click.Context, option: click.Parameter, folder: Path) -> Path:
        typed = ctx.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
        return folder if typed else own_path(Path(), default)

    return click.option(
        "--out", type=FOLDER_PATH, default=default, show_default=True, callback=own, help="Folder to write."
    )


def spending_options(function: F) -> F:
    limit = click.option("--max-usd", type=DOLLARS, help="Spending limit for this run, in US dollars.")
    return limit(click.option("--yes", is_flag=True, help="Skip the cost confirmation.")(function))


batch_option = click.option("--batch", is_flag=True, help="Call models through batches: half the price, up to a day.")


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn an error of the disk into one line that names the path.

    Raises:
        UserError: `path` cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.", hint="Choose a different path.") from None


def print_json(document: Any) -> None:
    if (context := click.get_current_context(silent=True)) and (invocation := context.find_object(Invocation)):
        invocation.answered = True
    print_document(escaped(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()))


def print_document(text: str, *, nl: bool = True) -> None:
    """Print a document whose text is safe on stdout, as it is: in a comment or a file no command gets `--project`."""
    click.echo(inert(text), file=getattr(sys.stdout, "below", sys.stdout), nl=nl)


def print_result(document: Any, show: Callable[..., object], *arguments: object) -> None:
    """Print a result: `document` as JSON if that is wanted, else by `show` for a person."""
    if wants_json():
        print_json(document)
    else:
        show(*arguments)


def say(*lines: object) -> None:
    for line in lines:
        click.echo(line)


def note(*lines: str) -> None:
    """Print lines for a person, on stderr, so that stdout stays clean."""
    for line in lines:
        click.echo(line, err=True)


def address_of(bind: str) -> tuple[str, int]:
    """Return the host and the port of `HOST:PORT`, without the brackets of an IPv6 address.

    Raises:
        UserError: It is no such address.
    """
    typed = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})", bind)
    if not typed or int(typed[2]) >= 2**16:
        raise UserError(f"--bind {bind!r} is not HOST:PORT.", hint="Example: --bind 127.0.0.1:8100")
    return typed[1].strip("[]"), int(typed[2])


def person(name: str | None, option: str) -> str:
    """Return the name of who judges: the value of `option`, else the name of the user.

    Raises:
        UserError: The system knows no name, as in a container.
    """
    try:
        return name or getpass.getuser()
    except (ImportError, KeyError, OSError):
        raise UserError("The system does not provide your user name.", hint=f"Set a name with {option}.") from None
