"""The one door to the terminal: whatever is printed passes `inert`, so that no text of others can steer it.

Output for people is cleaned here as well; a JSON document is printed below it, unchanged.

`safe_streams` wraps the whole command line; `terminal.console` is for tables and live lines.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from shutil import get_terminal_size
from textwrap import TextWrapper
from typing import Any

from tuneworthy.cli.invocation import Invocation
from tuneworthy.report.text import inert


class SafeStream:
    """A text stream that writes out what cannot be seen; all else is that of the stream below.

    The commands in a text are completed by `invocation`, and a terminal gets lines of its width.
    """

    def __init__(self, below: Any, invocation: Invocation) -> None:
        self.below, self.invocation = below, invocation

    def write(self, text: str) -> int:
        shown = re.sub(r" +(?=\n)", "", self.invocation.complete(inert(text)))
        if self.below.isatty():
            width = get_terminal_size().columns
            shown = "\n".join(_wrapped(line, width) if len(line) > width else line for line in shown.split("\n"))
        self.below.write(shown)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        """Bytes would pass by."""
        raise AttributeError("buffer")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


def _wrapped(line: str, width: int) -> str:
    r"""Return `line` in lines of at most `width` characters, without breaking a command in backticks.

    >>> _wrapped("  Run it, then run `tuneworthy decide` again.", 30)
    '  Run it, then run\n  `tuneworthy decide` again.'
    """
    indent = line[: len(line) - len(line.lstrip())]
    whole = re.sub("`[^`]*`", lambda match: match[0].replace(" ", "\0"), line)
    wrapper = TextWrapper(width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(whole).replace("\0", " ")


@contextmanager
def safe_streams(invocation: Invocation) -> Iterator[None]:
    with redirect_stdout(SafeStream(sys.stdout, invocation)), redirect_stderr(SafeStream(sys.stderr, invocation)):
        yield
