"""The nodes of a Ray cluster that measure: how they are joined, found and asked."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoshrink.core import DeviceError, Hardware
from autoshrink.devices.base import Device
from autoshrink.devices.node import Node
from autoshrink.devices.parcel import harness
from autoshrink.devices.registry import device
from autoshrink.search.pulse import Pulse

__all__ = ["Nodes", "connect", "device_resource", "join", "members", "place_of", "pulse"]

_LOOK = 1.0
"""Seconds between two looks whether a node is still there."""
_AWAY = 20.0
"""Seconds that a cluster's head may be away, while it is started again."""
_MOST = 16
"""Files that a process keeps handed over."""
_HANDED_OVER: dict[str, Any] = {}
"""Files by the connection to Ray and the hash of their content."""


class Nodes:
    """Reaches the nodes of a cluster, as `autoshrink.devices.node.Cluster` says."""

    def __init__(self, address: str | None) -> None:
        """Begin; the cluster is joined when something is asked.

        Args:
            address: Ray's; None for the cluster that this machine is part of.
        """
        self._address = address

    def members(self, resource: str) -> list[str]:
        """Name the nodes that have a resource now."""
        join(self._address)
        return members(resource)

    def ask(
        self, resource: str, message: Mapping[str, Any], contents: Mapping[str, bytes], member: str | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """Have a message answered by whichever node is free, or by one of them."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.members(resource)
        content, key = harness()
        task = ray.remote(num_cpus=0, max_retries=0)(_far_end()).options(
            resources={resource: 1},
            scheduling_strategy=NodeAffinitySchedulingStrategy(member, soft=False) if member else "DEFAULT",
        )
        files = [_hand_over(*item) for item in contents.items()]
        asked = task.remote(_hand_over(key, content), key, dict(message), list(contents), *files)
        try:
            while not ray.wait([asked], timeout=_LOOK)[0]:
                members(resource)  # without any, it would wait for ever
            answer: tuple[dict[str, Any], bytes] = ray.get(asked)
        except (
            ray.exceptions.NodeDiedError,
            ray.exceptions.TaskUnschedulableError,
            ray.exceptions.WorkerCrashedError,
        ):
            raise DeviceError(f"ray://{resource}: the node is gone, or ran out of memory") from None
        except ray.exceptions.RayError as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise DeviceError(f"ray://{resource}: {said[-1].strip()}") from None
        return answer


def members(resource: str) -> list[str]:
    """Name the nodes that have a resource now, in the cluster that was joined.

    Raises:
        DeviceError: there is none, with the line that starts one.
    """
    import ray

    found = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource, 0) >= 1]
    if not found:
        raise DeviceError(
            f"no node of the Ray cluster measures for {resource!r}; start one on the device with: "
            f"ray start --address={ray.get_runtime_context().gcs_address} --num-cpus=0 "
            f"--resources='{{\"{resource}\": 1}}'"
        )
    return sorted(found)


def place_of(hardware: Hardware, address: str | None = None) -> Device:
    """Find the device of a profile, on the cluster at an address where it is one of its nodes.

    Args:
        hardware: the profile.
        address: Ray's; without one, a device that is a node is looked for in the cluster that this machine is part of.

    Raises:
        SpecError: this kind of device is not supported.
        DeviceError: the device does not have what the profile asks for.
    """
    if address is not None and hardware.device == "local":
        return Node(device_resource(hardware), Nodes(address))
    return device(hardware, Nodes(address))


def device_resource(hardware: Hardware) -> str:
    """Name the resource of Ray's that a node has which measures for a profile that says ``device: local``."""
    return f"device:{re.sub(r'[^a-z0-9]+', '-', hardware.name.lower()).strip('-')}"


def join(address: str | None, parcel: Path | None = None) -> None:
    """Connect to a cluster, unless that is done.

    Args:
        address: Ray's; None for the cluster that this machine is part of.
        parcel: an archive that is unpacked on each node before it works, first on its ``sys.path``.

    Raises:
        DeviceError: there is none.
    """
    import ray

    if ray.is_initialized():
        return
    try:
        connect(address or "auto", runtime_env={"working_dir": str(parcel)} if parcel else None)
    except ray.exceptions.RuntimeEnvSetupError as error:
        raise DeviceError(f"the cluster does not take the target's folder: {error}") from None
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is not None:
            raise DeviceError(f"--address {address}: no Ray cluster there: {error}") from None
        raise DeviceError(
            "this machine is in no Ray cluster: start one with 'ray start --head', and join the device to it"
        ) from None


def connect(address: str, **settings: Any) -> None:
    """Start Ray, or connect to it, without a word."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True, **settings)


def pulse(address: str | None) -> Pulse:
    """Find what has to be there as long as a search runs: Ray's head, and its process on this machine.

    Args:
        address: Ray's; None where it was started here for this search, so that what is gone stays away.
    """
    import ray

    context = ray.get_runtime_context()
    head, _, port = context.gcs_address.rpartition(":")
    places = {"head": (head.strip("[]"), int(port))}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            places["raylet"] = node["NodeManagerAddress"], node["NodeManagerPort"]
    return Pulse(places, {} if address is None else {"head": _AWAY})


def _far_end() -> Callable[..., tuple[dict[str, Any], bytes]]:
    """Give what runs on a node, which has no autoshrink: what is defined inside a function travels as a whole."""

    def answer(
        harness: bytes, key: str, message: dict[str, Any], keys: list[str], *contents: bytes
    ) -> tuple[dict[str, Any], bytes]:
        import contextlib
        import importlib
        import io
        import os
        import sys
        import tempfile
        import zipfile
        from pathlib import Path

        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoshrink"
        unpacked = folder / f"harness-{key}"
        if not unpacked.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=folder))
            zipfile.ZipFile(io.BytesIO(harness)).extractall(partial)
            with contextlib.suppress(OSError):  # another process was first
                partial.rename(unpacked)
        if str(unpacked) not in sys.path:
            sys.path.insert(0, str(unpacked))
        found: tuple[dict[str, Any], bytes] = importlib.import_module("harness.parcel").answer(
            message, dict(zip(keys, contents, strict=True))
        )
        return found

    return answer


def _hand_over(key: str, content: bytes) -> Any:
    """Hand content over to Ray; what was handed over lately is there already, and need not travel again."""
    import ray

    name = f"{ray.get_runtime_context().get_worker_id()} {key}"  # it ends with the connection
    known = _HANDED_OVER.pop(name, None)
    _HANDED_OVER[name] = ray.put(content) if known is None else known
    while len(_HANDED_OVER) > _MOST:
        del _HANDED_OVER[next(iter(_HANDED_OVER))]
    return _HANDED_OVER[name]
