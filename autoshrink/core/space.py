"""A search space: which techniques may be used, and in what ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from autoshrink.core.documents import Document, Frozen
from autoshrink.core.recipe import Scalar

__all__ = ["Chooser", "Range", "Space", "Step", "Values"]

Values = tuple[Scalar, ...]


class Range(Frozen):
    """An interval of numbers, both ends included; whole numbers when both ends are whole."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if isinstance(self.low, bool) or isinstance(self.high, bool) or self.low >= self.high:
            raise ValueError(f"'low' ({self.low}) must be below 'high' ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError("a range with 'log' must start above zero")
        if self.log and self.step is not None:
            raise ValueError("a range has either 'log' or 'step'")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"'step' must be above zero and no more than {self.high - self.low}")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int) and not isinstance(self.step, float)


class Chooser(Protocol):
    """Whatever picks values: the sampler, a corner of the space, a seed."""

    def choice(self, name: str, values: Values) -> Scalar:
        """Pick one of the values."""
        ...

    def range(self, name: str, interval: Range) -> int | float:
        """Pick a number of the interval."""
        ...


class Step(Frozen):
    """One technique of a space; a scalar is fixed, a list is a choice, ``{low, high[, log, step]}`` a range."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, Field(min_length=1)]
    optional: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_params(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {k: v if k in ("kind", "optional") else _read_param(k, v) for k, v in data.items()}

    @property
    def params(self) -> dict[str, Scalar | Values | Range]:
        """The settings: a scalar, a tuple of choices, or a range."""
        return dict(self.model_extra or {})

    def values(self, name: str) -> Values:
        """List what a fixed or chosen setting can be; empty for a range or an absent setting."""
        param = self.params.get(name, ())
        return param if isinstance(param, tuple) else () if isinstance(param, Range) else (param,)


class Space(Document):
    """An ordered tuple of steps."""

    name: str = ""
    steps: tuple[Step, ...]

    @model_validator(mode="after")
    def _each_kind_once(self) -> Self:
        kinds = self.kinds()
        if not kinds:
            raise ValueError("'steps' is empty: name at least one technique")
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"{kind!r} stands twice in 'steps': put its ranges into one step")
        return self

    def kinds(self) -> list[str]:
        """Name the techniques of the space, in their order."""
        return [step.kind for step in self.steps]


def _read_param(name: str, value: object) -> Scalar | Values | Range:
    if isinstance(value, Range | Scalar):
        return value
    if isinstance(value, Mapping):
        try:
            return Range.model_validate(value)
        except ValidationError as failure:
            first = failure.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            where = "".join(f" {part!r}" for part in first["loc"])
            raise ValueError(f"{name!r} is not a range {{low, high[, log, step]}}:{where} {message}") from None
    if isinstance(value, list | tuple):
        if not value or not all(isinstance(item, Scalar) for item in value):
            raise ValueError(f"{name!r} must be a list of one or more plain values, not {value!r}")
        return tuple(value)
    raise ValueError(f"{name!r} must be a value, a list of values or a range, not {value!r}")


