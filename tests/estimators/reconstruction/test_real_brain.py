"""Real k-space with samples held out: what was not seen is the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from estimators.reconstruction.kspace import MODEL
from fastqmri.core import Measurement
from fastqmri.core.acquisition import MultiEchoSpinEcho
from fastqmri.estimators.reconstruction import RECONSTRUCTIONS
from fastqmri.estimators.reconstruction.coil_maps import estimate_sensitivities
from fastqmri.physics.encoding import CartesianEncoding

TWO_ECHOES = MultiEchoSpinEcho(echo_time=(0.01, 0.02))  # an acquisition has two contrasts at least


@pytest.fixture(scope="module")
def held_out(test_data):
    """A brain in 8 coils, the same twice; one sample in eight measured, 5 % of those off the centre held out."""
    data = np.load(test_data("brain_kspace_8ch_undersampled") / "ksp.npz")["ksp"].astype(np.complex64)
    kspace = torch.from_numpy(data).expand(2, *data.shape)
    measured = kspace.abs().sum((0, 1)) > 0
    maps = estimate_sensitivities(kspace, measured[None])
    generator = torch.Generator().manual_seed(1)
    hidden = measured & (torch.rand(measured.shape, generator=generator) < 0.05)
    middle = [slice(n // 2 - 15, n // 2 + 15) for n in measured.shape]
    hidden[tuple(middle)] = False
    encoding = CartesianEncoding(maps, (measured & ~hidden)[None])
    measurement = Measurement(encoding.sampling(kspace), TWO_ECHOES, encoding=encoding)
    seen_by = CartesianEncoding(maps, hidden[None])

    def missed(name: str) -> float:
        images = RECONSTRUCTIONS[name].build(MODEL).reconstruct(measurement)
        wanted = seen_by.sampling(kspace)
        return float((seen_by(images) - wanted).norm() / wanted.norm())

    return missed


@pytest.mark.parametrize("name", ["total-variation", "wavelet"])
def test_regularised_images_predict_samples_better_than_least_squares(name, held_out):
    assert held_out(name) < 0.9 * held_out("cg-sense")
