"""The one door to the terminal: whatever is printed passes `visible`, so that no text of others can steer it.

`safe_streams` stands around the whole command line; `console` is for tables and live lines, whose own escapes stay.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tuneworthy.report.text import visible


class SafeStream:
    """A text stream that writes out what cannot be seen; all else is that of the stream below."""

    def __init__(self, below: Any) -> None:
        self.below = below

    def write(self, text: str) -> int:
        """Write `text`."""
        self.below.write(visible(text))
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


class SafeConsole(Console):
    """A console whose texts are safe, and whose links are not followed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments; control codes are those of rich itself."""
        for text, style, control in super().render(renderable, options):
            if control:
                yield Segment(text, style, control)
            else:
                yield Segment(visible(text), style.update_link(None) if style and style.link else style)


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr; on stdout no colours and full width where that is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    file = getattr(stream, "below", stream)
    safe = SafeConsole(file=file, highlight=False, markup=False)
    return safe if safe.is_terminal or stderr else SafeConsole(file=file, highlight=False, markup=False, width=160)
