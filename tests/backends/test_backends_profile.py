from __future__ import annotations

import subprocess
import sys

import pytest

from autoshrink.backends.registry import backend, kinds
from autoshrink.core import BackendUnavailable, Encoding, Hardware, SpecError


def hardware(**settings: object) -> Hardware:
    return Hardware.model_validate({"name": "board", "kind": "cpu", "backend": "onnxruntime", **settings})


def test_backends_are_found_by_name() -> None:
    assert "onnxruntime" in kinds()
    assert backend("onnxruntime") is backend("onnxruntime")
    with pytest.raises(SpecError, match="no backend 'onnxruntim'; did you mean 'onnxruntime'"):
        backend("onnxruntim")


def test_finding_a_backend_imports_no_runtime() -> None:
    code = (
        "import sys; from autoshrink.backends.registry import backend; backend('onnxruntime'); "
        "print([name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"provider": ["CPUExecutionProvider"]}, "options.provider: unknown option; did you mean 'providers'"),
        ({"graph_optimization": "full"}, "'full' is no level of graph optimization; .*all, basic, disable, extended"),
        ({"providers": "CPUExecutionProvider"}, r"write a list of names, such as \[CPUExecutionProvider\]"),
        ({"providers": []}, "write a list of names"),
        ({"providers": ["CUDAExecutionProvide"]}, "no provider 'CUDAExecutionProvide'; did you mean 'CUDAExecutionP"),
    ],
)
def test_a_wrong_option_is_an_error_at_its_key(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        backend("onnxruntime").require(hardware(options=options))


def test_a_provider_that_is_not_installed_names_the_package() -> None:
    wanted = hardware(options={"providers": ["CUDAExecutionProvider"]})
    with pytest.raises(BackendUnavailable, match=r"wants CUDAExecutionProvider.*pip install onnxruntime-gpu"):
        backend("onnxruntime").require(wanted)


def test_known_options_pass() -> None:
    backend("onnxruntime").require(
        hardware(options={"providers": ["CPUExecutionProvider"], "graph_optimization": "basic"})
    )


@pytest.mark.parametrize(
    ("encoding", "settings", "reason"),
    [
        (Encoding(), {}, ""),
        (Encoding(weight_bits=16), {}, ""),
        (Encoding(scheme="static", weight_bits=8), {}, ""),
        (Encoding(scheme="weight_only", weight_bits=4), {}, ""),
        (Encoding(codebook=16), {}, ""),
        (Encoding(scheme="static", weight_bits=4), {}, "ONNX Runtime has static in 8 bits, not in 4"),
        (Encoding(scheme="float", weight_bits=8), {}, "ONNX Runtime has float in 32, 16 bits, not in 8"),
        (
            Encoding(scheme="weight_only", weight_bits=4),
            {"capabilities": {"weight_bits": [32, 8]}},
            "board has weights of 32, 8 bits, not of 4",
        ),
        (
            Encoding(scheme="dynamic", weight_bits=8),
            {"capabilities": {"schemes": ["float", "static"]}},
            "board has the schemes float, static, not dynamic",
        ),
        (
            Encoding(scheme="static", weight_bits=8),
            {"capabilities": {"activation_bits": [32]}},
            "board has no activations of 8 bits, which static int8 needs",
        ),
        (
            Encoding(scheme="static", weight_bits=8),
            {"options": {"providers": ["CUDAExecutionProvider"]}},
            "CUDAExecutionProvider leaves static int8 to the CPU",
        ),
        (
            Encoding(scheme="static", weight_bits=8),
            {"options": {"providers": ["TensorrtExecutionProvider"]}},
            "what TensorRT executes in int8 is not seen through ONNX Runtime; the backend tensorrt counts it",
        ),
    ],
)
def test_it_says_which_encodings_it_executes(encoding: Encoding, settings: dict[str, object], reason: str) -> None:
    assert backend("onnxruntime").accepts(encoding, hardware(**settings)) == reason
