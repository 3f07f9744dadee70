"""A project that has another name at each command: nothing below `.tuneworthy` may depend on its place."""

from __future__ import annotations

import re
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
def elsewhere(folder: Path) -> Iterator[Path]:
    """Rename a used project folder for a while, and yield its new path; nothing in it may contain that."""
    if not (folder / NAME).is_dir() or folder.is_symlink():
        yield folder
        return
    other = folder.absolute().with_name(f"moved-{next(NUMBERS)}-{folder.name}")
    folder.rename(other)
    try:
        yield other
        if found := left_behind(other):
            raise AssertionError(found)
    finally:
        other.rename(folder)


@contextmanager
def moved(invocation: Invocation) -> Iterator[None]:
    """Rename the project folder of an invocation while it runs, if it was used before."""
    words = [re.sub(r"moved-\d+-", "", word) for word in invocation.arguments]  # as a command printed it
    named = project_of(words)
    if named is None:
        yield
        return
    place, folder = named
    root = str(folder.absolute())
    with elsewhere(folder) as other:
        inside = [f"{word}/".startswith(f"{root}/") for word in words]
        invocation.arguments = [
            f"{other}{word[len(root) :]}" if own else word for word, own in zip(words, inside, strict=True)
        ]
        invocation.arguments[place] = str(other)
        yield
