"""Colours against the recommendation's recipe, written out entry by entry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastqmri.core import DataError, UnknownNameError
from fastqmri.report.colours import (
    crameri,
    image_scale,
    prepare,
    relaxometry_table,
    scale_of,
    uncertainty_scale,
    window,
)

WINDOWS = [(0.0, 3.0), (0.0, 0.12), (0.5, 2.0), (0.7, 2.0), (1.9, 2.0), (0.0, 5000.0)]


def recipe(table: np.ndarray, low: float, high: float) -> np.ndarray:
    """The published algorithm with its one-based indices, one entry at a time."""
    entries = len(table)
    knee = high / math.e
    start = max(knee, low)
    share = 1 / entries + (knee - low) / (2 * knee - low) if knee >= low else 1 / entries
    share += 1e-7
    bent = np.zeros_like(table)
    bent[0] = table[0]
    for g in range(2, entries + 1):
        x = low + g * (high - low) / entries
        if x > start:
            part = (math.log(start) - math.log(x)) / (math.log(start) - math.log(high))
            f = entries * (part * (1 - share) + share)
        elif low < knee and x > low:
            f = entries * ((x - low) / (knee - low) * (share - 1 / entries)) + 1
        else:
            f = 1.0
        bent[g - 1] = table[min(entries, 1 + math.floor(f)) - 1]
    return bent


def lightness(table: np.ndarray) -> np.ndarray:
    """CIE L* of red, green, blue in 0 to 1."""
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


@pytest.mark.parametrize("limits", WINDOWS)
@pytest.mark.parametrize(
    ("quantity", "table", "reverse"),
    [("T1", "lipari", False), ("R1", "lipari", True), ("T2star", "navia", False), ("R1rho", "navia", True)],
)
def test_table_follows_the_recipe(quantity, table, reverse, limits):
    original = crameri(table)[::-1].copy() if reverse else crameri(table).copy()
    original[0] = 0
    np.testing.assert_array_equal(relaxometry_table(quantity, *limits), recipe(original, *limits))


@pytest.mark.parametrize("limits", WINDOWS)
@pytest.mark.parametrize("quantity", ["T1", "R1", "T2", "R2star"])
def test_only_invalid_is_black(quantity, limits):
    table = relaxometry_table(quantity, *limits)
    assert not table[0].any()
    assert table[1:].any(axis=1).all()


@pytest.mark.parametrize(("quantity", "sign"), [("T1", 1), ("T2", 1), ("R1", -1), ("R2", -1)])
@pytest.mark.parametrize("limits", WINDOWS)
def test_lightness_rises_with_times_and_falls_with_rates(quantity, sign, limits):
    steps = np.diff(lightness(relaxometry_table(quantity, *limits)[1:])) * sign
    assert steps.min() > -0.3  # Crameri's tables are smooth to a fraction of a lightness step
    assert steps.sum() > 60


@pytest.mark.parametrize(("quantity", "sign"), [("T1", 1), ("T2", 1), ("R1", -1), ("R2", -1)])
def test_order_survives_deuteranopia(quantity, sign):
    # Viénot, Brettel and Mollon 1999, on linear red, green, blue.
    deuteranope = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    table = relaxometry_table(quantity, 0.0, 3.0)[1:]
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    luminance = np.clip(linear @ deuteranope.T, 0, 1) @ [0.2126, 0.7152, 0.0722]
    steps = np.diff(np.cbrt(luminance)) * sign
    assert steps.min() > -0.005
    assert steps.sum() > 0.5


@pytest.mark.parametrize("limits", [(0.0, 3.0), (0.5, 2.0)])
def test_image_is_prepared_as_published(limits):
    low, high = limits
    step = (high - low) / 256
    values = np.array([np.nan, -1.0, 0.0, 0.5 * step, low + 0.5 * step, low + 1.2 * step, high, 2 * high])
    literal = []
    for value in values:
        if not value >= step:
            literal.append(low - step)
        elif value < low + step:
            literal.append(low + 1.5 * step)
        else:
            literal.append(value)
    np.testing.assert_allclose(prepare(values, low, high), literal)


def test_low_but_valid_is_not_shown_as_invalid():
    scale = scale_of("T1", np.linspace(0.5, 2.0, 100))
    step = scale.high / 256
    assert scale.indices(np.array([np.nan, 0.0, -2.0])).tolist() == [0, 0, 0]
    assert scale.indices(np.array([1.0001 * step, 1e-9 + step, scale.high, 99.0])).tolist() == [
        1,
        1,
        255,
        255,
    ]


def test_other_scales_keep_black_for_nan():
    for name in ("FA", "M0", "ADC", "B1", "B0", "phase", "f"):
        scale = scale_of(name, np.array([0.1, 0.5, 0.9]))
        assert scale.indices(np.array([np.nan, np.inf])).tolist() == [0, 0]
        assert scale.indices(np.array([scale.low, scale.low - 1])).tolist() == [1, 1]
        assert not scale.table[0].any()
        assert scale.table[1:].any(axis=1).all()


def test_centres_of_diverging_maps():
    scale = scale_of("B1", np.linspace(0.8, 1.1, 50))
    assert scale.low + scale.high == pytest.approx(2.0)
    assert scale.indices(np.array([1.0])) in (127, 128)
    low, high = window("B0", np.linspace(-30.0, 80.0, 50))
    assert low == -high
    assert window("Dxy", np.linspace(-1e-4, 1e-4, 50))[0] < 0


def test_windows_read_well():
    rng = np.random.default_rng(3)
    assert window("T1", rng.uniform(0.5, 2.9, 5000)) == (0.0, 3.0)
    assert window("FA", np.array([0.2])) == (0.0, 1.0)
    assert window("T2", np.array([np.nan])) == (0.0, 1.0)
    assert window("M0", np.zeros(4)) == (0.0, 1.0)
    assert window("MD", np.full(3, 7e-4)) == (0.0, pytest.approx(8e-4))
    assert uncertainty_scale(np.full(3, np.nan)).high == 1.0


def test_window_ignores_outliers():
    values = np.full(1000, 1.1)
    values[:20] = 1e6
    assert window("T1", values) == (0.0, 1.2)


def test_images_run_from_black_to_white():
    scale = image_scale(0.0, 10.0)
    assert scale.table[scale.indices(np.array([0.0, 10.0]))].ravel() == pytest.approx(
        [0] * 3 + [1] * 3, abs=0.01
    )


def test_refusals():
    with pytest.raises(UnknownNameError, match="FA"):
        relaxometry_table("FA", 0, 1)
    for limits in ((1.0, 1.0), (2.0, 1.0), (-2.0, -1.0)):
        with pytest.raises(DataError, match="window"):
            relaxometry_table("T1", *limits)
