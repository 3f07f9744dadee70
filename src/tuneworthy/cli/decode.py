"""`tuneworthy decode`: a file a subcommand, in `cli/decode_<name>.py`, whose `command` is imported when it is run."""

from tuneworthy.cli.lazy import LazyGroup

command = LazyGroup(
    name="decode",
    prefix="decode_",
    # Subcommand to the line that `--help` shows.
    parts={
        "explain": "Show which tokens survive each sampler, engine by engine.",
        "sweep": "Tune the sampling parameters on dev.",
        "uncertainty": "Find where a model is unsure, and whether that predicts errors.",
    },
    help="""Explain, tune and test sampling parameters.

    \b
    Example:
      tuneworthy decode explain probs=85,5,3 top_p=0.9
    """,
)
