"""Live record of `train`: its phases, written as they happen, so that other commands can read them at any time.

    .tuneworthy/training.json

A phase may contain others; a finished one is in the record at once. Without a `recording`, phases leave no trace.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count

from tuneworthy.store import Folder
from tuneworthy.types import Say

FILE = "training"
# Seconds between two writes of the record, and writes between two lines for people.
WRITE_S, LINE_EVERY = 2.0, 10
# The phase that shows its own progress.
COMPARISON = "compare on test"


@dataclass
class TrainingState:
    """Content of the record: the open phase, with its units of work if they are known, and seconds of finished phases.

    Attributes:
        status: `running`, `finished`, `stopped` or `failed`.
        detail: The latest measurement of the phase, in words.
    """

    status: str = "running"
    pid: int = field(default_factory=os.getpid)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    phase: str = ""
    done: int = 0
    total: int = 0
    detail: str = ""
    finished: dict[str, float] = field(default_factory=dict)


class LivePhases:
    """The phases of this process.

    Args:
        store: The project's folder; the caller has the lock while a phase is open.
    """

    def __init__(self, store: Folder) -> None:
        self._store, self._guard = store, threading.Lock()
        self.state = TrainingState()
        self.began, self.before, self.at = time.monotonic(), 0, 0.0

    def write(self) -> None:
        with self._guard:
            self.state.updated = datetime.now(UTC)
            self._store.write(FILE, self.state)

    def enter(self, name: str, total: int, done: int) -> None:
        self.state = replace(self.state, phase=name, total=total, done=done, detail="")
        self.began, self.before = time.monotonic(), done
        self.write()

    def advance(self, n: int = 1, detail: str = "") -> None:
        self.at, self.state.detail = time.monotonic(), detail
        self.state.done = min(self.state.total, self.state.done + n)

    def line(self) -> str:
        state, passed = self.state, time.monotonic() - self.began
        if state.done <= self.before:
            return f"{state.phase}: {passed:.0f} s so far."
        left = (self.at - self.began) * (1 + (state.total - state.done) / (state.done - self.before)) - passed
        return f"{state.phase}: {state.done} of {state.total}{state.detail}, {max(0.0, left):.0f} s left."

    def watch(self, say: Say, ended: threading.Event) -> None:
        """Write the record, and say now and then where a phase is, until the event."""
        for n in count(1):
            if ended.wait(WRITE_S):
                return
            if self.state.phase:
                with suppress(OSError):
                    self.write()
            if n % LINE_EVERY == 0 and self.state.phase not in {"", COMPARISON}:
                say(self.line())


_LIVE: ContextVar[LivePhases | None] = ContextVar("live", default=None)


@contextmanager
def recording(store: Folder, say: Say) -> Iterator[None]:
    """Record the phases of the block in the project; `say` gets a line at least every 20 seconds."""
    live, ended = LivePhases(store), threading.Event()
    watcher, token = threading.Thread(target=live.watch, args=(say, ended), daemon=True), _LIVE.set(live)
    watcher.start()
    try:
        yield
        live.state.status = "finished"
    except BaseException as error:
        live.state.status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        raise
    finally:
        _LIVE.reset(token)
        ended.set()
        watcher.join()
        if live.state.phase or live.state.finished:
            live.write()


@contextmanager
def phase(name: str, total: int = 0, done: int = 0) -> Iterator[Callable[..., None]]:
    """Run the block as a phase, which is finished unless the block raises; yields what counts units of work."""
    if (live := _LIVE.get()) is None:
        yield lambda *_, **__: None
        return
    outer, began = live.state, time.monotonic()
    live.enter(name, total, done)
    yield live.advance
    live.state.finished[name] = round(live.state.finished.get(name, 0.0) + time.monotonic() - began, 1)
    live.enter(outer.phase, outer.total, outer.done)


def follow(state: TrainingState) -> None:
    """Show the open phase of a child process as this one's."""
    live = _LIVE.get()
    if live is None or not state.phase:
        return
    if live.state.phase != state.phase:
        live.enter(state.phase, state.total, state.done)
    live.advance(state.done - live.state.done, state.detail)


def read_training(store: Folder) -> TrainingState | None:
    """Return the record; a process that was killed left it as `running`, and has stopped."""
    found = store.read(FILE, TrainingState)
    if found and found.status == "running" and (store.holder() or ("",))[0] != str(found.pid):
        found.status = "stopped"
    return found


def training_lines(store: Folder) -> list[str]:
    """Return the state of training in one line; no line if it is finished, or never began."""
    found = read_training(store)
    if found is None or found.status == "finished":
        return []
    started, updated = (f"{at.astimezone():%Y-%m-%d %H:%M}" for at in (found.started, found.updated))
    share = f" ({found.done} of {found.total})" if found.total else ""
    running = found.status == "running"
    ended, more = ("", "") if running else (f", {found.status} {updated}", " To continue, run `tuneworthy train`.")
    phases = ", ".join(found.finished) or "no phase yet"
    return [f"Training: {found.phase or 'between phases'}{share}, started {started}{ended}. Finished: {phases}.{more}"]
