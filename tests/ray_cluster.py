"""A Ray cluster of several node processes on this machine, and the processes that a test kills."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def ray_cluster(n_nodes: int = 4, **variables: str) -> Iterator[Any]:
    """Yield a `ray.cluster_utils.Cluster`; the first node is its head, and RAY_ADDRESS has its address.

    Args:
        n_nodes: With one processor each.
        variables: Environment of its processes and of the drivers.
    """
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **variables}.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            for _ in range(n_nodes - 1):
                cluster.add_node(num_cpus=1)
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            cluster.shutdown()


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process started, and those that they started."""
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, listed.read_text().split()):
                yield child
                yield from descendants(child)


def command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def workers(pid: int) -> list[int]:
    """Return the processes that run tasks, below `pid`."""
    return [
        one
        for one in descendants(pid)
        if "tuneworthy.executors local" in command_of(one) or command_of(one).startswith("ray::remote")
    ]


def heads() -> list[int]:
    """Return the process that coordinates the Ray cluster of this process."""
    return [one for one in descendants(os.getpid()) if "gcs_server" in command_of(one).split(" ")[0]]
