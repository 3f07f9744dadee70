"""Sentences about stored files."""

from __future__ import annotations

from typing import Final

NOT_JSON: Final = "{path} is not valid JSON: {error}."
MOVE_FILE_AWAY: Final = "Move the file away and run again."
LOCKED: Final = "Process {pid} is working on this project; waiting for it to end."
STORE_UNAVAILABLE: Final = "{path} cannot be read or written: {error}."
CHECK_DISK: Final = "Check that the disk has room and that the folder is writable, and run again."
STORE_BROKEN: Final = "{path} is not a file of stored answers: {error}."
RECOVER_STORE: Final = "Move the file away to start over, or repair it with `sqlite3 FILE .recover`."
FILE_CHANGED: Final = "{path} was changed after it was made."
NO_ARTIFACT: Final = "There is no finished {kind} model."
NO_SUCH_ARTIFACT: Final = "No single {kind} model has an id that begins with {start}."
MAKE_ARTIFACT: Final = "Run `tuneworthy {verb}`."
