"""A phone over ADB without Python: the runtime's own benchmark program times the file there."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from autoshrink.core import BackendUnavailable, DeviceError
from autoshrink.devices.adb import note_condition, phone_at
from autoshrink.devices.base import ArtifactFailed, Device
from autoshrink.devices.benchmark import ROUNDS, Figures, race, read_figures
from autoshrink.devices.harness.rails import Rails, rails
from autoshrink.devices.local import Local
from autoshrink.devices.phone import Phone

__all__ = ["AdbBenchmark"]

_MODELS = "/data/local/tmp/autoshrink/models"
_RAILS = "cat /sys/bus/iio/devices/iio:device*/energy_value"
_CORES = (
    'for cpu in /sys/devices/system/cpu/cpu[0-9]*; do echo "${cpu##*cpu} $(cat $cpu/cpufreq/cpuinfo_max_freq)"; done'
)
_CUT = "autoshrink: cut here"
_SLACK = 30.0
"""Seconds beyond those of a run for the connection."""
_WARM = 0.2
"""Seconds before the timed calls, in which the phone's clocks rise."""
_BURSTS, _BURST = 3, 1.0
"""How often energy is measured, and for how many seconds: long against the start of the program, which counts."""


@dataclass(frozen=True)
class _Run:
    figures: Figures
    before: str
    after: str
    """The rails before and after."""


@dataclass(frozen=True)
class AdbBenchmark(Device):
    """A phone on which a runtime's own benchmark program lies; a request describes it under ``benchmark``.

    Latency, memory and energy are taken on the phone. The program keeps its outputs for itself: what the artifact
    predicts is computed by the same runtime on this machine, and the answer says so.
    """

    address: str
    """``adb://SERIAL``"""
    program: str
    """The program's path there."""

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Predict here, measure there; see `Device.run`."""
        phone = phone_at(self.address)
        here = {**request, "wants": [], "reference": None}
        folder = Local().run(adapter, here, files, timeout)  # an artifact that can't be run ends here
        try:
            if request["wants"]:
                before = phone.cool()
                self._measure(phone, request, files, timeout, folder / "answer.json")
                note_condition(folder, before, phone)
            _describe(folder / "answer.json", phone)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return folder

    def fingerprint(self) -> dict[str, str]:
        """Describe the phone.

        Raises:
            BackendUnavailable: the program is not on it.
        """
        phone = phone_at(self.address)
        found = phone.facts()
        self._hash(phone)
        return found

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Give the program's hash: it tells no version."""
        return {Path(self.program).name: self._hash(phone_at(self.address))}

    def _hash(self, phone: Phone) -> str:
        name, program = Path(self.program).name, shlex.quote(self.program)
        code, printed = phone.shell(f"test -x {program} && sha256sum {program}")
        if code:
            raise BackendUnavailable(
                f"{self.address} has no program {self.program}: copy the runtime's {name} for Android there "
                f"('adb push {name} {self.program} && adb shell chmod +x {self.program}')"
            )
        return printed[:12]

    def _measure(
        self, phone: Phone, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float, file: Path
    ) -> None:
        answer, settings, wants = json.loads(file.read_text()), request["stopwatch"], request["wants"]
        cores = _fastest(phone, request["threads"]) if request["pin"] else []
        with _copied(phone, request, files, timeout) as models:

            def run(name: str, seconds: float) -> _Run:
                return self._once(
                    phone, name, self._command(request, models[name], cores, seconds, timeout), request, timeout
                )

            if "memory" in wants:
                peak = run("artifact", 0.0).figures.memory
                if peak is not None:
                    answer["memory"] = {"peak": peak, "method": "growth of the resident set, with the runtime's own"}
            if "latency" in wants:
                names = ["artifact", *(["reference"] if request["reference"] else [])]
                each = settings["seconds"] / ROUNDS
                answer["latency"] = race(lambda name: run(name, each).figures, names, settings)
            if "energy" in wants:
                answer["energy"] = _energy(phone, lambda: run("artifact", _BURST))
        known = ", ".join(f"{name} {version}" for name, version in answer["versions"].items())
        answer["predicted"] = f"of the same file on this machine ({known}): the program on the phone keeps its outputs"
        answer["versions"] = self.versions(())
        answer |= {"adapter": {"benchmark": self.program}, "cores": cores, "load_average": []}
        file.write_text(json.dumps(answer))

    def _once(self, phone: Phone, name: str, command: str, request: Mapping[str, Any], timeout: float) -> _Run:
        begun = time.monotonic()
        script = f"{_RAILS}; echo {_CUT}\n{command} 2>&1\ncode=$?\necho {_CUT}; {_RAILS}\nexit $code"
        code, printed = phone.shell(script, timeout + _SLACK)
        before, said, after = [*printed.split(_CUT), "", ""][:3]
        if code and time.monotonic() - begun >= timeout:
            raise DeviceError(f"{self.address} did not end within {timeout:.0f} s: {name}: run it for timing")
        if code:
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            self._failed(name, code, lines[-1] if lines else f"exit status {code}")
        try:
            return _Run(read_figures(said, request["benchmark"]), before, after)
        except ValueError as error:
            raise DeviceError(f"{self.address}: {self.program}: {error}") from None

    def _failed(self, name: str, code: int, last: str) -> NoReturn:
        if code in (126, 127):
            raise BackendUnavailable(f"{self.address}: {self.program} can't be run: {last}")
        if name == "reference":
            raise DeviceError(f"{self.address} failed (reference: run it for timing): {last}")
        raise ArtifactFailed(f"{Path(self.program).name} on {self.address} failed on the artifact: {last}")

    def _command(self, request: Mapping[str, Any], model: str, cores: list[int], seconds: float, timeout: float) -> str:
        given = {"model": model, "seconds": f"{seconds:.3f}", "warm": f"{_WARM:.3f}"}
        arguments = [argument.format(**given) for argument in request["benchmark"]["arguments"]]
        held = ["taskset", f"{sum(1 << core for core in cores):x}"] if cores else []
        return shlex.join(["timeout", "-s", "KILL", f"{timeout:.0f}", *held, self.program, *arguments])


@contextmanager
def _copied(
    phone: Phone, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float
) -> Iterator[dict[str, str]]:
    """Copy the models there, and take them away afterwards, or the next time where the phone is gone."""
    phone.shell(f"rm -rf {_MODELS}; mkdir -p {_MODELS}")
    models = {}
    for name in ("artifact", "reference"):
        if request[name]:
            folder, file = request[name]
            models[name] = f"{_MODELS}/{name}{Path(file).suffix}"
            phone.push(files[folder] / file, models[name], timeout)
    try:
        yield models
    finally:
        with suppress(DeviceError):
            phone.shell(f"rm -rf {_MODELS}")


def _describe(file: Path, phone: Phone) -> None:
    """Put the phone's own facts in place of this machine's, which only predicted."""
    file.write_text(json.dumps({**json.loads(file.read_text()), "device": phone.facts()}))


def _fastest(phone: Phone, threads: int) -> list[int]:
    """Find as many cores as there are threads: those with the highest clock."""
    _, printed = phone.shell(f"{_CORES} 2>/dev/null")
    told = (line.partition(" ") for line in printed.splitlines())
    clocks = {int(core): int(clock) for core, _, clock in told if clock.isdigit()}
    return sorted(sorted(clocks, key=lambda core: (-clocks[core], core))[:threads])


def _energy(phone: Phone, run: Callable[[], _Run]) -> dict[str, Any]:
    """Measure bursts of calls by the phone's rails, less what it takes at rest; what starts the program counts."""
    try:
        at_rest = _spent(*phone.shell(f"{_RAILS}; echo {_CUT}; sleep {_BURST}; {_RAILS}")[1].split(_CUT))
        figures, calls = [], 0
        for _ in range(_BURSTS):
            found = run()
            joules, seconds, names = _spent(found.before, found.after)
            figures.append((joules - at_rest[0] / at_rest[1] * seconds) / found.figures.all_calls)
            calls += found.figures.all_calls
    except ValueError as error:
        return {"note": f"the phone's power rails can't be read: {error}"}
    if min(figures) <= 0:
        return {"note": "other work took so much energy meanwhile that the inferences don't show"}
    middle = sorted(figures)[_BURSTS // 2]
    return {"value": middle, "low": min(figures), "high": max(figures), "calls": calls, "rails": names}


def _spent(before: str, after: str) -> tuple[float, float, list[str]]:
    (first, begun), (last, ended) = _read(before), _read(after)
    if ended <= begun or first.keys() != last.keys():
        raise ValueError("they stand still")
    return sum(last[name] - first[name] for name in first) * 1e-6, ended - begun, sorted(first)


def _read(text: str) -> tuple[Rails, float]:
    try:
        return rails(text.strip())
    except ValueError as error:
        raise ValueError((text.strip().splitlines() or [str(error)])[0]) from None
