"""Whether a hardware profile can be used here, and what to install if not."""

from __future__ import annotations

from autoshrink.backends.registry import backend
from autoshrink.core import BackendUnavailable, DeviceError, Hardware, SpecError
from autoshrink.devices.registry import device

__all__ = ["ready"]


def ready(hardware: Hardware) -> str:
    """Say what is missing for a profile: a device that answers, a backend, a package; empty when nothing is."""
    try:
        backend(hardware.backend).require(hardware)
        device(hardware).fingerprint()
    except (BackendUnavailable, DeviceError, SpecError) as error:
        return str(error)
    return ""
