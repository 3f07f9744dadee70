"""The start of the command line: signals and standard streams are right before anything else is imported."""

import os
import sys

from tuneworthy.signals import stop_at_once


def main() -> None:
    """Run the command line and exit with its status (see `errors`).

    A closed standard stream becomes the null device: else the next open file, such as the store, would get its number.
    """
    stop_at_once()
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    from tuneworthy.cli import invoke

    sys.exit(invoke(sys.argv[1:]))
