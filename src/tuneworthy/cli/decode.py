"""`tuneworthy decode`: a file a subcommand, in `cli/decode_<name>.py`, whose `command` is imported when it is run."""

from __future__ import annotations

import click

from tuneworthy.cli.lazy import LazyGroup

PARTS: dict[str, str] = {
    "explain": "Show what sampling parameters leave of a distribution, engine by engine.",
    "sweep": "Tune the sampling parameters on dev.",
    "uncertainty": "Find where a model wavers, and whether that tells wrong answers.",
}
"""Subcommand to the line that `--help` shows."""


@click.group(
    "decode",
    cls=LazyGroup,
    parts=PARTS,
    prefix="decode_",
    short_help="What sampling parameters do; tune them; find where a model wavers.",
)
def command() -> None:
    """What a set of sampling parameters does, per engine; tune it; find where a model wavers.

    \b
    Example:
      tuneworthy decode explain --probs 85,5,3 --top-p 0.9
    """
