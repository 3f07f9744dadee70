"""The process between the tool and a server that it started: the server ends when the tool does, however that ends.

Started as ``python -I leash_child.py -- PROGRAM ARGUMENT ...``. Standard input is a leash: when the parent closes it,
or dies, the server's whole group is asked to end and then killed. It imports nothing of ours. Its exit status is the
server's.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys

PATIENCE_S = 10.0


def end(server: subprocess.Popen[bytes]) -> None:
    """Ask every process of the server's group to end; kill what is left after `PATIENCE_S`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE_S)


def watch(server: subprocess.Popen[bytes]) -> int:
    """Wait until the server ends or the leash is let go; return the server's exit status, 0 if it was let go."""
    try:
        while server.poll() is None:
            readable, _, _ = select.select([0], [], [], 0.2)
            if readable and not os.read(0, 4096):
                return 0
        return server.returncode
    finally:
        end(server)


def main() -> int:
    """Start the server and watch it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it lets the leash go
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    return watch(
        subprocess.Popen(sys.argv[sys.argv.index("--") + 1 :], stdin=subprocess.DEVNULL, start_new_session=True)
    )


if __name__ == "__main__":
    sys.exit(main())
