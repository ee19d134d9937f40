"""ONNX files of others: absurd shapes are refused before anything is allocated, and data stay beside the model."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoshrink.core import Hardware, SpecError
from autoshrink.models.onnx.check import check_file
from autoshrink.service.measure import measure_file

WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def model(*initializers: TensorProto, given: tuple[int | str, ...] = (1, 3)) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def external(location: str, **place: object) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHTS.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **place}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def written(folder: Path, made: onnx.ModelProto) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def refused(path: Path) -> str:
    tracemalloc.start()
    with pytest.raises(SpecError) as caught:
        check_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
    [line] = str(caught.value).splitlines()
    assert line.isprintable()
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def test_a_name_that_is_no_text_is_shown_as_it_is(tmp_path: Path) -> None:
    tensor = external("../w", offset=0)
    tensor.name = "v" * 100
    path = written(tmp_path, model(tensor))
    path.write_bytes(path.read_bytes().replace(b"v" * 100, b"\xff" + b"v" * 99))
    assert "b'\\xffv" in refused(path)


@pytest.fixture
def cpu() -> Hardware:
    return Hardware(name="here", kind="cpu", backend="onnxruntime", pin=False)


def test_a_sound_model_is_taken(tmp_path: Path) -> None:
    assert check_file(written(tmp_path, model(numpy_helper.from_array(WEIGHTS, "w"), given=("n", 3)))) == ()


def test_data_beside_the_model_are_taken_along_and_measured(tmp_path: Path, cpu: Hardware) -> None:
    (tmp_path / "w.bin").write_bytes(b"head" * 4 + WEIGHTS.tobytes())
    path = written(tmp_path, model(external("w.bin", offset=16, length=48)))
    assert check_file(path) == (tmp_path / "w.bin",)
    found, _ = measure_file(path, cpu)
    assert found.metrics["size"].value == path.stat().st_size + 64


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "in/w.bin", "..", ".", "", "..\\secret", "a\0b"])
def test_data_elsewhere_are_not_read(tmp_path: Path, cpu: Hardware, location: str) -> None:
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    path = written(tmp_path / "model", model(external(location)))
    (path.parent / "in").mkdir()
    (path.parent / "in" / "w.bin").write_bytes(WEIGHTS.tobytes())
    assert "only a file beside the model is read" in refused(path)
    with pytest.raises(SpecError, match="only a file beside the model is read"):
        measure_file(path, cpu)


def test_a_link_to_data_elsewhere_is_not_followed(tmp_path: Path, cpu: Hardware) -> None:
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    path = written(tmp_path / "model", model(external("w.bin")))
    assert "there is no such file" in refused(path)
    (path.parent / "w.bin").symlink_to("../secret")
    assert "which is a link" in refused(path)
    with pytest.raises(SpecError, match="which is a link"):
        measure_file(path, cpu)


@pytest.mark.parametrize(
    "place", [{"offset": -4}, {"length": 2**60}, {"offset": 2**70}, {"offset": 40}, {"length": 4}, {"offset": "1e3"}]
)
def test_a_place_that_is_not_in_the_file_is_refused(tmp_path: Path, place: dict[str, object]) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    refused(written(tmp_path, model(external("w.bin", **place))))


def changed(**fields: object) -> Callable[[TensorProto], None]:
    def change(tensor: TensorProto) -> None:
        for name, value in fields.items():
            if isinstance(value, list):
                del getattr(tensor, name)[:]
                getattr(tensor, name).extend(value)
            else:
                setattr(tensor, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed(dims=[2**40, 2**40]), "would take"),
        (changed(dims=[2**62, 2**62, 2**62]), "would take"),
        (changed(dims=[-1, 4]), "negative dimension"),
        (changed(dims=[-(2**63), 2**62]), "negative dimension"),
        (changed(dims=[1] * 70), "70 dimensions"),
        (changed(dims=[2**60] * 100_000), "100000 dimensions"),
        (changed(dims=[3, 5]), "needs 60 bytes, and has 48"),
        (changed(dims=[0]), "needs 0 bytes, and has 48"),
        (changed(data_type=99), "unknown number format"),
        (changed(raw_data=b""), "needs 48 bytes, and has 0"),
        (changed(name="\x1b[31m[/]\n" * 99, dims=[2**40]), "would take"),
    ],
)
def test_a_tensor_that_can_t_be_is_refused(tmp_path: Path, change: Callable[[TensorProto], None], says: str) -> None:
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    change(tensor)
    assert says in refused(written(tmp_path, model(tensor)))


def test_a_tensor_inside_a_branch_is_looked_at_too(tmp_path: Path) -> None:
    bad = numpy_helper.from_array(WEIGHTS, "w")
    bad.dims[0] = 2**40
    node = helper.make_node("Constant", [], ["z"], value=bad)
    inner = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    made = model()
    made.graph.node.append(helper.make_node("If", ["c"], ["y2"], then_branch=inner, else_branch=inner))
    assert "would take" in refused(written(tmp_path, made))


@pytest.mark.parametrize("given", [(2**40, 3), (2**31, 2**31, 2**31), (-5, 3)])
def test_an_input_of_terabytes_is_refused(tmp_path: Path, cpu: Hardware, given: tuple[int, ...]) -> None:
    path = written(tmp_path, model(numpy_helper.from_array(WEIGHTS, "w"), given=given))
    refused(path)
    with pytest.raises(SpecError):
        measure_file(path, cpu)


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"hello", bytes(range(200)), b"\x08\x0a"])
def test_what_is_no_onnx_file_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert "is no ONNX file" in refused(path)


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    content = b""
    for _ in range(400):  # ModelProto.graph.node.attribute.g.node.attribute.g …
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            content = tag + _varint(len(content)) + content
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x3a" + _varint(len(content)) + content)
    assert "is no ONNX file" in refused(path)


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def test_a_model_that_kills_its_runtime_is_a_clean_error(tmp_path: Path, cpu: Hardware) -> None:
    """The runtime is asked for more memory than there is, in a process of its own."""
    made = model(numpy_helper.from_array(WEIGHTS, "w"))
    shape = numpy_helper.from_array(np.array([2**40, 2**20], np.int64), "shape")
    made.graph.initializer.append(shape)
    made.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["huge"]))
    made.graph.node.append(helper.make_node("ReduceMax", ["huge"], ["y2"]))
    made.graph.output.append(helper.make_tensor_value_info("y2", TensorProto.FLOAT, None))
    path = written(tmp_path, made)
    with pytest.raises(SpecError, match="onnxruntime can't run it"):
        measure_file(path, cpu)
