"""Corners: the strongest recipes of every space, without a recovery."""

from __future__ import annotations

import pytest

from autoshrink.core import Encoding, Range, Space, catalog_folder, names
from autoshrink.search.corners import corners
from autoshrink.techniques.base import Stage
from autoshrink.techniques.registry import technique


def anything(encoding: Encoding) -> str:
    return ""


def space(name: str) -> Space:
    return Space.read(catalog_folder("search_spaces") / f"{name}.yaml")


@pytest.mark.parametrize("name", names("search_spaces"))
def test_every_space_has_a_few(name: str) -> None:
    found = list(corners(space(name), anything))
    assert 2 <= len(found) <= 80
    assert len({recipe.key for recipe in found}) == len(found)
    for recipe in found:
        assert all(technique(setting.kind).stage is not Stage.RECOVERY for setting in recipe.steps)


@pytest.mark.parametrize("name", names("search_spaces"))
def test_the_first_shrinks_as_much_as_the_space_allows(name: str) -> None:
    first = next(iter(corners(space(name), anything)))
    for step in space(name).steps:
        cls, setting = technique(step.kind), first.setting(step.kind)
        if cls.stage is Stage.STRUCTURE and setting is not None:
            for key, end in cls.stronger.items():
                param = step.params.get(key)
                if isinstance(param, Range):
                    assert setting.params[key] == (param.high if end == "high" else param.low)
    assert first.setting("channel_pruning") is not None


def test_every_number_format_and_shared_weights_are_there() -> None:
    found = list(corners(space("cnn"), anything))
    settings = [recipe.setting("quantization") for recipe in found]
    assert {(s.params["scheme"], s.params["weight_bits"]) for s in settings if s and "scheme" in s.params} >= {
        ("static", 8),
        ("weight_only", 8),
        ("weight_only", 4),
    }
    assert None in settings
    assert any((sharing := recipe.setting("weight_sharing")) and sharing.params["entries"] == 16 for recipe in found)


def test_what_the_backend_can_t_execute_is_no_corner() -> None:
    found = corners(space("cnn"), lambda encoding: "no" if encoding.weight_bits == 4 else "")
    assert all((s := recipe.setting("quantization")) is None or s.params["weight_bits"] != 4 for recipe in found)
