"""A run in shards, of which a worker, the driver or a Ray head is killed again and again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.ray_cluster import heads, ray_cluster, workers

from .resume_project import committed, openai, record, run_ladder, start, stop, words, write_project
from .resume_server import Running

CONCURRENCY, KILLS = 8, 10
# Ray gives up a head that does not answer after so many seconds, not after a minute.
SOON = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}


def project(folder: Path, server: Running) -> Path:
    return write_project(folder, openai(server.base_url), n_cases=500, rungs="baseline few_shot")


class Trial:
    """Runs that are disturbed, compared with one that is not.

    Attributes:
        killed: How often something was killed.
    """

    def __init__(self, folder: Path, server: Running, seed: int) -> None:
        self.server, self.rng, self.killed = server, random.Random(seed), 0
        self.whole = project(folder / "whole", server)
        assert run_ladder(self.whole) == 0, words(self.whole)
        self.before: dict[str, str] = server.stats()["calls"]
        self.needed = Counter(self.before.values())
        self.cut = project(folder / "cut", server)

    def disturb(self, begin: Callable[[Path], Any], kill: Callable[[Any], bool]) -> None:
        """Run until the end, with up to `KILLS` kills; `begin` starts a driver, `kill` says whether it hit."""
        process = begin(self.cut)
        while True:
            moment = self.server.calls() + self.rng.randrange(1, self.needed.total() // KILLS)
            if self.killed < KILLS and self.server.wait(moment, process):
                time.sleep(self.rng.random() * 0.02)
                self.killed += kill(process)
            elif (status := process.wait(300)) == 0:
                return
            else:
                assert status in {-signal.SIGKILL, 5}, words(self.cut)
                process = begin(self.cut)

    def check(self) -> None:
        calls = {call: digest for call, digest in self.server.stats()["calls"].items() if call not in self.before}
        kept = committed(self.cut)
        print(f"killed {self.killed} times, {len(calls) - self.needed.total()} of {self.needed.total()} calls repeated")
        assert self.killed >= KILLS / 3  # shards go on for seconds without the head, so there is less to disturb
        assert len(kept) == len(set(kept)) == self.needed.total()
        assert Counter(calls[call] for call in kept) == self.needed
        assert len(calls) - self.needed.total() <= self.killed * CONCURRENCY
        assert record(self.cut) == record(self.whole)


@pytest.mark.slow
@pytest.mark.parametrize(("who", "engine"), [("driver", "local"), ("worker", "local"), ("driver", "ray"),
                                             ("worker", "ray"), ("head", "ray")])  # fmt: skip
def test_a_run_in_shards_that_was_killed_ends_with_the_record_of_one_that_was_not(
    who: str, engine: str, tmp_path: Path
) -> None:
    with Running(latency_ms=20) as server, ExitStack() as stack:
        trial = Trial(tmp_path, server, seed=21)

        def begin(root: Path) -> Any:
            if engine == "ray" and not heads():
                stack.close()
                stack.enter_context(ray_cluster(4, **SOON))
            return start(root, "--shard", trial.rng.choice("234"), "--engine", engine)

        def kill(process: Any) -> bool:
            if who == "driver":
                return stop(process, signal.SIGKILL) == -signal.SIGKILL
            found = workers(process.pid if engine == "local" else os.getpid())
            if who == "head" and found:  # at work
                found = heads()
            if found:
                os.kill(trial.rng.choice(found), signal.SIGKILL)
            return bool(found)

        trial.disturb(begin, kill)
        trial.check()
