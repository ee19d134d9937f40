"""What a request asks for, step by step, and the answer."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Arrays, bound, fit, invent, predict, read
from .clocks import clocks
from .cores import allowed_cores, pin
from .energy import measure_energy
from .facts import facts
from .gpu import measure_memory
from .memory import Gauge
from .sensors import choose
from .stopwatch import Contender, race
from .tie import tie

__all__ = ["main"]

_QUICK_LOAD = 0.05
"""Seconds: what takes longer to load is large, and loaded once for timing."""


def main(adapter_file: str, request_file: str, folder: str) -> None:
    """Do what a request asks for and write the answer."""
    request = json.loads(Path(request_file).read_text())
    if "tied" in request:
        tie(request["tied"])
    answer = _Run(request, Path(adapter_file), Path(folder)).answer()
    (Path(folder) / "answer.json").write_text(json.dumps(answer, default=_plain))


class _Run:
    def __init__(self, request: Mapping[str, Any], adapter: Path, folder: Path) -> None:
        self.request, self.folder = request, folder
        self.files: Mapping[str, str] = request["files"]
        self.wants: list[str] = request["wants"]
        self.seconds: dict[str, float] = {}
        self._begun = time.perf_counter()
        self.gauge = Gauge()
        self.held_at_start = self.gauge.held()
        self.allowed = allowed_cores()
        self.cores: list[int] = []
        self.enter("device: import the adapter")
        self.adapter = _import(adapter)
        self._lap("import")

    def answer(self) -> dict[str, Any]:
        """Take every figure that is wanted, memory first: it wants a process that did nothing else yet."""
        self.enter("artifact: load and run it once")
        artifact, example, quick = self._first_load()
        answer: dict[str, Any] = {
            "versions": {"python": platform.python_version(), **getattr(artifact, "versions", {})},
            "adapter": getattr(artifact, "notes", {}),
            "inputs": artifact.inputs,
            "seconds": self.seconds,
        }
        self._lap("load")
        if "memory" in self.wants:
            on_gpu = hasattr(artifact, "launch")
            del artifact
            self.enter("artifact: measure memory")
            load = self._loader("artifact")
            answer["memory"] = (
                measure_memory(load, example) if on_gpu else self.gauge.measure(load, example, self._path("artifact"))
            )
            answer["memory"]["runtime"] = answer["memory"].pop("before") - (0 if on_gpu else self.held_at_start)
            self._lap("memory")
        self.enter("device: choose the cores")
        self._pin()
        if "latency" in self.wants:
            answer["latency"] = self._race(example, quick)
            answer["clocks"] = clocks(self.cores, card=self._card)
            self._lap("latency")
        answer["cores"] = self.cores
        self._others(answer, example)
        self.enter("device: describe itself")
        answer["device"] = facts(len(self.allowed))
        answer["load_average"] = list(os.getloadavg()) if hasattr(os, "getloadavg") else []
        self.enter("device: write the answer")
        return answer

    def enter(self, stage: str) -> None:
        """Write down what is done next, and with whom: device, artifact or reference."""
        (self.folder / "stage").write_text(stage)

    def _pin(self) -> None:
        self.cores = pin(self.request["threads"], self.allowed) if self.request["pin"] else []

    def _first_load(self) -> tuple[Any, Arrays, bool]:
        load = self._loader("artifact")
        begun = time.perf_counter()
        artifact = load()
        quick = time.perf_counter() - begun < _QUICK_LOAD
        given = self.request["example"]
        example = fit(read(self.files[given]) if given else invent(artifact.inputs), artifact.inputs)
        artifact.run(example)
        return artifact, example, quick

    def _race(self, example: Arrays, quick: bool) -> dict[str, Any]:
        settings = self.request["stopwatch"]
        contenders = {}
        for name in ("artifact", "reference"):
            if self.request[name]:
                self.enter(f"{name}: load it for timing")
                load = self._loader(name)
                loaded = [load() for _ in range(settings["loads"] if quick else 1)]
                contenders[name] = Contender([bound(one, fit(example, one.inputs)) for one in loaded])
        return race(contenders, settings, self.enter, self._pin)

    def _others(self, answer: dict[str, Any], example: Arrays) -> None:
        if "energy" not in self.wants and not self.request["predict"]:
            return
        self.enter("artifact: load it again")
        artifact = self._loader("artifact")()
        if "energy" in self.wants:
            self.enter("artifact: measure energy")
            answer["energy"] = self._energy(bound(artifact, example))
            self._lap("energy")
        for name in self.request["predict"]:
            self.enter(f"artifact: predict {name}")
            outputs = predict(artifact, read(self.files[name]), self.request["batch"])
            np.save(self.folder / f"{name}.npy", outputs, allow_pickle=False)
        self._lap("predict")

    def _energy(self, call: Callable[[], Any]) -> dict[str, Any]:
        settings = self.request["energy"]
        meter, trouble = choose(settings["sensors"], Path(settings["root"]), settings["card"])
        return measure_energy(call, meter, settings["seconds"]) if meter is not None else {"note": trouble}

    @property
    def _card(self) -> str | None:
        """Which graphics card the artifact runs on; None when on none."""
        settings = self.request["energy"]
        return str(settings["card"]) if "nvml" in settings["sensors"] else None

    def _path(self, name: str) -> Path:
        folder, file = self.request[name]
        return Path(self.files[folder], file)

    def _loader(self, name: str) -> Callable[[], Any]:
        path, options = str(self._path(name)), self.request["options"]
        return lambda: self.adapter.load(path, options)

    def _lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._begun = now - self._begun, now


def _import(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("adapter", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["adapter"] = module
    spec.loader.exec_module(module)
    return module


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
