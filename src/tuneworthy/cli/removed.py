"""Removed options and choices, each with its replacement."""

from collections.abc import Mapping
from typing import Final

_VENDOR: Final = (
    "Jobs at vendors were removed. Run `tuneworthy train` on this machine, or write a run for another trainer with "
    "`tuneworthy plan --emit trl`. To train at a vendor, export the rows with `tuneworthy data export --format openai`."
)

# Command and option, or command, option and value, to the replacement.
REMOVED: Final[Mapping[tuple[str, ...], str]] = {
    ("train", "--on"): _VENDOR,
    ("train", "--base"): _VENDOR,
    ("train", "--usd-per-mtok"): _VENDOR,
    ("train", "--personal-data"): _VENDOR,
    ("train", "--cancel"): _VENDOR,
    ("train", "--max-usd"): _VENDOR,
    ("train", "--yes"): _VENDOR,
}


def replacement(*place: str) -> str:
    """Return the replacement of a removed option or choice; "" if it never existed."""
    return REMOVED.get(place, "")
