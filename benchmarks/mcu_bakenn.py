"""The networks whose cycles on an nRF52840 were published for code that bakenn 1.0.0 (PyPI, Apache-2.0) still makes.

Run by mcu_cycles.py where bakenn is importable: ``mcu_bakenn.py FOLDER`` writes one folder of C for each program.
The networks are described in the project's benchmark reports; inputs don't matter (all at the zero point).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import bakenn
import numpy as np
from bakenn import ir


def calibrated_mlp() -> ir.QuantizedGraph:
    """32 → 16 → 4 fully connected, quantized by bakenn itself from three sequences."""
    hidden = (((np.arange(16 * 32) % 17) - 8) / 16).astype(np.float32).reshape(16, 32)
    output = (((np.arange(4 * 16) % 11) - 5) / 12).astype(np.float32).reshape(4, 16)
    layers = (
        bakenn.FloatLinear(hidden, np.linspace(-0.125, 0.125, 16, dtype=np.float32), True, "hidden"),
        bakenn.FloatLinear(output, np.array([0, 0.125, -0.125, 0.0625], np.float32), False, "output"),
    )
    ramp = np.linspace(-1, 1, 32, dtype=np.float32)
    calibration = np.stack((ramp, ramp[::-1], np.sin(np.arange(32, dtype=np.float32))))
    return bakenn.quantize_ptq(bakenn.FloatMLP(layers, "net"), calibration)


def per_tensor_mlp() -> ir.QuantizedGraph:
    """32 → 16 → 4 fully connected with one weight scale a layer, which CMSIS-NN's kernel wants."""
    values = {"input": _activation((1, 32), ir.Layout.NC, 0.03125, -3)}
    constants: dict[str, np.ndarray] = {}
    ops = []
    source = "input"
    for layer, (taps, channels) in enumerate(((32, 16), (16, 4))):
        weight = ((np.arange(taps * channels) * (7 + layer) + 3) % 41 - 20).reshape(channels, taps)
        scale = 0.0078125 * (layer + 1)
        bias_scale = float(np.float32(values[source].qparams.scale * scale))
        target, zero_point = f"activation{layer}", -5 + layer
        constants |= {
            f"weight{layer}": weight.astype(np.int8),
            f"bias{layer}": (np.arange(channels) * 31 - 79).astype(np.int32),
        }
        values |= {
            f"weight{layer}": _constant(weight.shape, ir.DType.INT8, ir.Layout.OI, (scale,) * channels),
            f"bias{layer}": _constant((channels,), ir.DType.INT32, ir.Layout.C, (bias_scale,) * channels),
            target: _activation((1, channels), ir.Layout.NC, float(np.float32(0.046875 * (layer + 1))), zero_point),
        }
        least = zero_point if layer == 0 else -128
        names = (f"linear{layer}", source, f"weight{layer}", f"bias{layer}", target)
        ops.append(ir.LinearOp(*names, activation_min=least, activation_max=127))
        source = target
    return ir.QuantizedGraph("net", values, constants, tuple(ops), ("input",), (source,))


def small_conv() -> ir.QuantizedGraph:
    """One 3×3 convolution, 4×4×1 → 4×4×2."""
    weight = (((np.arange(18) * 5 + 1) % 19) - 9).reshape(2, 3, 3, 1)
    scales = (0.125, 0.25)
    values = {
        "input": _activation((1, 4, 4, 1), ir.Layout.NHWC, 0.25, -3),
        "weight": _constant(weight.shape, ir.DType.INT8, ir.Layout.OHWI, scales),
        "bias": _constant((2,), ir.DType.INT32, ir.Layout.C, tuple(0.25 * scale for scale in scales)),
        "output": _activation((1, 4, 4, 2), ir.Layout.NHWC, 0.5, 1),
    }
    constants = {"weight": weight.astype(np.int8), "bias": np.array([4, -7], np.int32)}
    op = ir.Conv2DOp("conv", "input", "weight", "bias", "output", padding=(1, 1, 1, 1), activation_min=1)
    return ir.QuantizedGraph("net", values, constants, (op,), ("input",), ("output",))


def programs() -> Iterator[tuple[str, ir.QuantizedGraph, str, bool]]:
    """Name, network, kernel policy, and whether CMSIS-NN's kernels are used."""
    yield "fc_cmsis", per_tensor_mlp(), "static_priority", True
    yield "fc_portable", per_tensor_mlp(), "portable", False
    yield "fc2_portable", calibrated_mlp(), "portable", False
    yield "fc2_smlad", calibrated_mlp(), "static_priority", False
    yield "conv_portable", small_conv(), "portable", False


def _activation(shape: tuple[int, ...], layout: ir.Layout, scale: float, zero_point: int) -> ir.TensorType:
    return ir.TensorType(shape, ir.DType.INT8, layout, ir.PerTensorQParams(scale, zero_point))


def _constant(shape: tuple[int, ...], dtype: ir.DType, layout: ir.Layout, scales: tuple[float, ...]) -> ir.TensorType:
    return ir.TensorType(tuple(shape), dtype, layout, ir.PerAxisQParams(scales, (0,) * len(scales), 0))


def main(folder: Path) -> None:
    """Write the C of each program, and a model.h and model.c that give it autoshrink's interface."""
    target = bakenn.resolve_target("cortex-m4")
    for name, graph, policy, cmsis in programs():
        options = bakenn.CBackendOptions(
            kernel_policy=bakenn.KernelPolicy(policy), enable_cmsis_nn=cmsis, target=target
        )
        bakenn.compile(graph, folder / name, model_name="net", target=target, backend_options=options)
        (folder / name / "model.h").write_text(
            '#include "bknn_net.h"\n'
            "#define MODEL_INPUT_SIZE BKNN_NET_INPUT_BYTES\n#define MODEL_OUTPUT_SIZE BKNN_NET_OUTPUT_BYTES\n"
            "int model_init(void);\nint model_invoke(const int8_t *in, int8_t *out);\n"
        )
        (folder / name / "model.c").write_text(
            '#include "model.h"\n'
            "static uint8_t arena[BKNN_NET_ARENA_SIZE + 1] __attribute__((aligned(16)));\n"
            "int model_init(void) { return 0; }\n"
            "int model_invoke(const int8_t *in, int8_t *out)\n"
            "{ bknn_net_infer(BKNN_NET_ARENA_SIZE ? arena : 0, in, out); return 0; }\n"
        )
        entry = graph.values[graph.inputs[0]]
        print(name, entry.qparams.zero_point, *entry.shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
