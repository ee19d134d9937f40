"""One table over every technique: what each promises is shown on a CNN, an MLP and a transformer."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from techniques.digit_workloads import MODELS, NoWeights, workload_of
from torch import Tensor, nn

from autoshrink.backends.onnxruntime import OnnxRuntime
from autoshrink.core import Encoding, Hardware, Recipe, Refusal, Setting
from autoshrink.models.evaluate import outputs, predict
from autoshrink.models.workload import Workload
from autoshrink.techniques.pipeline import Compressed, compress
from autoshrink.techniques.registry import canonical, kinds, technique

CPU = Hardware(name="test", kind="cpu", backend="onnxruntime")


def export(result: Compressed, workload: Workload, folder: Path) -> Path:
    OnnxRuntime().export(result.model, workload.example, result.encoding, workload.calibration, folder, CPU)
    return folder / "model.onnx"


def stored(result: Compressed, workload: Workload) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return export(result, workload, Path(folder)).stat().st_size


def matrices(model: nn.Module) -> list[Tensor]:
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return [layer.weight.detach() for layer in layers]


def fewer_channels(before: Compressed, after: Compressed, workload: Workload) -> None:
    assert after.facts["macs"] < 0.8 * before.facts["macs"]
    assert after.facts["parameters"] < 0.8 * before.facts["parameters"]


def fewer_nonzero(before: Compressed, after: Compressed, workload: Workload) -> None:
    assert after.facts["nonzero"] < 0.7 * before.facts["nonzero"]
    assert after.facts["parameters"] == before.facts["parameters"]


def lower_rank(before: Compressed, after: Compressed, workload: Workload) -> None:
    assert after.facts["macs"] < before.facts["macs"]
    assert after.facts["parameters"] < before.facts["parameters"]
    ranks, full = ([min(w.flatten(1).shape) for w in matrices(c.model)] for c in (after, before))
    assert min(ranks) < min(full)


def closer_to_the_original(before: Compressed, after: Compressed, workload: Workload) -> None:
    # Beside a technique that harms: without the step the same recipe is farther away from the teacher's answers.
    harmed = compress(recipe_of(HARM), workload, seed=0)
    recovered = compress(recipe_of(HARM, {"kind": "distillation", **ROWS["distillation"].settings}), workload, seed=0)
    teacher = outputs(workload.model, workload.validation).log_softmax(1)

    def divergence(model: nn.Module) -> float:
        student = outputs(model, workload.validation).log_softmax(1)
        return float(nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True))

    assert divergence(recovered.model) < 0.9 * divergence(harmed.model)


def few_values(before: Compressed, after: Compressed, workload: Workload) -> None:
    large = [weight for weight in matrices(after.model) if weight.numel() > 200]
    assert large
    assert all(len(weight.unique()) <= 16 for weight in large)
    assert all(len(weight.unique()) > 16 for weight in matrices(before.model))
    assert after.encoding.codebook == 16
    assert stored(after, workload) < 0.8 * stored(before, workload)


def fewer_bits(before: Compressed, after: Compressed, workload: Workload) -> None:
    assert after.encoding.weight_bits < before.encoding.weight_bits
    assert stored(after, workload) < 0.8 * stored(before, workload)


class Row(NamedTuple):
    """Settings of a technique, and the check of what it declares."""

    settings: dict[str, Any]
    effect: Callable[[Compressed, Compressed, Workload], None]


HARM = {"kind": "magnitude_pruning", "sparsity": 0.8}
ROWS = {
    "channel_pruning": Row({"ratio": 0.5, "criterion": "taylor", "round_to": 4, "steps": 2}, fewer_channels),
    "distillation": Row({"alpha": 0.0, "epochs": 6, "learning_rate": 0.01}, closer_to_the_original),
    "low_rank": Row({"rank_ratio": 0.25}, lower_rank),
    "magnitude_pruning": Row({"sparsity": 0.5}, fewer_nonzero),
    "quantization": Row({"scheme": "static", "weight_bits": 8}, fewer_bits),
    "weight_sharing": Row({"entries": 16}, few_values),
}


def recipe_of(*settings: dict[str, Any]) -> Recipe:
    return canonical(Recipe(steps=tuple(Setting.model_validate(setting) for setting in settings)))


def sample(kind: str) -> Recipe:
    assert kind in ROWS, f"add a row to ROWS in {__file__} for the technique {kind!r}: its settings and its effect"
    return recipe_of({"kind": kind, **ROWS[kind].settings})


@functools.cache
def workload(model: str) -> Workload:
    torch.manual_seed(0)
    return workload_of(MODELS[model]())


@functools.cache
def compressed(kind: str, model: str) -> Compressed:
    return compress(sample(kind) if kind else Recipe(), workload(model), seed=0)


every_technique = pytest.mark.parametrize("kind", kinds())
every_model = pytest.mark.parametrize("model", MODELS)


def test_rows_are_of_techniques_that_exist() -> None:
    assert set(ROWS) == set(kinds()), "ROWS and the files in autoshrink/techniques differ"


@every_technique
@every_model
def test_has_its_declared_effect(kind: str, model: str) -> None:
    sample(kind)
    ROWS[kind].effect(compressed("", model), compressed(kind, model), workload(model))


@every_technique
def test_survives_yaml(kind: str, tmp_path: Path) -> None:
    recipe = sample(kind)
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml())
    again = Recipe.read(file)
    assert again == recipe
    assert canonical(again).key == recipe.key


@every_technique
@every_model
def test_leaves_the_original_alone(kind: str, model: str) -> None:
    original = workload(model).model
    before = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    structure, modes = repr(original), [module.training for module in original.modules()]
    compress(sample(kind), workload(model), seed=0)
    after = original.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert (repr(original), [module.training for module in original.modules()]) == (structure, modes)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in original.parameters())
    assert not any(module._forward_hooks for module in original.modules())


@every_technique
@every_model
def test_gives_the_same_for_the_same_seed(kind: str, model: str) -> None:
    torch.manual_seed(12345)  # whatever was drawn before
    again = compress(sample(kind), workload(model), seed=0)
    first = compressed(kind, model)
    one, other = first.model.state_dict(), again.model.state_dict()
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert first.encoding == again.encoding
    assert first.facts == again.facts


@every_technique
@every_model
def test_is_a_plain_model(kind: str, model: str) -> None:
    result = compressed(kind, model).model
    assert not any(hasattr(module, "parametrizations") for module in result.modules())
    assert not any(module.training for module in result.modules())
    assert not any(parameter.requires_grad for parameter in result.parameters())


@every_technique
@every_model
def test_runs_in_the_runtime_as_in_torch(kind: str, model: str, tmp_path: Path) -> None:
    result, data = compressed(kind, model), workload(model)
    session = onnxruntime.InferenceSession(export(result, data, tmp_path), providers=["CPUExecutionProvider"])
    given = session.run(None, {session.get_inputs()[0].name: data.validation.inputs[0].numpy()})[0]
    wanted = predict(result.model, data.validation)
    if result.encoding.scheme == "float":
        np.testing.assert_allclose(given, wanted, atol=1e-4 * np.abs(wanted).max())
    else:
        assert np.corrcoef(given.ravel(), wanted.ravel())[0, 1] > 0.9


@every_technique
@every_model
def test_is_followed_by_torch_export(kind: str, model: str) -> None:
    result, data = compressed(kind, model).model, workload(model)
    inputs = data.validation.rows(slice(0, 4)).inputs
    program = torch.export.export(result, inputs)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*inputs), result(*inputs), atol=1e-5, rtol=1e-4)


@every_technique
def test_refuses_a_model_without_weights(kind: str, tmp_path: Path) -> None:
    nothing = workload_of(NoWeights())
    with pytest.raises(Refusal, match=r"\w+ \w+"):
        export(compress(sample(kind), nothing), nothing, tmp_path)


@every_technique
def test_is_a_frozen_value_with_a_reference(kind: str) -> None:
    cls = technique(kind)
    assert cls.kind == kind
    assert cls.model_config["frozen"]
    assert "References:" in (cls.__doc__ or "")
    assert all(isinstance(name, str) for name in cls.model_fields)
    assert cls(**ROWS[kind].settings).encode(Encoding(), nn.Identity()) is not None
