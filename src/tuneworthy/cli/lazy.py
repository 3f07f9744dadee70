"""A group of commands, a file a command, each imported when it is run: `--help` and the start stay light."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands are the `command` of modules of this package.

    Args:
        parts: Command to the line that `--help` shows.
        prefix: What stands before the command in the name of its module.
        named: Those of `click.Group`.
    """

    def __init__(self, *, parts: Mapping[str, str], prefix: str = "", **named: Any) -> None:
        super().__init__(**named)
        self.parts, self.prefix = parts, prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in their order."""
        return list(self.parts)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command `name`; None if there is none."""
        if name not in self.parts:
            return None
        command: click.Command = import_module(f"tuneworthy.cli.{self.prefix}{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.parts.items()))
