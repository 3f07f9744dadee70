"""Which answers to test cases were shown: stored in `.tuneworthy/revealed.json`, and noted by every later run.

A test set whose answers were seen no longer measures later changes. It is not forbidden, it is noted.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from typing_extensions import TypedDict

from tuneworthy.store import Folder
from tuneworthy.text import plural

NAME = "revealed"


class Reveal(TypedDict):
    """A test case whose answers were shown, when, and by which command."""

    case: str
    time: str
    command: str


def record_reveal(folder: Folder, case_ids: Iterable[str], command: str) -> None:
    """Note that the answers to these test cases were shown; a case is noted once.

    Args:
        folder: Of the project.
        case_ids: Test cases.
        command: What showed them, e.g. `cases show`.
    """
    rows = folder.read(NAME, list[Reveal]) or []
    noted = {row["case"] for row in rows}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    fresh = [{"case": one, "time": now, "command": command} for one in dict.fromkeys(case_ids) if one not in noted]
    if fresh:
        folder.write(NAME, [*rows, *fresh])


def reveal_note(folder: Folder) -> str:
    """Return how many answers to test cases were shown, and since when, in a sentence; "" for 0."""
    rows = folder.read(NAME, list[Reveal]) or []
    if not rows:
        return ""
    return (
        f"Answers to {len(rows)} test {plural(len(rows), 'case', 'cases')} have been revealed, the first on "
        f"{min(row['time'] for row in rows)[:10]}. Changes made since then may score higher on the test set "
        "than on new data."
    )
