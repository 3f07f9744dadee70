"""`tuneworthy shadow`: a file a subcommand, in `cli/shadow_<name>.py`, whose `command` is imported when it is run."""

from tuneworthy.cli.lazy import LazyGroup

command = LazyGroup(
    name="shadow",
    prefix="shadow_",
    # Subcommand to the line that `--help` shows, in the order of the work.
    parts={
        "replay": "Replay recorded traffic to a candidate and judge its answers.",
        "proxy": "Copy a share of live traffic to a candidate.",
        "report": "Show the last replay, or write it as a page.",
    },
    help="""Send traffic to a candidate and judge its answers.

    Users are not affected. The gate `shadow` uses the result.

    \b
    Example:
      tuneworthy shadow replay logs.jsonl --max-usd 5
    """,
)
