"""Records of whole runs, a file each: `runs/` has one for each time that a run ended."""

from collections.abc import Iterator
from datetime import UTC, datetime

from tuneworthy.store.folder import Folder
from tuneworthy.types import JsonMapping

NAME = "runs"
_TIME = "%Y%m%dT%H%M%S.%fZ"


def keep(folder: Folder, document: JsonMapping) -> None:
    """Write a record under the time of now."""
    folder.write(f"{NAME}/{datetime.now(UTC):{_TIME}}", document)


def kept_records(folder: Folder) -> Iterator[tuple[datetime, str]]:
    """Yield the time of each record and its name in the folder, the newest first."""
    for path in sorted((folder.path / NAME).glob("*.json"), reverse=True):
        yield datetime.strptime(path.stem, _TIME).replace(tzinfo=UTC), f"{NAME}/{path.stem}"
