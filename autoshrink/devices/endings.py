"""What the end of a run on a device means: whose fault it is, and in which words."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Any

from autoshrink.core import BackendUnavailable, DeviceError
from autoshrink.devices.base import ArtifactFailed

__all__ = ["check_ending"]

_LONGEST = 600


def check_ending(ended: Mapping[str, Any], place: str, python: str, timeout: float) -> None:
    """Raise what went wrong, if anything did.

    Args:
        ended: ``code``, ``stage`` and ``log``, as `autoshrink.devices.harness.launch` gives them.
        place: the device, as people call it.
        python: the interpreter that ran there.
        timeout: the seconds that the run was given.

    Raises:
        ArtifactFailed: the runtime refused the artifact or died of it.
        BackendUnavailable: the adapter can't import its runtime there.
        DeviceError: anything else.
    """
    code, stage, log = ended["code"], str(ended["stage"]), str(ended["log"])
    if code == 0:
        return
    if code is None:
        raise DeviceError(f"{place} did not end within {timeout:.0f} s: {stage}")
    whose, _, step = stage.partition(": ")
    reason = f"the process died of {_signal(-code)}" if code < 0 else _last_error(log)
    if whose == "artifact":
        memory = ", perhaps because the memory was not enough" if code == -signal.SIGKILL else ""
        raise ArtifactFailed(f"the runtime failed on the artifact ({step}): {reason}{memory}")
    if whose == "device" and "ModuleNotFoundError" in reason:
        raise BackendUnavailable(f"{python} can't {step}: {reason}")
    lines = "\n".join(log.strip().splitlines()[-5:])
    raise DeviceError(f"{place} failed ({stage}): {reason}" + (f"\n{lines}" if code < 0 and lines else ""))


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _last_error(log: str) -> str:
    """Give the message of the exception that ended Python: from its name to the end."""
    lines = log.strip().splitlines() or ["no message"]
    starts = [index for index, line in enumerate(lines) if re.match(r"^[A-Za-z_][\w.]*(:|$)", line)]
    text = " ".join(line.strip() for line in lines[starts[-1] if starts else -1 :])
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
