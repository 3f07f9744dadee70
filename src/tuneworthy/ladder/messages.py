"""All sentences that the ladder shows to people, by topic."""

from __future__ import annotations

from typing import Final

# Records of runs
RECORD_UNREADABLE: Final = "{where}: this version cannot read the record ({place}: {fault})."
RUN_AGAIN: Final = "Run `tuneworthy run` again: nothing that was answered is paid for twice."
