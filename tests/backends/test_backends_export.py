from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from autoshrink.backends.registry import backend
from autoshrink.core import Artifact, Encoding, Hardware, Refusal
from autoshrink.models.onnx.export import export_float
from autoshrink.models.onnx.sessions import executed
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload

CPU = Hardware(name="cpu", kind="cpu", backend="onnxruntime")
STATIC = Encoding(scheme="static", weight_bits=8)


def export(model: nn.Module, examples: Split, folder: Path, encoding: Encoding | None = None) -> Artifact:
    folder.mkdir(exist_ok=True)
    wanted = encoding or Encoding()
    return backend("onnxruntime").export(model.eval(), examples.rows(slice(0, 1)), wanted, examples, folder, CPU)


class BatchAsNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).reshape(int(x.shape[0]), 2, 2)


class BranchOnContent(BatchAsNumber):
    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return y if y.sum() > 0 else -y


class BranchAsOperator(BatchAsNumber):
    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return torch.cond(y.sum() > 0, lambda y: y * 2, lambda y: y - 1, (y,))


class Random(BatchAsNumber):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x + torch.rand_like(x))


class Spectrum(BatchAsNumber):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.fft.fft(x).abs())


class Sorting(BatchAsNumber):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x[:, :4, None] * x[:, None, :4]).real


@pytest.mark.parametrize(
    ("model", "exporter"),
    [
        (nn.Linear(8, 4), "torchscript"),
        (BatchAsNumber(), "dynamo"),
        (BranchAsOperator(), "dynamo"),
        (Spectrum(), "dynamo"),
    ],
)
def test_what_the_fast_exporter_gets_wrong_the_other_exports(
    model: nn.Module, exporter: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    examples = Split((torch.randn(7, 8, generator=torch.Generator().manual_seed(0)),))
    artifact = export(model, examples, tmp_path)
    assert artifact.notes["exporter"] == exporter
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = model(*examples.inputs).numpy()
    name = session.get_inputs()[0].name
    np.testing.assert_allclose(session.run(None, {name: examples.arrays()[0]})[0], wanted, rtol=1e-4, atol=1e-5)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Random(), "the exported graph differs from torch by .* at most 0.0001 is allowed"),
        (BranchOnContent(), "branches on what a tensor holds, the exported graph differs from torch"),
        (Sorting(), "torch's torchscript exporter can't follow the model.*torch's dynamo exporter can't follow"),
    ],
)
def test_what_neither_gets_right_is_refused(
    model: nn.Module, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    examples = Split((torch.randn(40, 8, generator=torch.Generator().manual_seed(0)),))
    with pytest.raises(Refusal, match=message):
        export(model, examples, tmp_path)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


class Names(nn.Module):
    def forward(self, output: Tensor, scale: Tensor, unused: Tensor | None = None) -> dict[str, Tensor]:
        return {"other": output, "logits": output * scale}


class AnyInputs(nn.Module):
    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return (sum(tensors, torch.zeros(())), *tensors)


@pytest.mark.parametrize(
    ("model", "names", "inputs", "output"),
    [
        (Names(), (), ["output", "scale"], "output_0"),
        (Names(), ("scale", "output"), ["scale", "output"], "output_0"),
        (AnyInputs(), (), ["input_0", "input_1"], "output"),
    ],
)
def test_inputs_have_plain_names_and_the_main_output_is_the_only_one(
    model: nn.Module, names: tuple[str, ...], inputs: list[str], output: str, tmp_path: Path
) -> None:
    examples = Split((torch.rand(5, 3), torch.rand(5, 3)), None, names)
    export(model, examples, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == inputs
    assert [(item.name, item.shape) for item in session.get_outputs()] == [(output, ["batch", 3])]


def test_the_file_holds_nothing_of_the_place_where_it_was_made(digits: Workload, tmp_path: Path) -> None:
    export(digits.model, digits.calibration, tmp_path, STATIC)
    content = (tmp_path / "model.onnx").read_bytes()
    for word in (b"/home", b"/root", b"/work", b".py", b"body", b"torch"):
        assert word not in content
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))


def test_norms_and_shapes_are_folded_and_a_mean_is_a_pooling(digits: Workload) -> None:
    graph = export_float(digits.model, digits.example, digits.calibration).model.graph
    kinds = [node.op_type for node in graph]
    assert sorted(kinds) == ["Conv"] * 3 + ["Flatten", "Gemm", "GlobalAveragePool", "MaxPool"] + ["Relu"] * 3

    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval()
    kinds = [
        node.op_type
        for node in export_float(encoder, Split((torch.randn(1, 6, 16),)), Split((torch.randn(4, 6, 16),))).model.graph
    ]
    assert not {"Shape", "ConstantOfShape", "Expand", "Concat", "Slice"} & set(kinds)

    perceptron = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2, bias=False), nn.BatchNorm1d(2)
    )
    for module in perceptron:
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
    found = export_float(perceptron.eval(), Split((torch.randn(1, 4),)), Split((torch.randn(4, 4),)))
    assert [node.op_type for node in found.model.graph] == ["Gemm", "Relu", "Gemm"]
    assert found.difference < 1e-6


def test_without_examples_the_one_is_repeated(tmp_path: Path) -> None:
    example = Split((torch.rand(1, 8),))
    artifact = backend("onnxruntime").export(
        nn.Linear(8, 64).eval(), example, Encoding(weight_bits=16), example.rows(slice(0, 0)), tmp_path, CPU
    )
    assert artifact.notes["stored"] == {"float16": 2}
    with pytest.raises(Refusal, match="static quantization needs calibration examples, and there are none"):
        backend("onnxruntime").export(
            nn.Linear(8, 64).eval(), example, STATIC, example.rows(slice(0, 0)), tmp_path, CPU
        )


def test_an_encoding_that_the_profile_lacks_is_refused(digits: Workload, tmp_path: Path) -> None:
    board = CPU.model_copy(update={"options": {"providers": ["CUDAExecutionProvider"]}})
    with pytest.raises(Refusal, match="CUDAExecutionProvider leaves static int8 to the CPU"):
        backend("onnxruntime").export(digits.model, digits.example, STATIC, digits.calibration, tmp_path, board)


def test_int8_that_the_runtime_does_not_execute_is_refused(digits: Workload, tmp_path: Path) -> None:
    board = CPU.model_copy(update={"options": {"graph_optimization": "disable"}})
    with pytest.raises(Refusal, match="asked for 3 Conv, 1 Gemm, and the runtime executes none of them in integers"):
        backend("onnxruntime").export(digits.model, digits.example, STATIC, digits.calibration, tmp_path, board)


def test_float16_computes_in_half_on_a_gpu_and_only_stores_elsewhere(digits: Workload, tmp_path: Path) -> None:
    sizes = []
    for kind, half in (("cpu", False), ("gpu", True)):
        folder = tmp_path / kind
        folder.mkdir()
        board = Hardware.model_validate({"name": "board", "kind": kind, "backend": "onnxruntime"})
        artifact = backend("onnxruntime").export(
            digits.model, digits.example, Encoding(weight_bits=16), digits.calibration, folder, board
        )
        nodes = onnx.load(folder / "model.onnx").graph.node
        convolution = next(node for node in nodes if node.op_type == "Conv")
        weights = {item.name: item.data_type for item in onnx.load(folder / "model.onnx").graph.initializer}
        assert (weights.get(convolution.input[1]) == onnx.TensorProto.FLOAT16) == half
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        assert session.get_inputs()[0].type == session.get_outputs()[0].type == "tensor(float)"
        sizes.append(artifact.size)
    assert max(sizes) < 0.65 * export(digits.model, digits.calibration, tmp_path / "float").size


def test_a_weight_beyond_half_floats_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(8, 16)
    model.weight.data[0, 0] = 1e5
    with pytest.raises(Refusal, match=r"float16 can't hold a weight of 1e\+05"):
        export(model, Split((torch.rand(4, 8),)), tmp_path, Encoding(weight_bits=16))


@pytest.mark.parametrize("encoding", [Encoding(weight_bits=16), Encoding(scheme="weight_only", weight_bits=8)])
def test_a_model_without_weights_is_refused(encoding: Encoding, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="finds no weight"):
        export(nn.Softmax(-1), Split((torch.rand(4, 8),)), tmp_path, encoding)


def test_four_bits_are_packed_for_single_rows_and_unpacked_for_many(tmp_path: Path) -> None:
    for shape, kind in (((5, 64), "MatMulNBits"), ((5, 40, 64), "MatMul")):
        folder = tmp_path / kind
        export(nn.Linear(64, 96), Split((torch.rand(shape),)), folder, Encoding(scheme="weight_only", weight_bits=4))
        content = (folder / "model.onnx").read_bytes()
        assert executed(content, "all")[kind] == 1
        assert len(content) < 0.8 * 64 * 96
