"""A frozen version of the training data: named by a hash of its content and of how it was made; never changed.

    .tuneworthy/datasets/<id>/rows.jsonl      the rows, a line each
                              rejects.jsonl   every dropped row: which check, why, what it repeats, and the row itself
                              findings.jsonl  what was masked or only reported in the rows that stayed
                              recipe.json     hashes of input and files, code version, settings, counts, gates, times

See `store.frozen` for how it is written, and what its id is a hash of.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tuneworthy.dataset import messages
from tuneworthy.dataset.records import Recipe, RowLine
from tuneworthy.dataset.rows import ROWS, RowFolder
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.store.frozen import changed, freeze_folder
from tuneworthy.store.lines import read_lines
from tuneworthy.store.shapes import Pointer
from tuneworthy.types import Example, positional

RECIPE = "recipe.json"


@positional
class Version(RowFolder):
    """A frozen version: its folder and the content of its `recipe.json`."""

    recipe: Recipe

    @property
    def n_rows(self) -> int:
        return self.recipe.files[ROWS].n

    def dropped(self) -> Iterator[Example]:
        for line in self.rejects():
            apart = line.check in {"held_out", "contamination"} or line.contamination
            if not apart and line.example is not None:
                yield line.example

    def findings(self) -> Iterator[RowLine]:
        return read_lines(self.folder / "findings.jsonl", RowLine)

    def verify(self) -> None:
        """Compare the files with their hashes, and the recipe with the id.

        Raises:
            UserError: Something was changed or is gone.
        """
        if (path := changed(self.folder, RECIPE)) is not None:
            raise UserError(f"{path} has changed since it was frozen.", hint=messages.say("build_again"))


def freeze(store: Folder, contents: Mapping[str, Iterable[bytes]], recipe: Recipe) -> Version:
    """Write a version, or return the existing one if it is the same; it becomes the latest, or the latest full one.

    Args:
        store: The project's folder; the caller has the lock.
        contents: Lines by name of the file.
        recipe: Describes the version; its files are added, its `times` do not enter the id.
    """

    def fill(folder: Path) -> dict[str, dict[str, int]]:
        return {name: {"n": _write(folder / name, lines)} for name, lines in contents.items()}

    store.create()
    about = recipe.to_dict()
    folder = freeze_folder(store.path / "datasets", RECIPE, fill, about, times=about.pop("times"), read_only=True)
    store.write(f"datasets/{'full' if recipe.honest else 'latest'}", {"id": folder.name})
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
    recipe = store.read(f"datasets/{version}/recipe", Recipe)
    return None if recipe is None else Version(store.path / "datasets" / version, recipe)


def latest_version(store: Folder) -> Version | None:
    document = store.read("datasets/latest", Pointer)
    return None if document is None else find_version(store, document.id)


def full_version(store: Folder, honest: Version) -> Version | None:
    """Return the version with the rows of `honest` and those that only overlap with cases; None without such rows."""
    document = store.read("datasets/full", Pointer)
    full = None if document is None else find_version(store, document.id)
    return full if full is not None and full.recipe.honest == honest.id else None


def is_full(store: Folder, version: str | None) -> bool:
    """Whether a model of this version may not be measured, as it was trained on rows that overlap with cases."""
    found = find_version(store, version) if version else None
    return found is not None and bool(found.recipe.honest)


def open_version(store: Folder, version: str | None = None) -> Version:
    """Return the version called `version` (or the latest), its files compared with their hashes.

    Raises:
        UserError: There is no such version, or it was changed.
    """
    if version is None:
        opened = latest_version(store)
        if opened is None:
            raise UserError("No version of the training data has been frozen yet.", hint=messages.say("build_again"))
    else:
        paths = (store.path / "datasets").glob("[!.]*") if version else ()
        names = [path.name for path in paths if path.name.startswith(version) and "." not in path.name]
        opened = find_version(store, names[0]) if len(names) == 1 else None
        if opened is None:
            raise UserError(
                f"{version!r} does not match exactly one version of the training data.",
                hint="Use the latest version, or a longer part of the ID.",
            )
    opened.verify()
    return opened
