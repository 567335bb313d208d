"""The field of all echoes: its value, its standard deviation, its direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastqmri.core import UnknownNameError
from fastqmri.estimators.susceptibility.echo_combination import combine_echoes, direction_of_b0, in_ppm
from fastqmri.estimators.susceptibility.unwrapping import Unwrapped

TIMES = (0.004, 0.0105, 0.017, 0.0235)
SHAPE = (20, 20, 20)


def _noisy(generator, noise, frequency=23.0, offset=0.7):
    times = torch.tensor(TIMES, dtype=torch.float64).view(-1, 1, 1, 1)
    clean = torch.polar(
        torch.exp(-times / 0.02).expand(-1, *SHAPE).contiguous(),
        (offset + 2 * math.pi * frequency * times).expand(-1, *SHAPE).contiguous(),
    )
    drawn = torch.randn(2, *clean.shape, generator=generator, dtype=torch.float64)
    data = clean + noise * torch.complex(*drawn)
    # unwrapped by what is known here
    phase = clean.angle() * 0 + offset + 2 * math.pi * frequency * times + (data * clean.conj()).angle()
    return Unwrapped(phase, torch.zeros(SHAPE), 0, torch.ones(SHAPE, dtype=torch.int32)), data


@pytest.mark.parametrize("method", ["linear", "nonlinear"])
def test_spread_is_the_standard_deviation_and_the_bound(generator, method):
    noise = 0.02
    unwrapped, data = _noisy(generator, noise)
    total = combine_echoes(unwrapped, data.abs(), TIMES, noise=noise, method=method)
    spread = float(total.frequency.std())
    assert float(total.frequency.mean()) == pytest.approx(23, abs=4 * spread / math.sqrt(8000))
    assert float(total.standard_deviation.mean()) == pytest.approx(spread, rel=0.05)
    # Cramér-Rao bound of frequency with a free phase, from the Fisher matrix of the true signal
    te = np.array(TIMES)
    weight = np.exp(-2 * te / 0.02) / noise**2
    design = np.stack([2 * np.pi * te, np.ones_like(te)], 1)
    bound = math.sqrt(np.linalg.inv(design.T @ (weight[:, None] * design))[0, 0])
    assert spread == pytest.approx(bound, rel=0.05)
    assert float(total.offset.mean()) == pytest.approx(0.7, abs=0.01)
    # two of four phases were fitted
    assert float((total.residual**2).mean().sqrt()) == pytest.approx(noise * math.sqrt(2 / 4), rel=0.05)


def test_line_is_that_of_numpy(generator):
    unwrapped, data = _noisy(generator, 0.05)
    total = combine_echoes(unwrapped, data.abs(), TIMES)
    for voxel in ((0, 0, 0), (3, 4, 5)):
        index = (slice(None), *voxel)
        slope, offset = np.polyfit(TIMES, unwrapped.phase[index].numpy(), 1, w=data.abs()[index].numpy())
        assert float(total.frequency[voxel]) == pytest.approx(slope / (2 * math.pi), rel=1e-9)
        assert float(total.offset[voxel]) == pytest.approx(offset, rel=1e-9)
    assert bool(torch.isnan(total.standard_deviation).all())


def test_nonlinear_fit_bears_a_wrap_that_was_left(generator):
    unwrapped, data = _noisy(generator, 0.01)
    phase = unwrapped.phase.clone()
    phase[3] += 2 * math.pi  # of the weakest echo
    wrong = Unwrapped(phase, unwrapped.offset, 0, unwrapped.regions)
    line, curve = (
        combine_echoes(wrong, data.abs(), TIMES, method=method).frequency.mean()
        for method in ("linear", "nonlinear")
    )
    assert abs(float(line) - 23) > 5
    assert float(curve) == pytest.approx(23, abs=0.1)


def test_single_echo_has_no_offset():
    phase = torch.full((1, 2, 2, 2), 1.0, dtype=torch.float64)
    unwrapped = Unwrapped(phase, torch.zeros(2, 2, 2), 0, torch.ones(2, 2, 2, dtype=torch.int32))
    total = combine_echoes(unwrapped, torch.full_like(phase, 50.0), (0.02,), noise=1.0)
    assert float(total.frequency[0, 0, 0]) == pytest.approx(1 / (2 * math.pi * 0.02))
    # the phase of a magnitude of 50 noise levels is known to 1/50 rad
    assert float(total.standard_deviation[0, 0, 0]) == pytest.approx(0.02 / (2 * math.pi * 0.02))


def test_ppm():
    assert float(in_ppm(torch.tensor(127.732), 3.0)) == pytest.approx(1.0, abs=1e-5)


def test_direction_follows_the_affine():
    assert direction_of_b0(torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0]))) == pytest.approx((0, 0, 1))
    sagittal = torch.tensor([[0, 0, 2.0, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    assert direction_of_b0(sagittal) == pytest.approx((0, -1, 0))
    angle = math.radians(20)
    turned = torch.eye(4, dtype=torch.float64)
    turned[1, 1] = turned[2, 2] = math.cos(angle)
    turned[1, 2], turned[2, 1] = -math.sin(angle), math.sin(angle)
    turned[:3, :3] = turned[:3, :3] @ torch.diag(torch.tensor([1.0, 1.0, 4.0], dtype=torch.float64))
    assert direction_of_b0(turned) == pytest.approx((0, math.sin(angle), math.cos(angle)))


def test_unknown_method(generator):
    unwrapped, data = _noisy(generator, 0.01)
    with pytest.raises(UnknownNameError):
        combine_echoes(unwrapped, data.abs(), TIMES, method="magic")
