"""Strangers' text under a limit: a function runs in a child process that may take little time and memory.

Whatever can blow up goes through here: templates, patterns, schemas. The child stays warm from call to call. It gets
no secret of the environment, writes no file, and ends with this process. `main` is its program.

>>> call(sorted, [3, 1, 2], limit_s=10.0)
[1, 2, 3]
"""

import atexit
import json
import os
import resource
import select
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from time import monotonic
from typing import Any

from tuneworthy import processes
from tuneworthy.errors import UserError
from tuneworthy.types import TextTuple

# Wall time over processor time, at most: a machine may be busy, and the child cannot sleep.
WALL = 20.0
# Of the whole child, bytes.
MAX_MEMORY = 2**30
# Of all answers to one call, bytes: they come into this process.
MAX_ANSWERS = 2**30
# How often the same text may meet a limit before it is refused at once.
MAX_TRIES = 3


class OverLimit(UserError):
    """A stranger's text needs more time, memory or room than it may have; `reason` is a clause about it."""

    error_code = "E-LIMIT-01"

    def __init__(self, reason: str) -> None:
        super().__init__(f"A template, pattern or schema cannot be evaluated: {reason}.")
        self.reason = reason


class Child:
    """A warm child process that answers one task after the other.

    Args:
        memory: Of the child, bytes.
        file_size: Of a file that it writes, bytes.
        prefixes: Beginnings of the names of further variables that it may know.
    """

    def __init__(self, memory: int, file_size: int = 0, prefixes: TextTuple = ()) -> None:
        self.owner = os.getpid()
        self.process = processes.start(
            processes.main_of(__name__, str(memory), str(file_size)),
            piped=True,
            own_session=True,
            variables=processes.environment(*prefixes),
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self.room = MAX_ANSWERS
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)

    def answer(self, task: Sequence[Any], limit_s: float, deadline: float) -> Any:
        """Return the child's answer to a task; whoever calls ends a child without an answer.

        Raises:
            OverLimit: It met a limit, or ended.
        """
        parts: list[bytes] = []
        try:
            self._stdin.write(json.dumps(task).encode() + b"\n")
            self._stdin.flush()
            while not parts or parts[-1][-1:] != b"\n":
                if not self._poll.poll(max(0.0, deadline - monotonic()) * 1000):
                    raise OverLimit(f"it takes longer than {limit_s:g} s")
                parts.append(os.read(self._stdout.fileno(), 2**20))
                if not parts[-1]:
                    raise OverLimit(self._end(limit_s))
                self.room -= len(parts[-1])
                if self.room < 0:
                    raise OverLimit("its results have too many bytes")
        except BrokenPipeError:
            raise OverLimit(self._end(limit_s)) from None
        answer = json.loads(b"".join(parts))
        if "over" in answer:
            raise OverLimit(answer["over"])
        return answer["value"]

    def _end(self, limit_s: float) -> str:
        status = self.process.wait()
        if status in {-signal.SIGXCPU, -signal.SIGKILL}:
            return f"it takes longer than {limit_s:g} s"
        return f"its process exited without a result (status {status})"

    def close(self, grace_s: float = 0.0) -> None:
        """End the child, after `grace_s` at the latest; one that another process started is left to that process."""
        if self.owner == os.getpid():
            processes.end(self.process, grace_s)
            with suppress(ProcessLookupError):  # processes that it left
                os.killpg(self.process.pid, signal.SIGKILL)
        for pipe in (self._stdin, self._stdout):
            with suppress(BrokenPipeError):
                pipe.close()


_lock = threading.RLock()
_children: list[Child] = []
_tries: Counter[tuple[str, Any]] = Counter()


def call(function: Callable[..., Any], *arguments: Any, limit_s: float) -> Any:
    """Return what `function`, which an import finds, makes of `arguments` in the child; both ways through JSON.

    Args:
        arguments: The first is the stranger's text: where it met a limit `MAX_TRIES` times, it is not tried again.
        limit_s: Processor time, seconds (to a second more).

    Raises:
        OverLimit: It meets a limit, or raises an exception.
    """
    return each(function, [arguments], limit_s=limit_s)[0]


def each(function: Callable[..., Any], items: Iterable[Sequence[Any]], *, limit_s: float) -> list[Any]:
    """Call `function` with each of `items` as `call` does, within one limit for all."""
    key: tuple[str, Any] = ("", "")
    results: list[Any] = []
    with _lock:
        if _children and (_children[0].owner != os.getpid() or _children[0].process.poll() is not None):
            close()
        if not _children:
            _children.append(Child(MAX_MEMORY))
        child, deadline = _children[0], monotonic() + WALL * limit_s
        child.room = MAX_ANSWERS
        for arguments in items:
            key = (function.__qualname__, arguments[0] if isinstance(arguments[0], str) else "")
            if _tries[key] >= MAX_TRIES:
                raise OverLimit(f"it has already exceeded a limit {MAX_TRIES} times")
            task = [function.__module__, function.__qualname__, arguments, None if results else limit_s]
            try:
                results.append(child.answer(task, limit_s, deadline))
            except (
                BaseException
            ) as error:  # an interrupt too: the answer to this task would be taken for the next one's
                _tries[key] += isinstance(error, OverLimit) and bool(key[1])
                close()
                raise
    return results


@atexit.register
def close() -> None:
    """End the child; the next call starts another."""
    while _children:
        _children.pop().close()


def main(max_memory: str, max_file: str) -> None:
    """Answer a task a line until the input ends: the program of the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its owner, who may have work left
    tasks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of a library is no answer
    for what, most in (
        (resource.RLIMIT_AS, int(max_memory)),
        (resource.RLIMIT_FSIZE, int(max_file)),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))
    for line in iter(tasks.readline, b""):
        try:
            text = json.dumps({"value": _result(*json.loads(line))})
        except MemoryError:
            text = json.dumps({"over": "it needs too much memory"})
        except OverLimit as error:
            text = json.dumps({"over": error.reason})
        except Exception as error:  # whatever a stranger's text makes a library raise
            text = json.dumps({"over": f"it raises {f'{type(error).__name__}: {error}'[:500]}"})
        answers.write(text + "\n")
        answers.flush()


def _result(module: str, name: str, arguments: Sequence[Any], limit_s: float | None) -> Any:
    function = getattr(import_module(module), name)
    if limit_s is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        most = int(used.ru_utime + used.ru_stime + limit_s) + 1
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (most if hard < 0 else min(most, hard), hard))
    return function(*arguments)
