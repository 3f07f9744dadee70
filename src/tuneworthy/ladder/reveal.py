"""Who saw what was answered to test cases: kept in `.tuneworthy/revealed.json`, and told by every later run.

A test set whose answers were looked at no longer measures what was tuned after that; it is not forbidden, it is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from tuneworthy.store import Folder

NAME = "revealed"


def record_reveal(folder: Folder, case_ids: Iterable[str], command: str) -> None:
    """Note that the answers to these test cases were shown; a case is noted once.

    Args:
        folder: Of the project.
        case_ids: Test cases.
        command: What showed them, e.g. `cases show`.
    """
    rows = folder.read(NAME) or []
    known = {row["case"] for row in rows}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    fresh = [{"case": one, "time": now, "command": command} for one in dict.fromkeys(case_ids) if one not in known]
    if fresh:
        folder.write(NAME, [*rows, *fresh])


def reveal_note(folder: Folder) -> str:
    """Say how many test cases were looked at, and since when; "" if none was."""
    rows = folder.read(NAME) or []
    if not rows:
        return ""
    since = min(row["time"] for row in rows)
    return (
        f"the answers to {len(rows)} of the test cases were looked at (first on {since[:10]}): "
        "what was changed after that is measured too well on them"
    )
