"""Profiles of microcontrollers, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autoshrink.backends.cortex_m.boards import read_board, read_npu
from autoshrink.core import Hardware, SpecError, catalog_folder

PROFILES = sorted(
    path.stem
    for path in catalog_folder("targets").glob("*.yaml")
    if yaml.safe_load(path.read_text(encoding="utf-8"))["backend"] == "cortex_m"
)


def profile(name: str) -> Hardware:
    return Hardware.read(catalog_folder("targets") / f"{name}.yaml")


def changed(tmp_path: Path, change: dict[str, object]) -> Hardware:
    data = yaml.safe_load((catalog_folder("targets") / "nrf52840.yaml").read_text(encoding="utf-8"))
    for key, value in change.items():
        *groups, last = key.split(".")
        place = data
        for group in groups:
            place = place[group]
        if value is None:
            del place[last]
        else:
            place[last] = value
    path = tmp_path / "board.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return Hardware.read(path)


def test_the_promised_profiles_are_there():
    promised = {"stm32l4r5", "stm32u585", "stm32h743", "nrf52840", "rp2040", "rp2350", "stm32g0b1", "ethos-u55-128"}
    assert promised <= set(PROFILES)
    assert any(read_npu(profile(name)) is None and read_board(profile(name)).core == "cortex-m55" for name in PROFILES)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_describes_a_board_with_sources(name):
    hardware = profile(name)
    npu = read_npu(hardware)
    if npu is not None:
        assert npu.clock > 1e6
        return
    board = read_board(hardware)
    assert board.stack < board.ram <= board.emulated.ram.size
    assert len(board.flash_access.source) > 20
    assert board.energy is None or (board.energy.per_cycle < 2e-9 and len(board.energy.source) > 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options.clock": 64}, "options.clock: 64 is not a clock: write it with its unit, such as '64 MHz'"),
        ({"options.clock": "0 MHz"}, "options.clock: '0 MHz' is not a clock"),
        ({"options.core": "cortex-m5"}, "options.core: must be 'cortex-m0plus', 'cortex-m3'"),
        ({"options.cloc": "64 MHz"}, "options.cloc: unknown key; did you mean 'clock'?"),
        ({"options.flash.wait": -1}, "options.flash.wait: must be 0 or more, not -1"),
        ({"options.flash.source": None}, "options.flash.source: this key is missing"),
        ({"options.flash.unified_cache": "1 KiB"}, "options.flash: give either a unified_cache or"),
        ({"options.flash": None}, "options.flash: this key is missing"),
        ({"options.stack": "1 MiB"}, "options.stack: the stack is as large as the RAM"),
        ({"limits.size": None}, "limits.size: a microcontroller's profile says how much flash it has"),
        ({"limits.memory": None}, "limits.memory: a microcontroller's profile says how much RAM it has"),
        ({"limits.size": "8 MiB"}, "limits.size: the emulated cortex-m4 has no more than 4 MiB"),
        (
            {"energy": {"power": "1 W", "band": "9 %", "source": "x"}},
            "energy.power: a microcontroller's energy is given",
        ),
    ],
)
def test_a_wrong_profile_is_told_which_key(tmp_path, change, message):
    with pytest.raises(SpecError) as caught:
        read_board(changed(tmp_path, change))
    assert message in str(caught.value)
    assert "board.yaml" in str(caught.value)


def test_an_accelerator_that_vela_does_not_know(tmp_path):
    hardware = changed(tmp_path, {"options": {"accelerator": "ethos-u56", "clock": "1 GHz", "system_config": "a"}})
    with pytest.raises(
        SpecError, match=r"options.accelerator: must be 'ethos-u55-32'[^\n]*\n[^\n]*memory_mode: .*missing"
    ):
        read_npu(hardware)
