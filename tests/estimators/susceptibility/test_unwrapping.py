"""Phases without wraps, against the phases they were made of."""

from __future__ import annotations

import math

import pytest
import torch

from fastqmri.core import UnknownNameError
from fastqmri.estimators.susceptibility.unwrapping import (
    differences,
    edge_quality,
    edges_inside,
    grow_regions,
    laplacian,
    unwrap_echoes,
    wrap,
)

SHAPE = (24, 21, 17)


def _places():
    return torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in SHAPE), indexing="ij")


def _scan(generator, echo_times, noise=0.01, offset=1.0):
    """Echoes of a field of some 100 Hz with a coil's phase, the truth, and a ball as mask."""
    x, y, z = _places()
    mask = x**2 + y**2 + z**2 < 0.9
    frequency = 60 * x**2 - 80 * y * z + 25 * z + 15
    coil = offset * (0.8 + 0.4 * x - 0.3 * y)
    times = torch.tensor(echo_times, dtype=torch.float64).view(-1, 1, 1, 1)
    magnitude = (1 - 0.3 * x) * torch.exp(-times / 0.03)
    data = torch.polar(magnitude, coil + 2 * math.pi * frequency * times)
    data = torch.where(mask, data, 0)
    return (
        data + noise * torch.randn(data.shape, generator=generator, dtype=data.dtype),
        frequency,
        coil,
        mask,
    )


@pytest.mark.parametrize("echo_times", [(0.004, 0.008, 0.012), (0.02, 0.005, 0.011), (0.006,)])
def test_all_echoes_come_back(generator, echo_times):
    data, frequency, coil, mask = _scan(generator, echo_times)
    result = unwrap_echoes(data, echo_times, mask, voxel_size=(8, 9, 11))
    assert int(result.regions.max()) == 1
    for i, time in enumerate(echo_times):
        truth = 2 * math.pi * frequency * time + coil
        off = (result.phase[i] + result.offset - truth)[mask] / (2 * math.pi)
        assert float((off - off.round()).abs().max()) < 0.04  # the noise
        # whole turns that are the same everywhere; and none at all in proportion to the echo times
        assert len(off.round().unique()) == 1
        if len(echo_times) > 1:
            assert float(off.round().abs().max()) == 0


def test_offset_is_the_phase_of_the_coil(generator):
    times = (0.004, 0.008, 0.012)
    data, _, coil, mask = _scan(generator, times, offset=2.5)
    result = unwrap_echoes(data, times, mask, voxel_size=(3, 3, 3))
    inner = mask & (sum(p**2 for p in _places()) < 0.4)
    assert float(wrap(result.offset - coil)[inner].abs().max()) < 0.3


def test_better_edges_where_the_phase_is_smooth(generator):
    data, _, _, mask = _scan(generator, (0.004, 0.008), noise=0.01)
    spoiled = data.clone()
    spoiled[:, 12:, :, :] = torch.randn(spoiled[:, 12:].shape, generator=generator, dtype=data.dtype)
    quality = edge_quality(
        spoiled[0].angle(), mask, magnitude=spoiled[0].abs(), second=spoiled[1].angle(), times=(0.004, 0.008)
    ).double()
    edges = edges_inside(mask)
    good = quality[:, :11][edges[:, :11]].median()
    bad = quality[:, 13:][edges[:, 13:]].median()
    assert float(good) > 4 * float(bad)
    assert bool((quality[~edges] == 0).all())
    assert bool((quality[edges] > 0).all())


def test_separate_regions_lie_nearest_to_zero():
    x = torch.linspace(-1, 1, 20, dtype=torch.float64).view(-1, 1, 1).expand(20, 6, 6)
    mask = (x.abs() > 0.2).contiguous()
    phase, regions = grow_regions(wrap(12 * x), mask)
    assert int(regions.max()) == 2
    for region in (1, 2):
        assert abs(float(phase[regions == region].median())) <= math.pi


@pytest.mark.parametrize("voxel_size", [(1, 1, 1), (1, 1.5, 3)])
def test_laplacian_is_exact_without_lost_steps(voxel_size):
    x, y, z = _places()
    truth = 9 * x**2 - 6 * x * y + 4 * z
    found = laplacian(wrap(truth), voxel_size)
    assert float(wrap(truth).sub(truth).abs().max()) > 6  # there was something to do
    assert torch.allclose(found - found.mean(), truth - truth.mean(), atol=1e-8)


def test_periodic_laplacian():
    n = 16
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    truth = (5 * torch.cos(angle).view(-1, 1, 1) + 6 * torch.sin(angle).view(1, -1, 1)).expand(n, n, n)
    found = laplacian(wrap(truth), boundary="periodic")
    assert torch.allclose(found, truth, atol=1e-8)


def test_differences_end_with_zero():
    x = torch.arange(24.0).reshape(2, 3, 4)
    for axis, step in enumerate((12, 4, 1)):
        inner = differences(x, axis)
        assert bool((inner.narrow(axis, 0, x.shape[axis] - 1) == step).all())
        assert bool((inner.narrow(axis, x.shape[axis] - 1, 1) == 0).all())


def test_unknown_names():
    data = torch.ones(2, 3, 3, 3, dtype=torch.complex64)
    with pytest.raises(UnknownNameError):
        unwrap_echoes(data, (0.1, 0.2), torch.ones(3, 3, 3, dtype=torch.bool), method="magic")
    with pytest.raises(UnknownNameError):
        laplacian(torch.zeros(3, 3, 3), boundary="open")
