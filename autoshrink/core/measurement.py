"""A measurement: metric → value, unit, low, high, origin, and the conditions that it was taken under."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from autoshrink.core.documents import Frozen

__all__ = ["Artifact", "Measurement", "Metric", "Origin"]

Origin = Literal["measured", "emulated", "modelled"]


class Metric(Frozen):
    """One figure in base units, with its band and its origin."""

    value: float
    unit: str
    low: float
    high: float
    origin: Origin

    @model_validator(mode="after")
    def _in_band(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"the value {self.value} is outside its band {self.low}…{self.high}")
        return self

    @classmethod
    def exact(cls, value: float, unit: str, origin: Origin = "measured") -> Self:
        """Make a figure that has no spread, such as a file's size."""
        return cls(value=value, unit=unit, low=value, high=value, origin=origin)


class Measurement(Frozen):
    """The figures of one artifact on one device."""

    metrics: dict[str, Metric] = Field(default_factory=dict)
    conditions: dict[str, Any] = Field(default_factory=dict)


_LONGEST_NAME = 255


def _file_name(text: str) -> str:
    if text in ("", ".", "..") or any(letter in text for letter in "/\\\0"):
        raise ValueError(f"must be the name of a file in a folder, not {text!r}")
    if len(text.encode(errors="replace")) > _LONGEST_NAME:
        raise ValueError(f"must have {_LONGEST_NAME} bytes at most, as names of files do")
    return text


FileName = Annotated[str, AfterValidator(_file_name)]
"""Joined to a folder it leads nowhere else, wherever the record that names it came from."""


class Artifact(Frozen):
    """The deployable files and how they were made.

    ``key`` begins the SHA-256 of their contents, one after the other: 16 hexadecimal digits of it.
    """

    key: FileName
    backend: str
    files: tuple[FileName, ...]
    """File names inside the artifact's own folder, the one to load first."""
    size: int
    """Bytes of all files."""
    structure: str = ""
    """A hash of shapes, operators and number formats without the weights' values: artifacts that share it cost the
    same. Empty where the backend can't tell."""
    notes: dict[str, Any] = Field(default_factory=dict)
    """What the backend counted while it made them: quantized nodes, codebooks, opset."""
