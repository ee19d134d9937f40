"""The weights that techniques work on, and the tensors that a model returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils import parametrize

from autoshrink.models.splits import Split

__all__ = ["Weight", "bake", "is_plain", "outputs", "shared_parameters", "weights"]

_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
_PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Weight:
    """One weight tensor: ``getattr(module, attribute)``, its module found under ``name`` in the model."""

    name: str
    module: nn.Module
    attribute: str = "weight"

    @property
    def tensor(self) -> Tensor:
        """The weight as the forward pass sees it, detached."""
        value: Tensor = getattr(self.module, self.attribute)
        return value.detach()

    @property
    def inputs(self) -> int:
        """How many input channels each output is a sum over; 0 where they are not the second dimension."""
        return 0 if isinstance(self.module, nn.modules.conv._ConvTransposeNd) else self.tensor.shape[1]


def shared_parameters(model: nn.Module) -> set[int]:
    """Give the ``id`` of every parameter that more than one module holds, such as tied embeddings."""
    owners = Counter(id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False))
    return {identity for identity, count in owners.items() if count > 1}


def weights(model: nn.Module) -> list[Weight]:
    """List the weights of linear layers and convolutions, those of attention included, biases and norms not.

    A tensor that several modules share is left out: what changes it in one of them would part it from the others.
    """
    shared = shared_parameters(model)
    found = []
    for name, module in model.named_modules():
        attributes: tuple[str, ...] = ("weight",) if isinstance(module, _TYPES) else ()
        if isinstance(module, nn.MultiheadAttention):
            attributes = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        for attribute in attributes:
            value = getattr(module, attribute, None)
            if isinstance(value, Tensor) and value.is_floating_point() and id(value) not in shared:
                found.append(Weight(name, module, attribute))
    return found


def is_plain(module: nn.Module) -> bool:
    """Whether a module is a linear layer or an ungrouped convolution, and computes nothing else."""
    # A subclass may compute something else in a forward() of its own.
    kind = next((kind for kind in _PLAIN if isinstance(module, kind)), None)
    return kind is not None and type(module).forward is kind.forward and getattr(module, "groups", 1) == 1


def outputs(model: nn.Module, example: Split) -> list[Tensor]:
    """Run a model and list every tensor that it returns, not only the first as `forward`."""
    named = dict(zip(example.names, example.inputs, strict=False))
    return list(_tensors(model(**named) if named else model(*example.inputs)))


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def bake(model: nn.Module) -> nn.Module:
    """Replace every parametrization by the value that it gives, so that only plain parameters are left.

    ``remove_parametrizations`` is no help: it edits the class that torch made for the module, which a deep copy shares
    with the original.
    """
    for module in list(model.modules()):
        parametrizations = getattr(module, "parametrizations", None)
        if parametrize.is_parametrized(module) and isinstance(parametrizations, nn.ModuleDict):
            values = {name: getattr(module, name).detach().clone() for name in parametrizations}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, value in values.items():
                if any(True for _ in parametrizations[name].parameters(recurse=False)):
                    module.register_parameter(name, nn.Parameter(value))
                else:
                    module.register_buffer(name, value)
    return model
