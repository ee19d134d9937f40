"""Ray: runs the work of candidates side by side, and lets one artifact at a time onto a device."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import ray

from autoshrink.backends.measuring import Effort
from autoshrink.core import COSTS, DeviceError, Measurement, Recipe, Refusal, SpecError, Target, show_quantity
from autoshrink.core.errors import BackendUnavailable
from autoshrink.devices.identity import difference
from autoshrink.devices.node import Node
from autoshrink.search import shipping, work
from autoshrink.search.nodes import connect, device_resource, join, members, place_of, pulse
from autoshrink.search.outstanding import BEGUN, Cut, Outstanding, Piece

__all__ = ["Answer", "Pool", "Work"]

Work = Piece
"""A piece of work that was handed out."""
_INTERPRETER = ("python", "libc")
"""What a runtime with an environment of its own has another one of, on the same device."""
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a worker brought back: a result, or why there is none."""

    kind: Literal["done", "refused", "failed", "device", "input"]
    result: Any = None
    reason: str = ""
    cut: Cut = ""
    """What ended the work from outside, where that is why it failed."""


@dataclass(frozen=True)
class Room:
    """Where a worker finds the target's folder and one for what a search's workers share."""

    name: str
    """The shared folder's path, or its name where the nodes have no disk in common."""
    far: bool = False

    @property
    def scratch(self) -> Path:
        """The shared folder on this machine."""
        return shipping.scratch(self.name) if self.far else Path(self.name)

    def find(self, target: Target) -> Target:
        """Give the target as it is on this machine."""
        return shipping.arrived(target) if self.far else target


class Pool:
    """Workers on this machine, or on the cluster at an address.

    On this machine the device is one of Ray's resources, of which there is one. On a cluster, the nodes that measure
    are those that were started with a resource: the one of ``device: ray://RESOURCE``, or ``device:PROFILE`` where the
    profile says ``local``. They do nothing else, unless there are no others. ``devices`` says how many artifacts can be
    measured side by side.
    """

    def __init__(self, target: Target, workers: int, address: str | None = None) -> None:
        self.place = place_of(target.hardware, address)
        """Where artifacts are measured."""
        self.fingerprint: Mapping[str, str] = {}
        """What the device is; a measurement on another one does not count. Empty: on any."""
        self._address = address
        self._nodes = self.place if isinstance(self.place, Node) else None
        self._device = self._nodes.resource if self._nodes else device_resource(target.hardware)
        # What is emulated gives the same figures beside others, and a node is held where it is asked.
        free = target.hardware.device == "emulated" or self._nodes is not None
        self._alone = {} if free else {self._device: 1}
        os.environ.setdefault("RAY_worker_niceness", "0")  # a measurement must not yield to others
        if address is None and self._nodes is None:
            places = {name: self.place.places for name in self._alone}
            connect("local", num_cpus=workers, resources=places, include_dashboard=False)
        else:
            self._join(target)
        if self._nodes is not None or (self._alone and address is not None):
            try:
                members(self._device)
            except DeviceError:
                ray.shutdown()
                raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own handler would end the search unkept
        self._workers = workers
        self._target = ray.put(target)
        limit = target.search.candidate_timeout
        words = f"took longer than {show_quantity(limit, 's')} (--candidate-timeout)" if limit is not None else ""
        self._outstanding = Outstanding(pulse(address), limit, words)
        measures = self._alone or self._nodes
        self.devices = int(ray.cluster_resources().get(self._device, 1)) if measures else workers
        self._scratch = tempfile.TemporaryDirectory(prefix="autoshrink-search-")
        shared = address is None and self._nodes is None
        self._room = Room(self._scratch.name) if shared else Room(Path(self._scratch.name).name, far=True)

    def compress(self, recipe: Recipe, rung: int | None = None, known: bytes | None = None) -> Work:
        """Have a recipe applied and exported, with its recovery, a short one (``rung``) or none (0)."""
        return self._hand_out(_COMPRESS, recipe, rung, known)

    def warm_up(self) -> None:
        """Have every worker load the model and the data, all at once, before the first of them is asked anything."""
        for _ in range(self._workers):
            self._hand_out(_WARM_UP)

    def sensitivity(self) -> Work:
        """Have measured how much each layer of the model bears."""
        return self._hand_out(_SENSITIVITY)

    def measure(
        self,
        made: work.Compressed,
        reference: work.Compressed | None = None,
        original: Measurement | None = None,
        splits: tuple[str, ...] = ("validation",),
        wants: tuple[str, ...] = tuple(COSTS),
        effort: Effort = "normal",
    ) -> Work:
        """Have an artifact measured, alone on its device; only scored, without any cost, it may run beside others."""
        other = (reference.artifact, reference.files) if reference else None
        asked = (made.artifact, made.files, other, original, splits, wants, effort, self._address)
        return self._hand_out(_MEASURE, *asked, resources=self._alone if wants else {})

    def wait(self, running: list[Work], timeout: float) -> list[Work]:
        """Wait until at least one piece of work has ended, or the time is over.

        What is lost with a worker or a node is handed out again, and what takes too long is ended.

        Raises:
            RayGone: Ray itself was ended.
        """
        return self._outstanding.wait(running, timeout)

    def take(self, ended: Work) -> Answer:
        """Fetch an answer; work that was ended from outside is a failure of its candidate."""
        if ended.answer is None:
            return Answer("failed", reason=ended.reason, cut=ended.cut)
        return self._checked(ended.answer)

    def close(self) -> None:
        """Let the workers go, whatever they are doing."""
        self._outstanding.forget()
        ray.shutdown()
        self._scratch.cleanup()

    def _hand_out(self, task: Any, *arguments: Any, **options: Any) -> Work:
        where = (self._room, self._target)
        return self._outstanding.hand_out(lambda: self._elsewhere(task, **options).remote(*where, *arguments))

    def _join(self, target: Target) -> None:
        """Join the cluster with what its nodes need: a connection that something was asked through has not got it."""
        ray.shutdown()
        with tempfile.TemporaryDirectory(prefix="autoshrink-") as folder:
            join(self._address, shipping.pack(target, Path(folder) / "target.zip"))

    def _checked(self, answer: Answer) -> Answer:
        """See that a measurement was taken on the device that the search began with, whatever its name says."""
        if not self.fingerprint or not isinstance(answer.result, work.Measured):
            return answer
        found = answer.result.measurement.conditions.get("device", self.fingerprint)
        here, there = (
            {name: one[name] for name in one if name not in _INTERPRETER} for one in (self.fingerprint, found)
        )
        if not (differing := difference(here, there)):
            return answer
        return Answer("device", reason=f"the device is no longer the one that this search began with: {differing}")

    def _elsewhere(self, task: Any, **options: Any) -> Any:
        """Keep work off the nodes that measure, where others can do it."""
        if self._nodes is not None:
            alive = [node for node in ray.nodes() if node["Alive"]]
            measuring = {node["NodeID"] for node in alive if node["Resources"].get(self._device)}
            others = any(node["Resources"].get("CPU") for node in alive if node["NodeID"] not in measuring)
            if measuring and others:
                options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(measuring))})"}
        return task.options(**options)


def _at_the_edge(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Answer:
    """Turn every way in which work can end into an answer: the one place that catches everything."""
    try:
        return Answer("done", work(*args, **kwargs))
    except Refusal as refusal:
        return Answer("refused", reason=str(refusal))
    except SpecError as error:
        return Answer("input", reason=str(error))
    except (DeviceError, BackendUnavailable) as error:
        return Answer("device", reason=str(error))
    except (Exception, SystemExit):  # a crash becomes a failed candidate, and the search goes on
        return Answer("failed", reason=traceback.format_exc())


def _compress(
    room: Room, target: Target, recipe: Recipe, rung: int | None, known: bytes | None
) -> Iterator[Answer | None]:
    yield BEGUN
    yield _at_the_edge(work.compress_recipe, room.find(target), recipe, rung, known, room.scratch)


def _warm_up(room: Room, target: Target) -> Iterator[Answer | None]:
    yield BEGUN
    loaded = _at_the_edge(work.workload_of, room.find(target))  # what is wrong shows when something is asked
    yield Answer(loaded.kind, reason=loaded.reason)


def _sensitivity(room: Room, target: Target) -> Iterator[Answer | None]:
    yield BEGUN
    yield _at_the_edge(work.sensitivity, room.find(target))


def _measure(room: Room, target: Target, *asked: Any) -> Iterator[Answer | None]:
    *what, address = asked

    def measure() -> work.Measured:
        place = place_of(target.hardware, address)
        return work.measure_artifact(room.find(target), *what, scratch=room.scratch, place=place)

    yield BEGUN
    yield _at_the_edge(measure)


_COMPRESS: Any = ray.remote(num_cpus=1, max_retries=0)(_compress)
_WARM_UP: Any = ray.remote(num_cpus=1, max_retries=0)(_warm_up)
_SENSITIVITY: Any = ray.remote(num_cpus=1, max_retries=0)(_sensitivity)
_MEASURE: Any = ray.remote(num_cpus=1, max_retries=0)(_measure)
