"""The console of tables and live lines: their own escapes stay, and every text passes `inert`."""

import os
import sys
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tuneworthy.report.text import inert


class SafeConsole(Console):
    """A console whose texts are safe, and whose links are not followed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments; control codes are those of rich itself."""
        for text, style, control in super().render(renderable, options):
            if control:
                yield Segment(text, style, control)
            else:
                yield Segment(inert(text), style.update_link(None) if style and style.link else style)


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr; where stdout is no terminal, no colours and 160 columns or COLUMNS."""
    stream = sys.stderr if stderr else sys.stdout
    safe = SafeConsole(file=getattr(stream, "below", stream), highlight=False, markup=False)
    if safe.is_terminal or stderr:
        return safe
    return SafeConsole(file=stream, highlight=False, markup=False, width=None if os.environ.get("COLUMNS") else 160)
