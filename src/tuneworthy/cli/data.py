"""`tuneworthy data`: a file a subcommand, in `cli/data_<name>.py`, whose `command` is imported when it is run."""

from __future__ import annotations

from importlib import import_module

import click

PARTS: dict[str, str] = {
    "import": "Read logs and data files into examples.",
    "distill": "Let a teacher answer questions, as training rows.",
    "build": "Check the rows and freeze a version.",
    "review": "Let people judge a random sample of a version.",
    "card": "Write the card of a frozen version.",
    "export": "Write a frozen version in the format of a trainer.",
}
"""Subcommand to the line that `--help` shows, in the order of the work."""


class Parts(click.Group):
    """The group; nothing heavy is imported before a subcommand runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(PARTS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in PARTS:
            return None
        command: click.Command = import_module(f"tuneworthy.cli.data_{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(PARTS.items()))


@click.group("data", cls=Parts, short_help="From logs to training data.")
def command() -> None:
    """From logs, or a teacher, to a frozen set of training data that passed its checks.

    \b
    Example:
      tuneworthy data import logs.jsonl
    """
