"""Whether a machine is what a profile says."""

from __future__ import annotations

from typing import Any

import pytest

from autoshrink.core import DeviceError, Hardware
from autoshrink.devices.identity import check_identity, difference

PI = {"machine": "aarch64", "model": "Raspberry Pi 5 Model B Rev 1.0", "features": "asimd asimddp"}
SERVER = {"machine": "x86_64", "processor": "AMD EPYC"}


def profile(**changes: Any) -> Hardware:
    return Hardware(**{"name": "box", "kind": "cpu", "backend": "onnxruntime", **changes})


@pytest.mark.parametrize(
    ("changes", "facts", "message"),
    [
        ({}, SERVER, ""),
        ({"expects": {"machine": "aarch64", "model": "raspberry pi 5"}}, PI, ""),
        ({"expects": {"machine": "arm64"}}, PI, ""),
        ({"expects": {"features": "asimddp"}}, PI, ""),
        ({"expects": {"machine": "aarch64"}}, SERVER, "box expects a device whose machine is 'aarch64', and local has"),
        ({"expects": {"model": "Raspberry Pi 5"}}, SERVER, "and local tells none: write where the right one is"),
        ({"kind": "gpu"}, SERVER, "box is a GPU, and local shows none"),
        ({"kind": "gpu"}, {**SERVER, "gpu": "A large card"}, ""),
        ({"kind": "gpu", "expects": {"gpu": "H100"}}, {"gpu": "Tesla T4"}, "has 'Tesla T4'"),
        ({"kind": "mcu", "device": "emulated", "expects": {"machine": "thumb"}}, SERVER, ""),
    ],
)
def test_the_machine_counts_and_not_the_name(changes: dict[str, Any], facts: dict[str, str], message: str) -> None:
    if message:
        with pytest.raises(DeviceError) as raised:
            check_identity(profile(**changes), facts)
        assert message in str(raised.value)
    else:
        check_identity(profile(**changes), facts)


def test_a_difference_names_both() -> None:
    assert difference(PI, PI) == ""
    assert difference({"governor": "performance"}, {}) == "governor is performance and nothing"
