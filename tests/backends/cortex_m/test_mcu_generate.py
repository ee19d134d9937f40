"""Generated C code against tflite-micro, bit for bit, on this machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from mcu_generated import inputs_for, networks, on_host
from mcu_networks import interpret

PATHS = ["m3", "m4f", "m55"]


@pytest.mark.parametrize("core", PATHS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(model=networks())
def test_any_network_gives_what_tflite_micro_gives(core, model):
    inputs = inputs_for(model, 6)
    outputs, _ = on_host(model, inputs, core)
    np.testing.assert_array_equal(outputs, interpret(model, inputs))
