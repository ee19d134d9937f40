"""Quantities with their unit: parsed into base units (s, B, J, W, fraction) and printed for people."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from autoshrink.core.problems import shown

__all__ = [
    "Bytes",
    "Fraction",
    "Joules",
    "JoulesPerCycle",
    "Seconds",
    "Unit",
    "Watts",
    "parse_quantity",
    "show_quantity",
    "write_quantity",
]

Unit = Literal["s", "B", "J", "W", "1", "J/cycle"]

# Exact decimals: "8 us" is the float 8e-06, and what is written is read back to the same bit.
_SI = {
    prefix: Decimal(factor)
    for prefix, factor in (
        ("", "1"), ("k", "1e3"), ("M", "1e6"), ("G", "1e9"), ("m", "1e-3"), ("u", "1e-6"), ("µ", "1e-6"), ("n", "1e-9"),
        ("p", "1e-12"),
    )
}  # fmt: skip
_FACTORS: dict[str, dict[str, Decimal]] = {
    "s": {f"{p}s": _SI[p] for p in ("", "m", "u", "µ", "n")}
    | {"min": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)},
    "B": {f"{p}B": _SI[p] for p in ("", "k", "M", "G")}
    | {"KB": _SI["k"], "KiB": Decimal(1024), "MiB": Decimal(1024**2), "GiB": Decimal(1024**3)},
    "J": {f"{p}J": _SI[p] for p in ("", "k", "m", "u", "µ", "n", "p")} | {"Wh": Decimal(3600)},
    "W": {f"{p}W": _SI[p] for p in ("", "k", "m", "u", "µ")},
    "1": {"%": Decimal("0.01")},
    "J/cycle": {f"{p}J": _SI[p] for p in ("u", "µ", "n", "p")},
}
_NAMES = {
    "s": "a time",
    "B": "a size",
    "J": "an energy",
    "W": "a power",
    "1": "a percentage",
    "J/cycle": "an energy per cycle",
}
_EXAMPLES = {"s": "8 ms", "B": "64 KiB", "J": "0.4 mJ", "W": "6 W", "1": "15 %", "J/cycle": "0.37 nJ"}
_PATTERN = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*$")


def parse_quantity(text: object, unit: Unit) -> float:
    """Read a positive quantity such as ``"8 ms"``.

    Args:
        text: a number followed by its unit.
        unit: the base unit that the result is in.

    Returns:
        The value in the base unit.

    Raises:
        ValueError: no unit, an unknown one, or a value that is not positive and finite.
    """
    known = _FACTORS[unit]
    hint = f"write it with its unit, such as {_EXAMPLES[unit]!r} (units: {', '.join(known)})"
    if not isinstance(text, str):
        raise ValueError(f"{shown(text)} is not {_NAMES[unit]}: {hint}")
    match = _PATTERN.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not {_NAMES[unit]}: {hint}")
    number, suffix = match.groups()
    if suffix is None:
        raise ValueError(f"{text!r} has no unit: {hint}")
    if suffix not in known:
        raise ValueError(f"unknown unit {suffix!r} for {_NAMES[unit]} in {text!r}: {hint}")
    plain = float(number)
    value = float(Decimal(number) * known[suffix]) if math.isfinite(plain) and plain > 0 else plain
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{text!r} must be more than zero and finite")
    return value


def show_quantity(value: float, unit: str) -> str:
    """Print a value in base units with three digits and a fitting unit, for people."""
    value = float(f"{value:.3g}") if unit in _FACTORS and math.isfinite(value) else value
    if unit == "B":
        suffix = next((s for s in ("GB", "MB", "kB") if abs(value) >= _FACTORS["B"][s]), "B")
        scaled = value / float(_FACTORS["B"][suffix])
        return f"{_three_digits(scaled) if suffix != 'B' else f'{scaled:.0f}'} {suffix}"
    steps: tuple[str, ...] = ("s", "ms", "µs", "ns")
    if unit == "s" and abs(value) >= 120:
        return f"{value / 60:.0f} min" if abs(value) < 7200 else f"{value / 3600:.1f} h"
    if unit in ("J", "W"):
        steps = tuple(f"{p}{unit}" for p in ("k", "", "m", "µ", "n", "p") if f"{p}{unit}" in _FACTORS[unit])
    elif unit != "s":
        return f"{_three_digits(value)} {unit}".removesuffix(" 1")
    factors = _FACTORS[unit]
    suffix = next((s for s in steps if abs(value) >= float(factors[s])), steps[-1] if value else unit)
    return f"{_three_digits(value / float(factors[suffix]))} {suffix}"


def write_quantity(value: float, unit: Unit) -> str:
    """Print a value so that `parse_quantity` reads exactly the same value again."""
    exact = Decimal(repr(float(value)))
    written = []
    for suffix, factor in _FACTORS[unit].items():
        number = exact / factor
        if "µ" not in suffix and number * factor == exact:
            written.append(f"{number.normalize():f} {suffix}")
    return min(written, key=len)


def _three_digits(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 6)}f}"


def _annotation(unit: Unit) -> tuple[Callable[[Any], float], PlainSerializer, WithJsonSchema]:
    def validate(value: object) -> float:
        return parse_quantity(value, unit)

    schema = {
        "type": "string",
        "description": f"{_NAMES[unit]} with its unit ({', '.join(_FACTORS[unit])})",
        "examples": [_EXAMPLES[unit]],
    }
    return validate, PlainSerializer(lambda value: write_quantity(value, unit)), WithJsonSchema(schema)


_second, _byte, _joule = _annotation("s"), _annotation("B"), _annotation("J")
_watt, _fraction, _cycle = _annotation("W"), _annotation("1"), _annotation("J/cycle")
Seconds = Annotated[float, BeforeValidator(_second[0]), *_second[1:]]
Bytes = Annotated[float, BeforeValidator(_byte[0]), *_byte[1:]]
Joules = Annotated[float, BeforeValidator(_joule[0]), *_joule[1:]]
Watts = Annotated[float, BeforeValidator(_watt[0]), *_watt[1:]]
Fraction = Annotated[float, BeforeValidator(_fraction[0]), *_fraction[1:]]
JoulesPerCycle = Annotated[float, BeforeValidator(_cycle[0]), *_cycle[1:]]
