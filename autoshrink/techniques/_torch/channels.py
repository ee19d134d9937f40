"""Coupled channels: which can be removed together, and which of them to remove."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from autoshrink.core import Refusal
from autoshrink.models.exporting import TRACING_ERRORS
from autoshrink.models.splits import Split
from autoshrink.techniques._torch.layers import is_plain, outputs, shared_parameters

__all__ = ["Channels", "Limits", "coupled_channels", "fixed_roots", "gives", "remove", "select"]

_MIXES = ("BmmBackward", "ScaledDotProduct")


@dataclass(frozen=True)
class Channels:
    """One group of coupled channels: removing one removes it from every layer of the group.

    ``root`` is the layer that the group is known by, ``size`` its channels. Channels are removed in units of ``heads``
    channels, one of each attention head, convolution group or half that is split off, so that these stay equally wide.
    """

    root: str
    size: int
    heads: int
    group: Any

    @property
    def units(self) -> int:
        """How many channels there are in each head."""
        return self.size // self.heads

    def score(self, importance: Callable[[Any], Tensor]) -> Tensor:
        """Give the importance of each unit relative to the group's mean, shape (units,)."""
        by_unit = importance(self.group).detach().double().view(self.heads, self.units).mean(0)
        # Relative to the group's mean: the layers' own scales would make one layer bear all the removal.
        return by_unit / by_unit.mean().clamp_min(torch.finfo(torch.double).tiny)


def coupled_channels(model: nn.Module, example: Split) -> tuple[torch_pruning.DependencyGraph, list[Channels]]:
    """Find the groups of coupled channels that may be removed without changing the model's inputs or outputs.

    Raises:
        Refusal: the library can't follow this model.
    """
    graph = torch_pruning.DependencyGraph()
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore", UserWarning)  # about parameters outside of layers: those are pruned as well
            graph.build_dependency(model, example, forward_fn=_traced)
    except TRACING_ERRORS as error:
        raise Refusal(f"channel_pruning can't follow this model's layers: {type(error).__name__}: {error}") from error
    shared = shared_parameters(model)
    found = (_channels(graph, group, shared) for group in _groups(graph))
    return graph, [channels for channels in found if channels is not None]


def _groups(graph: torch_pruning.DependencyGraph) -> Iterator[Any]:
    seen = set()
    for module in list(graph.module2node):
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) and module not in seen:
            group = _group(graph, module, range(graph.get_out_channels(module)))
            if group is not None:
                seen |= {dep.target.module for dep, _ in group if graph.is_out_channel_pruning_fn(dep.handler)}
                yield group


def _group(graph: torch_pruning.DependencyGraph, module: nn.Module, indices: Iterable[int]) -> Any:
    try:
        return graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, list(indices))
    except TRACING_ERRORS:
        return None  # an operation in between, such as a recurrent layer, that the library takes for another


def _traced(model: nn.Module, example: Split) -> list[Tensor]:
    results = [result for result in outputs(model, example) if result.is_floating_point()]
    if not any(result.requires_grad for result in results):
        raise Refusal(
            "channel_pruning: no gradient flows from the outputs to the weights, by which layers are followed"
        )
    # Multiplied, so that the outputs are nodes of their own even where a layer gives them.
    return [result * 1.0 for result in results if result.requires_grad]


def _channels(graph: torch_pruning.DependencyGraph, group: Any, shared: set[int]) -> Channels | None:
    kinds = torch_pruning.ops.OPTYPE
    targets = [dep.target for dep, _ in group]
    types = {target.type for target in targets}
    if kinds.OUTPUT in types or kinds.LSTM in types:
        return None
    if kinds.MHA not in types and any(word in target.name for target in targets for word in _MIXES):
        return None  # inside an attention whose heads are known to its own forward() only
    held = (
        p for t in targets for p in ([t.module] if t.type == kinds.PARAMETER else t.module.parameters(recurse=False))
    )
    if any(id(parameter) in shared for parameter in held):
        return None  # it would be parted from the layer that it is tied to
    if any(max(indices) >= _size(graph, dep) for dep, indices in group):
        return None  # an operation that changes the number of channels, which the library does not know
    root = group[0].dep.target
    size = len(group[0].idxs)
    heads = math.lcm(*(_heads(target.module) for target in targets))
    # Halves of one layer that are combined later are coupled with each other.
    coupled = sorted(_group(graph, root.module, [0])[0].idxs)
    if len(coupled) > 1:
        if heads > 1 or coupled != list(range(0, size, max(1, size // len(coupled)))):
            return None
        heads = len(coupled)
    elif heads > 1 and any(len(indices) != size for _, indices in group):
        return None
    return Channels(graph._module2name[root.module], size, heads, group) if size % heads == 0 else None


def _size(graph: torch_pruning.DependencyGraph, dep: Any) -> float:
    into = graph.is_in_channel_pruning_fn(dep.handler) and not graph.is_out_channel_pruning_fn(dep.handler)
    size = graph.get_in_channels(dep.target) if into else graph.get_out_channels(dep.target)
    return math.inf if size is None else float(size)


def _heads(module: nn.Module) -> int:
    heads: Any = 1
    if isinstance(module, nn.MultiheadAttention):
        heads = module.num_heads
    elif isinstance(module, nn.GroupNorm):
        heads = module.num_groups
    elif isinstance(module, nn.modules.conv._ConvNd) and module.groups != module.out_channels:
        heads = module.groups
    return int(heads)


@dataclass(frozen=True)
class Limits:
    """How much to remove: the share of channels, at most of one group, and what widths shall be a multiple of."""

    ratio: float
    max_ratio: float
    round_to: int
    together: bool
    """Whether channels of all groups compete with each other."""


def select(
    groups: Sequence[Channels], scores: Sequence[Tensor], initial: dict[str, int], limits: Limits
) -> list[list[int]]:
    """Choose the units of each group that are removed, the least important first.

    Args:
        groups: as they are now.
        scores: of each group, shape (units,).
        initial: units of each group before anything was removed; shares are of these.
        limits: how much to remove.
    """
    least = [_least(channels, initial[channels.root], limits) for channels in groups]
    if limits.together:
        kept = _compete(groups, scores, initial, least, limits)
    else:
        kept = [round(initial[channels.root] * (1 - limits.ratio)) for channels in groups]
    chosen = []
    for channels, score, keep, low in zip(groups, scores, kept, least, strict=True):
        keep = _rounded(channels, max(keep, low), low, limits.round_to)
        order = torch.argsort(score, stable=True).tolist()
        chosen.append(sorted(order[: channels.units - keep]))
    return chosen


def _least(channels: Channels, initial: int, limits: Limits) -> int:
    return min(channels.units, max(1, math.ceil(initial * (1 - limits.max_ratio) - 1e-9)))


def _compete(
    groups: Sequence[Channels],
    scores: Sequence[Tensor],
    initial: dict[str, int],
    least: Sequence[int],
    limits: Limits,
) -> list[int]:
    kept = [channels.units for channels in groups]
    total = sum(initial[channels.root] * channels.heads for channels in groups)
    excess = sum(channels.size for channels in groups) - total * (1 - limits.ratio)
    ranked = sorted((score, index) for index, values in enumerate(scores) for score in values.tolist())
    for _, index in ranked:
        if excess < groups[index].heads / 2:
            break
        if kept[index] > least[index]:
            kept[index] -= 1
            excess -= groups[index].heads
    return kept


def _rounded(channels: Channels, keep: int, least: int, round_to: int) -> int:
    step = round_to // math.gcd(round_to, channels.heads)
    nearest = max(1, math.floor(keep / step + 0.5)) * step
    if nearest < least:
        nearest = math.ceil(least / step) * step
    return min(nearest, channels.units)


def remove(graph: torch_pruning.DependencyGraph, channels: Channels, units: Sequence[int]) -> dict[str, list[int]]:
    """Remove units of a group from every layer that is coupled by it.

    Returns:
        Of each linear layer and convolution that lost outputs: those of its output channels that are left.
    """
    indices = [unit + head * channels.units for head in range(channels.heads) for unit in units]
    root = channels.group[0].dep
    group = graph.get_pruning_group(root.target.module, root.handler, sorted(indices))
    left = {}
    for dep, dropped in group:
        module = dep.target.module
        if graph.is_out_channel_pruning_fn(dep.handler) and is_plain(module):
            gone = set(dropped)
            left[graph._module2name[module]] = [index for index in range(len(module.weight)) if index not in gone]
    group.prune()
    return left


def gives(model: nn.Module, example: Split, shapes: Sequence[torch.Size]) -> bool:
    """Whether a model runs and its outputs have these shapes."""
    try:
        with torch.no_grad():
            return [tensor.shape for tensor in outputs(model, example)] == list(shapes)
    except TRACING_ERRORS:
        return False


def fixed_roots(model: nn.Module, example: Split, shapes: Sequence[torch.Size]) -> frozenset[str]:
    """Find the groups whose width can't change: removing one unit of theirs breaks the model.

    Widths may be fixed by numbers in the model's ``forward``, such as the size of attention heads.
    """
    _, groups = coupled_channels(copy.deepcopy(model), example)
    fixed = set()
    for index, channels in enumerate(groups):
        trial = copy.deepcopy(model)
        graph, same = coupled_channels(trial, example)
        remove(graph, same[index], [0])
        if not gives(trial, example, shapes):
            fixed.add(channels.root)
    return frozenset(fixed)
