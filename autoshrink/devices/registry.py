"""Devices by the way a hardware profile spells them."""

from __future__ import annotations

from autoshrink.core import DeviceError, Hardware
from autoshrink.devices.adb import Adb
from autoshrink.devices.adb_benchmark import AdbBenchmark
from autoshrink.devices.base import Device
from autoshrink.devices.emulated import Emulated
from autoshrink.devices.local import Local
from autoshrink.devices.node import Cluster, Node
from autoshrink.devices.several import Several
from autoshrink.devices.ssh import Ssh

__all__ = ["device"]

_PLACEHOLDERS = {
    "ssh://USER@HOST": "the user and the name or address of the machine",
    "adb://SERIAL": "the phone's serial number, which 'adb devices' lists,",
}
"""What a profile that is shipped has instead of an address."""


def device(hardware: Hardware, cluster: Cluster | None = None) -> Device:
    """Find the device of a profile.

    Args:
        hardware: the profile.
        cluster: reaches nodes, for a device that is one.

    Raises:
        DeviceError: the profile names none yet, or it does not have what the profile asks for.
    """
    if hardware.device == "emulated":
        return Emulated()
    if hardware.device == "none":
        raise DeviceError(f"{hardware.name} is described only: nothing can be measured on it from here")
    if hardware.device.startswith("ray://"):
        return Node(hardware.device.removeprefix("ray://"), cluster)
    if hardware.device != "local":
        several = [_elsewhere(address, hardware) for address in hardware.device.split(",")]
        return Several(several) if len(several) > 1 else several[0]
    local = Local()
    if hardware.threads > local.cores:
        raise DeviceError(
            f"{hardware.name} needs {hardware.threads} cores, one for each thread, and this machine has {local.cores}"
        )
    return local


def _elsewhere(address: str, hardware: Hardware) -> Device:
    for placeholder, what in _PLACEHOLDERS.items():
        if address.startswith(placeholder):
            raise DeviceError(
                f"{hardware.name}: copy {hardware.source.name}, write {what} in place of "
                f"{placeholder.partition('://')[2]}, and name the copy as the hardware"
            )
    if address.startswith("ssh://"):
        return Ssh(address)
    program = hardware.options.get("benchmark")
    return AdbBenchmark(address, program) if program else Adb(address)
