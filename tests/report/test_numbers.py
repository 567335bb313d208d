"""Summaries, units and the words for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastqmri.core import DiffusionWeighted, Flag, MultiEchoSpinEcho, Parameter, ParameterMaps
from fastqmri.report.quantities import (
    DisplayUnit,
    acquisition_phrases,
    count,
    display_unit,
    flag_name,
    number,
    percent,
    plain,
    with_error,
)
from fastqmri.report.statistics import WHOLE, Numbers
from report.samples import DIFFUSION, FLIP_ANGLES, sample

T1 = Parameter("T1", "s", (0.0, 10.0), (0.1, 5.0), "longitudinal relaxation time")


def maps_of(values: list[float], flags: list[int]) -> ParameterMaps:
    value = torch.tensor([values])
    return ParameterMaps((T1,), value, 0.1 * value, torch.tensor(flags, dtype=torch.uint8))


def test_only_trusted_voxels_are_summarised():
    maps = maps_of([1.0, 2.0, 3.0, 4.0, 100.0, math.nan], [0, 0, 0, 0, Flag.AT_BOUND, Flag.MASKED])
    summary = Numbers(maps).summaries["T1", WHOLE]
    assert (summary.voxels, summary.trusted) == (5, 4)
    assert (summary.lower_quartile, summary.median, summary.upper_quartile) == (1.75, 2.5, 3.25)
    assert summary.mean_sd == pytest.approx(0.25)
    assert summary.median_cv == pytest.approx(0.1)


def test_regions_split_the_mask():
    maps = maps_of([1.0, 2.0, 3.0, 4.0], [0, 0, 0, Flag.MASKED])
    numbers = Numbers(maps, torch.tensor([0, 4, 7, 7]), {4: "white matter"})
    assert [region.name for region in numbers.regions] == [WHOLE, "white matter", "region 7"]
    assert numbers.summaries["T1", "white matter"].median == 2.0
    assert numbers.summaries["T1", "region 7"].voxels == 1


def test_nothing_trusted_gives_no_numbers():
    summary = Numbers(maps_of([1.0], [Flag.LOW_SNR])).summaries["T1", WHOLE]
    assert summary.trusted == 0
    assert math.isnan(summary.median)


def test_flag_counts_leave_out_what_is_masked():
    both = int(Flag.AT_BOUND | Flag.LOW_SNR)
    numbers = Numbers(maps_of([1.0] * 4, [0, both, int(Flag.LOW_SNR), int(Flag.MASKED)]))
    counts = numbers.flag_counts(numbers.whole)
    assert (counts[Flag.OK], counts[Flag.AT_BOUND], counts[Flag.LOW_SNR]) == (1, 1, 2)
    assert Flag.MASKED not in counts


def test_summaries_agree_with_the_truth():
    content = sample(shape=(20, 20))
    summary = Numbers(content.maps).summaries["T1", WHOLE]
    assert summary.median == pytest.approx(float(np.median(content.maps["T1"].value)), rel=1e-6)
    assert 1.04 < summary.lower_quartile < summary.median < summary.upper_quartile < 2.53


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.2345, "1.23"),
        (123.45, "123"),
        (0.00123, "0.00123"),
        (1e7, "1.00e+07"),
        (-0.5, "−0.500"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_unknown_is_a_dash():
    assert number(math.nan) == number(math.inf) == "–"
    assert DisplayUnit(1.0, "s").show(math.nan) == "–"


def test_values_match_the_precision_of_their_error():
    seconds, milliseconds = DisplayUnit(1.0, "s"), DisplayUnit(1e3, "ms")
    assert with_error(1.23456, 0.0421, seconds) == "1.235 ± 0.042 s"
    assert with_error(0.08, 0.0123, milliseconds) == "80 ± 12 ms"
    assert with_error(0.08, math.nan, milliseconds) == "80.0 ms"
    assert with_error(0.5, 0.02, DisplayUnit(1.0, "")) == "0.500 ± 0.020"


def test_shares_are_not_rounded_away():
    assert [percent(*pair) for pair in ((1, 10_000), (9_999, 10_000), (1, 1), (0, 5), (1, 0))] == [
        "< 0.1 %",
        "> 99.9 %",
        "100 %",
        "0 %",
        "–",
    ]


def test_words():
    assert count(1) == "1 voxel"
    assert count(1234567) == "1\u202f234\u202f567 voxels"
    assert flag_name(Flag.LOW_SNR) == "low SNR"
    assert flag_name(Flag.OK) == "trusted"
    assert plain(-2.50) == "−2.5"


@pytest.mark.parametrize(
    ("name", "unit", "shown"),
    [
        ("T1", "s", "s"),
        ("T2star", "s", "ms"),
        ("ADC", "mm2/s", "10⁻³ mm²/s"),
        ("FA", "1", ""),
        ("R1", "1/s", "1/s"),
    ],
)
def test_units_are_those_of_the_field(name, unit, shown):
    assert display_unit(Parameter(name, unit, (0, 1), (0, 1), "")).text == shown


def test_acquisitions_in_words():
    assert acquisition_phrases(FLIP_ANGLES) == ["flip angle 2, 5, 12, 20 deg", "repetition time 15 ms"]
    assert acquisition_phrases(DIFFUSION) == [
        "b-value 0 (2 times), 1000 (12 times) s/mm2",
        "12 gradient directions",
    ]
    train = MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 33)))
    assert acquisition_phrases(train) == ["echo time 10 to 320 ms (32 values)"]
    assert acquisition_phrases(DiffusionWeighted(b_value=(0, 800))) == ["b-value 0, 800 s/mm2"]
