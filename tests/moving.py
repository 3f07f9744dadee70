"""A project that has another name at each command: nothing below `.tuneworthy` may depend on its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tuneworthy.cli.invocation import Invocation
from tuneworthy.store.folder import NAME

NUMBERS = count(1)


def project_of(arguments: list[str]) -> tuple[int, Path] | None:
    """Return where the arguments name the project, and its folder; None if it is the working folder."""
    for place, word in enumerate(arguments[:-1]):
        if word == "--project":
            return place + 1, Path(arguments[place + 1])
    return None


def left_behind(folder: Path) -> list[str]:
    """Return the files below `.tuneworthy` that contain the path of the project."""
    name = str(folder.absolute()).encode()
    files = [path for path in (folder / NAME).rglob("*") if path.is_file()]
    found = [(path, path.read_bytes()) for path in files]
    return [f"{path}: {text[max(0, text.find(name) - 60) :][:200]!r}" for path, text in found if name in text]


@contextmanager
def moved(invocation: Invocation) -> Iterator[None]:
    """Rename the project folder of an invocation while it runs, if it was used before."""
    named = project_of(invocation.arguments)
    if named is None or not (named[1] / NAME).is_dir() or named[1].is_symlink():
        yield
        return
    place, folder = named
    other = folder.absolute().with_name(f"moved-{next(NUMBERS)}-{folder.name}")
    before, root = invocation.arguments[:], str(folder.absolute())
    folder.rename(other)
    invocation.arguments = [
        f"{other}{word[len(root) :]}" if f"{word}/".startswith(f"{root}/") else word for word in before
    ]
    invocation.arguments[place] = str(other)
    try:
        yield
        assert left_behind(other) == [], f"{left_behind(other)}, {before}"
    finally:
        other.rename(folder)
