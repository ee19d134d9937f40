"""From a torch module to a ``.pte`` file: exported, quantized through pt2e, lowered to XNNPACK."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autoshrink.core import Refusal
from autoshrink.models.agreement import check_agreement, one_by_one
from autoshrink.models.exporting import (
    TRACING_ERRORS,
    export_program,
    first_line,
    quiet,
    structure_key,
    without_logging,
)
from autoshrink.models.ranges import calibration_examples

if TYPE_CHECKING:
    from torch import fx, nn
    from torch.export import ExportedProgram

    from autoshrink.core import Encoding
    from autoshrink.models.splits import Split

__all__ = ["Lowered", "lower"]

_LAYERS = ("conv", "linear", "mm", "bmm", "matmul", "addmm")


@dataclass(frozen=True)
class Lowered:
    """A file's content, and what was counted."""

    content: bytes
    structure: str
    layers: Counter[str]
    """Layers with weights by what they compute in: ``integers`` or ``float``."""
    parts: int
    """Pieces of the graph that XNNPACK took over."""
    delegated: int
    """Operators inside them."""
    left_over: dict[str, int]
    """Operators outside, by name."""


def lower(model: nn.Module, example: Split, encoding: Encoding, calibration: Split) -> Lowered:
    """Lower a module for one example at a time; what is float is checked against it, in the runtime if nothing is not.

    Args:
        model: in eval mode, on the CPU.
        example: one example.
        encoding: the number formats.
        calibration: examples for static ranges and for the check.

    Raises:
        Refusal: the exporter or ExecuTorch can't follow the model, or the program computes something else.
    """
    program = export_program(model, example)
    batches = one_by_one(example, calibration)
    try:
        with quiet(), without_logging(), torch.no_grad():
            if encoding.scheme != "float":
                followed = program.module()
                check_agreement(model, batches, (followed(*batch.inputs).numpy() for batch in batches))
                program = _quantize(program, example, encoding, calibration)
            lowered = _to_executorch(program, encoding)
    except TRACING_ERRORS as error:
        raise Refusal(f"ExecuTorch can't lower the model as {encoding.describe()}: {first_line(error)}") from error
    if encoding.scheme == "float":
        check_agreement(model, batches, _run(lowered.content, batches))
    return lowered


def _quantize(program: ExportedProgram, example: Split, encoding: Encoding, calibration: Split) -> ExportedProgram:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import MinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    per_channel = encoding.granularity == "per_channel"
    config = get_symmetric_quantization_config(is_per_channel=per_channel, is_dynamic=encoding.scheme == "dynamic")
    if encoding.scheme == "static":
        # The histograms that it would make take a second for each batch, and clip.
        extremes = MinMaxObserver.with_args(eps=2**-12)
        activations = replace(config.input_activation, observer_or_fake_quant_ctr=extremes)
        config = replace(config, input_activation=activations, output_activation=activations)
    prepared = prepare_pt2e(program.module(), XNNPACKQuantizer().set_global(config))
    examples = calibration_examples(calibration) if encoding.scheme == "static" else example
    for one in examples.batches(1):
        prepared(*one.inputs)
    return torch.export.export(convert_pt2e(prepared), example.inputs, strict=False)


def _to_executorch(program: ExportedProgram, encoding: Encoding) -> Lowered:
    from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.utils.configs import (
        get_xnnpack_edge_compile_config,
        get_xnnpack_executorch_backend_config,
    )
    from executorch.devtools.backend_debug import get_delegation_info
    from executorch.exir import to_edge_transform_and_lower

    partitioners = [XnnpackPartitioner()]
    if encoding.scheme == "dynamic":
        dynamic = XnnpackPartitioner(config_precisions=ConfigPrecisionType.DYNAMIC_QUANT, per_op_mode=True)
        partitioners.insert(0, dynamic)
    layers, structure = _layers(program.graph), structure_key(program.graph, encoding.describe())
    edge = to_edge_transform_and_lower(
        program, partitioner=partitioners, compile_config=get_xnnpack_edge_compile_config()
    )
    found = get_delegation_info(edge.exported_program().graph_module)
    left = {kind: item.non_delegated for kind, item in found.delegation_by_operator.items() if item.non_delegated}
    content = bytes(edge.to_executorch(get_xnnpack_executorch_backend_config()).buffer)
    return Lowered(
        content, structure, layers, found.num_delegated_subgraphs, found.num_delegated_nodes, dict(sorted(left.items()))
    )


def _layers(graph: fx.Graph) -> Counter[str]:
    counts: Counter[str] = Counter()
    for node in graph.nodes:
        if node.op == "call_function" and _name(node).startswith(_LAYERS):
            taken = [argument for argument in node.args[:2] if isinstance(argument, torch.fx.Node)]
            integers = all("dequantize" in _name(argument) for argument in taken)
            counts["integers" if integers else "float"] += 1
    return counts


def _name(node: fx.Node) -> str:
    """Give an operator's name without its name space and overload."""
    return str(node.target).split(".")[1 if "." in str(node.target) else 0]


def _run(content: bytes, batches: list[Split]) -> Iterator[np.ndarray]:
    """Run a file in this process; gives the output for each batch."""
    with quiet():  # that its interface may change
        from executorch.runtime import Runtime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pte"
        path.write_bytes(content)
        program = Runtime.get().load_program(path)
        method: Any = program.load_method("forward")
        for batch in batches:
            yield method.execute(list(batch.inputs))[0].numpy().copy()
