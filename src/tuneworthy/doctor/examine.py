"""Examine a whole store, its JSON records and folders named by a hash too, and repair what can be repaired."""

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Final

from tuneworthy.cases.splits import StoredSplit
from tuneworthy.dataset.curve import NAME as CURVE
from tuneworthy.dataset.curve import DatasetCurve
from tuneworthy.dataset.freeze import RECIPE
from tuneworthy.dataset.importing.folder import file_digest
from tuneworthy.dataset.records import ImportRecord, Recipe
from tuneworthy.doctor.answers import Damage, answer_damages, quarantine, search_damages
from tuneworthy.engine.served_model import SERVED
from tuneworthy.errors import UserError
from tuneworthy.graders.judging import DOCUMENT as JUDGE
from tuneworthy.ladder.commands.uncertainty import StoredUncertainty
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.ladder.record import record_from
from tuneworthy.ladder.rungs.decoding import StoredSweep
from tuneworthy.ladder.task_data import Reveal
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_log import Ledger
from tuneworthy.shadow.canary import CanaryState
from tuneworthy.shadow.releases import STARTED, Release
from tuneworthy.shadow.replay import DOCUMENT as SHADOW
from tuneworthy.shadow.replay import ShadowRecord
from tuneworthy.ship.served import NOTE, ServedNote
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import MANIFEST, Manifest
from tuneworthy.store.batches import OpenBatch
from tuneworthy.store.folder import SPECIAL, entries
from tuneworthy.store.frozen import changed
from tuneworthy.store.history import NAME as HISTORY
from tuneworthy.store.shapes import ANOTHER_VERSION, Pointer
from tuneworthy.train.phases import FILE, TrainingState
from tuneworthy.types import JsonObject, Say, frozen
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.domain_text import StoredDomain
from tuneworthy.verdict.error_analysis import ErrorAnalysis
from tuneworthy.verdict.gather import StoredValidation
from tuneworthy.verdict.gather_training import PARITY, PILOT, SERVING, PilotDocument, ProofDocument


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


# Records by path, each with its shape and what its loss costs. The first pattern that fits counts.
RECORDS: Final[Mapping[str, tuple[Any, str]]] = {
    "split": (
        StoredSplit,
        "Run `tuneworthy run` to draw dev and test again. They are the same if the cases have not changed.",
    ),
    "comparisons": (
        ComparisonPlan,
        "It is unknown how often the test set was used. Restore the file from a backup.",
    ),
    "revealed": (list[Reveal], "It is unknown which test answers were shown. Restore the file from a backup."),
    "run": (dict, "Run `tuneworthy run` to rebuild the record from the stored answers."),
    "quick": (dict, "Run `tuneworthy run --quick` to rebuild the record from the stored answers."),
    f"{HISTORY}/*": (dict, "This run is missing from the history."),
    "*-unfinished": (dict, "Run the interrupted command again to rebuild the record from the stored answers."),
    SERVED: (dict[str, list[str]], "Run `tuneworthy run`: a change of a model on a server is found again."),
    "memory": (dict[str, tuple[float, float]], "Run `tuneworthy run`: memory is measured again with the next calls."),
    "verdict": (Verdict, "Run `tuneworthy decide` to compute the verdict again."),
    "errors": (ErrorAnalysis, "Run `tuneworthy decide --probe` to rebuild the error analysis from the stored answers."),
    "domain": (StoredDomain, "Run `tuneworthy decide --probe` to score the domain's text again."),
    JUDGE: (StoredValidation, "Run `tuneworthy run` to validate the judge again from the stored answers."),
    FILE: (TrainingState, "Run `tuneworthy train`, which writes it again."),
    PILOT: (PilotDocument, "Run `tuneworthy train --pilot` to train the pilot again."),
    PARITY: (ProofDocument, "Run `tuneworthy train --only parity`."),
    SERVING: (ProofDocument, "Run `tuneworthy train --only parity --server NAME@URL`."),
    SHADOW: (ShadowRecord, "Run `tuneworthy shadow replay` again; its answers are stored."),
    STARTED: (list[int], "The first release is current until `tuneworthy serve --release N` starts another."),
    "releases/*": (Release, "This release cannot be served. Restore the file from a backup."),
    "shadow/canary-*": (CanaryState, "Run `tuneworthy shadow replay --restart` to begin the canary again."),
    "shadow/restarted-*": (CanaryState, "A release that a canary rolled back may count as current."),
    NOTE.format("*"): (ServedNote, "A running server is not recognised. Run `tuneworthy serve` to start it again."),
    "uncertainty": (
        StoredUncertainty,
        "Run `tuneworthy decode uncertainty` to rebuild the record from the stored answers.",
    ),
    "sweeps/*": (StoredSweep, "Run `tuneworthy decode sweep` to rebuild the record from the stored answers."),
    CURVE: (DatasetCurve, "Run `tuneworthy data curve` to measure the learning curves again."),
    "batches/*": (OpenBatch, "The answers of this batch cannot be fetched. Its calls count at their maximum cost."),
    "models/latest-*": (
        Pointer,
        "The latest model of this kind is unknown until a new one is made. Until then, pass an ID.",
    ),
    "datasets/latest": (Pointer, "Run `tuneworthy data build` to find the latest version again."),
    "imports/latest": (Pointer, "Run `tuneworthy data build FILES` to find the latest import again."),
}
# Records that nothing else in the store can replace.
IRREPLACEABLE = frozenset({"comparisons", "revealed"})
# Folder to the record of its subfolders, its shape, and the consequence of damage.
FROZEN: Final[Mapping[str, tuple[str, Any, str]]] = {
    "models": (MANIFEST, Manifest, "This model cannot be used. Rerun the command that created it."),
    "datasets": (RECIPE, Recipe, "This version cannot be used. Run `tuneworthy data build` to create it again."),
    "imports": (
        "import.json",
        ImportRecord,
        "This import cannot be used. Run `tuneworthy data build FILES` to create it again.",
    ),
}


def record_damages(folder: Folder) -> Iterator[Damage]:
    for path in sorted(folder.path.rglob("*.json")):
        name = _name(folder, path)
        pattern = next((pattern for pattern in RECORDS if fnmatchcase(name, pattern)), None)
        if pattern is None or "/" in name.removeprefix(pattern.rpartition("/")[0] + "/"):
            continue
        shape, cost = RECORDS[pattern]
        if what := _fault(partial(_read, folder, name, shape)):
            keep = pattern in IRREPLACEABLE or ANOTHER_VERSION in what
            repair = None if keep else partial(quarantine, folder, path)
            yield Damage(file=path, what=what, cost=cost, repair=repair)


def _read(folder: Folder, name: str, shape: Any) -> None:
    folder.read(name, shape)
    if name in {"run", "quick", "run-unfinished", "quick-unfinished"} or name.startswith(f"{HISTORY}/"):
        record_from(folder.read(name, dict), str(folder.path / f"{name}.json"))
    if name == "comparisons" and not _fault(lambda: folder.read("split", StoredSplit)):
        read_comparisons(folder)


def frozen_damages(folder: Folder) -> Iterator[Damage]:
    """Find models, datasets and imports whose files are not what their record says.

    One whose record cannot be read is in the way of all others of its kind and is moved aside.
    """
    for kind, (record, shape, cost) in FROZEN.items():
        for part in sorted((folder.path / kind).glob("*")):
            path = part / record
            if part.name.startswith(".") or not path.exists():
                continue
            if what := _fault(partial(folder.read, _name(folder, path), shape)):
                yield Damage(
                    file=path,
                    what=what,
                    cost=cost,
                    repair=None if ANOTHER_VERSION in what else partial(quarantine, folder, part),
                )
            elif wrong := _changed_import(part, folder) if kind == "imports" else changed(part, record):
                yield Damage(
                    file=wrong,
                    what="The file has been added, modified or deleted since its folder was created.",
                    cost=cost,
                )


def _name(folder: Folder, path: Path) -> str:
    return str(path.relative_to(folder.path).with_suffix(""))


def _changed_import(part: Path, folder: Folder) -> Path | None:
    record = folder.read(_name(folder, part / "import.json"), ImportRecord)
    return next(
        (
            part / name
            for name, digest in (record.sha256 if record else {}).items()
            if not (part / name).is_file() or file_digest(part / name)[0] != digest
        ),
        None,
    )


def work_damages(folder: Folder) -> Iterator[Damage]:
    """Find lines of people's verdicts that cannot be read. They are next to the project file; people change them."""
    path = folder.root / REVIEWS
    if what := _fault(lambda: Ledger.read(path)):
        yield Damage(file=path, what=what, cost="No review can be read until the line is fixed.")


def _fault(read: Callable[[], object]) -> str:
    try:
        read()
    except UserError as error:
        return error.message
    except OSError as error:
        return str(error)
    return ""
