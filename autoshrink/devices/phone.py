"""An Android phone as the platform's ``adb`` client reaches it: commands, files, and the state that it is in."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.core import DeviceError

__all__ = ["Phone"]

_QUICK = 30.0
"""Seconds that a small command may take."""
_CONNECT = 15.0
_ENDED = "autoshrink: ended with"
"""A command that was cut off and one that succeeded look alike to the client: this line tells them apart."""
_HEAT = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's thermal states. From severe on the phone is slowed down far below what it can do."""
_COOLING, _LOOK = 120.0, 5.0
"""Seconds to wait for a phone that is too hot, and between two looks."""
_CLOCKS = "/sys/devices/system/cpu/cpu*/cpufreq"
_FACTS = {
    "model": "getprop ro.product.model",
    "processor": "getprop ro.soc.model",
    "features": "grep -m1 Features /proc/cpuinfo | cut -d: -f2",
    "machine": "uname -m",
    "cores": "nproc",
    "memory": "grep MemTotal /proc/meminfo | tr -dc 0-9",
    "clock": f"cat {_CLOCKS}/cpuinfo_max_freq | sort -un | tr '\\n' ' '",
    "governor": f"cat {_CLOCKS}/scaling_governor | sort -u | tr '\\n' ' '",
    "system": "uname -sr",
    "build": "getprop ro.build.fingerprint",
}
_BATTERY = {
    "level": r"^\s*level: (\d+)",
    "temperature": r"^\s*temperature: (\d+)",
    "plugged": r"^\s*(\w+) powered: true",
}


@dataclass(frozen=True)
class Phone:
    """A phone by its serial number, or ``HOST:PORT`` over the network."""

    serial: str

    def client(self, *arguments: str) -> list[str]:
        """Name the client and what it is to do with this phone.

        Raises:
            DeviceError: there is no client.
        """
        adb = shutil.which("adb")
        if adb is None:
            raise DeviceError(f"adb://{self.serial}: there is no adb here: install it with 'apt-get install adb'")
        return [adb, "-s", self.serial, *arguments]

    def reach(self) -> None:
        """Make sure that the phone is there and lets commands in; one on the network is connected to.

        Raises:
            DeviceError: it isn't, with what to do about it.
        """
        state, said = self._state()
        if state != "device" and ":" in self.serial:
            self._ask("disconnect", self.serial)
            self._ask("connect", self.serial)
            state, said = self._state()
        if state != "device":
            raise DeviceError(f"adb://{self.serial}: {self._meaning(state, said)}")

    def shell(self, command: str, timeout: float = _QUICK) -> tuple[int, str]:
        """Run a command there.

        Returns:
            Its exit status, and what it printed.

        Raises:
            DeviceError: the phone is gone, or the command did not end within ``timeout`` seconds.
        """
        self.reach()
        line = f"( {command}\n) 2>&1; code=$?; echo; echo {_ENDED} $code"
        done = self._run(self.client("shell", "-T", line), timeout)
        printed, ended, code = done.stdout.rpartition(f"\n{_ENDED} ")
        if not ended:
            raise DeviceError(f"adb://{self.serial}: {self.lost(done.stderr.strip().splitlines())}")
        return int(code), printed

    def push(self, file: Path, to: str, timeout: float) -> None:
        """Copy a file there; folders on its way are made.

        Raises:
            DeviceError: the phone is gone, or has no room.
        """
        done = self._run(self.client("push", str(file), to), timeout)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "the connection ended").splitlines()[-1]
            raise DeviceError(f"adb://{self.serial}: {file.name} can't be copied to {to}: {said}")

    def lost(self, said: Sequence[str]) -> str:
        """Say what a connection that ended in the middle means."""
        state, reason = self._state()
        if state != "device":
            return self._meaning(state, reason)
        return said[-1] if said else "the connection ended"

    def facts(self) -> dict[str, str]:
        """Describe the phone; what it does not tell is left out."""
        _, printed = self.shell(
            "\n".join(f'echo "{name}=$({command} 2>/dev/null)"' for name, command in _FACTS.items())
        )
        lines = (line.partition("=") for line in printed.splitlines())
        found = {name: value.strip() for name, _, value in lines if name in _FACTS and value.strip()}
        if "memory" in found:
            found["memory"] = f"{int(found['memory']) / 2**20:.0f} GiB"
        return found

    def condition(self) -> dict[str, Any]:
        """Give the thermal state, and of the battery the level (%), the temperature (°C) and what charges it."""
        _, printed = self.shell("dumpsys thermalservice 2>/dev/null; dumpsys battery 2>/dev/null")
        found: dict[str, Any] = {}
        heat = re.search(r"^Thermal Status: (\d+)", printed, re.M)
        if heat and int(heat[1]) < len(_HEAT):
            found["thermal"] = _HEAT[int(heat[1])]
        battery = {name: re.search(pattern, printed, re.M) for name, pattern in _BATTERY.items()}
        found |= {name: match[1] for name, match in battery.items() if match}
        if "level" in found:
            found["level"] = int(found["level"])
        if "temperature" in found:
            found["temperature"] = int(found["temperature"]) / 10
        return found

    def cool(self) -> dict[str, Any]:
        """Wait until the phone is not held back by its heat, and give its condition.

        Raises:
            DeviceError: it stays too hot.
        """
        end = time.monotonic() + _COOLING
        while True:
            found = self.condition()
            if _HEAT.index(found.get("thermal", "none")) < _HEAT.index("severe"):
                return found
            if time.monotonic() > end:
                raise DeviceError(
                    f"adb://{self.serial}: still too hot after {_COOLING:.0f} s (its thermal state is "
                    f"{found['thermal']}): let it cool"
                )
            time.sleep(_LOOK)

    def _state(self) -> tuple[str, str]:
        done = self._run(self.client("get-state"), _CONNECT)
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("* ")]
        return done.stdout.strip(), said[0].removeprefix("error: ") if said else "no answer"

    def _ask(self, *arguments: str) -> None:
        self._run([self.client()[0], *arguments], _CONNECT)

    def _run(self, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"adb://{self.serial}: no answer within {timeout:.0f} s") from None

    def _meaning(self, state: str, said: str) -> str:
        if "unauthorized" in said:
            return "the phone does not let this computer in: unlock it and allow USB debugging"
        if "offline" in said:
            return "the phone is offline: plug it in again, or 'adb reconnect offline'"
        if "not found" in said:
            hint = (
                f"'adb connect {self.serial}' says why" if ":" in self.serial else "'adb devices' lists those that are"
            )
            return f"no such phone is connected ({hint}); USB debugging has to be on"
        if "no permissions" in said:
            return f"{said}: 'apt-get install android-sdk-platform-tools-common' has the rules for USB"
        return said if not state else f"the phone is in the state {state!r}: start Android"
