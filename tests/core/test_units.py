"""Quantities: every dimension and spelling, bare numbers refused, lists and ranges, round trips."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastqmri.core import UnitError
from fastqmri.core.units import (
    ANGLE,
    B_VALUE,
    DIFFUSIVITY,
    DIMENSIONS,
    FIELD,
    FRACTION,
    FREQUENCY,
    GRADIENT,
    LENGTH,
    OFFSET,
    RATE,
    SATURATION_B1,
    TIME,
    Dimension,
    format_quantity,
    parse_quantities,
    parse_quantity,
)

KNOWN = [
    ("15ms", TIME, 0.015),
    ("0.015 s", TIME, 0.015),
    ("120us", TIME, 120e-6),
    ("120 µs", TIME, 120e-6),
    ("180deg", ANGLE, math.pi),
    ("90°", ANGLE, math.pi / 2),
    ("1.5rad", ANGLE, 1.5),
    ("-2.5kHz", FREQUENCY, -2500.0),
    ("6.283185307179586rad/s", FREQUENCY, 1.0),
    ("3T", FIELD, 3.0),
    ("64mT", FIELD, 0.064),
    ("1000s/mm2", B_VALUE, 1000.0),
    ("1ms/um2", B_VALUE, 1000.0),
    ("1e9 s/m2", B_VALUE, 1000.0),
    ("0.7e-3mm2/s", DIFFUSIVITY, 0.7e-3),
    ("0.7um2/ms", DIFFUSIVITY, 0.7e-3),
    ("700um2/s", DIFFUSIVITY, 0.7e-3),
    ("0.7e-9m2/s", DIFFUSIVITY, 0.7e-3),
    ("1.1 1/s", RATE, 1.1),
    ("0.0011 1/ms", RATE, 1.1),
    ("1.5uT", SATURATION_B1, 1.5),
    ("2e-6T", SATURATION_B1, 2.0),
    ("-3.5ppm", OFFSET, -3.5),
    ("95%", FRACTION, 0.95),
    ("0.95fraction", FRACTION, 0.95),
    ("80mT/m", GRADIENT, 0.08),
    ("4 G/cm", GRADIENT, 0.04),
    ("0.003mm", LENGTH, 3.0),
]
each_dimension = pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda d: d.name)


@pytest.mark.parametrize(("text", "dimension", "value"), KNOWN, ids=[text for text, _, _ in KNOWN])
def test_known_quantities(text: str, dimension: Dimension, value: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


def test_every_dimension_is_among_them() -> None:
    assert {dimension.name for _, dimension, _ in KNOWN} == {dimension.name for dimension in DIMENSIONS}


@each_dimension
def test_inside_unit_needs_no_factor(dimension: Dimension) -> None:
    inside = dimension.factors.get(dimension.unit, dimension.factors.get("fraction"))
    assert inside == 1.0
    assert set(dimension.readings) <= set(dimension.factors)


@each_dimension
@pytest.mark.parametrize("text", ["3", "3.5 ", " -2e-3", ".5"])
def test_bare_numbers_are_refused_with_both_readings(dimension: Dimension, text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_quantity(text, dimension, name="--thing")
    message = str(caught.value)
    assert "--thing" in message
    first, second = dimension.readings
    assert f"{text.strip()} {first} or {text.strip()} {second}" in message
    for unit in (first, second):
        advised = f"{text.strip()} {unit}" if unit.startswith("1") else f"{text.strip()}{unit}"
        assert advised in caught.value.remedy
        assert parse_quantity(advised, dimension) == pytest.approx(float(text) * dimension.factors[unit])


def test_the_two_readings_differ_by_the_factor_named() -> None:
    with pytest.raises(UnitError, match="factor of 1000"):
        parse_quantity("15", TIME)
    with pytest.raises(UnitError, match=r"factor of 57\.3"):
        parse_quantity("15", ANGLE)


@pytest.mark.parametrize("text", ["15deg", "15 MS", "15m s", "15 sec", "15s2", "15,2ms", "15..2ms", "1e5e5s"])
def test_unknown_units_are_refused(text: str) -> None:
    with pytest.raises(UnitError, match="is not a unit of time"):
        parse_quantity(text, TIME)


@pytest.mark.parametrize("text", ["", " ", "ms", "nan", "inf s", "fifteen ms", "--3ms", "e3s", "$(date)"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="does not start with a number"):
        parse_quantity(text, TIME)


@pytest.mark.parametrize(
    ("text", "dimension"), [("1e999s", TIME), ("1e306kHz", FREQUENCY), ("-1e999 s", TIME)]
)
def test_numbers_beyond_floats_are_refused(text: str, dimension: Dimension) -> None:
    with pytest.raises(UnitError, match="beyond"):
        parse_quantity(text, dimension)


@pytest.mark.parametrize(
    ("text", "dimension", "values"),
    [
        ("3,20deg", ANGLE, (math.radians(3), math.radians(20))),
        ("3 , 20 deg ,", ANGLE, (math.radians(3), math.radians(20))),
        ("3deg,0.2rad", ANGLE, (math.radians(3), 0.2)),
        ("500us,1,2ms", TIME, (0.0005, 0.001, 0.002)),
        ("10:10:40ms", TIME, (0.01, 0.02, 0.03, 0.04)),
        ("0.01:0.01:0.04s", TIME, (0.01, 0.02, 0.03, 0.04)),
        ("5,10:10:30,100ms", TIME, (0.005, 0.01, 0.02, 0.03, 0.1)),
        ("30:-10:10ms", TIME, (0.03, 0.02, 0.01)),
        ("7:1:7ms", TIME, (0.007,)),
        ("8.3:8.3:24.9ms", TIME, (0.0083, 0.0166, 0.0249)),
        ("10ms:10:40ms", TIME, (0.01, 0.02, 0.03, 0.04)),
        ("0,1000s/mm2", B_VALUE, (0.0, 1000.0)),
    ],
)
def test_lists_and_ranges(text: str, dimension: Dimension, values: tuple[float, ...]) -> None:
    assert parse_quantities(text, dimension) == pytest.approx(values, rel=1e-12)


def test_long_ranges_reach_their_stop() -> None:
    assert len(parse_quantities("10:10:320ms", TIME)) == 32
    values = parse_quantities("0.1:0.1:1000ms", TIME)
    assert len(values) == 10_000
    assert values[-1] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["10:20:35ms", "10:-10:30ms", "10:0:30ms", "10:30ms", "10:10:10:40ms", "1e-9:1e-9:1s", "1:2:2.5s"],
)
def test_ranges_that_lead_nowhere_are_refused(text: str) -> None:
    with pytest.raises(UnitError, match="range"):
        parse_quantities(text, TIME, name="--te")


@pytest.mark.parametrize("text", ["", " , ,", "3deg,20", "3,20", "3,,x", "1:2:ms", "::ms"])
def test_lists_without_sense_are_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_quantities(text, ANGLE)


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (0.015, TIME, "15 ms"),
        (2.5, TIME, "2500 ms"),
        (30.0, TIME, "30 s"),
        (math.radians(3), ANGLE, "3 deg"),
        (1000.0, B_VALUE, "1000 s/mm2"),
        (2 / 3, FIELD, "0.666667 T"),
    ],
)
def test_numbers_for_people(value: float, dimension: Dimension, text: str) -> None:
    assert format_quantity(value, dimension) == text


@given(
    value=st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-9), which=st.sampled_from(DIMENSIONS)
)
def test_what_is_written_for_people_can_be_read_back(value: float, which: Dimension) -> None:
    text = format_quantity(value, which)
    if which is FRACTION:
        text = text.removesuffix("1") + "fraction"
    assert parse_quantity(text, which) == pytest.approx(value, rel=1e-5, abs=1e-300)


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9),
    choice=st.sampled_from([(d, u) for d in DIMENSIONS for u in d.factors]),
)
def test_lists_survive_every_unit(values: list[float], choice: tuple[Dimension, str]) -> None:
    dimension, unit = choice
    text = ",".join(repr(v) for v in values) + (f" {unit}" if unit.startswith("1") else unit)
    wanted = [v * dimension.factors[unit] for v in values]
    assert parse_quantities(text, dimension) == pytest.approx(wanted, rel=1e-12, abs=0)


@given(st.text(max_size=20))
def test_anything_else_raises_a_unit_error(text: str) -> None:
    for parse in (parse_quantity, parse_quantities):
        with contextlib.suppress(UnitError):
            parse(text, TIME)
