"""`tuneworthy decode`: a file a subcommand, in `cli/decode_<name>.py`, whose `command` is imported when it is run."""

import click

from tuneworthy.cli.lazy import LazyGroup

# Subcommand to the line that `--help` shows.
PARTS = {
    "explain": "Show which tokens survive each sampler, engine by engine.",
    "sweep": "Tune the sampling parameters on dev.",
    "uncertainty": "Find where a model is unsure, and whether that predicts errors.",
}


@click.group("decode", cls=LazyGroup, parts=PARTS, prefix="decode_")
def command() -> None:
    """Explain, tune and test sampling parameters.

    \b
    Example:
      tuneworthy decode explain top_p=0.9 --probs 85,5,3
    """
