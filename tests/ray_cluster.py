"""A Ray cluster of this machine's own processes, whose nodes come and go: for the tests of devices that are nodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

__all__ = ["Nodes", "cluster"]

_STORE = 100 * 2**20


class Nodes:
    """A head that works and measures nothing, and nodes that measure, each with a cache of its own."""

    def __init__(self, folder: Path, cpus: int) -> None:
        self._folder = folder
        head = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": _STORE}
        self._cluster = self._patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self._made = 0

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def join(self, *resources: str, **environment: str) -> tuple[Any, Path]:
        """Have a node join, as ``ray start --resources`` does; gives it, with the folder of its cache."""
        self._made += 1
        place = self._folder / f"node-{self._made}"
        settings = {"XDG_CACHE_HOME": str(place), "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment}
        node = self._patiently(
            lambda: self._cluster.add_node(
                num_cpus=1,  # somebody forgot --num-cpus=0
                resources=dict.fromkeys(resources, 1),
                object_store_memory=_STORE,
                env_vars=settings,
            )
        )
        self._cluster.wait_for_nodes()
        return node, place

    def kill(self, node: Any) -> None:
        """Pull the plug of a node."""
        self._cluster.remove_node(node, allow_graceful=False)

    @staticmethod
    def _patiently(start: Callable[[], Any]) -> Any:
        """Start it again where a busy machine took longer than the 30 s that Ray waits."""
        for left in (2, 1, 0):
            try:
                return start()
            except Exception as error:
                if not left or "timed out during startup" not in str(error):
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End everything."""
        ray.shutdown()
        self._cluster.shutdown()


@contextmanager
def cluster(folder: Path, cpus: int = 1) -> Iterator[Nodes]:
    """Start a cluster."""
    nodes = Nodes(folder, cpus)
    try:
        yield nodes
    finally:
        nodes.close()
