"""Writer of `calls.jsonl`: a bounded queue, and one daemon thread per process that masks calls and appends them.

Invariants: nothing here waits for the disk or raises into the caller; each call becomes one line, with its content or
with the reason that it was skipped; text reaches the disk only after the masks (`calls.rows`). The queue is bounded in
bytes. Several threads, forked processes and programs may write to one file: a line is one write, under a lock.
"""

import atexit
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from threading import Event, RLock, Thread
from time import perf_counter, sleep, time
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson

from tuneworthy.store.lines import end_line, exclusive
from tuneworthy.types import JsonObject, frozen

DEFAULT_PATH, PATH_VARIABLE = "calls.jsonl", "TUNEWORTHY_CALLS"
# A call whose request, answer, arguments or output is larger is skipped, bytes.
MAX_BYTES = 2**20
# Bytes of calls that wait for the thread, at most.
MAX_WAITING = 32 * 2**20
RECORDED, NO_JSON = "recorded", "no JSON"
# How long the end of a program waits for its last calls, seconds.
EXIT_S = 5.0
# Between the end of a call and the work on it, seconds: the program is busy with the answer then, and needs the GIL.
_PAUSE_S = 0.1
# Calls that are written under one lock, and skipped calls of one reason among them, at most.
_MAX_BATCH = 1_000
P = ParamSpec("P")
C = TypeVar("C", bound="LiveCall")
_log = logging.getLogger(__name__)


class SkippedCall(Exception):
    """A call that cannot be recorded; the text is the reason."""


@dataclass(slots=True)
class _Waiting:
    """A call on its way to the disk.

    Attributes:
        name: Of its recording.
        written: End of the call, seconds since the epoch.
        size: Bytes.
        make: Returns the masked line; called by the thread.
    """

    name: str | None
    written: float
    size: int
    make: Callable[[], JsonObject]


class Recorder:
    """Appends calls to one file.

    Args:
        path: Of the file.

    Attributes:
        counts: Calls of this process: `RECORDED`, or by the reason why they were skipped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Begin without a thread and without calls, as a forked process has to."""
        self._lock = RLock()  # a finaliser may record a call within a call
        self._queue: SimpleQueue[_Waiting | Event | None] = SimpleQueue()
        self._skipped: Counter[tuple[str | None, str]] = Counter()
        self._n_bytes, self._thread = 0, None
        self.counts.clear()

    _thread: Thread | None

    def put(self, name: str | None, size: int, make: Callable[[], JsonObject]) -> None:
        """Hand a call to the thread, or skip it if too many bytes wait."""
        with self._lock:
            self._start()
            if has_room := self._n_bytes + size <= MAX_WAITING:
                self._n_bytes += size
                self._queue.put(_Waiting(name, time(), size, make))
        if not has_room:
            self.skip(name, "queue full")

    def skip(self, name: str | None, reason: str) -> None:
        """Count a call that is not recorded; its line is written with the next calls."""
        with self._lock:
            self._start()
            self.counts[reason] += 1
            self._skipped[name, reason] += 1
            if self._skipped.total() == 1:
                self._queue.put(None)

    def flush(self, wait_s: float = EXIT_S) -> bool:
        """Wait until all calls so far are written, and return whether they are."""
        if not self._thread:
            return True
        done = Event()
        self._queue.put(done)
        return done.wait(wait_s)

    def _start(self) -> None:
        if self._thread is None:
            thread = Thread(target=self._run, name="tuneworthy-recorder", daemon=True)
            thread.start()
            self._thread = thread
            if util := sys.modules.get("multiprocessing.util"):  # its children end without `atexit`
                util.Finalize(None, self.flush, exitpriority=0)

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            if not isinstance(batch[0], Event):
                sleep(_PAUSE_S)
            with suppress(Empty):
                while len(batch) < _MAX_BATCH:
                    batch.append(self._queue.get_nowait())
            try:
                self._write([one for one in batch if isinstance(one, _Waiting)])
            finally:
                for done in batch:
                    if isinstance(done, Event):
                        done.set()

    def _write(self, calls: list[_Waiting]) -> None:
        rows: list[tuple[str | None, str, bytes]] = []
        for call in calls:
            try:
                line = orjson.dumps(call.make() | {"written": call.written}, option=orjson.OPT_APPEND_NEWLINE)
                rows.append((call.name, RECORDED, line))
            except Exception as error:
                self.skip(call.name, _reason(error))
        with self._lock:
            self._n_bytes -= sum(call.size for call in calls)
            for key, n in [*self._skipped.items()]:
                name, reason = key
                line = orjson.dumps({"name": name, "written": time(), "skipped": reason}) + b"\n"
                rows += [(name, reason, line)] * min(n, _MAX_BATCH)
                self._skipped[key] -= min(n, _MAX_BATCH)
            self._skipped = +self._skipped
        n_done = 0
        try:
            with exclusive(self.path, mode=0o600) as file:
                end_line(file)
                for _, reason, line in rows:
                    file.write(line)
                    file.flush()
                    n_done += 1
                    self.counts[RECORDED] += reason == RECORDED
        except Exception as error:
            why = f"not written: {os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error}"
            if not self.counts[why]:
                _log.warning("Calls are not recorded in %s: %s", self.path, why)
            with self._lock:
                for name, reason, _ in rows[n_done:]:
                    self.counts[why] += reason == RECORDED
                    self._skipped[name, why if reason == RECORDED else reason] += 1


def _reason(error: Exception) -> str:
    """Return why a call is skipped; the text of an exception may contain anything, its type does not."""
    if isinstance(error, orjson.JSONEncodeError):  # a number beyond 64 bits, half of a surrogate pair
        return NO_JSON
    return str(error) if isinstance(error, SkippedCall) else f"not read: {type(error).__name__}"


_RECORDERS: dict[Path, Recorder] = {}


def recorder_of(to: str | Path | None = None) -> Recorder:
    """Return the recorder of a file, one per process and file.

    Args:
        to: The file; None is that of the environment variable `TUNEWORTHY_CALLS`, else `calls.jsonl`.
    """
    path = Path(to or os.environ.get(PATH_VARIABLE) or DEFAULT_PATH).expanduser()
    with suppress(OSError):  # the working folder may be gone
        path = path.absolute()
    if path not in _RECORDERS:
        recorder = _RECORDERS.setdefault(path, Recorder(path))
        atexit.register(recorder.flush)
    return _RECORDERS[path]


def _after_fork() -> None:
    for recorder in _RECORDERS.values():
        recorder.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@frozen
class CallSource:
    """Where calls come from.

    Attributes:
        recorder: Gets them.
        name: Of the recording; None without a name.
        share: Of the calls that are recorded.
    """

    recorder: Recorder
    name: str | None = None
    share: float = 1.0

    def head(self, seconds: float) -> JsonObject:
        """Return the first fields of a line; a share below 1 says how many calls the line represents."""
        return {"name": self.name, "seconds": round(seconds, 4)} | ({"share": self.share} if self.share < 1 else {})


_RANDOM = Random()  # the state of the `random` module belongs to the program


def never_raises(method: Callable[Concatenate[C, P], Any]) -> Callable[Concatenate[C, P], None]:
    """Make a method of a `LiveCall` skip the call where it would raise."""

    @wraps(method)
    def guarded(self: C, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            with suppress(Exception):
                self.skip(_reason(error))

    return guarded


class LiveCall:
    """A call that has begun; its end is noted once."""

    def __init__(self, source: CallSource) -> None:
        self.source, self.has_ended, self.started = source, False, perf_counter()
        self.is_drawn = source.share >= 1 or _RANDOM.random() < source.share

    def put(self, size: int, make: Callable[[float], JsonObject]) -> None:
        """Record the call; `make` gets its duration."""
        if self._ends():
            seconds = perf_counter() - self.started
            self.source.recorder.put(self.source.name, size, lambda: make(seconds))

    def skip(self, reason: str) -> None:
        """Note why the call is not recorded."""
        if self._ends():
            self.source.recorder.skip(self.source.name, reason)

    @never_raises
    def fail(self, error: BaseException) -> None:
        """Note the exception that ended the call, by its type only."""
        kind = type(error).__name__
        self.skip({"CancelledError": "cancelled", "GeneratorExit": "left early"}.get(kind, f"failed: {kind}"))

    def _ends(self) -> bool:
        before, self.has_ended = self.has_ended, True
        return self.is_drawn and not before
