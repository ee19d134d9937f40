"""The quantization technique, together with the backend that its numerics have to agree with."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from autoshrink.backends.registry import backend
from autoshrink.core import Encoding, Hardware, Range, Recipe, Refusal, Setting, Space
from autoshrink.core.recipe import Scalar
from autoshrink.core.space import Values
from autoshrink.models.splits import Split, forward
from autoshrink.models.workload import Workload
from autoshrink.techniques._torch.fake_quantization import simulated
from autoshrink.techniques.pipeline import Compressed, compress
from autoshrink.techniques.quantization import Quantization
from autoshrink.techniques.registry import canonical, check_space, draw

CPU = Hardware(name="cpu", kind="cpu", backend="onnxruntime")
TRAINED = {"kind": "distillation", "alpha": 1.0, "epochs": 1, "learning_rate": 3e-3}


def recipe(*steps: dict[str, object]) -> Recipe:
    return Recipe(steps=tuple(Setting.model_validate(step) for step in steps))


def answers(result: Compressed, workload: Workload, folder: Path) -> np.ndarray:
    """Give the artifact's outputs on the test split."""
    backend("onnxruntime").export(result.model, workload.example, result.encoding, workload.calibration, folder, CPU)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    outputs: np.ndarray = session.run(None, {session.get_inputs()[0].name: workload.test.arrays()[0]})[0]
    return outputs


def accuracy(outputs: np.ndarray, split: Split) -> float:
    assert split.labels is not None
    return float((outputs.argmax(1) == split.labels.numpy()).mean())


def unbalanced(workload: Workload) -> Workload:
    """Rescale channels against the weights that follow them: the same function, but hard to quantize per tensor."""
    model = copy.deepcopy(workload.model)
    body = model.get_submodule("body")
    assert isinstance(body, nn.Sequential)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm, convolution in ((body[1], body[3]), (body[4], body[7])):
            factor = torch.exp(torch.rand(16, generator=generator) * np.log(60))
            norm.weight *= factor
            norm.bias *= factor
            convolution.weight /= factor[None, :, None, None]
    return replace(workload, model=model)


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_the_trained_rounding_is_that_of_the_artifact(digits: Workload, granularity: str, tmp_path: Path) -> None:
    steps = (TRAINED, {"kind": "quantization", "granularity": granularity, "qat_epochs": 1})
    result = compress(recipe(*steps), digits)
    assert set(result.encoding.ranges) == {"body.0", "body.3", "body.7", "head"}
    artifact = answers(result, digits, tmp_path)
    with simulated(result.model, result.encoding.ranges), torch.no_grad():
        fake = forward(result.model, digits.test).numpy()
    assert len(fake) >= 300
    assert (fake.argmax(1) == artifact.argmax(1)).mean() >= 0.99
    noise = ((fake - artifact) ** 2).sum()
    assert 10 * np.log10((fake**2).sum() / noise) > 35
    # Weights lie on their grid, and nothing of the training is left in the model.
    for name, module in result.model.named_modules():
        assert not module._forward_pre_hooks
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.detach()
            axes = tuple(range(1, weight.ndim)) if granularity == "per_channel" else tuple(range(weight.ndim))
            levels = weight / (weight.abs().amax(axes, keepdim=True) / 127)
            assert float((levels - levels.round()).abs().max()) < 1e-3, name


def test_training_wins_back_what_rounding_lost(digits: Workload, tmp_path: Path) -> None:
    workload = unbalanced(digits)
    rounding = {"kind": "quantization", "granularity": "per_tensor"}
    whole, plain, trained = (
        accuracy(answers(compress(recipe(*steps), workload), workload, tmp_path), workload.test)
        for steps in ((), (rounding,), (TRAINED, rounding | {"qat_epochs": 3}))
    )
    assert plain < whole - 0.03
    assert trained > plain + 0.02
    assert trained > whole - 0.1


def test_pruned_weights_and_codebooks_survive_the_training(digits: Workload, tmp_path: Path) -> None:
    rounding = {"kind": "quantization", "qat_epochs": 1}
    pruned = compress(recipe({"kind": "magnitude_pruning", "sparsity": 0.6}, TRAINED, rounding), digits)
    assert pruned.facts["nonzero"] < 0.5 * pruned.facts["parameters"]
    assert accuracy(answers(pruned, digits, tmp_path), digits.test) > 0.9

    shared = compress(recipe(TRAINED, {"kind": "weight_sharing", "entries": 16}, rounding), digits)
    assert shared.encoding.granularity == "per_tensor"
    convolution = shared.model.get_submodule("body.3")
    assert len(torch.unique(convolution.weight)) <= 16
    assert accuracy(answers(shared, digits, tmp_path), digits.test) > 0.9
    artifact = backend("onnxruntime").export(
        shared.model, digits.example, shared.encoding, digits.calibration, tmp_path, CPU
    )
    assert artifact.notes["codebooks"] == 2


def test_training_that_can_round_nothing_is_refused() -> None:
    data = Split((torch.rand(32, 6),), torch.randint(0, 6, (32,)))
    model = nn.Sequential(nn.LayerNorm(6)).eval()
    workload = Workload(model, data, data, data, data, lambda *_: 0.0, "classification", "norm")
    with pytest.raises(Refusal, match="finds no convolution and no linear layer"):
        compress(recipe(TRAINED, {"kind": "quantization", "qat_epochs": 1}), workload)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"weight_bits": 32, "scheme": "dynamic", "calibration": "entropy"}, {"weight_bits": 32}),
        ({"weight_bits": 16, "block_size": 64}, {"weight_bits": 16}),
        (
            {"calibration": "entropy", "block_size": 64, "qat_epochs": 3},
            {"weight_bits": 8, "scheme": "static", "calibration": "entropy", "granularity": "per_channel"},
        ),
        (
            {"scheme": "dynamic", "calibration": "entropy", "granularity": "per_tensor"},
            {"weight_bits": 8, "scheme": "dynamic", "granularity": "per_tensor"},
        ),
        ({"weight_bits": 4, "scheme": "weight_only"}, {"weight_bits": 4, "scheme": "weight_only", "block_size": 32}),
    ],
)
def test_settings_without_effect_are_no_part_of_a_recipe(given: dict[str, object], kept: dict[str, object]) -> None:
    assert canonical(recipe({"kind": "quantization", **given})).steps[0].params == kept
    trained = canonical(recipe(TRAINED, {"kind": "quantization", **given})).setting("quantization")
    assert trained is not None
    epochs = {"qat_epochs": given.get("qat_epochs", 0)} if kept.get("scheme") == "static" else {}
    assert trained.params == kept | epochs


class Picks:
    """Picks by name, else the first, and remembers what it was asked."""

    def __init__(self, **picks: Scalar) -> None:
        self.picks = picks
        self.asked: dict[str, object] = {}

    def choice(self, name: str, values: Values) -> Scalar:
        self.asked[name] = values
        return self.picks.get(name.partition(".")[2], values[0])

    def range(self, name: str, interval: Range) -> int | float:
        self.asked[name] = interval
        return interval.high


STEP = {
    "kind": "quantization",
    "weight_bits": [32, 16, 8, 4],
    "scheme": ["static", "dynamic", "weight_only"],
    "calibration": ["minmax", "entropy"],
    "granularity": ["per_channel", "per_tensor"],
    "block_size": [16, 32],
    "qat_epochs": {"low": 0, "high": 3},
}
FORMATS = ("float32", "float16", "static int8", "dynamic int8", "weight_only int8", "weight_only int4")


@pytest.mark.parametrize(
    ("picked", "asked", "params"),
    [
        ("float32", set(), None),
        ("float16", set(), {"weight_bits": 16}),
        (
            "static int8",
            {"calibration", "granularity", "qat_epochs"},
            {"weight_bits": 8, "scheme": "static", "calibration": "minmax", "granularity": "per_channel"},
        ),
        ("dynamic int8", {"granularity"}, {"weight_bits": 8, "scheme": "dynamic", "granularity": "per_channel"}),
        ("weight_only int4", {"block_size"}, {"weight_bits": 4, "scheme": "weight_only", "block_size": 16}),
    ],
)
def test_only_what_matters_is_drawn(picked: str, asked: set[str], params: dict[str, object] | None) -> None:
    space = Space.model_validate({"steps": [STEP]})
    check_space(space)
    picks = Picks(format=picked)
    runtime = backend("onnxruntime")
    drawn = draw(space, picks, lambda encoding: runtime.accepts(encoding, CPU)).setting("quantization")
    assert picks.asked.pop("quantization.format") == FORMATS
    assert {name.partition(".")[2] for name in picks.asked} == asked
    assert (drawn.params if drawn else None) == params


def test_only_what_the_device_executes_is_drawn() -> None:
    board = CPU.model_copy(
        update={"capabilities": CPU.capabilities.model_copy(update={"weight_bits": (8,), "schemes": ("static",)})}
    )
    runtime = backend("onnxruntime")
    picks = Picks()
    space = Space.model_validate({"steps": [{**STEP, "optional": True}]})
    assert not draw(space, picks, lambda encoding: runtime.accepts(encoding, board)).steps
    assert picks.asked["quantization.format"] == ("off", "static int8")
    only = Space.model_validate({"steps": [STEP]})
    drawn = draw(only, picks, lambda encoding: runtime.accepts(encoding, board)).setting("quantization")
    assert drawn is not None
    assert drawn.params["scheme"] == "static"
    assert not draw(only, picks, lambda encoding: "no").steps


def test_it_asks_the_backend_for_what_it_says() -> None:
    model = nn.Linear(2, 2)
    asked = Quantization(weight_bits=4, scheme="weight_only", block_size=64).encode(Encoding(), model)
    assert asked == Encoding(weight_bits=4, scheme="weight_only", block_size=64)
    assert Quantization(weight_bits=16, scheme="static").encode(Encoding(), model) == Encoding(weight_bits=16)
    shared = Encoding(codebook=16)
    assert Quantization().encode(shared, model).granularity == "per_tensor"
    assert Quantization(weight_bits=4, scheme="weight_only").encode(shared, model).codebook == 16
