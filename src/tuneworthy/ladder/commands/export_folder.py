"""The folder of an export: it accepts no other files, and no file of an earlier export stays."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tuneworthy.errors import UserError
from tuneworthy.store import write_atomic


def write_export(
    folder: Path, files: Mapping[str, bytes], mark: tuple[str, bytes], others: Iterable[str] = ()
) -> list[Path]:
    """Write `files` into `folder`, and return their paths.

    Args:
        folder: Made if it is not there.
        files: Content by path in the folder.
        mark: One of `files`, with its content in every export of this kind, which identifies earlier exports.
        others: Paths that another export of this kind may have written; removed from an earlier one.

    Raises:
        UserError: The folder is no earlier export, and has a file of one of these names.
    """
    name, text = mark
    is_own = (folder / name).is_file() and text in (folder / name).read_bytes()
    taken = [] if is_own else [path for path in files if os.path.lexists(folder / path)]
    if taken:
        raise UserError(
            f"{folder / taken[0]} already exists and is not an earlier export.",
            hint="Pass an empty or new folder to --out.",
        )
    for path in set(others) - files.keys() if is_own else ():
        (folder / path).unlink(missing_ok=True)
    for path in sorted(files, key=lambda path: path != name):  # the mark first: identifies an interrupted export
        write_atomic(folder / path, files[path])
    return [folder / path for path in files]
