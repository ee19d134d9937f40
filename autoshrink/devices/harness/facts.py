"""What a machine is: model, processor, clocks, cards, sensors, system; with the standard library only."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from . import nvml
from .sensors import sensors

__all__ = ["cores", "facts", "versions"]

_FEATURES = (
    "sse4_2 avx f16c fma avx2 avx_vnni avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_int8 amx_bf16 "
    "neon asimd asimdhp asimddp i8mm bf16 sve sve2"
).split()
_ARM = ("implementer", "part")
_CPUS = Path("/sys/devices/system/cpu")
_RENDERERS = Path("/sys/class/drm")
_EMULATED = {"", "virtio-pci", "virtio_gpu", "vgem", "vkms", "bochs-drm", "simple-framebuffer", "cirrus"}
"""Drivers of what draws a picture and computes nothing."""
_PHONE = ("ro.product.model", "ro.build.fingerprint")


def facts(count: int | None = None) -> dict[str, str]:
    """Describe this machine by what stays the same until somebody changes it.

    What the system does not tell is left out. What changes by itself, such as clocks at this moment, is in
    `autoshrink.devices.harness.clocks`.

    Args:
        count: the cores that this process may use, where it holds itself on fewer by now.
    """
    processor, features = _processor()
    found = {
        "model": _model(),
        "processor": processor,
        "features": features,
        "machine": platform.machine(),
        "cores": str(count or cores()),
        "memory": _memory(),
        "clock": _setting("cpuinfo_max_freq"),
        "governor": _setting("scaling_governor"),
        "gpu": _renderers(),
        **nvml.describe(),
        "sensors": ", ".join(name for name in sensors()[0] if not name.startswith("battery")),
        "system": f"{platform.system()} {platform.release()}",
        "build": _build(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
    }
    return {name: value for name, value in found.items() if value}


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Give the versions of the packages that are installed here."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> tuple[str, str]:
    known: dict[str, list[str]] = {}
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        seen = known.setdefault(name.strip().lower(), [])
        if value.strip() not in seen:  # a phone's cores are of several kinds
            seen.append(value.strip())
    arm = " ".join(f"{name} {'+'.join(known[f'cpu {name}'])}" for name in _ARM if f"cpu {name}" in known)
    flags = set((known.get("flags") or known.get("features") or [""])[0].split())
    names = known.get("model name", []) or [arm or platform.processor() or platform.machine()]
    return " + ".join(names), " ".join(feature for feature in _FEATURES if feature in flags)


def _setting(name: str) -> str:
    """Give what cores are set to, kHz or a governor's name: one value for each kind of them."""
    values = {_read(path) for path in _CPUS.glob(f"cpu[0-9]*/cpufreq/{name}")} - {""}
    return " ".join(sorted(values, key=lambda value: (len(value), value)))


def _renderers() -> str:
    """Name the drivers of the cards that Linux knows, for those that NVML does not."""
    drivers = {(node / "device" / "driver").resolve().name for node in _RENDERERS.glob("renderD*")}
    return ", ".join(sorted(drivers - _EMULATED - {"driver"}))


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return ""
    return f"{total / 2**30:.0f} GiB"


def _model() -> str:
    return _read(Path("/proc/device-tree/model")).strip("\0 \n") or _phone(_PHONE[0])


def _build() -> str:
    lines = dict(line.split("=", 1) for line in _read(Path("/etc/os-release")).splitlines() if "=" in line)
    return lines.get("PRETTY_NAME", "").strip('"') or _phone(_PHONE[1])


def _phone(name: str) -> str:
    if shutil.which("getprop") is None:
        return ""
    return subprocess.run(["getprop", name], capture_output=True, text=True, check=False).stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
