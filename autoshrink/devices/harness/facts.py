"""What a machine is: model, processor, clocks, memory, system; with the standard library only."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cores", "facts", "versions"]

_FEATURES = (
    "sse4_2 avx f16c fma avx2 avx_vnni avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_int8 amx_bf16 "
    "neon asimd asimdhp asimddp i8mm bf16 sve sve2"
).split()
_CLOCK = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_PHONE = ("ro.product.model", "ro.build.fingerprint")


def facts() -> dict[str, str]:
    """Describe this machine; what the system does not tell is left out."""
    processor, features = _processor()
    found = {
        "model": _model(),
        "processor": processor,
        "features": features,
        "machine": platform.machine(),
        "cores": str(cores()),
        "memory": _memory(),
        "clock": _read(_CLOCK / "cpuinfo_max_freq"),
        "governor": _read(_CLOCK / "scaling_governor"),
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
    known: dict[str, str] = {}
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        known.setdefault(name.strip().lower(), value.strip())
    arm = " ".join(f"{name} {known[f'cpu {name}']}" for name in ("implementer", "part") if f"cpu {name}" in known)
    flags = set(known.get("flags", known.get("features", "")).split())
    name = known.get("model name") or arm or platform.processor() or platform.machine()
    return name, " ".join(feature for feature in _FEATURES if feature in flags)


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
