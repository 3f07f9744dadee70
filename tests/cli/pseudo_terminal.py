"""Runs the command line on a pseudo-terminal of a given width, and returns what it writes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(*words: str, columns: int, typed: str = "", **environment: str) -> tuple[int, str]:
    """Return the exit status of `tuneworthy WORDS` and all that it writes, escapes included.

    Args:
        words: The arguments.
        columns: Of the terminal, which has 40 lines.
        typed: What the user types, ahead of the questions.
        environment: Variables beside those of this process.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    usual = {key: text for key, text in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR", "CI"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "tuneworthy", *words],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**usual, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, typed.encode())
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when the last writer has left
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    return process.wait(), b"".join(parts).decode()


def lines_of(text: str) -> list[str]:
    """Return what is written on each line, without escapes."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", ESCAPE.sub("", text))]
