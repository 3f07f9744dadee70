"""Signals of the command line. A signal that is ignored (as under `nohup`) stays ignored."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Set from the first signal to the end of the command, for threads and long computations.
STOPPING = threading.Event()


def check_stop() -> None:
    """End a long computation of a command that was stopped; called between its steps.

    Raises:
        CancelledError: It was stopped.
    """
    if STOPPING.is_set():
        from asyncio import CancelledError  # slow to import

        raise CancelledError


def stop_at_once() -> None:
    """Let a signal end this process with 128 + its number: nothing runs yet that could be saved."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def stop(number: int, _: object) -> None:
    """End the process."""
    os.write(2, b"Stopped before the command started.\n")
    os._exit(128 + number)


def listen() -> None:
    """Let SIGTERM and SIGHUP interrupt this process as Ctrl-C does, from `stop_at_once` on."""
    for number in SIGNALS:
        if signal.getsignal(number) is stop:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def handled_by(handler: Callable[..., Any]) -> Iterator[None]:
    """Let `handler` take the signals that this process handles; `default_int_handler` ends a wait outside asyncio."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mine = [number for number, old in before.items() if callable(old)]
    if threading.current_thread() is not threading.main_thread():
        mine.clear()  # Python handles signals in the main thread only
    for number in mine:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])
