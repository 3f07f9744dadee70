"""Registries behind the decorators `@grader`, `@rung`, `@provider`: one door for built-ins and strangers.

A stranger's package registers through the entry-point group ``tuneworthy.<kind>`` (e.g. ``tuneworthy.graders``); it is
loaded the first time that a name is not found.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from tuneworthy.errors import UnknownName, UserError
from tuneworthy.trust import Grant, require
from tuneworthy.types import NamedTexts, Texts

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Registry(Generic[T]):
    """Names to factories of one kind.

    Args:
        kind: Plural noun, e.g. "graders"; also the entry-point group's suffix.
        builtins: Name to module; the module is imported when the name is first asked for, and registers itself on
            import.
        chosen: Whether a project file chooses the entry: then the project must be trusted with a stranger's.
    """

    def __init__(self, kind: str, builtins: NamedTexts, *, chosen: bool = False) -> None:
        self.kind = kind
        self._chosen = chosen
        self.builtins = builtins
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its argument under `name`."""

        def add(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise UserError(f"Two {self.kind} have the same name, {name!r}.", hint="Rename one of them.")
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str, root: Path | None = None) -> T:
        """Return the entry called `name`, importing its module if need be.

        Args:
            name: Of the entry.
            root: The project folder whose file chooses it.

        Raises:
            UnknownName: No such entry.
            Untrusted: The project may not run the package that offers it.
        """
        if name not in self._entries and name in self.builtins:
            import_module(self.builtins[name])
        if name not in self._entries:
            if self._chosen and (grant := entry_grant(self.kind, name)):
                assert root is not None, f"{self.kind} {name!r}: whose project?"
                require(root, grant)
            loaded = load_installed(self.kind, name)
            if loaded is not None:
                self._entries.setdefault(name, loaded)  # a decorator of the module may have registered it
        if name not in self._entries:
            raise UnknownName(self.kind.removesuffix("s"), name, list(self))
        return self._entries[name]

    def names(self) -> set[str]:
        """Return all known names: built in, registered, and of installed packages."""
        return set(self.builtins) | set(self._entries) | installed(self.kind)

    def __iter__(self) -> Iterator[str]:
        return iter([*self.builtins, *sorted(self.names() - set(self.builtins))])


@lru_cache(maxsize=64)
def _offered(kind: str, search_path: Texts) -> EntryPoints:
    return entry_points(group=f"tuneworthy.{kind}")


def installed(kind: str) -> set[str]:
    """Return the names that installed packages offer, e.g. of "graders"."""
    return _offered(kind, tuple(sys.path)).names


def entry_grant(kind: str, name: str) -> Grant | None:
    """Return the grant for running an installed package's object under `name`; None without one."""
    for entry in _offered(kind, tuple(sys.path)).select(name=name):
        return Grant("code", f"{kind}:{name}", entry.value)
    return None


def load_installed(kind: str, name: str) -> Any:
    """Return an installed package's object under `name`; None without one."""
    for entry in _offered(kind, tuple(sys.path)).select(name=name):
        logger.info("loading %s %r from %s", kind, name, entry.value)
        return entry.load()
    return None
