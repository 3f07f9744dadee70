"""The stored record of the last run, read back."""

from pathlib import Path

from tuneworthy.errors import UserError
from tuneworthy.ladder.record import RunRecord, read_record
from tuneworthy.store import Folder


def last_record(root: Path) -> RunRecord:
    """Return the record of the last run of the project folder `root`, else that of the last quick one.

    Raises:
        UserError: There is no run, or it is not of this version.
    """
    folder = Folder(root)
    record = read_record(folder) or read_record(folder, "quick")
    if record is None:
        raise UserError(f"{folder.path} contains no run.", hint="Run `tuneworthy run` first.")
    return record
