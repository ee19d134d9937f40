"""What needs the GPU: an engine is built from a prepared graph, looked into, and checked against torch."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoshrink.backends.tensorrt.network import Prepared, Settings
from autoshrink.core import Refusal
from autoshrink.models.agreement import check_agreement, one_by_one

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["build_engine", "check_engine", "count_layers"]

_FORMATS = {"Int8": "integers", "FP8": "float8", "Half": "half", "FP16": "half", "BFloat16": "half"}


def build_engine(prepared: Prepared, settings: Settings) -> tuple[bytes, Counter[str]]:
    """Build an engine for one example at a time on this machine's GPU.

    Args:
        prepared: the ONNX file; the first dimension of its inputs becomes 1.
        settings: of the build.

    Returns:
        The engine's file, and its layers with weights by what they compute in.

    Raises:
        Refusal: the parser or the builder does not take the graph.
    """
    trt: Any = importlib.import_module(settings.product)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(prepared.content):
        raise Refusal(f"TensorRT's parser does not take the graph: {parser.get_error(0).desc()}")
    for index in range(network.num_inputs):
        port = network.get_input(index)
        port.shape = (1, *tuple(port.shape)[1:])
    config = builder.create_builder_config()
    config.builder_optimization_level = settings.effort
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    for flag in settings.cleared:
        config.clear_flag(getattr(trt.BuilderFlag, flag))
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise Refusal("TensorRT builds no engine from the graph; its log says why")
    engine = trt.Runtime(logger).deserialize_cuda_engine(serialized)
    inspector = engine.create_engine_inspector()
    described = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    return bytes(serialized), count_layers(described)


def count_layers(described: Mapping[str, Any]) -> Counter[str]:
    """Count an engine's layers that have weights by what they compute in, as its inspector describes them.

    Returns:
        How many compute in ``integers``, ``float8``, ``half`` and ``float``.
    """
    counts: Counter[str] = Counter()
    for layer in described["Layers"]:
        weights = layer.get("Weights") if isinstance(layer, Mapping) else None
        if weights and weights.get("Count"):
            counts[_FORMATS.get(str(weights.get("Type")), "float")] += 1
    return counts


def check_engine(
    content: bytes, model: nn.Module, prepared: Prepared, example: Split, calibration: Split, settings: Settings
) -> None:
    """Check a float engine's answers against torch's.

    Raises:
        Refusal: it computes something else.
    """
    from autoshrink.backends.tensorrt.adapter import load

    batches = one_by_one(example, calibration)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.engine"
        path.write_bytes(content)
        session = load(str(path), {"product": settings.product})
        feeds = (dict(zip(prepared.names, batch.arrays(), strict=True)) for batch in batches)
        check_agreement(model, batches, (session.run(feed)[0] for feed in feeds))
