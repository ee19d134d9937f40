"""LiteRT's own ``benchmark_model``, for phones without Python: its arguments and what it prints."""

from __future__ import annotations

from typing import Any

from autoshrink.core import Hardware

__all__ = ["benchmark_model", "check_benchmark"]

_TIMED = (
    r"count=(?P<count>[1-9]\d*)(?: first=\S+)? curr=(?P<only>[\d.e+]+)"
    r"(?:.*? max=(?P<high>\S+) avg=(?P<mean>\S+))?(?:.*? median=(?P<median>\S+))?(?:.*? p95=(?P<p95>\S+))?"
)
"""Such as ``count=24 first=42142 curr=42232 min=42142 max=42763 avg=42435.4 std=147 p5=42232 median=42405 p95=42729``;
older ones end with ``std``, and where there was one call or all took as long, it is ``count=1 curr=42142``."""
_MEMORY = r"footprint[^\n]*\(MB\): init=\S+ overall=(\S+)"


def check_benchmark(hardware: Hardware) -> None:
    """Check the option that names the program.

    Raises:
        SpecError: it is no path, or the device is no phone.
    """
    path = hardware.options["benchmark"]
    if not isinstance(path, str) or not path.startswith("/"):
        message = f"must be a path on the phone, such as /data/local/tmp/benchmark_model, not {path!r}"
        raise hardware.source.error(("options", "benchmark"), message)
    if not hardware.device.startswith("adb://"):
        message = f"is for phones (device: adb://SERIAL); on {hardware.device} Python measures"
        raise hardware.source.error(("options", "benchmark"), message)


def benchmark_model(hardware: Hardware) -> dict[str, Any]:
    """Describe the program for a profile; `autoshrink.backends.base.DeployedBackend.benchmark` says how.

    It prints microseconds, and as memory by how many MiB its largest resident set grew from its start, which counts the
    runtime's own with the model's.
    """
    xnnpack = "false" if hardware.options.get("xnnpack") is False else "true"
    return {
        "arguments": [
            "--graph={model}",
            f"--num_threads={hardware.threads}",
            f"--use_xnnpack={xnnpack}",
            "--num_runs=10",
            "--min_secs={seconds}",
            "--warmup_min_secs={warm}",
        ],
        "timed": _TIMED,
        "seconds": 1e-6,
        "memory": _MEMORY,
        "bytes": 1 << 20,
    }
