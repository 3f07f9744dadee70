"""The JSON records of the store, each with its shape and what its loss costs, and the folders named by a hash."""

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Final

from tuneworthy.cases.splits import StoredSplit
from tuneworthy.dataset.freeze import RECIPE
from tuneworthy.dataset.importing.folder import file_digest
from tuneworthy.dataset.records import ImportRecord, Recipe
from tuneworthy.doctor import messages
from tuneworthy.doctor.damage import Damage, quarantine
from tuneworthy.errors import UserError
from tuneworthy.ladder.commands.uncertainty import StoredUncertainty
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.ladder.judging import DOCUMENT as JUDGE
from tuneworthy.ladder.record import record_from
from tuneworthy.ladder.rungs.decoding import StoredSweep
from tuneworthy.ladder.task_data import Reveal
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_log import Ledger
from tuneworthy.shadow.replay import DOCUMENT as SHADOW
from tuneworthy.shadow.replay import ShadowRecord
from tuneworthy.ship.served import NOTE, ServedNote
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import MANIFEST, Manifest
from tuneworthy.store.frozen import changed
from tuneworthy.store.shapes import Pointer
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.domain_text import StoredDomain
from tuneworthy.verdict.error_analysis import ErrorAnalysis
from tuneworthy.verdict.gather import StoredValidation
from tuneworthy.verdict.gather_training import PARITY, PILOT, SERVING, PilotDocument, ProofDocument

# Records by path, with their shapes. The first pattern that fits counts.
SHAPES: Final[Mapping[str, tuple[Any, ...]]] = {
    "split": (StoredSplit,),
    "comparisons": (ComparisonPlan,),
    "revealed": (list[Reveal],),
    "run": (dict,),
    "quick": (dict,),
    "verdict": (Verdict,),
    "errors": (ErrorAnalysis,),
    "domain": (StoredDomain,),
    JUDGE: (StoredValidation,),
    PILOT: (PilotDocument,),
    PARITY: (ProofDocument,),
    SERVING: (ProofDocument,),
    SHADOW: (ShadowRecord,),
    NOTE: (ServedNote,),
    "uncertainty": (StoredUncertainty,),
    "sweeps/*": (StoredSweep,),
    "models/latest-*": (Pointer,),
    "datasets/latest": (Pointer,),
    "imports/latest": (Pointer,),
}
# Records that nothing else in the store can replace.
IRREPLACEABLE: Final = frozenset({"comparisons", "revealed"})
# Folder to the record and the shape of its subfolders.
FROZEN: Final[Mapping[str, tuple[str, Any]]] = {
    "models": (MANIFEST, Manifest),
    "datasets": (RECIPE, Recipe),
    "imports": ("import.json", ImportRecord),
}


def record_damages(folder: Folder) -> Iterator[Damage]:
    """Find the records that have another shape than their readers need."""
    for path in sorted(folder.path.rglob("*.json")):
        name = str(path.relative_to(folder.path).with_suffix(""))
        pattern = next((pattern for pattern in SHAPES if fnmatchcase(name, pattern)), None)
        if pattern is None or "/" in name.removeprefix(pattern.rpartition("/")[0] + "/"):
            continue
        if what := _fault(lambda name=name, pattern=pattern: _read(folder, name, SHAPES[pattern])):  # type: ignore[misc]
            repair = None if pattern in IRREPLACEABLE else partial(quarantine, folder, path)
            yield Damage(file=path, what=what, cost=messages.RECORD_COSTS[pattern], repair=repair)


def _read(folder: Folder, name: str, shapes: tuple[Any, ...]) -> None:
    for shape in shapes:
        folder.read(name, shape)
    if name in {"run", "quick"}:
        record_from(folder.read(name, dict), str(folder.path / f"{name}.json"))
    if name == "comparisons" and not _fault(lambda: folder.read("split", StoredSplit)):
        read_comparisons(folder)


def frozen_damages(folder: Folder) -> Iterator[Damage]:
    """Find models, datasets and imports whose files are not what their record says.

    One whose record cannot be read is in the way of all others of its kind and is moved aside.
    """
    for kind, (record, shape) in FROZEN.items():
        parent = folder.path / kind
        for part in sorted(parent.iterdir()) if parent.is_dir() else ():
            path = part / record
            if part.name.startswith(".") or not path.exists():
                continue
            cost = messages.FROZEN_COSTS[kind]
            if what := _fault(lambda path=path, shape=shape: folder.read(_name(folder, path), shape)):  # type: ignore[misc]
                yield Damage(file=path, what=what, cost=cost, repair=partial(quarantine, folder, part))
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
    hashes = record.sha256 if record else {}
    return next(
        (
            part / name
            for name, digest in hashes.items()
            if not (part / name).is_file() or file_digest(part / name)[0] != digest
        ),
        None,
    )


def work_damages(folder: Folder) -> Iterator[Damage]:
    """Find lines of people's verdicts that cannot be read. They are next to the project file; people change them."""
    path = folder.root / REVIEWS
    if what := _fault(lambda: Ledger.read(path)):
        yield Damage(file=path, what=what, cost="No review can be read until somebody fixes the line.")


def _fault(read: Callable[[], object]) -> str:
    """Return the fault of the file that `read` reads, in a sentence; "" without one."""
    try:
        read()
    except UserError as error:
        return error.message
    except OSError as error:
        return str(error)
    return ""
