"""Weights of the user's model, read without unpickling anything."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autoshrink.core import Source, SpecError
from autoshrink.core.archives import BROKEN, BadArchiveError, check_members

__all__ = ["load_weights"]

_KEY = ("weights",)
_SHOWN = 3


def load_weights(model: nn.Module, path: Path, source: Source) -> None:
    """Put the weights of a safetensors file or a weights-only ``.pt`` into a model.

    Raises:
        SpecError: the file can't be read, holds pickled code, or doesn't fit the model.
    """
    given = _read(path, source)
    expected = model.state_dict()
    # Tied weights are stored once: a name is there when any name of the same memory is.
    stored = {tensor.data_ptr() for name, tensor in expected.items() if name in given and tensor.numel()}
    missing = [name for name, tensor in expected.items() if name not in given and tensor.data_ptr() not in stored]
    unknown = [name for name in given if name not in expected]
    shapes = [
        f"{name} is {tuple(given[name].shape)} in the file and {tuple(tensor.shape)} in the model"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    problems = _few("missing in the file", missing) + _few("unknown to the model", unknown) + _few("", shapes)
    if problems:
        raise source.error(_KEY, f"{path.name} doesn't fit the model: {'; '.join(problems)}")
    model.load_state_dict(given, strict=False)


def _read(path: Path, source: Source) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise source.error(_KEY, f"{path.name} is not a readable safetensors file: {error}") from None
    if path.suffix in (".pt", ".pth"):
        return _read_pt(path, source)
    raise source.error(_KEY, f"{path.name} is neither .safetensors nor a weights-only .pt")


def _read_pt(path: Path, source: Source) -> Mapping[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:  # what torch.save has written since 1.6; it packs nothing
            check_members(archive, path.stat().st_size)
    except BadArchiveError as error:
        raise source.error(_KEY, f"{path.name} is not a readable .pt file: it {error}") from None
    except BROKEN:
        raise source.error(_KEY, f"{path.name} is not a file that torch.save wrote, or is damaged") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise _pickled(path, source) from None
    except (*BROKEN, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, MemoryError) as error:
        reason = f"{str(error).strip() or type(error).__name__}".splitlines()[0]
        raise source.error(_KEY, f"{path.name} is not a readable .pt file: {reason}") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(_is_weight(name, value) for name, value in content.items()):
        raise source.error(_KEY, f"{path.name} holds no state dict, a mapping of names to tensors")
    return content


def _is_weight(name: object, value: object) -> bool:
    plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
    return isinstance(name, str) and plain and not value.is_quantized  # type: ignore[attr-defined]


def _pickled(path: Path, source: Source) -> SpecError:
    return source.error(
        _KEY,
        f"{path.name} holds pickled code, which is never run: save only the weights, with "
        "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors') "
        "or torch.save(model.state_dict(), 'weights.pt')",
    )


def _few(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what + ': ' if what else ''}{', '.join(names[:_SHOWN])}{more}"]
