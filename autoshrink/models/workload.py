"""The workload: the user's original model with its data, metric and loss, ready to be compressed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from autoshrink.core import Refusal, Target
from autoshrink.core.documents import KeyPath
from autoshrink.models.array_data import read_npz
from autoshrink.models.coreset import coreset
from autoshrink.models.data import read_splits
from autoshrink.models.evaluate import outputs, predict
from autoshrink.models.fitting import check_fit
from autoshrink.models.from_onnx.load import load_onnx
from autoshrink.models.labels import Task, fit_labels, label_by_original, task_of
from autoshrink.models.metrics import Score, find_metric
from autoshrink.models.splits import Split
from autoshrink.models.user_code import UserCode
from autoshrink.models.weights import load_weights

__all__ = ["Task", "Workload", "load_workload"]


@dataclass(frozen=True, eq=False)
class Workload:
    """What a recipe is applied to; nothing in it is ever changed.

    ``model`` is the original in eval mode on the CPU and the teacher of every recovery. ``score`` takes outputs
    (examples, …) and labels, both arrays, and gives a number where higher is better. Data without labels have the
    original's outputs as the labels of ``validation`` and ``test``. ``key`` hashes weights, data and metric.
    """

    model: nn.Module
    train: Split | None
    """None when the user has no training data: then nothing can be recovered."""
    validation: Split
    test: Split
    calibration: Split
    score: Score
    task: Task
    key: str
    metric: str = "accuracy"
    """The metric's name, for people."""

    @property
    def example(self) -> Split:
        """One example, the input that latency is measured with."""
        return self.validation.rows(slice(0, 1))

    @property
    def training_data(self) -> Split:
        """The training split.

        Raises:
            Refusal: there is none.
        """
        if self.train is None:
            raise Refusal("there is no training data: the data function returns no 'train' split")
        return self.train

    @functools.cached_property
    def teacher(self) -> Tensor:
        """The original's outputs on the training split, computed when they are first needed.

        Raises:
            Refusal: there is no training data.
        """
        return outputs(self.model, self.training_data)

    def reduced(self, share: float, seed: int) -> Workload:
        """Give the same workload with a coreset of its training data, or itself when there is nothing to reduce."""
        if self.train is None or share >= 1:
            return self
        return self._coreset(share, seed)

    @functools.cache  # noqa: B019 - a process keeps one workload, and both go together
    def _coreset(self, share: float, seed: int) -> Workload:
        train = self.training_data
        kept = coreset(train, self.teacher, share, seed)
        smaller = replace(self, train=train.rows(kept))
        smaller.__dict__["teacher"] = self.teacher[kept]
        return smaller


def load_workload(target: Target) -> Workload:
    """Load the model, data and metric that a target names.

    Returns:
        The workload; the model is in eval mode on the CPU, in float32.

    Raises:
        SpecError: a file, function, weight, split or label is wrong; the message names the target's line, the user's
            line and what to do.
    """
    code = UserCode(target.source)
    if target.model.endswith(".onnx"):
        splits = _load_splits(target, code)
        model = _load_onnx(target, splits, code)
    else:
        model = _load_model(target, code)
        splits = _load_splits(target, code)
    shape = check_fit(model, splits, code)
    task = task_of(splits["validation"].labels, target.metric)
    splits = fit_labels(splits, shape, task, target.source)
    key = _key(model, splits, target, code)
    if splits["validation"].labels is None:
        splits = label_by_original(model, splits, task)
    score = find_metric(target.metric, code, task)
    _try_own(score, model, splits["validation"], target.metric)
    return Workload(
        model=model,
        train=splits.get("train"),
        validation=splits["validation"],
        test=splits["test"],
        calibration=splits["calibration"],
        score=score,
        task=task,
        key=key,
        metric=target.metric,
    )


def _load_splits(target: Target, code: UserCode) -> dict[str, Split]:
    if target.data.endswith(".npz"):
        returned: object = read_npz(target.data, code)
    else:
        function = code.function(target.data, ("data",))
        with code.guard(("data",), f"{target.data} failed"):
            returned = function()
    splits = read_splits(returned, code)
    if target.metric == "agreement":
        return {name: replace(split, labels=None) for name, split in splits.items()}
    return splits


def _try_own(score: Score, model: nn.Module, split: Split, metric: str) -> None:
    # One's own metric fails now, with the user's line, and not after the first candidate was trained.
    if ":" in metric and split.labels is not None:
        score(predict(model, split), split.labels.numpy())


def _load_model(target: Target, code: UserCode) -> nn.Module:
    at = ("model",)
    if target.model.startswith(("hf:", "timm:")):
        raise target.source.error(
            at, f"{target.model!r} is a kind of model that is not supported yet: name a function that builds it, "
            "FILE.py:FUNCTION, such as 'model.py:build'"
        )  # fmt: skip
    function = code.function(target.model, at)
    weights = code.path(target.weights, ("weights",)) if target.weights else None
    with code.guard(at, f"{target.model} failed"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a model without a weights file shall be the same in every process
        model = function()
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise target.source.error(at, f"{target.model} returns {what}, not a torch.nn.Module")
    model = model.cpu()
    if weights is not None:
        load_weights(model, weights, target.source)
    return _checked(model.float().eval(), ("weights",), target)


def _load_onnx(target: Target, splits: Mapping[str, Split], code: UserCode) -> nn.Module:
    if target.weights is not None:
        raise target.source.error(
            ("weights",), f"{target.model} holds its own weights: leave out 'weights', or name a function as model"
        )
    return _checked(load_onnx(target.model, splits["validation"], code), ("model",), target)


def _checked(model: nn.Module, key: KeyPath, target: Target) -> nn.Module:
    broken = [name for name, value in model.named_parameters() if not torch.isfinite(value).all()]
    if broken:
        raise target.source.error(key, f"the weight {broken[0]} has values that are NaN or infinite")
    return model


def _key(model: nn.Module, splits: Mapping[str, Split], target: Target, code: UserCode) -> str:
    digest = hashlib.sha256(f"{model!r}\n{target.metric}\n".encode())
    for file in (target.model, target.metric):
        if ":" in file or file.endswith(".onnx"):
            digest.update(code.path(file if file.endswith(".onnx") else file.rpartition(":")[0], ()).read_bytes())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    for name in sorted(splits):
        split = splits[name]
        for tensor in (*split.inputs, *([] if split.labels is None else [split.labels])):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
