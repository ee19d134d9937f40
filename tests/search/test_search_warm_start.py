"""Recipes to try first: what a model's table makes of each space."""

from __future__ import annotations

import pytest

from autoshrink.core import Encoding, LayerSensitivity, Option, Sensitivity, Space, catalog_folder, names
from autoshrink.search.presets import Preset
from autoshrink.search.warm_start import presets_from
from autoshrink.techniques.registry import draw


def table(scale: float = 1.0, measure: str = "kl_divergence") -> Sensitivity:
    """Two layers whose losses grow with the square of the strength."""
    layers = []
    for name in ("a", "b"):
        tenths = [number / 10 for number in range(1, 10)]
        pruning = [Option(kind="channel_pruning", value=t, loss=4 * scale * t * t) for t in tenths]
        ranks = [Option(kind="low_rank", value=t, loss=scale * (1 - t) ** 2) for t in tenths]
        layers.append(
            LayerSensitivity(name=name, type="Conv2d", weights=900, macs=9e4, group=name, options=(*pruning, *ranks))
        )
    return Sensitivity(
        workload="k", measure=measure, base_loss=0.2, examples=64, seconds=1.0, layers=tuple(layers)
    )  # fmt: skip


def space(name: str) -> Space:
    return Space.read(catalog_folder("search_spaces") / f"{name}.yaml")


def drawn(found: Sensitivity, name: str, refused: str = "") -> list[dict[str, dict[str, object]]]:
    def accepts(encoding: Encoding) -> str:
        return "no" if refused and encoding.describe().startswith(refused) else ""

    recipes = [draw(space(name), Preset(wishes), accepts) for wishes in presets_from(found, space(name))]
    return [{step.kind: step.params for step in recipe.steps} for recipe in recipes]


@pytest.mark.parametrize("name", names("search_spaces"))
def test_every_space_can_be_started_so(name: str) -> None:
    assert drawn(table(), name)


def test_a_model_that_bears_less_is_pruned_less() -> None:
    ratios = [
        [r["channel_pruning"]["ratio"] for r in drawn(table(scale), "cnn") if "channel_pruning" in r]
        for scale in (1.0, 4.0)
    ]
    assert len(set(ratios[0])) >= 4
    assert max(ratios[1]) <= max(ratios[0])
    # The first level is a predicted loss of 0.4: 2 · 4 t² = 0.4 (between tenths the squares are interpolated).
    assert ratios[0][0] == pytest.approx(0.2236, abs=0.01)
    assert ratios[1][0] == pytest.approx(0.1118, abs=0.01)


def test_formats_come_in_8_and_in_4_bits_with_layers_kept() -> None:
    found = [r["quantization"] for r in drawn(table(), "cnn", refused="static int4")]
    assert {q["weight_bits"] for q in found} == {8, 4}
    assert all(q["scheme"] == "weight_only" and q["sensitive_share"] == 0.1 for q in found if q["weight_bits"] == 4)
    assert all(q["scheme"] == "static" for q in found if q["weight_bits"] == 8)


def test_without_a_recovery_strengths_are_gentle() -> None:
    found = drawn(table(), "post_training")
    assert max(r["channel_pruning"]["ratio"] for r in found if "channel_pruning" in r) < 0.15


def test_a_regression_gives_formats_only() -> None:
    found = drawn(table(measure="squared_error"), "cnn")
    assert found
    assert not any("channel_pruning" in recipe or "low_rank" in recipe for recipe in found)
