"""From complex echoes to susceptibility: spheres in a head beside air, wraps, a coil's phase and noise."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from estimators.susceptibility.spheres import affine_of, correlation, echoes, error, head
from fastqmri.core import (
    DataError,
    Flag,
    Measurement,
    MultiEchoGradientEcho,
    PlausibilityError,
    ShapeError,
    UnknownNameError,
)
from fastqmri.estimators.susceptibility import SusceptibilityMapping, automatic_mask

TIMES = (0.004, 0.010, 0.016, 0.022)
TILTED = (0.0, math.sin(0.4), math.cos(0.4))
QUICK = SusceptibilityMapping(3.0, inversion="l2")
HZ_PER_PPM = 42.577478518 * 3


def _measurement(one, generator, mask=True):
    data = echoes(one, TIMES, 3.0, generator)
    acquisition = MultiEchoGradientEcho(echo_time=TIMES)
    return Measurement(data, acquisition, one.mask if mask else None, affine=affine_of(one))


@pytest.fixture(scope="module")
def tilted():
    one = head(direction=TILTED)
    measurement = _measurement(one, torch.Generator().manual_seed(5))
    mapping = SusceptibilityMapping(3.0, background="v-sharp")  # which loses a rim
    return one, measurement, mapping.estimate(measurement)


def test_every_stage_matches_the_truth(tilted):
    one, measurement, maps = tilted
    assert float(measurement.data.angle()[3][one.mask].abs().max()) > 3  # there are wraps
    kept = (maps.flags & int(Flag.MASKED)) == 0
    assert 0.7 < float(kept.sum() / one.mask.sum()) < 1
    frequency = (one.local + one.background) * HZ_PER_PPM
    off = (maps["total_field"].value - frequency)[one.mask]
    assert abs(float(off.mean())) < 0.1  # no whole turn, which is 167 Hz
    spread = maps["total_field"].standard_deviation[one.mask]
    assert float((off / spread).std()) == pytest.approx(1, abs=0.1)
    assert error(maps["local_field"].value, one.local, kept) < 45
    assert correlation(maps["Chi"].value[kept], one.chi[kept]) > 0.85
    assert float(maps["Chi"].value[kept].mean()) == pytest.approx(0, abs=1e-6)
    assert bool(torch.isnan(maps["Chi"].value[~kept]).all())
    assert float((maps.flags[kept] == 0).double().mean()) > 0.99
    assert any("loses" in note for note in maps.notes)


def test_direction_of_b0_comes_from_the_affine(tilted):
    one, measurement, maps = tilted
    kept = (maps.flags & int(Flag.MASKED)) == 0
    maps = QUICK.estimate(measurement)
    given = dataclasses.replace(QUICK, b0_direction=TILTED).estimate(measurement)
    assert torch.allclose(given.value[:, kept], maps.value[:, kept], atol=1e-5)
    wrong = dataclasses.replace(QUICK, b0_direction=(0.0, 0.0, 1.0)).estimate(measurement)
    right = correlation(maps["Chi"].value[kept], one.chi[kept])
    assert correlation(wrong["Chi"].value[kept], one.chi[kept]) < right - 0.05


def test_reference_region_is_zero(tilted):
    one, measurement, maps = tilted
    region = torch.zeros_like(one.mask)
    region[20:30, 20:30, 15:20] = True
    maps = QUICK.estimate(measurement)
    other = dataclasses.replace(QUICK, reference=region).estimate(measurement)
    kept = (maps.flags & int(Flag.MASKED)) == 0
    assert float(other["Chi"].value[region & kept].mean()) == pytest.approx(0, abs=1e-6)
    shift = (other["Chi"].value - maps["Chi"].value)[kept]
    assert float(shift.std()) < 1e-6


@pytest.mark.parametrize(("background", "inversion"), [("pdf", "l2"), ("lbv", "tkd")])
def test_other_stages(background, inversion, tilted):
    one, measurement, _ = tilted
    steps = []
    mapping = dataclasses.replace(
        QUICK, background=background, inversion=inversion, progress=lambda done, total: steps.append(done)
    )
    maps = mapping.estimate(measurement)
    kept = (maps.flags & int(Flag.MASKED)) == 0
    assert correlation(maps["Chi"].value[kept], one.chi[kept]) > 0.75
    assert steps == sorted(steps)
    assert steps[-1] == 100


def test_voxels_without_a_number_are_flagged_and_spoil_no_other(tilted):
    _, measurement, _ = tilted
    data = measurement.data.clone()
    hole = (28, 30, 20)
    data[(slice(None), *hole)] = math.nan
    data[:, 27, 32, 20] = 1e-4  # noise alone
    maps = QUICK.estimate(dataclasses.replace(measurement, data=data))
    assert int(maps.flags[hole]) & int(Flag.INVALID_INPUT)
    assert int(maps.flags[27, 32, 20]) & int(Flag.MASKED | Flag.LOW_SNR)
    trusted = maps.trusted
    assert int(trusted.sum()) > 1000
    assert bool(torch.isfinite(maps["Chi"].value[trusted]).all())


def test_automatic_mask_is_the_head_without_its_surface(tilted):
    one, measurement, _ = tilted
    data = measurement.data.clone()
    data[:, 2:4, 2:4, 2:4] = 1  # bright, and apart
    data[:, 28, 30, 15:25] = 1e-3  # a vein
    found = automatic_mask(data)
    assert not bool(found[28, 30, 15:25].any())
    assert bool(found[27, 30, 15:25].all())
    assert not bool((found & ~one.mask).any())
    assert float(found.sum() / one.mask.sum()) > 0.85


def test_same_input_same_bytes(tilted):
    _, measurement, maps = tilted
    again = SusceptibilityMapping(3.0, background="v-sharp").estimate(measurement)
    assert torch.equal(again.value.nan_to_num(), maps.value.nan_to_num())
    assert torch.equal(again.flags, maps.flags)


def test_what_cannot_be_mapped(tilted):
    _, measurement, _ = tilted
    mapping = QUICK
    with pytest.raises(DataError, match="phase"):
        mapping.estimate(dataclasses.replace(measurement, data=measurement.data.abs()))
    with pytest.raises(ShapeError, match="affine"):
        mapping.estimate(dataclasses.replace(measurement, affine=None))
    with pytest.raises(PlausibilityError, match="3000 T"):
        SusceptibilityMapping(3000)
    with pytest.raises(UnknownNameError):
        SusceptibilityMapping(3.0, background="magic").estimate(measurement)
    with pytest.raises(UnknownNameError):
        SusceptibilityMapping(3.0, inversion="magic").estimate(measurement)
