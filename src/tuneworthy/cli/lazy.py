"""A group of commands, a file a command, each imported when it is run: `--help` and the start stay light."""

from collections.abc import Mapping
from importlib import import_module

import click

from tuneworthy.errors import UnknownName


class CommandGroup(click.Group):
    """A group that answers an unknown command with the nearest name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begin with.

        Raises:
            UnknownName: There is no such command.
        """
        if args[0] not in (names := self.list_commands(ctx)) and not args[0].startswith("-"):
            raise UnknownName("command", args[0], names)
        return super().resolve_command(ctx, args)


class LazyGroup(CommandGroup):
    """A group whose commands are the `command` of modules of this package.

    Args:
        parts: Command to its line in `--help`.
        prefix: What precedes the command in the name of its module.
        options: Those of `click.Group`.
    """

    def __init__(self, *, parts: Mapping[str, str], prefix: str = "", **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.parts, self.prefix = parts, prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.parts)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.parts:
            return None
        command: click.Command = import_module(f"tuneworthy.cli.{self.prefix}{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.parts.items()))
