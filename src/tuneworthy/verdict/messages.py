"""What the verdict tells people: errors, gates, reasons, next steps, the checklist."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

# The guide.
GUIDE_HINT: Final = "Run `tuneworthy guide` to list them."


def unknown_problem(name: str, known: Sequence[str]) -> str:
    """Return the error for a problem that the guide does not have, with the nearest one that it has."""
    nearest = get_close_matches(name, known, n=1)
    return f"The guide has no problem {name!r}." + (f" Did you mean {nearest[0]!r}?" if nearest else "")
