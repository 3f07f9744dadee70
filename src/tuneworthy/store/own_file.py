"""Files that are read on access, for what would take too much memory.

They are not mapped: each read at random from a mapped file adds up to 2 MB to the memory of the process (Linux 6.18).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeVar, overload
from weakref import finalize

T = TypeVar("T")


class StoredSequence(Sequence[T]):
    """A sequence whose items are read on access; a slice is a list."""

    def item(self, number: int) -> T:
        raise NotImplementedError

    @overload
    def __getitem__(self, number: int) -> T: ...
    @overload
    def __getitem__(self, number: slice) -> list[T]: ...
    def __getitem__(self, number: int | slice) -> T | list[T]:
        if isinstance(number, slice):
            return [self.item(one) for one in range(*number.indices(len(self)))]
        return self.item(number)


class OwnFile:
    """Bytes that are read on access.

    Args:
        path: Has them, and must not change; None for a file without a name, which is gone with its last reader.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file: IO[bytes] = path.open("rb") if path else TemporaryFile(buffering=1 << 20)  # noqa: SIM115
        finalize(self, self._file.close)
        self._n_bytes = 0

    def write(self, content: bytes) -> int:
        """Append `content`; return where it ends."""
        self._file.write(content)
        self._n_bytes += len(content)
        return self._n_bytes

    def read(self, start: int, end: int) -> bytes:
        self._file.flush()
        handle = self._file.fileno()
        content = os.pread(handle, end - start, start)
        while len(content) < end - start and (
            more := os.pread(handle, end - start - len(content), start + len(content))
        ):
            content += more
        return content
