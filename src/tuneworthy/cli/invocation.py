"""One run of the command line, as the object that click hands from command to command."""

import signal
from dataclasses import dataclass, field
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Invocation:
    """What is known of one run of the command line.

    Attributes:
        arguments: The arguments as they were typed.
        project: The project folder that the command works on.
        debug: Whether the traceback of an error is printed.
    """

    arguments: list[str] = field(default_factory=list)
    project: Path = Path()
    debug: bool = False


def listen() -> None:
    """Let SIGTERM and SIGHUP interrupt this process as Ctrl-C does."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
