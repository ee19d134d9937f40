"""Nodes of a cluster: machines that joined it with a resource of their own, and measure for profiles that name it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from autoshrink.core import DeviceError
from autoshrink.devices.base import Device
from autoshrink.devices.endings import check_ending
from autoshrink.devices.identity import difference
from autoshrink.devices.parcel import pack, unpack

__all__ = ["Cluster", "Node"]


class Cluster(Protocol):
    """Reaches the nodes: the search brings it along, so that a device knows nothing of what joins them."""

    def members(self, resource: str) -> list[str]:
        """Name the nodes that have a resource now.

        Raises:
            DeviceError: there is none, with the line that starts one.
        """

    def ask(
        self, resource: str, message: Mapping[str, Any], contents: Mapping[str, bytes], member: str | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """Have a message answered by `autoshrink.devices.harness.parcel.answer` on a node that is free, or on this one.

        Raises:
            DeviceError: there is no such node, or it is gone.
        """


class Node(Device):
    """Whichever node with the resource is free. Of autoshrink it gets the harness; it has Python and the runtime."""

    def __init__(self, resource: str, cluster: Cluster | None) -> None:
        """Begin; nothing is reached yet.

        Args:
            resource: what the nodes were started with.
            cluster: reaches them; None where only the profile is looked at.
        """
        self.resource = resource
        self.address = f"ray://{resource}"
        self._known = cluster

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Hand the files over, run the harness there, take the answer; see `Device.run`."""
        parcel = pack(adapter, request, files, timeout)
        ended, content = self._cluster.ask(self.resource, {"do": "run", **parcel.message}, parcel.contents)
        check_ending(ended, self.address, f"Python on {self.address}", timeout)
        return unpack(content, "autoshrink-node-")

    def fingerprint(self) -> dict[str, str]:
        """Describe the nodes, which have to be alike.

        Raises:
            DeviceError: there is none, or one differs from another.
        """
        described = {member: self._facts(member) for member in self._cluster.members(self.resource)}
        (first, kind), *others = described.items()
        for member, found in others:
            if differing := difference(kind, found):
                raise DeviceError(f"{self.address}: nodes {first} and {member} are not of one kind: {differing}")
        return kind

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Give the versions of packages on a node."""
        told, _ = self._cluster.ask(self.resource, {"do": "versions", "packages": list(packages)}, {})
        found: dict[str, str] = told["versions"]
        return found

    @property
    def _cluster(self) -> Cluster:
        if self._known is None:
            raise DeviceError(f"{self.address} is reached by way of a Ray cluster, and none is known here")
        return self._known

    def _facts(self, member: str) -> dict[str, str]:
        told, _ = self._cluster.ask(self.resource, {"do": "facts"}, {}, member)
        found: dict[str, str] = told["facts"]
        return found
