"""The verdict says what is wrong with which share, and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastqmri.core import Flag
from fastqmri.report import Verdict, judge
from fastqmri.report.statistics import Numbers
from report.samples import flagged, sample


@pytest.fixture(scope="module")
def good():
    return sample()


def verdict_of(content, **extra) -> Verdict:
    return judge(Numbers(content.maps), **extra)


def test_good_maps_are_ok(good):
    verdict = verdict_of(good)
    assert verdict.level == "ok"
    assert "360 voxels" in verdict.reasons[0]


@pytest.mark.parametrize("flag", [f for f in Flag if f not in (Flag.OK, Flag.MASKED)])
def test_each_flag_is_named_with_its_share(good, flag):
    verdict = verdict_of(flagged(good, int(flag), 0.25))
    assert verdict.level == "check"
    (reason,) = verdict.reasons
    assert reason.lower().startswith(flag.name.replace("_", " ").lower())
    assert "25 %" in reason
    assert "90 voxels" in reason
    assert verdict_of(flagged(good, int(flag), 0.01)).level == "ok"


@pytest.mark.parametrize("flag", [f for f in Flag if f not in (Flag.OK, Flag.MASKED)])
def test_everything_flagged_fails(good, flag):
    verdict = verdict_of(flagged(good, int(flag)))
    assert verdict.level == "fail"
    assert verdict.reasons[0].startswith("None of 360 voxels")


def test_masked_voxels_do_not_count(good):
    verdict = verdict_of(flagged(good, int(Flag.MASKED), 0.9))
    assert verdict.level == "ok"
    assert "36 voxels" in verdict.reasons[0]


def test_empty_mask_fails(good):
    assert verdict_of(flagged(good, int(Flag.MASKED))).level == "fail"


def test_implausible_median_gives_its_value_and_range(good):
    value = good.maps.value.clone()
    value[good.maps.names.index("T1")] *= 1000
    verdict = judge(Numbers(replace(good.maps, value=value)))
    assert verdict.level == "check"
    assert "Median T1" in verdict.reasons[0]
    assert "0.100 s and 6.00 s" in verdict.reasons[0]


@pytest.mark.parametrize("noise", [None, torch.full((12, 10, 3), torch.nan)])
def test_unknown_noise_is_said(good, noise):
    verdict = judge(Numbers(replace(good.maps, noise=noise)))
    assert verdict.level == "check"
    assert "noise" in verdict.reasons[0]


def test_missing_standard_deviations_are_said(good):
    deviation = torch.full_like(good.maps.standard_deviation, torch.nan)
    verdict = judge(Numbers(replace(good.maps, standard_deviation=deviation)))
    assert any("no standard deviations" in reason for reason in verdict.reasons)


def test_guesses_and_warnings_ask_for_a_look(good):
    verdict = verdict_of(good, guessed=("echo time", "flip angle"), warnings=("The mask was made.",))
    assert verdict.level == "check"
    assert verdict.reasons[0].startswith("2 inputs were guessed (echo time, flip angle)")
    assert verdict.reasons[1] == "The mask was made."


def test_failures_come_first(good):
    verdict = judge(Numbers(flagged(good, int(Flag.AT_BOUND)).maps), guessed=("echo time",))
    assert verdict.level == "fail"
    assert "guessed" in verdict.reasons[-1]
