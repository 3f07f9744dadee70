"""One damage of the store, as it is shown; and the folder that damaged files are moved to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuneworthy.store import Folder

QUARANTINE: Final = "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something that is wrong with a file.

    Attributes:
        file: The file.
        row: Row or line; "" if the whole file is meant.
        what: The fault, as a sentence.
        cost: The consequence, as a sentence.
        repair: Repairs it; None if nothing can. Damages of one file may share one.
    """

    file: Path
    row: str = ""
    what: str
    cost: str
    repair: Callable[[], None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "file": str(self.file),
            "row": self.row,
            "what": self.what,
            "cost": self.cost,
            "can_be_repaired": self.repair is not None,
        }


def quarantine(folder: Folder, *paths: Path) -> None:
    """Move files or folders of the store aside, whole and under their names; never over what lies there already."""
    place, number = folder.path / QUARANTINE, 1
    while place.exists() and any((place / path.name).exists() for path in paths):
        number += 1
        place = folder.path / f"{QUARANTINE}-{number}"
    place.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.rename(place / path.name)
