"""The start of a process of the command line: signals and standard streams are right before anything else is imported.

Until the module of a command is imported, a signal ends the process at once with 128 + its number; from then on
(`listen`), SIGTERM and SIGHUP interrupt it as Ctrl-C does. A signal that is ignored (as under `nohup`) stays ignored.
"""

import os
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Run the command line and exit with its status (see `errors`).

    A closed standard stream becomes the null device: else the next open file, such as the store, would get its number.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)
    from tuneworthy.cli import invoke

    sys.exit(invoke(sys.argv[1:]))


def stop(number: int, _: object) -> None:
    """End the process: there is nothing to save yet."""
    os.write(2, b"Stopped before the command started.\n")
    os._exit(128 + number)


def listen() -> None:
    """Let the signals that `stop` gets raise KeyboardInterrupt."""
    for number in SIGNALS:
        if signal.getsignal(number) is stop:
            signal.signal(number, signal.default_int_handler)
