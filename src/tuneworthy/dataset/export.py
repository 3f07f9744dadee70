"""`data export`: a frozen version in the format of a trainer, split into train and validation, with a manifest.

The split keeps rows of one group, and rows that ask the same, on one side; it is drawn by hashes of seed and id, so
the same version and seed give the same split in every format.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import orjson

from tuneworthy import __version__
from tuneworthy.arrays import Ints
from tuneworthy.cases.stratified import draw, units_of
from tuneworthy.cases.task_kind import guess_kind
from tuneworthy.dataset.freeze import Version
from tuneworthy.dataset.importing.folder import file_digest
from tuneworthy.dataset.records import SCHEMA_VERSION, TeacherRecord
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.dataset.writers import write_dataset
from tuneworthy.people.review_log import State
from tuneworthy.store import write_atomic
from tuneworthy.store.shapes import DamagedRecord, parsed
from tuneworthy.trust import own_path
from tuneworthy.types import Examples, NamedInts, Texts, frozen, positional

MANIFEST = "manifest.json"
# Folder in that of an export where its files are written before they are moved to their places.
SCRATCH = ".export"
# Share of the rows for validation.
VALIDATION = 0.1


@positional
class FileHash:
    sha256: str
    n_bytes: int


@positional
class DrawnSplit:
    """How rows were split: seed, share of validation rows, rows per side, and which rows stay together."""

    seed: int
    share: float
    n: dict[str, int]
    kept_together: str = "rows of the same group, and rows with the same question"


@frozen
class DatasetManifest:
    """`manifest.json` of an export.

    Attributes:
        written_as: Name of the format.
        version: Id of the version.
        task: Name of the task.
        tuneworthy: Release of the code.
        split: How rows were split.
        n_rows: Rows written per side.
        left_out: Rows that do not fit the format, by reason.
        left_out_ids: Their ids.
        files: Hash and size per file.
        unsafe: Whether a gate of the version failed.
        review: Status of the review.
        licence: Licence of all rows.
        teachers: Models that answered rows.
        notes: For the reader.
    """

    schema_version: int = SCHEMA_VERSION
    written_as: str
    version: str
    task: str
    tuneworthy: str = __version__
    split: DrawnSplit
    n_rows: NamedInts
    left_out: NamedInts
    left_out_ids: Texts
    files: dict[str, FileHash]
    unsafe: bool
    review: str
    licence: str | None
    teachers: Sequence[TeacherRecord]
    notes: Texts


def split_rows(rows: Examples, seed: int) -> tuple[Ints, Ints]:
    """Return the numbers of the rows of train and of validation, each in order.

    Args:
        rows: Of a version.
        seed: Of the draw.

    Returns:
        About `VALIDATION` of the rows validate, as groups stay whole, with labels represented alike; no row does where
        the rows form too few groups.
    """
    answers = [row.answer.strip() for row in rows]
    by_label = guess_kind(answers).name == "label"
    units = units_of(rows)
    for unit in units:
        unit.strata = Counter(answers[n] if by_label else "all" for n in unit.members)
    held_out = np.zeros(len(rows), np.bool_)
    for unit in draw(units, max(1, round(VALIDATION * len(rows))), seed=seed, at_least=False):
        held_out[unit.members] = True
    if held_out.all():
        held_out[:] = False
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def export_version(
    version: Version, name: str, folder: Path, *, seed: int, review: State | None
) -> tuple[tuple[Path, ...], DatasetManifest]:
    """Write a version in the format `name` into `folder`; return the files, the manifest last, and its content.

    Args:
        version: Its files were compared with their hashes.
        name: A format of `writers.WRITERS`.
        folder: Made if need be.
        seed: See `split_rows`.
        review: Its review, if there is one.

    Raises:
        UserError: No such format.
    """
    rows = StoredRows(version.folder / "rows.jsonl")
    train, validation = split_rows(rows, seed)
    splits = {"train": rows.keep(train, {})}
    if len(validation):
        splits["validation"] = rows.keep(validation, {})
    scratch = own_path(folder, SCRATCH) / folder.resolve().name  # a format may name its parts by the folder
    _remove(folder, _named(scratch))  # the files of an export that was stopped half-way
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    try:
        written = write_dataset(name, scratch, splits)
        recipe = version.recipe
        manifest = DatasetManifest(
            written_as=name,
            version=version.id,
            task=recipe.task,
            split=DrawnSplit(
                seed, VALIDATION if len(validation) else 0.0, {split: len(part) for split, part in splits.items()}
            ),
            n_rows=written.n_rows,
            left_out=written.left_out,
            left_out_ids=written.left_out_ids,
            files={path.name: FileHash(*file_digest(path)) for path in written.paths},
            unsafe=recipe.unsafe,
            review=review.status if review else "no_plan",
            licence=recipe.licence,
            teachers=recipe.teachers,
            notes=[*_warnings(version, review), *written.notes],
        )
        write_atomic(scratch / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    except BaseException:
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        raise
    # Files that only an earlier export wrote are removed first: a validation file of another split has rows that are
    # trained on now. The manifest is removed before and comes last, so it never lies next to files of another export.
    # The next export removes the files of one that stops here.
    _remove(folder, _named(folder) - manifest.files.keys())
    (folder / MANIFEST).unlink(missing_ok=True)
    names = (*manifest.files, MANIFEST)
    for written_name in names:
        (scratch / written_name).replace(folder / written_name)
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    return tuple(folder / written_name for written_name in names), manifest


def _named(folder: Path) -> set[str]:
    """Return the files that the manifest of an export in `folder` names; empty without a manifest of ours."""
    path = folder / MANIFEST
    try:
        names = parsed(path.read_bytes(), DatasetManifest, path).files
    except (OSError, DamagedRecord):
        return set()
    return {name for name in names if Path(name).name == name}


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _warnings(version: Version, review: State | None) -> list[str]:
    failed = "; ".join(version.recipe.failed)
    notes = [f"This version was frozen with failed gates: {failed}."] if version.recipe.unsafe else []
    if review is None or review.plan is None:
        notes.append("Nobody has reviewed these rows yet. Run `tuneworthy label review`.")
    elif review.status != "accepted":
        notes.append(f"The review has not accepted this version: {review.summary}.")
    return notes
