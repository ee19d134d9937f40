import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoshrink.core import Artifact, Candidate, Limits, Recipe, Source
from autoshrink.tracking.card import card_of, loading
from autoshrink.tracking.layers import layers_of
from autoshrink.tracking.points import BRIEF, MODEL, POINT, brief_of, page_of, point_of
from autoshrink.tracking.registry import model_in, pick

LIMITS = Limits(floor=0.9, test_floor=0.89, costs={"latency": 40e-6}, baseline={"latency": 100e-6})


def test_a_point_holds_what_the_page_shows_and_fits_a_tag(searched):
    one = searched.candidates[1]
    point = json.loads(point_of(one, "front"))
    latency = one.metrics["latency"]
    assert point["metrics"]["latency"] == [latency.value, latency.low, latency.high, "measured"]
    assert point["metrics"]["energy"][3] == "modelled"
    assert (point["id"], point["key"], point["state"]) == (1, one.key, "front")
    assert point["steps"] == one.recipe.model_dump(mode="json")["steps"]
    steps = [{"kind": f"step{number}", "text": "ä" * 300} for number in range(40)]
    long = one.model_copy(update={"recipe": Recipe.parse({"steps": steps}, Source("r"))})
    text = point_of(long)
    assert len(text) <= 4000
    assert json.loads(text)["metrics"] == point["metrics"], "figures are what stays to the last"
    failed = Candidate(id=7, recipe=one.recipe, outcome="failed", reason="Traceback\n" * 900 + "ValueError: boom")
    assert json.loads(point_of(failed))["reason"].endswith("ValueError: boom")


def test_the_page_s_address_has_nothing_but_the_run():
    assert page_of("a1b2") == "/autoshrink/searches/a1b2"
    assert page_of("../<x>") == "/autoshrink/searches/x"


def test_a_card_says_where_each_figure_is_from(searched):
    search = {
        BRIEF: brief_of(searched.target, LIMITS, {"key": "f00"}, searched.candidates[0]),
        "mlflow.runName": "a|`b`",
    }
    card = card_of(search, {POINT: point_of(searched.candidates[1], "front")})
    assert card.tags["latency"] == "20.0 µs (18.0 µs to 22.0 µs), measured"
    assert card.tags["energy"].endswith(", modelled")
    assert card.tags["accuracy.validation"] == "0.95, measured"
    assert card.tags["autoshrink.fingerprint"] == "f00"
    assert card.tags["autoshrink.budget"] == "accuracy ≥ 0.9, latency ≤ 40.0 µs"
    assert "| latency | 20.0 µs (18.0 µs to 22.0 µs) | measured | 100 µs |" in card.description
    assert "`a/'b'`" in card.description, "a name can't leave its code span or its table"
    with pytest.raises(ValueError, match="no record of a search"):
        card_of({}, {})
    assert loading("onnxruntime", "models:/a/1") == 'mlflow.onnx.load_model("models:/a/1")'
    assert loading("litert", "models:/a/1") == 'mlflow.artifacts.download_artifacts("models:/a/1")'


def test_a_run_can_t_pass_another_s_model_off_as_its_own(searched):
    class Registry:
        made = False

        def tags(self, run):
            brief = brief_of(searched.target, LIMITS, {}, searched.candidates[0])
            own = {MODEL: "models:/m-1", "mlflow.parentRunId": "parent", POINT: point_of(searched.candidates[1])}
            return {BRIEF: brief} if run == "parent" else own

        def source(self, run, model):
            return "s3://somewhere", "another"

        def create_model(self, name):
            self.made = True

    registry = Registry()
    with pytest.raises(ValueError, match="the model of another run"):
        pick(registry, "mine", "net")
    assert not registry.made
    assert model_in("models:/m-12ab") == "m-12ab"
    assert model_in("models:/../experiments/1") == model_in("runs:/1/artifact") == ""


def test_layers_are_found_behind_what_stores_them(tmp_path):
    whole = np.zeros((6, 4), np.int8)
    whole[0] = 1
    constants = [
        numpy_helper.from_array(whole, "stored"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.ones((4, 3), np.float32), "plain"),
        numpy_helper.from_array(np.ones(3, np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["stored", "scale"], ["real"]),
        helper.make_node("Transpose", ["real"], ["turned"], perm=[1, 0]),
        helper.make_node("Transpose", ["turned"], ["weight"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "weight"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "plain", "bias"], ["out"]),
        helper.make_node("Transpose", ["out"], ["back"]),
        helper.make_node("MatMul", ["out", "back"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [2, 6]), ("y", [2, 2]))]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], constants)
    onnx.save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx"
    )
    artifact = Artifact(key="k", backend="onnxruntime", files=("m.onnx",), size=1, notes={"opset": 17, "inputs": [1]})
    found = layers_of(artifact, tmp_path)
    assert [(row["operator"], row["shape"], row["format"]) for row in found["layers"]] == [
        ("MatMul", [6, 4], "int8"),
        ("Gemm", [4, 3], "float"),
    ]
    assert [(row["weights"], row["nonzero"], row["bytes"]) for row in found["layers"]] == [(24, 4, 24), (12, 12, 48)]
    assert found["counted"] == {"opset": 17}
    assert layers_of(artifact.model_copy(update={"files": ("m.tflite",)}), tmp_path)["layers"] == []
