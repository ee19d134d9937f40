"""The pipeline: order, seconds, facts, and a copy that nothing of the original's is left on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from techniques.digit_workloads import Cnn, Transformer, mlp, workload_of
from torch import nn
from torch.nn.utils import parametrizations

from autoshrink.core import Encoding, Recipe, Setting, SpecError
from autoshrink.models.counting import count
from autoshrink.techniques.pipeline import compress

STEPS = {
    "channel_pruning": {"ratio": 0.5, "round_to": 4},
    "low_rank": {"rank_ratio": 0.5},
    "magnitude_pruning": {"sparsity": 0.5},
    "distillation": {"epochs": 1},
    "weight_sharing": {"entries": 16},
    "quantization": {"qat_epochs": 1},
}


def recipe(*kinds: str) -> Recipe:
    return Recipe(steps=tuple(Setting.model_validate({"kind": kind, **STEPS[kind]}) for kind in kinds))


def test_an_empty_recipe_is_the_original() -> None:
    workload = workload_of(Cnn())
    result = compress(Recipe(), workload)
    assert result.model is not workload.model
    assert result.encoding == Encoding()
    assert result.facts == count(workload.model, workload.example)
    for (name, one), (other_name, other) in zip(
        workload.model.state_dict().items(), result.model.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize("build", [Cnn, mlp])
def test_all_techniques_together_whatever_their_order_in_the_recipe(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    workload = workload_of(build())
    results = [compress(recipe(*order), workload) for order in (list(STEPS), list(reversed(STEPS)))]
    one, other = (result.model.state_dict() for result in results)
    assert all(torch.equal(one[name], other[name]) for name in one)
    first = results[0]
    assert (first.encoding.codebook, first.encoding.weight_bits, first.encoding.scheme) == (16, 8, "static")
    assert first.encoding.ranges
    assert (
        first.facts["nonzero"]
        < 0.7 * first.facts["parameters"]
        < 0.5 * count(workload.model, workload.example)["parameters"]
    )
    assert set(first.seconds) == {"structure", "train", "encode"}
    assert all(seconds > 0 for seconds in first.seconds.values())


def digest_of_all_techniques() -> str:
    torch.manual_seed(0)
    result = compress(recipe(*STEPS), workload_of(Transformer()))
    digest = hashlib.sha256(result.encoding.model_dump_json().encode())
    for tensor in result.model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def test_another_process_gives_the_same_model() -> None:
    code = (
        "from techniques.test_techniques_pipeline import *; torch.set_num_threads(1); print(digest_of_all_techniques())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    folder = Path(__file__).parents[1]
    told = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True)
    assert told.stdout.decode().strip() == digest_of_all_techniques()


def test_another_seed_gives_another_model() -> None:
    workload = workload_of(mlp())
    one, other = (compress(recipe("distillation"), workload, seed).model[1].weight for seed in (0, 1))
    assert not torch.equal(one, other)


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    workload = workload_of(Cnn())
    before = torch.get_rng_state()
    compress(recipe("channel_pruning", "low_rank", "distillation"), workload)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_the_user_froze_or_parametrized_are_plain_in_the_copy() -> None:
    model = mlp()
    parametrizations.weight_norm(model[1])
    model.requires_grad_(False)
    workload = workload_of(model)
    before = model(workload.example.inputs[0])
    result = compress(recipe("low_rank", "distillation"), workload)
    assert torch.equal(model(workload.example.inputs[0]), before)
    assert hasattr(model[1], "parametrizations")
    assert not any(hasattr(module, "parametrizations") for module in result.model.modules())
    assert not torch.equal(result.model[5].weight, model[5].weight)


def test_an_unknown_technique_is_an_error_of_the_recipe() -> None:
    with pytest.raises(SpecError, match=r"steps\[0\].kind: no technique 'low_ranks'; did you mean 'low_rank'"):
        compress(Recipe(steps=(Setting(kind="low_ranks"),)), workload_of(mlp()))
