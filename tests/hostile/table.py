"""Rows of (class, input, survived) that the hostile tests collect, and the table that is printed at the end.

A test notes each input that it tried with `tried`; `pytest_terminal_summary` of `tests/hostile/conftest.py` prints
class x tried x survived. A row that did not survive fails its test at once.
"""

from __future__ import annotations

from collections import Counter

ROWS: list[tuple[str, str, bool]] = []


def tried(kind: str, what: str, survived: bool, detail: object = "") -> None:
    """Note one input of a class, and fail unless it was survived.

    Args:
        kind: The class, such as `secret sent without trust`.
        what: The input, in a few characters.
        survived: Whether nothing bad came of it.
        detail: Shown if it was not.
    """
    ROWS.append((kind, what, survived))
    assert survived, f"{kind}: {what}: {detail}"


def table() -> list[str]:
    """Return the lines of the table: one a class, and their sum."""
    counts = Counter(kind for kind, _, _ in ROWS)
    good = Counter(kind for kind, _, survived in ROWS if survived)
    width = max(map(len, [*counts, "class"]))
    lines = [f"{'class':<{width}}  tried  survived"]
    lines += [f"{kind:<{width}}  {counts[kind]:>5}  {good[kind]:>8}" for kind in sorted(counts)]
    return [*lines, f"{'sum':<{width}}  {counts.total():>5}  {good.total():>8}"]
