"""NVIDIA's cards through the library of their driver (NVML): what they are, their clocks, and the energy they spend."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .meter import Counter, Gauge, Meter

__all__ = ["clocks", "describe", "find"]

_LIBRARY = "libnvidia-ml.so.1"
_WITHIN = 0.05
"""What NVML's documentation states for the power that a card shows."""
_SM, _MEMORY, _CELSIUS = 1, 2, 0
_TEXT = 96


def find(root: Path, card: str) -> Meter | None:
    """Find the energy counter of a card, or its gauge of power where it has none (before Volta).

    Args:
        root: of no use here.
        card: the number of the card among those that CUDA sees (``0``, ``cuda:1``), or its UUID; empty for the first.

    Raises:
        ValueError: there is no such card, or it can't be told which one CUDA means.
        OSError: the driver refuses.
    """
    library = _Nvml.open()
    if library is None:
        return None
    handle = library.card(card)
    name = f"nvml: {library.text('nvmlDeviceGetName', handle)}"
    try:
        library.number("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.c_ulonglong)
    except OSError:
        return Gauge(name, lambda: library.number("nvmlDeviceGetPowerUsage", handle) * 1e-3, _WITHIN)
    return Counter(
        name,
        lambda: library.number("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.c_ulonglong) * 1e-3,
        _WITHIN,
    )


def describe() -> dict[str, str]:
    """Describe the cards: ``gpu``, ``gpu_clock`` and ``gpu_power`` (what they may draw), ``driver``; else nothing."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        library = _Nvml.open()
        if library is None:
            return found
        cards = list(library.cards())
        if not cards:
            return found
        found["gpu"] = ", ".join(library.text("nvmlDeviceGetName", handle) for handle in cards)
        found["driver"] = library.text("nvmlSystemGetDriverVersion")
        with contextlib.suppress(OSError):
            most = [library.number("nvmlDeviceGetMaxClockInfo", handle, select=_SM) for handle in cards]
            found["gpu_clock"] = ", ".join(f"{megahertz} MHz" for megahertz in most)
        with contextlib.suppress(OSError):
            limits = [library.number("nvmlDeviceGetEnforcedPowerLimit", handle) for handle in cards]
            found["gpu_power"] = ", ".join(f"{milliwatts / 1000:g} W" for milliwatts in limits)
    return found


def clocks(card: str) -> dict[str, float]:
    """Give a card's clocks now, in Hz, and its temperature in °C; nothing where there is no card."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError):
        library = _Nvml.open()
        if library is None:
            return found
        handle = library.card(card)
        found["gpu"] = library.number("nvmlDeviceGetClockInfo", handle, select=_SM) * 1e6
        found["gpu_memory"] = library.number("nvmlDeviceGetClockInfo", handle, select=_MEMORY) * 1e6
        found["gpu_celsius"] = library.number("nvmlDeviceGetTemperature", handle, select=_CELSIUS)
    return found


class _Nvml:
    """The library, and calls that raise what it returns as an error."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.nvmlErrorString.restype = ctypes.c_char_p
        self._call("nvmlInit_v2")

    @classmethod
    def open(cls) -> _Nvml | None:
        """Load the library, if this machine has it.

        Raises:
            OSError: it has, and the driver does not answer.
        """
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError:
            return None
        return cls(library)

    def card(self, wanted: str) -> ctypes.c_void_p:
        """Find a card as CUDA counts them, which the environment may limit.

        Raises:
            ValueError: there is none, or CUDA's order is not this library's.
        """
        cards = list(self.cards())
        if wanted.startswith("GPU-"):
            return self._by_uuid(cards, wanted)
        number = int(wanted.rpartition(":")[2] or 0) if wanted not in ("cuda", "gpu") else 0
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            listed = [part.strip() for part in visible.split(",") if part.strip()]
            if number >= len(listed):
                raise ValueError(f"there is no card {number} in CUDA_VISIBLE_DEVICES={visible}")
            if not listed[number].isdecimal():
                return self._by_uuid(cards, listed[number])
            number = int(listed[number])
        if number >= len(cards):
            raise ValueError(f"there is no card {number}: the driver names {len(cards)}")
        names = {self.text("nvmlDeviceGetName", handle) for handle in cards}
        if len(names) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            raise ValueError(
                "the cards differ, and CUDA may count them in another order: set CUDA_DEVICE_ORDER=PCI_BUS_ID"
            )
        return cards[number]

    def cards(self) -> Iterator[ctypes.c_void_p]:
        """Go through the cards, in the order of their slots."""
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        for number in range(count.value):
            handle = ctypes.c_void_p()
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(number), ctypes.byref(handle))
            yield handle

    def text(self, function: str, *handle: ctypes.c_void_p) -> str:
        """Ask for a text."""
        buffer = ctypes.create_string_buffer(_TEXT)
        self._call(function, *handle, buffer, ctypes.c_uint(_TEXT))
        return buffer.value.decode(errors="replace")

    def number(
        self, function: str, handle: ctypes.c_void_p, kind: Any = ctypes.c_uint, select: int | None = None
    ) -> int:
        """Ask for a number."""
        value = kind()
        selected = () if select is None else (ctypes.c_uint(select),)
        self._call(function, handle, *selected, ctypes.byref(value))
        return int(value.value)

    def _by_uuid(self, cards: list[ctypes.c_void_p], wanted: str) -> ctypes.c_void_p:
        if wanted.startswith("MIG-"):
            raise ValueError(f"{wanted} is a part of a card, whose energy can't be told from that of the others")
        for handle in cards:
            if self.text("nvmlDeviceGetUUID", handle).startswith(wanted):
                return handle
        raise ValueError(f"there is no card {wanted}")

    def _call(self, function: str, *arguments: Any) -> None:
        try:
            code = getattr(self._library, function)(*arguments)
        except AttributeError:
            raise OSError(f"the driver is too old for {function}") from None
        if code:
            raise OSError(f"{function}: {self._library.nvmlErrorString(code).decode()}")
