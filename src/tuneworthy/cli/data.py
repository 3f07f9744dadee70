"""`tuneworthy data`: a file a subcommand, in `cli/data_<name>.py`, whose `command` is imported when it is run."""

from tuneworthy.cli.lazy import LazyGroup

command = LazyGroup(
    name="data",
    prefix="data_",
    # Subcommand to the line that `--help` shows, in the order of the work.
    parts={
        "distill": "Create training rows from the answers of a teacher.",
        "build": "Import files, check their rows, freeze a version.",
        "curve": "Show how the score grows with the number of rows.",
        "export": "Write a frozen version in the format of a trainer.",
    },
    help="""Build training data from logs or a teacher.

    The result is a frozen version that passed its checks.

    \b
    Example:
      tuneworthy data build logs.jsonl
    """,
)
