"""A Ray cluster of several node processes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
