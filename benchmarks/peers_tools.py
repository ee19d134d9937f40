"""The single tools of peers.py: ONNX Runtime's static int8 alone, and Torch-Pruning alone at 50 %."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
import torch_pruning
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from autoshrink.models.recovery import Recovery, recover
from autoshrink.models.workload import Workload

__all__ = ["prune", "quantize"]

RATIO, MULTIPLE = 0.5, 8
EPOCHS = Recovery().epochs
"""As many as a recovery of ours has by default."""


class _Examples(CalibrationDataReader):  # type: ignore[misc]
    """Calibration examples, one at a time."""

    def __init__(self, images: np.ndarray, name: str) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = ({name: images[i : i + 1]} for i in range(len(images)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Give the next example."""
        return next(self._feeds, None)


def quantize(model: Path, calibration: np.ndarray, activations: QuantType, to: Path) -> None:
    """Quantize to int8 as ONNX Runtime's documentation says: preprocessed, QDQ, weights per channel, min-max.

    Args:
        model: in float.
        calibration: images that give the ranges.
        activations: their type; QInt8 is ONNX Runtime's default, QUInt8 what it is faster with on x86-64.
        to: the file to write.
    """
    prepared = to.with_suffix(".prepared.onnx")
    quant_pre_process(str(model), str(prepared))
    reader = _Examples(calibration, onnx.load(prepared).graph.input[0].name)
    quantize_static(
        str(prepared),
        str(to),
        reader,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=activations,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def prune(workload: Workload, to: Path) -> None:
    """Prune half of all channels with Torch-Pruning, fine-tune with plain cross-entropy, and export in float.

    The settings are those of its documentation: group magnitude importance (L2), the same ratio in every layer, widths
    that are multiples of 8, the classifier left alone. The fine-tuning has as many epochs, and the same optimizer and
    schedule, as a recovery of ours.

    References:
        Fang et al. 2023, "DepGraph: Towards Any Structural Pruning".
    """
    model = copy.deepcopy(workload.model).requires_grad_(True)
    example = workload.example.inputs[0]
    classes = model(example).shape[1]
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        example,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=RATIO,
        round_to=MULTIPLE,
        ignored_layers=[m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == classes],
    )
    pruner.step()
    recover(model, workload, Recovery(alpha=1.0, epochs=EPOCHS), seed=0)
    axes = {"input": {0: "batch"}, "output": {0: "batch"}}
    names = {"input_names": ["input"], "output_names": ["output"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the exporter that follows these models in 0.1 s
        torch.onnx.export(model.eval(), (example,), str(to), dynamo=False, dynamic_axes=axes, **names)
