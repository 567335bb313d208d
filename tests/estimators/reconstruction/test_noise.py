"""The noise that regularisation is measured by."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from estimators.reconstruction.kspace import scan
from fastqmri.core import DataError
from fastqmri.estimators.reconstruction import kspace_noise
from fastqmri.physics.encoding import CartesianEncoding, NonUniformFourier, Sensitivities
from fastqmri.physics.encoding.noise import noise_gain


def test_white_noise_is_found(generator):
    _, measurement = scan(generator, voxels=(64, 64))
    noise = (
        0.3 * torch.randn(measurement.data.shape, dtype=torch.complex64, generator=generator) * math.sqrt(2)
    )
    measurement = dataclasses.replace(measurement, data=measurement.encoding.sampling(noise), noise=None)
    # the lowest of eight medians of about 490 samples lies 1.4 standard errors (of 5 %) below
    assert kspace_noise(measurement) == pytest.approx(0.3, rel=0.1)


def test_noise_under_a_phantom_is_found_roughly(generator):
    for snr in (15, 60):
        _, measurement = scan(generator, voxels=(64, 64), snr=snr)
        blind = dataclasses.replace(measurement, noise=None)
        assert measurement.noise * 0.9 < kspace_noise(blind) < 2 * measurement.noise


def test_what_is_known_counts_and_scales(generator):
    _, measurement = scan(generator)
    assert kspace_noise(measurement) == measurement.noise
    blind = dataclasses.replace(measurement, noise=None)
    louder = dataclasses.replace(blind, data=1024 * blind.data)
    assert kspace_noise(louder) == 1024 * kspace_noise(blind)


def test_samples_off_the_grid(generator):
    trajectory = math.pi * (2 * torch.rand(2000, 2, generator=generator) - 1)
    encoding = NonUniformFourier(trajectory, (32, 32)) @ Sensitivities(
        torch.ones(1, 32, 32, dtype=torch.complex64), 2
    )
    _, measurement = scan(generator)
    clean = encoding(torch.full((8, 32, 32), 5.0, dtype=torch.complex64))
    noisy = clean + 0.1 * math.sqrt(2) * torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
    measurement = dataclasses.replace(measurement, data=noisy, encoding=encoding, noise=None)
    assert 0.08 < kspace_noise(measurement) < 0.2


def test_nothing_measured_is_refused(generator):
    _, measurement = scan(generator)
    with pytest.raises(DataError, match="every sample is zero"):
        kspace_noise(dataclasses.replace(measurement, data=0 * measurement.data, noise=None))


def test_gain_is_the_root_of_the_sampled_fraction(generator):
    maps = torch.polar(torch.full((4, 64, 64), 0.5), torch.rand(4, 64, 64, generator=generator))
    mask = torch.rand(6, 64, 64, generator=generator) < 0.3
    gain = noise_gain(CartesianEncoding(maps, mask), torch.zeros(6, 4, 64, 64, dtype=torch.complex64))
    assert gain == pytest.approx(math.sqrt(float(mask.float().mean())), rel=0.01)
