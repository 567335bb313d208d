"""Noise of coils: whitening, the rim of k-space, fewer coils."""

from __future__ import annotations

import math

import pytest
import torch

from fastqmri.core import DataError
from fastqmri.physics.encoding import Fourier, synthetic_sensitivities
from fastqmri.physics.encoding.noise import (
    compression_of,
    noise_covariance,
    prewhiten,
    rim_noise,
    whitening_of,
)


def _mixed(generator: torch.Generator, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a known covariance L L^H."""
    factor = torch.randn(4, 4, dtype=torch.complex128, generator=generator) + 2 * torch.eye(4)
    white = torch.randn(4, samples, dtype=torch.complex128, generator=generator)
    return factor @ white, factor @ factor.mH


def test_covariance_and_whitening(generator: torch.Generator) -> None:
    noise, truth = _mixed(generator, 200_000)
    scale = float(truth.abs().max())
    # standard error of an element: scale / sqrt(samples)
    assert float((noise_covariance(noise) - truth).abs().max()) < 5 * scale / math.sqrt(200_000)
    white = prewhiten(noise, whitening_of(noise), 0)
    torch.testing.assert_close(
        noise_covariance(white), torch.eye(4, dtype=torch.complex128), atol=1e-9, rtol=0
    )


def test_whitening_along_any_axis(generator: torch.Generator) -> None:
    matrix = torch.randn(3, 4, dtype=torch.complex128, generator=generator)
    kspace = torch.randn(2, 4, 5, 6, dtype=torch.complex128, generator=generator)
    by_hand = torch.einsum("vc,tcyx->tvyx", matrix, kspace)
    torch.testing.assert_close(prewhiten(kspace, matrix, -3), by_hand)
    torch.testing.assert_close(prewhiten(kspace, matrix, 1), by_hand)


@pytest.mark.parametrize("fault", ["short", "copied", "silent", "nan"])
def test_noise_that_cannot_be_whitened(generator: torch.Generator, fault: str) -> None:
    noise, _ = _mixed(generator, 8 if fault == "short" else 100)
    if fault == "copied":
        noise[1] = noise[0]
    elif fault == "silent":
        noise[2] = 0
    elif fault == "nan":
        noise[0, 0] = torch.nan
    with pytest.raises(DataError, match="noise"):
        whitening_of(noise)


def test_the_rim_of_kspace_shows_the_noise(generator: torch.Generator) -> None:
    at = torch.linspace(-1, 1, 64)
    blob = torch.exp(-(at[:, None] ** 2 + at[None] ** 2) / 0.1)
    kspace = Fourier(2)(synthetic_sensitivities((64, 64), 4, generator=generator) * blob)[None]
    noise = 0.01 * torch.randn(2, 4, 64, 64, dtype=torch.complex64, generator=generator)
    mask = torch.rand(1, 64, 64, generator=generator) < 0.7
    found = noise_covariance(rim_noise((kspace + noise) * mask, mask))
    torch.testing.assert_close(
        found.diagonal().real, torch.full((4,), 1e-4, dtype=torch.float64), rtol=0.2, atol=0
    )
    with pytest.raises(DataError, match="rim"):
        rim_noise(kspace, torch.zeros_like(mask))


def test_compression_keeps_the_signal(generator: torch.Generator) -> None:
    sources = torch.randn(3, 500, dtype=torch.complex64, generator=generator)
    coils = torch.randn(8, 3, dtype=torch.complex64, generator=generator) @ sources
    matrix = compression_of(coils, axis=0, energy=0.999999)
    assert matrix.shape == (3, 8)
    torch.testing.assert_close(matrix @ matrix.mH, torch.eye(3, dtype=torch.complex128), atol=1e-10, rtol=0)
    virtual = prewhiten(coils, matrix, 0)
    assert float(virtual.norm()) == pytest.approx(float(coils.norm()), rel=1e-5)
    # Eckart-Young: what two virtual coils lose is the third singular value
    lost = torch.linalg.svdvals(coils)[2]
    two = prewhiten(coils, compression_of(coils, 2, axis=0), 0)
    assert float(coils.norm() ** 2 - two.norm() ** 2) == pytest.approx(float(lost**2), rel=1e-3)
    with pytest.raises(DataError, match="virtual coils"):
        compression_of(coils, 9, axis=0)
