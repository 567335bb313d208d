"""Denoising by local principal components: noise goes, structure stays, and pure noise leaves the mean."""

from __future__ import annotations

import pytest
import torch

from fastqmri.core import DataError, MultiEchoSpinEcho, ShapeError
from fastqmri.estimators.denoising import local_principal_components
from fastqmri.physics.signal import ExponentialDecay

NOISE = 20.0


def decays(generator: torch.Generator) -> torch.Tensor:
    """Two tissues with a straight border, smoothly shaded, 16 echoes on 9 × 11 × 7 voxels."""
    model = ExponentialDecay(MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 17))))
    shape = (9, 11, 7)
    x = torch.ones(2, *shape, dtype=torch.float64)
    x[0] = 1000 + 20 * torch.arange(shape[1], dtype=torch.float64)[None, :, None]
    x[1] = 0.05
    x[1, 5:] = 0.12
    return model(x)


def test_most_noise_goes_and_structure_stays(generator):
    truth = decays(generator)
    noisy = truth + NOISE * torch.randn(truth.shape, dtype=torch.float64, generator=generator)
    clean, kept = local_principal_components(noisy, NOISE)
    error = (clean - truth).square().mean().sqrt()
    assert float(error) < 0.5 * NOISE
    assert 1 <= float(kept.float().mean()) < 4


def test_noiseless_structure_is_kept_exactly(generator):
    truth = decays(generator)
    clean, _ = local_principal_components(truth, 1e-6)
    torch.testing.assert_close(clean, truth, rtol=1e-9, atol=1e-6)


def test_pure_noise_hardly_has_components(generator):
    """The edge of the noise eigenvalues is that of large cubes: in small ones the largest often passes it."""
    noise = torch.randn((20, 8, 9, 7), dtype=torch.float64, generator=generator)
    clean, kept = local_principal_components(noise, 1.0)
    assert float(kept.float().mean()) < 1.2
    assert float(clean.std()) < 0.45


def test_dtype_stays(generator):
    assert local_principal_components(decays(generator).float(), NOISE)[0].dtype == torch.float32


def test_single_slices_and_nan_are_refused(generator):
    truth = decays(generator)
    with pytest.raises(ShapeError, match="3 voxels"):
        local_principal_components(truth[..., :1], NOISE)
    with pytest.raises(DataError):
        local_principal_components(truth, 0.0)
    truth[0, 0, 0, 0] = torch.nan
    with pytest.raises(DataError):
        local_principal_components(truth, NOISE)
