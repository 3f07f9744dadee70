"""The stored record of the last climb, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from tuneworthy.errors import UserError
from tuneworthy.ladder.record import ClimbRecord, RungRecord
from tuneworthy.store import Folder
from tuneworthy.types import RungStatus


def last_record(root: Path) -> ClimbRecord:
    """Return the record of the last climb of the project folder `root`, else that of the last quick one.

    Raises:
        UserError: There is none, or it is not of this version.
    """
    folder = Folder(root)
    document = folder.read("climb") or folder.read("quick")
    if document is None:
        raise UserError(f"expected a climb in {folder.path}, got none", hint="run `tuneworthy climb` first")
    return record_from(document)


def record_from(document: Mapping[str, Any]) -> ClimbRecord:
    """Return the record that `ClimbRecord.to_dict` wrote; keys that this version does not know are left out.

    Raises:
        UserError: It is not such a record.
    """
    try:
        rungs = [
            RungRecord(**_known(RungRecord, rung) | {"status": RungStatus(rung["status"])})
            for rung in document["rungs"]
        ]
        return ClimbRecord(**_known(ClimbRecord, document) | {"rungs": rungs})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"expected the record of a climb, got one that this version cannot read ({type(error).__name__}: {error})",
            hint="run `tuneworthy climb` again: what was answered is not asked again",
        ) from None


def _known(cls: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of `document` that `cls` has.

    Raises:
        KeyError: One without a default is missing.
    """
    for field in fields(cls):
        if field.name not in document and field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(field.name)
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in document.items() if name in names}
