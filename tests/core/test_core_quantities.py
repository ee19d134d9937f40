import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from autoshrink.core.quantities import Bytes, Fraction, Seconds, parse_quantity, show_quantity, write_quantity

UNITS = ("s", "B", "J", "W", "1", "J/cycle")
positive = st.floats(min_value=1e-200, max_value=1e200, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("8 ms", "s", 0.008),
        ("8ms", "s", 0.008),
        ("  8   us ", "s", 8e-06),
        ("8 µs", "s", 8e-06),
        ("1.5e3 ns", "s", 1.5e-06),
        (".5 s", "s", 0.5),
        ("2 min", "s", 120.0),
        ("6h", "s", 21600.0),
        ("1 d", "s", 86400.0),
        ("64 KiB", "B", 65536.0),
        ("64 kB", "B", 64000.0),
        ("64 KB", "B", 64000.0),
        ("2 MiB", "B", 2097152.0),
        ("1 B", "B", 1.0),
        ("0.4 mJ", "J", 0.0004),
        ("1 Wh", "J", 3600.0),
        ("6 W", "W", 6.0),
        ("15 %", "1", 0.15),
        ("0.37 nJ", "J/cycle", 0.37e-9),
    ],
)
def test_a_quantity_is_read_exactly(text, unit, value):
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    ("given", "unit", "says"),
    [
        (8, "s", ["8 is not a time", "'8 ms'", "ms, us"]),
        (8.5, "B", ["8.5 is not a size", "'64 KiB'"]),
        (None, "s", ["nothing is not a time", "'8 ms'"]),
        (True, "s", ["true is not a time"]),
        (["8 ms"], "s", ["a list is not a time"]),
        ("8", "s", ["'8' has no unit", "'8 ms'", "units: s, ms"]),
        ("8 parsec", "s", ["unknown unit 'parsec' for a time", "units: s, ms"]),
        ("8 MS", "s", ["unknown unit 'MS'"]),
        ("8 ms", "B", ["unknown unit 'ms' for a size", "KiB"]),
        ("64 kB", "s", ["unknown unit 'kB' for a time"]),
        ("1,5 ms", "s", ["unknown unit ',5 ms'"]),
        ("fast", "s", ["'fast' is not a time", "'8 ms'"]),
        ("", "s", ["'' is not a time"]),
        ("-3 ms", "s", ["more than zero"]),
        ("0 ms", "s", ["more than zero"]),
        ("1e999 s", "s", ["finite"]),
        ("1e308 d", "s", ["finite"]),
        ("1e999999999999999999999 s", "s", ["finite"]),
        ("1e-999999999999999999999 s", "s", ["more than zero"]),
        ("6 mW", "J", ["unknown unit 'mW' for an energy"]),
    ],
)
def test_a_wrong_quantity_says_what_to_write(given, unit, says):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_quantity(given, unit)
    for part in says:
        assert part in str(caught.value)


@given(positive, st.sampled_from(UNITS))
def test_what_is_written_is_read_back_to_the_same_bit(value, unit):
    assert parse_quantity(write_quantity(value, unit), unit) == value


@given(st.integers(1, 10**6), st.sampled_from(["ns", "us", "ms", "s", "min", "h"]))
def test_a_time_with_a_whole_number_is_written_no_longer_than_it_was_read(number, suffix):
    text = f"{number} {suffix}"
    assert len(write_quantity(parse_quantity(text, "s"), "s")) <= len(text)


@given(
    st.one_of(st.text(max_size=30), st.from_regex(r"[+-]?\d{1,5}\.?\d{0,5}(e[+-]?\d{1,6})? ?\w{0,4}", fullmatch=True))
)
def test_any_text_is_a_positive_number_or_a_value_error(text):
    for unit in UNITS:
        try:
            value = parse_quantity(text, unit)
        except ValueError:
            continue
        assert 0 < value < math.inf


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (8e-06, "s", "8.00 µs"),
        (0.000123456, "s", "123 µs"),
        (9.999e-06, "s", "10.0 µs"),
        (0.9996e-3, "s", "1.00 ms"),
        (0.25, "s", "250 ms"),
        (1e-06, "s", "1.00 µs"),
        (1e-09, "J", "1.00 nJ"),
        (61.2, "s", "61.2 s"),
        (150, "s", "2 min"),
        (8000, "s", "2.2 h"),
        (3e-10, "s", "0.300 ns"),
        (0, "s", "0 s"),
        (512, "B", "512 B"),
        (1306000, "B", "1.31 MB"),
        (999_999, "B", "1.00 MB"),
        (2.5e9, "B", "2.50 GB"),
        (0, "B", "0 B"),
        (5e-06, "J", "5.00 µJ"),
        (6, "W", "6.00 W"),
        (0.123456, "1", "0.123"),
        (12, "MACs", "12.0 MACs"),
    ],
)
def test_a_quantity_is_shown_with_three_digits(value, unit, shown):
    assert show_quantity(value, unit) == shown


@given(positive, st.sampled_from(["s", "B", "J", "W"]))
def test_what_is_shown_is_near_the_value(value, unit):
    value = min(max(value, 1e-9), 1e5)
    if unit == "B":
        value = max(1.0, round(value))  # a byte is not divided
    shown = show_quantity(value, unit)
    assert parse_quantity(shown, unit) == pytest.approx(
        value, rel=0.26 if "min" in shown else 0.06 if "h" in shown else 0.006
    )


def test_fields_serialize_as_quantities_and_describe_themselves():
    class Box(BaseModel):
        time: Seconds
        size: Bytes
        band: Fraction

    box = Box.model_validate({"time": "8 ms", "size": "64 KiB", "band": "15 %"})
    assert box.model_dump() == {"time": "8 ms", "size": "64 KiB", "band": "15 %"}
    schema = Box.model_json_schema()["properties"]
    assert schema["time"]["type"] == "string"
    assert "ms" in schema["time"]["description"]
    assert schema["size"]["examples"] == ["64 KiB"]
