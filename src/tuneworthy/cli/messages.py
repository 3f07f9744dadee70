"""Sentences that the command line prints."""

from __future__ import annotations

from typing import Final

# how a command ended
ERROR: Final = "Error: {error}"
STOPPED: Final = "Stopped. Stored answers are safe: run the same command again to go on."
BUG: Final = "Error: This is a bug in tuneworthy. The traceback is in {path}; please report it with that file."

# options that several commands share
CANNOT_WRITE: Final = "Cannot write {path}: {reason}."
CHOOSE_PATH: Final = "Choose another path."
NO_USER_NAME: Final = "The system does not know your user name."
GIVE_USER_NAME: Final = "Give a name with {option}."
NOT_DOLLARS: Final = "{value} is not an amount in US dollars."


# check
def check_summary(n_errors: int, n_warnings: int) -> str:
    """Say how many errors and warnings there are, and what comes next."""
    warnings = f"{n_warnings} warning" + "s" * (n_warnings != 1)
    if n_errors:
        return f"{n_errors} error{'s' * (n_errors != 1)}, {warnings}. Fix the errors before you run."
    return f"No errors, {warnings}. Next: tuneworthy run"
