"""The file that is open in the limited child: it is read on from where the last call stopped."""

from collections.abc import Callable, Iterator
from typing import Any

# Its path, to the number of the next row and what follows.
_open: dict[str, tuple[int, Iterator[Any]]] = {}


def resume(path: str, first: int, start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Return what follows row `first` of a file; `start` opens it where it is not open at that row."""
    at, rows = _open.pop(path, (-1, iter(())))
    return rows if at == first else start()


def keep_open(path: str, first: int, rows: Iterator[Any]) -> None:
    """Keep a file open at row `first`, in the place of any other."""
    _open.clear()
    _open[path] = first, rows


def fault_of(error: Exception) -> str:
    """Return a reader's error in one short line."""
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__
