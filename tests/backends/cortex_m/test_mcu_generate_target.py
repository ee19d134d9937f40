"""Generated C code on emulated cores against tflite-micro, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from mcu_examples import EXAMPLES
from mcu_firmware import board
from mcu_generated import inputs_for, networks
from mcu_networks import interpret

from autoshrink.backends.cortex_m.emulate import Emulated, run
from autoshrink.backends.cortex_m.generate import generate
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.backends.cortex_m.toolchain import build

CORES = ["cortex-m0plus", "cortex-m4", "cortex-m55"]
INPUTS = 20


def on_target(model: bytes, inputs: np.ndarray, core: str, folder) -> Emulated:
    made = generate(read_tflite(model), folder, core=core)
    return run(build(made.sources, board(core), folder, [made.include]), inputs)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_network_gives_what_tflite_micro_gives(name, core, tmp_path):
    model = EXAMPLES[name]()
    inputs = inputs_for(model, INPUTS)
    expected = interpret(model, inputs)
    assert len(np.unique(expected)) > 3, "the example says too little"
    np.testing.assert_array_equal(on_target(model, inputs, core, tmp_path).outputs, expected)


@pytest.mark.parametrize("core", [*CORES, "cortex-m3", "cortex-m33"])
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(model=networks())
def test_any_network_gives_what_tflite_micro_gives(core, model, tmp_path_factory):
    inputs = inputs_for(model, 6)
    emulated = on_target(model, inputs, core, tmp_path_factory.mktemp("model"))
    np.testing.assert_array_equal(emulated.outputs, interpret(model, inputs))
