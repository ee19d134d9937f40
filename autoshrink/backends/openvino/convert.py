"""From a torch module to a float OpenVINO model that agrees with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from autoshrink.core import Refusal
from autoshrink.models.agreement import check_agreement, one_by_one, without_fast_paths
from autoshrink.models.exporting import TRACING_ERRORS, Positional, first_line, input_names, quiet

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["compile_here", "convert", "run"]


def convert(model: nn.Module, example: Split, examples: Split) -> Any:
    """Convert a module for one example at a time, and check the model against it.

    Its inputs have the names of the module's, its one output is what `forward` gives.

    Args:
        model: in eval mode, on the CPU.
        example: one example.
        examples: real examples for the check.

    Raises:
        Refusal: the converter can't follow the module, or the model computes something else.
    """
    import openvino

    try:
        with quiet(), without_fast_paths():
            made = openvino.convert_model(
                Positional(model, example.names).eval(),
                example_input=example.inputs,
                input=[openvino.PartialShape(list(tensor.shape)) for tensor in example.inputs],
            )
    except (*TRACING_ERRORS, openvino.exceptions.OVError) as error:
        raise Refusal(f"OpenVINO's converter can't follow the model: {first_line(error)}") from error
    for port, name in zip(made.inputs, input_names(model, example), strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    batches = one_by_one(example, examples)
    compiled = compile_here(made)
    check_agreement(model, batches, (run(compiled, batch) for batch in batches))
    return made


def compile_here(made: Any) -> Any:
    """Compile a model for this machine's CPU, in exact float arithmetic."""
    import openvino

    return openvino.Core().compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})


def run(compiled: Any, one: Split) -> np.ndarray:
    """Run one example.

    Returns:
        The first output.
    """
    return np.array(compiled([np.ascontiguousarray(array) for array in one.arrays()])[0])
