"""`tuneworthy decode`: a file a subcommand, in `cli/decode_<name>.py`, whose `command` is imported when it is run."""

from __future__ import annotations

from importlib import import_module

import click

PARTS: dict[str, str] = {
    "explain": "Show what sampling parameters leave of a distribution, engine by engine.",
    "sweep": "Tune the sampling parameters on dev.",
    "watch": "Find where a model wavers, and whether that tells wrong answers.",
}
"""Subcommand to the line that `--help` shows."""


class Parts(click.Group):
    """The group; nothing heavy is imported before a subcommand runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(PARTS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in PARTS:
            return None
        command: click.Command = import_module(f"tuneworthy.cli.decode_{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(PARTS.items()))


@click.group("decode", cls=Parts, short_help="What sampling parameters do; tune them; find where a model wavers.")
def command() -> None:
    """What a set of sampling parameters does, per engine; tune it; find where a model wavers.

    \b
    Example:
      tuneworthy decode explain --probs 85,5,3 --top-p 0.9
    """
