"""What changed between two fingerprints, and whether an export would still write the same files."""

from __future__ import annotations

from typing import Any

import pytest

from autoshrink.backends.changes import changes, exports_alike

BEFORE: dict[str, Any] = {
    "key": "a",
    "device": {"processor": "one", "cores": "2"},
    "profile": {"name": "here", "kind": "cpu", "backend": "onnxruntime", "threads": 1, "options": {}},
    "versions": {"onnxruntime": "1.31.1"},
}


def changed(place: str, name: str, value: object) -> dict[str, Any]:
    return {**BEFORE, "key": "b", place: {**BEFORE[place], name: value}}


def test_nothing_is_no_change() -> None:
    assert changes(BEFORE, {**BEFORE, "key": "b"}) == ()
    assert exports_alike(())


@pytest.mark.parametrize(
    ("place", "name", "value", "words", "alike"),
    [
        ("device", "processor", "other", "device.processor: one → other", True),
        ("device", "governor", "powersave", "device.governor: nothing → powersave", True),
        ("profile", "threads", 4, "profile.threads: 1 → 4", True),
        ("profile", "backend", "litert", "profile.backend: onnxruntime → litert", False),
        ("profile", "options", {"xnnpack": False}, "profile.options.xnnpack: nothing → false", False),
        ("profile", "capabilities", {"weight_bits": (8,)}, "profile.capabilities.weight_bits: nothing → [8]", False),
        ("versions", "onnxruntime", "1.32.0", "versions.onnxruntime: 1.31.1 → 1.32.0", False),
    ],
)
def test_a_change_is_named_and_known_for_what_it_concerns(
    place: str, name: str, value: object, words: str, alike: bool
) -> None:
    found = changes(BEFORE, changed(place, name, value))
    assert words in [change.to_words() for change in found]
    assert exports_alike(found) == alike
