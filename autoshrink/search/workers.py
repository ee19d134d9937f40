"""Ray: runs the work of candidates side by side, and lets one artifact at a time onto a device."""

from __future__ import annotations

import functools
import logging
import os
import re
import signal
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import ray

from autoshrink.backends.measuring import Effort
from autoshrink.core import COSTS, DeviceError, Measurement, Recipe, Refusal, SpecError, Target
from autoshrink.core.errors import BackendUnavailable
from autoshrink.devices.registry import device
from autoshrink.search import work

__all__ = ["Answer", "Pool", "Work", "device_resource"]

Work = Any
"""A piece of work that was handed out: a reference of Ray's."""
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a worker brought back: a result, or why there is none."""

    kind: Literal["done", "refused", "failed", "device", "input"]
    result: Any = None
    reason: str = ""


class Pool:
    """Workers on this machine, or on the cluster at an address.

    On this machine the device is one of Ray's resources, of which there is one. On a cluster, the nodes that may
    measure are those that were started with a resource named ``device:PROFILE``. ``devices`` says how many artifacts
    can be measured side by side.
    """

    def __init__(self, target: Target, workers: int, address: str | None = None) -> None:
        self._device = device_resource(target)
        # What is emulated gives the same figures beside others.
        self._alone = {} if target.hardware.device == "emulated" else {self._device: 1}
        places = {name: device(target.hardware).places for name in self._alone}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # a measurement must not yield to others
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "ignore_reinit_error": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if address is None:
                ray.init("local", num_cpus=workers, resources=places, include_dashboard=False, **quiet)
            else:
                self._join(address, quiet)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own handler would end the search unkept
        self._workers = workers
        self._target = ray.put(target)
        self.devices = int(ray.cluster_resources().get(self._device, 1)) if self._alone else workers
        self._scratch = tempfile.TemporaryDirectory(prefix="autoshrink-search-")

    def compress(self, recipe: Recipe, rung: int | None = None, known: bytes | None = None) -> Work:
        """Have a recipe applied and exported, with its recovery, a short one (``rung``) or none (0)."""
        return _COMPRESS.remote(self._target, recipe, rung, known, self._scratch.name)

    def warm_up(self) -> None:
        """Have every worker load the model and the data, all at once, before the first of them is asked anything."""
        for _ in range(self._workers):
            _WARM_UP.remote(self._target)

    def sensitivity(self) -> Work:
        """Have measured how much each layer of the model bears."""
        return _SENSITIVITY.remote(self._target)

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
        task = _MEASURE.options(resources=self._alone if wants else {})
        return task.remote(
            self._target, made.artifact, made.files, other, original, splits, wants, effort, scratch=self._scratch.name
        )

    def wait(self, running: list[Work], timeout: float) -> list[Work]:
        """Wait until at least one piece of work has ended, or the time is over."""
        return ray.wait(running, num_returns=1, timeout=timeout)[0] if running else []

    def take(self, ended: Work) -> Answer:
        """Fetch an answer; a worker that died, for want of memory say, is a failure of its candidate."""
        try:
            answer: Answer = ray.get(ended)
            return answer
        except (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.TaskCancelledError,
        ) as e:
            return Answer("failed", reason=f"the worker died: {e}")

    def close(self) -> None:
        """Let the workers go."""
        ray.shutdown()
        self._scratch.cleanup()

    def _join(self, address: str, quiet: dict[str, Any]) -> None:
        try:
            ray.init(address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise DeviceError(f"--address {address}: no Ray cluster there: {error}") from None
        if self._alone and self._device not in ray.cluster_resources():
            ray.shutdown()
            raise DeviceError(
                f"--address {address}: no node of this cluster may measure for this profile; start one on the device "
                f"with: ray start --address=… --resources='{{\"{self._device}\": 1}}'"
            )


def device_resource(target: Target) -> str:
    """Name the resource of Ray's that a node has which may measure for a target."""
    return f"device:{re.sub(r'[^a-z0-9]+', '-', target.hardware.name.lower()).strip('-')}"


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
    except Exception:  # a crash becomes a failed candidate, and the search goes on
        return Answer("failed", reason=traceback.format_exc())


def _compress(target: Target, recipe: Recipe, rung: int | None, known: bytes | None, at: str) -> Answer:
    return _at_the_edge(work.compress_recipe, target, recipe, rung, known, Path(at))


def _warm_up(target: Target) -> None:
    _at_the_edge(work.workload_of, target)  # what is wrong shows when something is asked


def _sensitivity(target: Target) -> Answer:
    return _at_the_edge(work.sensitivity, target)


def _measure(*args: Any, scratch: str) -> Answer:
    return _at_the_edge(functools.partial(work.measure_artifact, scratch=Path(scratch)), *args)


_COMPRESS: Any = ray.remote(num_cpus=1, max_retries=0)(_compress)
_WARM_UP: Any = ray.remote(num_cpus=1, max_retries=0)(_warm_up)
_SENSITIVITY: Any = ray.remote(num_cpus=1, max_retries=0)(_sensitivity)
_MEASURE: Any = ray.remote(num_cpus=1, max_retries=0)(_measure)
