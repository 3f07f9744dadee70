"""The one door to the terminal: whatever is printed passes `visible`, so that no text of others can steer it.

`safe_streams` stands around the whole command line; `terminal.console` is for tables and live lines.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from tuneworthy.report.text import visible


class SafeStream:
    """A text stream that writes out what cannot be seen; all else is that of the stream below."""

    def __init__(self, below: Any) -> None:
        self.below = below

    def write(self, text: str) -> int:
        """Write `text`."""
        self.below.write(re.sub(r" +(?=\n)", "", visible(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        """Bytes would pass by."""
        raise AttributeError("buffer")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Let everything that is printed pass `SafeStream`."""
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(SafeStream(sys.stdout)))
        stack.enter_context(redirect_stderr(SafeStream(sys.stderr)))
        yield
