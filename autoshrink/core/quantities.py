"""Quantities with their unit: parsed into base units (s, B, J, W, fraction) and printed for people."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

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

_SI = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9, "p": 1e-12}
_FACTORS: dict[str, dict[str, float]] = {
    "s": {f"{p}s": _SI[p] for p in ("", "m", "u", "µ", "n")} | {"min": 60.0, "h": 3600.0, "d": 86400.0},
    "B": {f"{p}B": _SI[p] for p in ("", "k", "M", "G")}
    | {"KB": 1e3, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3},
    "J": {f"{p}J": _SI[p] for p in ("", "k", "m", "u", "µ", "n", "p")} | {"Wh": 3600.0},
    "W": {f"{p}W": _SI[p] for p in ("", "k", "m", "u", "µ")},
    "1": {"%": 0.01},
    "J/cycle": {f"{p}J": _SI[p] for p in ("u", "µ", "n", "p")},
}
_NAMES = {"s": "time", "B": "size", "J": "energy", "W": "power", "1": "percentage", "J/cycle": "energy"}
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
        raise ValueError(f"{text!r} is not a {_NAMES[unit]}: {hint}")
    match = _PATTERN.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a {_NAMES[unit]}: {hint}")
    number, suffix = match.groups()
    if suffix is None:
        raise ValueError(f"{text!r} has no unit: {hint}")
    if suffix not in known:
        raise ValueError(f"unknown unit {suffix!r} for a {_NAMES[unit]} in {text!r}: {hint}")
    value = _scaled(float(number), known[suffix])
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{text!r} must be more than zero and finite")
    return value


def show_quantity(value: float, unit: str) -> str:
    """Print a value in base units with three digits and a fitting unit, for people."""
    if unit == "B":
        suffix = next((s for s in ("GB", "MB", "kB") if abs(value) >= _FACTORS["B"][s]), "B")
        scaled = value / _FACTORS["B"][suffix]
        return f"{_three_digits(scaled) if suffix != 'B' else f'{scaled:.0f}'} {suffix}"
    if unit == "s":
        if abs(value) >= 120:
            return f"{value / 60:.0f} min" if abs(value) < 7200 else f"{value / 3600:.1f} h"
        steps = ("s", "ms", "µs", "ns")
    elif unit in ("J", "W"):
        steps = tuple(f"{p}{unit}" for p in ("k", "", "m", "µ", "n", "p") if f"{p}{unit}" in _FACTORS[unit])
    else:
        return f"{_three_digits(value)} {unit}".removesuffix(" 1")
    factors = _FACTORS[unit]
    suffix = next((s for s in steps if abs(value) >= factors[s]), steps[-1] if value else unit)
    return f"{_three_digits(value / factors[suffix])} {suffix}"


def write_quantity(value: float, unit: Unit) -> str:
    """Print a value so that `parse_quantity` reads exactly the same value again."""
    written = []
    for suffix, factor in _FACTORS[unit].items():
        number = f"{value / factor:.12g}"
        if "µ" not in suffix and "e" not in number and _scaled(float(number), factor) == value:
            written.append(f"{number} {suffix}")
    if written:
        return min(written, key=len)
    plain, factor = min(_FACTORS[unit].items(), key=lambda item: abs(item[1] - 1.0))
    exact = (f"{value / factor:.{digits}g}" for digits in (15, 16, 17))
    return f"{next((number for number in exact if _scaled(float(number), factor) == value), repr(value / factor))} {plain}"


def _scaled(number: float, factor: float) -> float:
    # Dividing by 1e6 rounds once, multiplying by 1e-6 twice: "8 us" shall be the float 8e-06.
    return number * factor if factor >= 1 else number / round(1 / factor)


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
        "description": f"a {_NAMES[unit]} with its unit ({', '.join(_FACTORS[unit])})",
        "examples": [_EXAMPLES[unit]],
    }
    return validate, PlainSerializer(lambda value: write_quantity(value, unit)), WithJsonSchema(schema)


_second, _byte, _joule, _watt, _fraction, _cycle = map(_annotation, ("s", "B", "J", "W", "1", "J/cycle"))
Seconds = Annotated[float, BeforeValidator(_second[0]), *_second[1:]]
Bytes = Annotated[float, BeforeValidator(_byte[0]), *_byte[1:]]
Joules = Annotated[float, BeforeValidator(_joule[0]), *_joule[1:]]
Watts = Annotated[float, BeforeValidator(_watt[0]), *_watt[1:]]
Fraction = Annotated[float, BeforeValidator(_fraction[0]), *_fraction[1:]]
JoulesPerCycle = Annotated[float, BeforeValidator(_cycle[0]), *_cycle[1:]]
