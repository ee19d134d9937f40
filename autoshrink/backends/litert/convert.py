"""From a torch module to a float ``.tflite`` file that agrees with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoshrink.backends.litert.file import read, write
from autoshrink.backends.litert.run import interpreter, run
from autoshrink.core import Refusal
from autoshrink.models.agreement import check_agreement, one_by_one, without_fast_paths
from autoshrink.models.exporting import TRACING_ERRORS, Positional, first_line, input_names, quiet

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["convert"]


def convert(model: nn.Module, example: Split, examples: Split) -> bytes:
    """Convert a module for one example at a time, and check the file against it.

    Its inputs have the names of the module's, its one output is what `forward` gives.

    Args:
        model: in eval mode, on the CPU.
        example: one example.
        examples: real examples for the check.

    Raises:
        Refusal: the converter can't follow the model, or the file computes something else.
    """
    import litert_torch

    module = Positional(model, example.names).eval()
    try:
        with quiet(), without_fast_paths():
            converted = litert_torch.convert(module, example.inputs).model_content()
    except (*TRACING_ERRORS, SystemError) as error:
        raise Refusal(f"LiteRT's converter can't follow the model: {first_line(error)}") from error
    content = _with_names(converted, input_names(model, example))
    batches = one_by_one(example, examples)
    running = interpreter(content)
    check_agreement(model, batches, (run(running, batch)[0] for batch in batches))
    return content


def _with_names(content: bytes, names: list[str]) -> bytes:
    """Call the inputs as the user does; the converter counts them."""
    model = read(content)
    ports = {port.name.decode(): port for port in model.signatureDefs[0].inputs}
    for index, name in enumerate(names):
        ports[f"args_{index}"].name = name.encode()
    return write(model)
