"""What kernels cost on emulated cores: the figures that the project claims, as limits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mcu_examples import ds_cnn, perceptron, resnet8
from mcu_firmware import board
from mcu_generated import inputs_for
from mcu_networks import Networks

from autoshrink.backends.cortex_m.emulate import Emulated, run
from autoshrink.backends.cortex_m.generate import Generated, generate
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.backends.cortex_m.toolchain import build

STACK_RESERVE = 8192


def wide(net: Networks, **settings) -> bytes:
    x = net.dense(net.input((1, 256)), 96, activation="relu", **settings)
    return net.finish(net.dense(x, 32, **settings))


NETWORKS = {"ds_cnn": ds_cnn, "resnet8": resnet8, "perceptron": perceptron, "wide": wide}


@cache
def measured(name: str, core: str, weights: str = "auto", **drawn: object) -> tuple[Generated, Emulated]:
    model = NETWORKS[name](Networks(0), **drawn)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = generate(read_tflite(model), folder, core=core, weights=weights)
        return made, run(build(made.sources, board(core), folder, [made.include]), inputs_for(model, 2))


# MLPerf Tiny's networks: instructions, flash, and RAM with a reserve for the stack, at most.
@pytest.mark.parametrize(
    ("name", "core", "instructions", "flash", "ram"),
    [
        ("ds_cnn", "cortex-m4", 3_300_000, 37_000, 17_500),
        ("resnet8", "cortex-m4", 12_100_000, 88_500, 46_500),
        ("ds_cnn", "cortex-m0plus", 16_900_000, 38_300, 17_500),
        ("resnet8", "cortex-m0plus", 55_000_000, 90_000, 46_500),
        ("ds_cnn", "cortex-m55", 2_100_000, 35_000, 18_000),
        ("resnet8", "cortex-m55", 4_700_000, 88_000, 46_500),
    ],
)
def test_whole_networks_stay_within_the_figures_that_are_claimed(name, core, instructions, flash, ram):
    made, emulated = measured(name, core)
    assert made.macs == {"ds_cnn": 2_656_768, "resnet8": 12_501_632}[name]
    assert emulated.instructions <= instructions
    assert emulated.flash_bytes <= flash
    assert emulated.ram_bytes - emulated.stack_bytes + STACK_RESERVE <= ram


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m33"])
@pytest.mark.parametrize("name", ["ds_cnn", "resnet8"])
def test_a_codebook_halves_the_weights_at_less_than_twice_the_instructions(name, core):
    dense, packed = (measured(name, core, weights, distinct=16) for weights in ("dense", "auto"))
    assert dense[0].weight_bytes / packed[0].weight_bytes >= 1.9
    assert dense[1].flash_bytes - packed[1].flash_bytes >= 0.7 * (dense[0].weight_bytes - packed[0].weight_bytes)
    assert packed[1].instructions <= 2 * dense[1].instructions
    assert (packed[1].outputs == dense[1].outputs).all()


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m55"])
def test_four_bit_weights_take_half_the_flash_at_less_than_twice_the_instructions(core):
    dense, packed = (measured("wide", core, weights, bits=4) for weights in ("dense", "auto"))
    assert dense[0].weight_bytes / packed[0].weight_bytes >= 1.9
    assert packed[1].instructions <= 2 * dense[1].instructions
    assert (packed[1].outputs == dense[1].outputs).all()


def test_a_small_layer_keeps_plain_weights_where_a_table_costs_too_much():
    dense, packed = (measured("perceptron", "cortex-m4", weights, distinct=16) for weights in ("dense", "auto"))
    assert packed[1].instructions <= 2 * dense[1].instructions
    assert packed[1].flash_bytes <= dense[1].flash_bytes


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus"])
def test_zeros_save_flash_and_instructions(core):
    dense, packed = (measured("resnet8", core, weights, zeros=0.85) for weights in ("dense", "auto"))
    assert packed[0].weight_bytes <= 0.45 * dense[0].weight_bytes
    assert packed[1].instructions <= 0.7 * dense[1].instructions
    assert (packed[1].outputs == dense[1].outputs).all()


def test_a_codebook_halves_the_weights_for_vectors_too():
    dense, packed = (measured("resnet8", "cortex-m55", weights, distinct=16) for weights in ("dense", "auto"))
    assert dense[0].weight_bytes / packed[0].weight_bytes >= 1.9
    assert packed[1].instructions <= 2 * dense[1].instructions
