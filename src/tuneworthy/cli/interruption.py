"""Ctrl-C, SIGTERM and SIGHUP end a command in one way: the first lets calls in flight finish, the second does not.

Each ends the command with status 130 and the same sentence. A signal that is ignored (as under `nohup`) stays ignored.
"""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tuneworthy.providers.drain import AT_ONCE
from tuneworthy.providers.http_client import blocking
from tuneworthy.signals import STOPPING, handled_by

# A command that does not end within so many seconds of the second signal is ended, seconds.
_LAST_S = 2
Result = TypeVar("Result")


def run_async(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` to its end; a signal cancels it, and a second one cancels all that still waits.

    Raises:
        KeyboardInterrupt: It was stopped.
    """
    count = 0

    async def supervised() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(*_: object) -> None:
            nonlocal count
            count += 1
            if count == 1 and task:
                task.cancel()
                STOPPING.set()
                with suppress(OSError):  # a stream's buffer may be in use by the code that was interrupted
                    os.write(2, b"\n" * os.isatty(2) + b"Stopping. Interrupt again to stop at once.\n")
            else:
                for waiting in asyncio.all_tasks(loop):
                    waiting.cancel(AT_ONCE)
                signal.signal(signal.SIGALRM, lambda *_: os._exit(130))
                signal.alarm(_LAST_S)
            loop.call_soon_threadsafe(lambda: None)  # wakes it

        with handled_by(stop):
            return await main

    try:
        return blocking(supervised())
    except asyncio.CancelledError:
        if count:
            raise KeyboardInterrupt from None
        raise
    finally:
        STOPPING.clear()
        signal.alarm(0)
