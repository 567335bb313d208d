"""Errors of susceptibility maps, against numbers worked out by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastqmri.estimators.susceptibility.metrics import (
    correlation,
    demeaned_error,
    detrended_error,
    high_frequency_error,
    slope,
    structural_similarity,
)


def test_straight_line(generator: torch.Generator) -> None:
    truth = torch.randn(6, 7, 8, generator=generator)
    mask = torch.rand(6, 7, 8, generator=generator) < 0.7
    chi = 0.8 * truth + 3
    assert demeaned_error(chi, truth, mask) == pytest.approx(20, abs=1e-3)
    assert detrended_error(chi, truth, mask) == pytest.approx(0, abs=1e-3)
    assert slope(chi, truth, mask) == pytest.approx(0.8, abs=1e-5)
    assert correlation(chi, truth, mask) == pytest.approx(1, abs=1e-6)
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=generator)
    wanted = np.corrcoef(noisy[mask], truth[mask])[0, 1]
    assert correlation(noisy, truth, mask) == pytest.approx(wanted, abs=1e-6)


def test_high_frequencies(generator: torch.Generator) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    truth, chi = torch.randn(2, 26, 25, 24, generator=generator, dtype=torch.float64)
    mask = torch.zeros(truth.shape, dtype=torch.bool)
    mask[4:20, 4:20, 4:20] = True
    inside = mask.numpy()
    got, wanted = (
        ndimage.gaussian_laplace(np.where(inside, x.numpy(), 0), 1.5, mode="constant", truncate=5)
        for x in (chi, truth)
    )
    error = 100 * np.linalg.norm((got - wanted)[inside]) / np.linalg.norm(wanted[inside])
    assert high_frequency_error(chi, truth, mask) == pytest.approx(error, rel=0.02)
    assert high_frequency_error(truth + 0, truth, mask) == 0


def test_structural_similarity(generator: torch.Generator) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    truth, chi = 0.05 * torch.randn(2, 16, 15, 14, generator=generator, dtype=torch.float64)
    mask = torch.zeros(truth.shape, dtype=torch.bool)
    mask[3:13, 3:12, 3:11] = True
    inside = mask.numpy()
    _, everywhere = metrics.structural_similarity(
        np.where(inside, truth, 0),
        np.where(inside, chi, 0),
        win_size=5,
        data_range=1,
        K1=0.01,
        K2=0.001,
        full=True,
    )
    assert structural_similarity(chi, truth, mask) == pytest.approx(everywhere[inside].mean(), abs=1e-3)
    assert structural_similarity(truth, truth, mask) == pytest.approx(1)
