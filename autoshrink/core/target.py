"""What the user declares: model, data, accuracy floor, budget, hardware and search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from autoshrink.core.catalog import find_document
from autoshrink.core.documents import Document, Frozen, Name, Source
from autoshrink.core.hardware import Hardware
from autoshrink.core.problems import KeyPath, KeyProblem, shown
from autoshrink.core.quantities import Bytes, Joules, Seconds, show_quantity
from autoshrink.core.space import Space

__all__ = ["COSTS", "AccuracyGoal", "Budget", "Objective", "SearchSettings", "Target"]

Objective = Literal["accuracy", "latency", "memory", "size", "energy"]
COSTS: dict[str, str] = {"latency": "s", "memory": "B", "size": "B", "energy": "J"}
"""The metrics that a budget can limit, lower is better, with their base unit."""


class AccuracyGoal(Frozen):
    """The lowest accuracy that the user accepts: absolute, or as a drop from the original model's."""

    floor: float | None = None
    max_drop: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if (self.floor is None) == (self.max_drop is None):
            raise ValueError("give either 'floor' (such as 0.97) or 'max_drop' (such as 0.01)")
        return self

    def floor_for(self, baseline: float) -> float:
        """Give the floor, knowing the original model's accuracy."""
        return self.floor if self.floor is not None else baseline - (self.max_drop or 0.0)


class Budget(Frozen):
    """Hard limits in base units; each is tested against the pessimistic end of a measurement's band."""

    latency: Seconds | None = None
    memory: Bytes | None = None
    size: Bytes | None = None
    energy: Joules | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that were given, by metric."""
        return {name: value for name in COSTS if (value := getattr(self, name)) is not None}

    def to_words(self) -> list[str]:
        """Print each limit for people: ``latency ≤ 40.0 µs``."""
        return [f"{name} ≤ {show_quantity(value, COSTS[name])}" for name, value in self.limits.items()]


class SearchSettings(Frozen):
    """How long and how widely to search; ``candidates`` and ``time`` both bound it."""

    space: Annotated[
        Space,
        BeforeValidator(lambda value, info: _load(Space, value, info, "search_spaces", ("search", "space"))),
        WithJsonSchema({"type": ["string", "object"], "description": "a name in search_spaces/, a path, or inline"}),
    ]
    candidates: Annotated[int, Field(ge=1, le=1_000_000)] = 40
    time: Seconds | None = None
    candidate_timeout: Seconds | None = None
    """How long each piece of a candidate's work may take: to build or train and export it, or to measure it."""
    workers: Annotated[int, Field(ge=1, le=4096)] = 2
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    sampler: Literal["tpe", "nsga2", "gp", "random"] = "tpe"


class Target(Document):
    """One job, as the user wrote it; names of profile and space are resolved when it is read."""

    model: Annotated[Name, Field(description="FILE.py:FUNCTION that returns a torch module, or an .onnx file")]
    weights: Annotated[Name, Field(description="a safetensors or weights-only .pt file")] | None = None
    data: Annotated[Name, Field(description="FILE.py:FUNCTION that returns the splits, or an .npz file")]
    metric: Name = "accuracy"
    accuracy: AccuracyGoal
    hardware: Annotated[
        Hardware,
        BeforeValidator(lambda value, info: _load(Hardware, value, info, "targets", ("hardware",))),
        WithJsonSchema({"type": ["string", "object"], "description": "a name in targets/, a path, or inline"}),
    ]
    budget: Budget = Budget()
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)] | None = None
    search: SearchSettings

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.objectives is not None and len(set(self.objectives)) < len(self.objectives):
            raise KeyProblem(("objectives",), "names a metric twice")
        for name, limit in self.budget.limits.items():
            physical = getattr(self.hardware.limits, name, None)
            if physical is not None and limit > physical:
                raise KeyProblem(
                    ("budget", name),
                    f"{show_quantity(limit, 'B')} is above the {show_quantity(physical, 'B')} that "
                    f"{self.hardware.name!r} has",
                )
        if "energy" in self.metrics and self.hardware.energy is None:
            wanted: KeyPath = ("budget", "energy") if self.budget.energy is not None else ("objectives",)
            raise KeyProblem(
                wanted,
                f"the hardware {self.hardware.name!r} has no energy constants: drop 'energy' here, or give its profile "
                "'energy: {power: 6 W, band: 50 %, source: …}'",
            )
        return self

    @property
    def name(self) -> str:
        """The file's name without its ending, or the folder's when the file is called ``target.yaml``."""
        stem = Path(self.source.name).stem
        name = self.source.folder.name if stem == "target" else stem
        return "".join(letter if letter.isprintable() else "-" for letter in name)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives: those declared, else accuracy and every budgeted metric."""
        return self.objectives or ("accuracy", *(self.budget.limits or ("latency", "size")))

    @property
    def costs(self) -> tuple[str, ...]:
        """Every cost that an objective or a limit names."""
        return tuple(name for name in COSTS if name in self.metrics or name in self.budget.limits)

    def path(self, name: str) -> Path:
        """Resolve a path in the target against the target's folder."""
        return (self.source.folder / name).resolve()


def _load(
    kind: type[Document], value: object, info: ValidationInfo, folder: str, key: tuple[str, ...]
) -> Document | object:
    if isinstance(value, kind):
        return value
    source: Source = (info.context or {}).get("source") or Source("<python>")
    if isinstance(value, str):
        return kind.read(find_document(value, folder, source, key))
    if isinstance(value, Mapping):
        return kind.parse(value, source.under(key))
    raise source.error(key, f"write a name, a path or an inline document, not {shown(value)}")
