"""The console of tables and live lines: their own escapes stay, and every text passes `visible`."""

import sys
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tuneworthy.report.text import visible


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
