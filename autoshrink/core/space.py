"""A search space: which techniques may be used, and in what ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, Self

from pydantic import BeforeValidator, ConfigDict, ValidationError, field_validator, model_validator

from autoshrink.core.documents import Document, Frozen, Line, Name
from autoshrink.core.problems import KeyProblem, problems, shown
from autoshrink.core.recipe import Scalar, is_scalar

__all__ = ["Chooser", "Range", "Space", "Step", "Values"]

Values = tuple[Scalar, ...]


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_scalar(value):
        raise ValueError(f"must be a number, not {shown(value)}")
    return value


Number = Annotated[int | float, BeforeValidator(_number)]


class Range(Frozen):
    """An interval of numbers, both ends included; whole numbers when both ends are whole."""

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
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

    kind: Name
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

    name: Line = ""
    steps: tuple[Step, ...]

    @field_validator("steps")
    @classmethod
    def _each_kind_once(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        kinds = [step.kind for step in steps]
        if not kinds:
            raise ValueError("is empty: name at least one technique")
        for index, kind in enumerate(kinds):
            if kind in kinds[:index]:
                raise KeyProblem((index, "kind"), f"{kind!r} stands twice: put its ranges into one step")
        return steps

    def kinds(self) -> list[str]:
        """Name the techniques of the space, in their order."""
        return [step.kind for step in self.steps]


def _read_param(name: str, value: object) -> Scalar | Values | Range:
    if isinstance(value, Range) or is_scalar(value):
        return value  # type: ignore[return-value]
    if isinstance(value, Mapping):
        try:
            return Range.model_validate(value)
        except ValidationError as failure:
            path, message = next(problems(Range, failure))
            raise KeyProblem((name, *path), f"{message}; a range is {{low, high[, log, step]}}") from None
    if isinstance(value, list | tuple) and value and all(is_scalar(item) for item in value):
        return tuple(value)
    raise KeyProblem((name,), f"must be a value, a list of values or a range, not {shown(value)}")
