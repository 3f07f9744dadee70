"""What one input may take: 20 seconds of processor time and 1 GiB of memory; an answer beyond that is a fault too."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CPU_S: Final = 20.0
MEMORY: Final = 2**30


class TookTooLong(Exception):
    """An input kept the processor for longer than it may."""


@contextmanager
def bounded(cpu_s: float = CPU_S, memory: int = MEMORY) -> Iterator[None]:
    """Bound what runs inside.

    Raises:
        TookTooLong: It took more than `cpu_s`, also where something caught the first word of it.
        MemoryError: It wanted `memory` bytes more than the process has.
    """

    late = TookTooLong(f"more than {cpu_s:g} s")
    stops = []

    def stop(*_: object) -> None:
        stops.append(late)
        raise late

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    size = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    before = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (size + memory, hard))
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    if stops:
        raise late
