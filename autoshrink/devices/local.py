"""This machine: the harness in a fresh process."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoshrink.core import BackendUnavailable, DeviceError
from autoshrink.devices.base import ArtifactFailed, Device

__all__ = ["Local"]

_HARNESS = Path(__file__).with_name("harness")
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")
# Settings of thread pools, allocators, debuggers and tracers in the caller's environment change what is measured.
_LEFT_OUT = re.compile(
    r"^(OMP_|KMP_|GOMP_|MKL_|OPENBLAS_|ORT_|MALLOC_|GLIBC_TUNABLES|LD_PRELOAD|COVERAGE_|COV_CORE_|RAY_|PYTHON)"
)
_KEPT = ("PYTHONPATH", "PYTHONHOME")
_FEATURES = (
    "sse4_2 avx f16c fma avx2 avx_vnni avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_int8 amx_bf16 "
    "neon asimd asimdhp asimddp i8mm bf16 sve sve2"
).split()
_LONGEST = 600


class Local(Device):
    """The machine that autoshrink runs on."""

    @property
    def cores(self) -> int:
        """The cores that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Run the harness in a process of its own; see `Device.run`."""
        folder = Path(tempfile.mkdtemp(prefix="autoshrink-local-"))
        try:
            _run(
                folder,
                adapter,
                {**request, "files": {name: str(path.resolve()) for name, path in files.items()}},
                timeout,
            )
        except BaseException:
            shutil.rmtree(folder)
            raise
        return folder

    def fingerprint(self) -> dict[str, str]:
        """Describe this machine."""
        import psutil

        processor, features = _processor()
        return {
            "processor": processor,
            "features": features,
            "machine": platform.machine(),
            "cores": str(self.cores),
            "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
            "system": f"{platform.system()} {platform.release()}",
            "libc": " ".join(platform.libc_ver()).strip(),
            "python": platform.python_version(),
        }


def _run(folder: Path, adapter: Path, request: Mapping[str, Any], timeout: float) -> None:
    (folder / "request.json").write_text(json.dumps(request))
    (folder / "harness").symlink_to(_HARNESS, target_is_directory=True)
    arguments = [str(adapter.resolve()), str(folder / "request.json"), str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *arguments],
            cwd=folder,
            env=_environment(int(request["threads"])),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DeviceError(f"this machine did not end within {timeout:.0f} s: {_stage(folder)}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        raise _failure(code, _stage(folder), (folder / "log").read_text(errors="replace"))


def _environment(threads: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or not _LEFT_OUT.match(name)}
    # A fixed hash seed makes the interpreter's own memory the same each time.
    return kept | dict.fromkeys(_POOLS, str(threads)) | {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}


def _stage(folder: Path) -> str:
    file = folder / "stage"
    return file.read_text() if file.exists() else "device: start Python"


def _failure(code: int, stage: str, log: str) -> Exception:
    whose, _, step = stage.partition(": ")
    reason = f"the process died of {signal.Signals(-code).name}" if code < 0 else _last_error(log)
    if whose == "artifact":
        memory = ", perhaps because the memory was not enough" if code == -signal.SIGKILL else ""
        return ArtifactFailed(f"the runtime failed on the artifact ({step}): {reason}{memory}")
    if whose == "device" and "ModuleNotFoundError" in reason:
        return BackendUnavailable(f"{sys.executable} can't {step}: {reason}")
    lines = "\n".join(log.strip().splitlines()[-5:])
    return DeviceError(f"this machine failed ({stage}): {reason}" + (f"\n{lines}" if code < 0 and lines else ""))


def _last_error(log: str) -> str:
    """Give the message of the exception that ended Python: from its name to the end."""
    lines = log.strip().splitlines() or ["no message"]
    starts = [index for index, line in enumerate(lines) if re.match(r"^[A-Za-z_][\w.]*(:|$)", line)]
    text = " ".join(line.strip() for line in lines[starts[-1] if starts else -1 :])
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _processor() -> tuple[str, str]:
    facts: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip().lower(), value.strip())
    arm = " ".join(f"{name} {facts[f'cpu {name}']}" for name in ("implementer", "part") if f"cpu {name}" in facts)
    flags = set(facts.get("flags", facts.get("features", "")).split())
    return (
        facts.get("model name") or arm or platform.processor() or platform.machine(),
        " ".join(name for name in _FEATURES if name in flags),
    )
