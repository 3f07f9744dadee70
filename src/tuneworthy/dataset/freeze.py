"""A frozen version of the training data: named by a hash of its content and of how it was made; never changed.

    .tuneworthy/datasets/<id>/rows.jsonl      the rows, a line each
                              rejects.jsonl   every dropped row: which check, why, what it repeats, and the row itself
                              findings.jsonl  what was masked or only reported in the rows that stayed
                              recipe.json     hashes of input and files, code version, settings, counts, gates, times

See `store.frozen` for how it is written, and what its id is a hash of.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from typing_extensions import TypedDict

from tuneworthy.dataset import messages
from tuneworthy.dataset.importing.folder import StoredRow, example_of
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.store.frozen import changed, freeze_folder
from tuneworthy.store.lines import read_lines
from tuneworthy.store.shapes import OpenRecord, Pointer
from tuneworthy.types import Example

FORMAT: Final = 1
RECIPE: Final = "recipe.json"
FILES: Final = ("rows.jsonl", "rejects.jsonl", "findings.jsonl")


class GateRow(OpenRecord):
    """A gate of a version."""

    check: str
    passed: bool
    detail: str


class LabelRow(TypedDict):
    """How many rows and cases a label has."""

    label: str
    before: int
    after: int
    cases: int


def lost_labels(rows: Sequence[LabelRow]) -> list[str]:
    """Return the labels of cases whose rows have all been dropped."""
    return [row["label"] for row in rows if row["before"] > 0 == row["after"] and row["cases"] > 0]


class Recipe(OpenRecord):
    """What every `recipe.json` holds."""

    files: dict[str, dict[str, Any]]
    gates: list[GateRow]
    unsafe: bool
    depends: dict[str, Any]
    effect: dict[str, Any]
    labels: list[LabelRow]


@dataclass(frozen=True, slots=True)
class Version:
    """A frozen version.

    Attributes:
        folder: Where it is.
        recipe: The content of its `recipe.json`.
    """

    folder: Path
    recipe: dict[str, Any]

    @property
    def id(self) -> str:
        """The hash that names it."""
        return self.folder.name

    @property
    def n_rows(self) -> int:
        """How many rows it holds."""
        n: int = self.recipe["files"]["rows.jsonl"]["n"]
        return n

    def examples(self) -> Iterator[Example]:
        """Yield the rows, one at a time."""
        return map(example_of, read_lines(self.folder / "rows.jsonl", StoredRow))

    def rejects(self) -> Iterator[dict[str, Any]]:
        """Yield what was dropped: `id`, `source`, `check`, `reason`, `detail`, `row`; `other`, `score` if any."""
        return self._lines("rejects.jsonl")

    def dropped(self) -> Iterator[Example]:
        """Yield the dropped rows, but for dev and overlaps.

        A row that was dropped for another reason and overlaps with a case as well stays out, too.
        """
        for line in self.rejects():
            apart = line["check"] in {"held_out", "contamination"} or line.get("contamination")
            if not apart and line["row"]["messages"]:
                yield example_of({**line, **line["row"]})

    def findings(self) -> Iterator[dict[str, Any]]:
        """Yield findings on rows that stayed: as `rejects`, with `action` (`mask` or `report`), without `row`."""
        return self._lines("findings.jsonl")

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        return read_lines(self.folder / name, dict[str, Any])

    def verify(self) -> None:
        """Compare the files with their hashes, and the recipe with the id.

        Raises:
            UserError: Something was changed or is gone.
        """
        if (path := changed(self.folder, RECIPE)) is not None:
            raise UserError(f"{path} has changed since it was frozen.", hint=messages.say("build_again"))


def freeze(store: Folder, contents: Mapping[str, Iterable[bytes]], recipe: Mapping[str, Any]) -> Version:
    """Write a version, or return the one that is there if it is the same; it is the latest from now on.

    Args:
        store: The project's folder; the caller holds the lock.
        contents: Lines by name of the file, for all of `FILES`.
        recipe: All that describes the version but its files; its `times` name nothing.
    """

    def fill(folder: Path) -> dict[str, dict[str, int]]:
        return {name: {"n": _write(folder / name, contents[name])} for name in FILES}

    store.create()
    about = {key: value for key, value in recipe.items() if key != "times"} | {"format": FORMAT}
    folder = freeze_folder(store.path / "datasets", RECIPE, fill, about, times=recipe.get("times", {}), read_only=True)
    store.write("datasets/latest", {"id": folder.name})
    version = find_version(store, folder.name)
    assert version is not None
    return version


def _write(path: Path, lines: Iterable[bytes]) -> int:
    n = 0
    with path.open("wb", buffering=2**20) as file:
        for line in lines:
            file.write(line)
            n += 1
    return n


def find_version(store: Folder, version: str) -> Version | None:
    """Return the version called `version`, or None."""
    recipe = store.read(f"datasets/{version}/recipe", Recipe)
    return None if recipe is None else Version(store.path / "datasets" / version, dict(recipe))


def latest_version(store: Folder) -> Version | None:
    """Return the version that was frozen last, or None."""
    document = store.read("datasets/latest", Pointer)
    return None if document is None else find_version(store, document["id"])


def open_version(store: Folder, version: str | None = None) -> Version:
    """Return the version called `version` (or the latest), its files compared with their hashes.

    Raises:
        UserError: There is no such version, or it was changed.
    """
    opened = latest_version(store) if version is None else _named(store, version)
    if opened is None:
        if version is None:
            raise UserError("No version of the training data has been frozen yet.", hint=messages.say("build_again"))
        raise UserError(
            f"{version!r} does not match exactly one version of the training data.",
            hint="Omit --version to use the latest version, or pass a longer part of the ID.",
        )
    opened.verify()
    return opened


def _named(store: Folder, start: str) -> Version | None:
    """Return the version whose id begins with `start`, if it is the only one."""
    datasets = store.path / "datasets"
    names = [path.name for path in datasets.iterdir()] if datasets.is_dir() else []
    names = [name for name in names if name.startswith(start) and "." not in name] if start else []
    return find_version(store, names[0]) if len(names) == 1 else None
