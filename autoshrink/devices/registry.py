"""Devices by the way a hardware profile spells them."""

from __future__ import annotations

from autoshrink.core import DeviceError, Hardware, SpecError
from autoshrink.devices.base import Device
from autoshrink.devices.emulated import Emulated
from autoshrink.devices.local import Local
from autoshrink.devices.several import Several
from autoshrink.devices.ssh import Ssh

__all__ = ["device"]


def device(hardware: Hardware) -> Device:
    """Find the device of a profile.

    Raises:
        SpecError: this kind of device is not supported.
        DeviceError: the device does not have what the profile asks for.
    """
    if hardware.device == "emulated":
        return Emulated()
    if hardware.device.startswith("ssh://"):
        several = [Ssh(address) for address in hardware.device.split(",")]
        return Several(several) if len(several) > 1 else several[0]
    if hardware.device != "local":
        kind = hardware.device.partition("://")[0]
        raise SpecError(
            f"{hardware.name}: the device {hardware.device!r} can't be used: {kind} is not supported by this version "
            "(supported: local, ssh, emulated)"
        )
    local = Local()
    if hardware.threads > local.cores:
        raise DeviceError(
            f"{hardware.name} needs {hardware.threads} cores, one for each thread, and this machine has {local.cores}"
        )
    return local
