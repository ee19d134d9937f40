"""ONNX files as models: rebuilt of torch's layers they compute what the file computes, for any number of examples."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from autoshrink.core import Source, SpecError
from autoshrink.models.exporting import quiet
from autoshrink.models.from_onnx.load import load_onnx
from autoshrink.models.splits import Split
from autoshrink.models.user_code import UserCode

EXAMPLES = Path(__file__).parents[2] / "examples"


class Encoder(nn.Module):
    """One layer of a transformer, between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.places = nn.Parameter(torch.randn(1, 5, 16))
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu")
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map words (examples, 5) to logits (examples, 3)."""
        return self.head(self.layer(self.words(x) + self.places).mean(1))


class Mixed(nn.Module):
    """Operators that the other nets lack: transposed, split, joined, padded, sliced."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.head = nn.Linear(4 * 9 * 7, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (examples, 1, 8, 8) to (examples, 3)."""
        one, other = self.up(torch.sigmoid(self.down(x))).chunk(2, 1)
        joined = torch.cat([one * 2 - other.tanh() / 3, nn.functional.leaky_relu(other)], 1)
        return self.head(nn.functional.pad(joined, (0, 0, 1, 0))[:, :, :, 1:].reshape(x.shape[0], -1))


class Tokens(nn.Module):
    """A vision transformer in small: patches, a class token, attention by heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.norm = nn.LayerNorm(16)
        self.parts = nn.Linear(16, 48)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (examples, 1, 16, 16) to (examples, 3)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        examples, length, width = x.shape
        parts = self.parts(self.norm(x)).reshape(examples, length, 3, 4, 4).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.head((x + seen.transpose(1, 2).reshape(examples, length, width))[:, 0])


class Two(nn.Module):
    """Two inputs, of numbers and of a kind."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.kinds, self.head = nn.Linear(6, 8), nn.Embedding(5, 8), nn.Linear(8, 3)

    def forward(self, numbers: Tensor, kind: Tensor) -> Tensor:
        """Map (examples, 6) and (examples,) to (examples, 3)."""
        return self.head(torch.relu(self.body(numbers) * self.kinds(kind)))


def example_net(name: str) -> nn.Module:
    spec = importlib.util.spec_from_file_location(f"onnx_example_{name}", EXAMPLES / name / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


def one_dimensional() -> nn.Module:
    first = nn.Conv1d(2, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8), nn.ReLU6(), nn.MaxPool1d(2)
    second = nn.Conv1d(8, 8, 3, groups=8, padding=1), nn.Hardswish(), nn.AdaptiveAvgPool1d(1)
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(8, 3))


NETS = {
    "digits": (lambda: example_net("digits"), (1, 8, 8)),
    "fashion": (lambda: example_net("fashion_mnist"), (1, 28, 28)),
    "speech": (lambda: example_net("spoken_digits"), (1, 32, 13)),
    "one dimension": (one_dimensional, (2, 40)),
    "encoder": (Encoder, (5,)),
    "mixed": (Mixed, (1, 8, 8)),
    "tokens": (Tokens, (1, 16, 16)),
}


def load(path: Path, inputs: Tensor) -> nn.Module:
    return load_onnx(path.name, Split((inputs,)), UserCode(Source("target.yaml", folder=path.parent)))


def export(model: nn.Module, inputs: Tensor, path: Path, *, dynamo: bool, free: bool) -> None:
    shapes = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}}}
    with quiet():
        given = (inputs[: 2 if free else 1],)
        torch.onnx.export(model, given, path, dynamo=dynamo, input_names=["x"], **(shapes if free else {}))


CASES = [
    (name, exporter, free)
    for name in NETS
    for exporter in ("dynamo", "older")
    for free in (True, False)
    if (free or name != "encoder") and (exporter == "older" or name in ("fashion", "encoder", "tokens"))
]
"""The exporter of today takes a second each, so that it does a few; torch's own attention is not freed from a batch."""


@pytest.mark.parametrize(
    ("name", "exporter", "free"), CASES, ids=[f"{n}-{e}-{'free batch' if f else 'batch of one'}" for n, e, f in CASES]
)
def test_it_computes_what_was_exported(name: str, exporter: str, free: bool, tmp_path: Path) -> None:
    build, shape = NETS[name]
    model = build().eval()
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)):
        norm.running_mean.uniform_()
        norm.running_var.uniform_(0.5, 2)
    inputs = torch.randint(0, 20, (9, *shape)) if name == "encoder" else torch.rand(9, *shape)
    export(model, inputs, tmp_path / "net.onnx", dynamo=exporter == "dynamo", free=free)
    found = load(tmp_path / "net.onnx", inputs)
    for count in (1, 7):
        with torch.no_grad():
            torch.testing.assert_close(found(inputs[:count]), model(inputs[:count]), rtol=1e-4, atol=1e-5)
    kinds = {type(part) for part in found.modules()}
    assert kinds >= {type(part) for part in model.modules()} & {nn.Conv1d, nn.Conv2d, nn.Linear, nn.ConvTranspose2d}


def test_several_inputs_are_taken_by_name(tmp_path: Path) -> None:
    model, numbers, kind = Two().eval(), torch.rand(9, 6), torch.randint(0, 5, (9,))
    with quiet():
        given = (numbers[:4], kind[:4])  # and of this file's fixed four examples any number can be given
        torch.onnx.export(model, given, tmp_path / "net.onnx", dynamo=False, input_names=["numbers", "kind"])
    code = UserCode(Source("target.yaml", folder=tmp_path))
    found = load_onnx("net.onnx", Split((kind, numbers), None, ("kind", "numbers")), code)
    with torch.no_grad():
        torch.testing.assert_close(found(kind=kind, numbers=numbers), model(numbers, kind))
    with pytest.raises(SpecError, match="no input 'knd', as the data have; did you mean 'kind'"):
        load_onnx("net.onnx", Split((kind, numbers), None, ("knd", "numbers")), code)
    with pytest.raises(SpecError, match="its input 'numbers' is float32, and the data are int64"):
        load_onnx("net.onnx", Split((kind, numbers)), code)
    with pytest.raises(SpecError, match="it has the inputs 'numbers', 'kind', and the data have 1"):
        load_onnx("net.onnx", Split((numbers,)), code)


def write(path: Path, nodes: list[onnx.NodeProto], batch: int | str = "batch", **constants: np.ndarray) -> None:
    kind = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("x", kind, [batch, 6])]
    outputs = [helper.make_tensor_value_info("y", kind, None)]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.mine", 1)]
    graph = helper.make_graph(nodes, "net", inputs, outputs, weights)
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def node(op: str, *inputs: str, to: str = "y", **settings: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [to], **settings)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


W = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
INPUTS = torch.linspace(-1, 1, 54).reshape(9, 6)


def test_a_layer_takes_its_bias_in_and_one_that_is_used_twice_is_one(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x", "w", to="a"),
        node("Add", "b", "a", to="c"),
        node("Relu", "c", to="d"),
        node("MatMul", "d", "w", to="e"),
        node("Add", "b", "e"),
    ]
    write(tmp_path / "net.onnx", nodes, w=W, b=W[0])
    found = load(tmp_path / "net.onnx", INPUTS)
    (layer,) = found.children()
    assert isinstance(layer, nn.Linear)
    assert layer.bias is not None
    assert {name.partition(".")[0] for name, _ in found.named_parameters()} == {"w"}
    wanted = np.maximum(INPUTS.numpy() @ W + W[0], 0) @ W + W[0]
    np.testing.assert_allclose(found(INPUTS).detach().numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_a_file_that_keeps_its_weights_in_another_is_read(tmp_path: Path) -> None:
    write(tmp_path / "net.onnx", [node("Gemm", "x", "w")], w=W)
    model = onnx.load(tmp_path / "net.onnx")
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    np.testing.assert_allclose(load(tmp_path / "net.onnx", INPUTS)(INPUTS).detach().numpy(), INPUTS.numpy() @ W, 1e-4)


TRANSPOSED = [node("Unsqueeze", "x", "one", to="a"), node("Transpose", "a", to="b", perm=[2, 0, 1])]
BAD: dict[str, tuple[list[onnx.NodeProto], int | str, dict[str, np.ndarray], str]] = {
    "unknown operators": (
        [node("Det", "x", to="a"), node("Frob", "a", domain="com.mine")],
        "batch",
        {},
        r"target.yaml: model: net.onnx .*no rule: Det, com.mine::Frob; or name a function .*FILE.py:FUNCTION",
    ),
    "quantized": (
        [node("QuantizeLinear", "x", "s", "z", to="a"), node("DequantizeLinear", "a", "s", "z")],
        "batch",
        {"s": np.float32(0.1), "z": np.int8(0)},
        "quantized already: give the float model",
    ),
    "more examples than it is fixed to": (
        [*TRANSPOSED, node("Reshape", "b", "shape")],
        1,
        {"one": whole(1), "shape": whole(2, 3)},
        "shape for 1 examples only.*free batch",
    ),
    "one that mixes examples": (
        [node("ReduceMean", "x", to="a", axes=[0], keepdims=1), node("Add", "x", "a")],
        1,
        {},
        "mixes the examples of a batch, as it is fixed to 1",
    ),
    "a value that nothing has room for": (
        [node("ConstantOfShape", "shape", to="a"), node("Add", "x", "a")],
        "batch",
        {"shape": whole(2**20, 2**20)},
        "a value of 1099511627776 elements",
    ),
    "an outer product that nothing has room for": (
        [node("ConstantOfShape", "tall", to="a"), node("ConstantOfShape", "wide", to="b"), node("Add", "a", "b")],
        "batch",
        {"tall": whole(2**20, 1), "wide": whole(1, 2**20)},
        "a value of 1099511627776 elements",
    ),
    "a value from nowhere": ([node("Add", "x", "nothing")], "batch", {}, "'nothing', which nothing before it computes"),
    "shapes that do not fit": ([node("MatMul", "x", "w")], "batch", {"w": W[:5]}, "RuntimeError: mat1 and mat2"),
    "a computed weight": (
        [node("Relu", "w", to="a"), node("Gemm", "x", "x")],
        "batch",
        {"w": W},
        "Gemm 'y' has no constant weight",
    ),
    "an output that is constant": ([node("Relu", "w")], "batch", {"w": W}, "does not follow from its inputs"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_can_not_be_rebuilt_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    nodes, batch, constants, said = BAD[name]
    write(tmp_path / "net.onnx", nodes, batch, **constants)
    with pytest.raises(SpecError, match=said) as caught:
        load(tmp_path / "net.onnx", INPUTS)
    assert "\n" not in str(caught.value)


def test_attention_with_a_fixed_batch_says_how_to_free_it(tmp_path: Path) -> None:
    words = torch.randint(0, 20, (9, 5))
    export(Encoder().eval(), words, tmp_path / "net.onnx", dynamo=False, free=False)
    with pytest.raises(SpecError, match=r"examples only.*export it with a free batch"):
        load(tmp_path / "net.onnx", words)


def test_a_module_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoshrink.models.from_onnx import translate

    write(tmp_path / "net.onnx", [node("Relu", "x")])
    monkeypatch.setitem(translate._RULES, "Relu", translate._RULES["Tanh"])
    with pytest.raises(SpecError, match="does not compute what ONNX Runtime computes of the file: outputs differ by"):
        load(tmp_path / "net.onnx", INPUTS)
