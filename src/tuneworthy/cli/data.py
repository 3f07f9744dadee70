"""`tuneworthy data`: a file a subcommand, in `cli/data_<name>.py`, whose `command` is imported when it is run."""

from __future__ import annotations

import click

from tuneworthy.cli.lazy import LazyGroup

PARTS: dict[str, str] = {
    "import": "Read logs and data files into examples.",
    "distill": "Let a teacher answer questions, as training rows.",
    "build": "Check the rows and freeze a version.",
    "review": "Let people judge a random sample of a version.",
    "card": "Write the card of a frozen version.",
    "export": "Write a frozen version in the format of a trainer.",
}
"""Subcommand to the line that `--help` shows, in the order of the work."""


@click.group("data", cls=LazyGroup, parts=PARTS, prefix="data_", short_help="From logs to training data.")
def command() -> None:
    """From logs, or a teacher, to a frozen set of training data that passed its checks.

    \b
    Example:
      tuneworthy data import logs.jsonl
    """
