"""Examine a whole store, and repair what can be repaired."""

from collections.abc import Iterator
from functools import partial

from tuneworthy.doctor.answers import Damage, answer_damages, quarantine, search_damages
from tuneworthy.doctor.records import frozen_damages, record_damages, work_damages
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.store.folder import SPECIAL, entries
from tuneworthy.types import JsonObject, Say, frozen


@frozen
class StoreReport:
    """Result of an examination and of a repair.

    Attributes:
        damages: Remaining damage.
        repaired: Repaired damage.
        busy: Process that has the lock, "" without one.
    """

    damages: list[Damage]
    repaired: list[Damage]
    busy: str

    def to_dict(self) -> JsonObject:
        return {
            "damaged": [damage.to_dict() for damage in self.damages],
            "repaired": [damage.to_dict() for damage in self.repaired],
            "busy": self.busy,
        }


def examine(folder: Folder) -> StoreReport:
    """Check every table, row, record and hash of the store, and its lock; nothing is written."""
    damages, holder = [*_damages(folder)], folder.holder()
    return StoreReport(damages=damages, repaired=[], busy=holder[0] if holder else "")


def repair(folder: Folder, waiting: Say) -> StoreReport:
    """Make the repairs that lose no answer; moved files stay readable.

    Args:
        folder: The store.
        waiting: Called if another process has the lock.

    Raises:
        UserError: The folder cannot be written.
    """
    if not folder.writable:
        raise UserError(
            f"{folder.path} cannot be written.",
            hint="Copy the project to a folder that you can write to, then repair the copy.",
        )
    for damage in _lock_damages(folder):
        if damage.repair:
            damage.repair()
    with folder.lock(waiting):
        before = [*_damages(folder)]
        for action in dict.fromkeys(damage.repair for damage in before if damage.repair):
            action()
        after = [*_damages(folder)]
    left = {(damage.file, damage.row) for damage in after}
    return StoreReport(
        damages=after, repaired=[damage for damage in before if (damage.file, damage.row) not in left], busy=""
    )


def _damages(folder: Folder) -> Iterator[Damage]:
    if folder.path.is_dir():
        yield from _lock_damages(folder)
        damages = [
            *answer_damages(folder), *record_damages(folder), *frozen_damages(folder), *search_damages(folder),
            *work_damages(folder),
        ]  # fmt: skip
        yield from damages
        named = {damage.file for damage in damages}
        for path, kind in entries(folder.path):
            if kind in SPECIAL and path not in named and path.name != "lock":
                yield Damage(
                    file=path,
                    what="It is a pipe, a device or a socket.",
                    cost="No command can use the store.",
                    repair=path.unlink,
                )
    elif folder.path.exists():
        yield Damage(
            file=folder.path, what="It is not a folder.", cost="Nothing can be stored. Move the file out of the way."
        )


def _lock_damages(folder: Folder) -> Iterator[Damage]:
    path = folder.path / "lock"
    if path.exists() and not path.is_file():
        yield Damage(
            file=path,
            what="It is not a regular file.",
            cost="No command can write to the store.",
            repair=partial(quarantine, folder, path),
        )
