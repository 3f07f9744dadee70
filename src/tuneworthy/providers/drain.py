"""How a command that was stopped lets the calls in flight come to their end: they may be paid for already.

The first stop cancels the command's task, which then waits for its calls here. The second cancels every task with the
message `AT_ONCE`, and nothing waits any longer.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

AT_ONCE = "at once"
# How long calls in flight may take once a command is stopped, seconds, unless the project says otherwise.
GRACE_S = 30.0


async def drain(tasks: Iterable[asyncio.Future[Any]], limit_s: float) -> None:
    """Wait until `tasks` are done, `limit_s` is over, or the user wants to stop at once; cancellations are put off."""
    pending = set(tasks)
    clock = asyncio.get_running_loop().time
    until = clock() + limit_s
    while pending and (left := until - clock()) > 0:
        try:
            _, pending = await asyncio.wait(pending, timeout=left)
        except asyncio.CancelledError as error:
            if error.args == (AT_ONCE,):
                return
