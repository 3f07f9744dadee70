"""A signal at a chosen moment: after so many calls of the functions through which a command writes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any


def killed_at(
    moment: int, steps: Iterable[tuple[Any, str]], call: Callable[[], Any], number: int = signal.SIGKILL
) -> bool:
    """Run `call` in a child that sends itself a signal before its `moment`-th step; say whether that ended it.

    Args:
        moment: From 1.
        steps: What counts as a step: an object and the name of its function.
        call: What is run. It must end well if it is not killed.
        number: The signal.
    """
    child = os.fork()
    if child == 0:
        n, status = 0, 1

        def count(function: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*arguments: Any, **named: Any) -> Any:
                nonlocal n
                n += 1
                if n == moment:
                    os.kill(os.getpid(), number)
                return function(*arguments, **named)

            return counted

        try:
            for owner, name in steps:
                setattr(owner, name, count(getattr(owner, name)))
            call()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)
